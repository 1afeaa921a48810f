// A real OpenID provider for tests: node-oidc-provider with a few clients, none of which anybody else knows.
// Its one argument is JSON: {port, audience, origin}. It prints a line of JSON when it listens, and one per command.
// Commands are lines on stdin: `rotate` puts a new signing key before the others. It ends when stdin does, so that it
// cannot outlive the tests. Its keys are kept in its working directory: after a restart they are the same.
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { createInterface } from 'node:readline';

import { calculateJwkThumbprint, exportJWK, generateKeyPair } from 'jose';
import { Provider } from 'oidc-provider';

console.info = console.error; // stdout is for answers
const { port, audience, origin } = JSON.parse(process.argv[2]);
const KEYS = 'keys.json';
const SCOPE = 'pets:read pets:write';
const SECRET = 'a secret+with/odd%signs:';

// What the tokens of each client are like.
const services = {
  svc: { roles: ['user', 'admin'], format: 'jwt', seconds: 600 },
  reader: { roles: [], format: 'jwt', seconds: 600 },
  brief: { roles: ['user'], format: 'jwt', seconds: 1 },
  opaque: { roles: ['user'], format: 'opaque', seconds: 600 },
  'opaque-brief': { roles: ['user'], format: 'opaque', seconds: 1 },
};
const people = { roles: ['user'], format: 'jwt', seconds: 600 };

const clients = [
  ...Object.keys(services).map((id) => ({
    client_id: id, client_secret: SECRET, grant_types: ['client_credentials'], redirect_uris: [], response_types: [],
  })),
  // The service under test itself, which asks about opaque tokens, in either way.
  ...['client_secret_basic', 'client_secret_post'].map((method) => ({
    client_id: `api-${method}`, client_secret: SECRET, token_endpoint_auth_method: method,
    grant_types: [], redirect_uris: [], response_types: [],
  })),
  {
    client_id: 'docs', token_endpoint_auth_method: 'none', application_type: 'native',
    grant_types: ['authorization_code'], response_types: ['code'], redirect_uris: [`${origin}/docs/oauth2-redirect.html`],
  },
];

async function makeKey() {
  const { privateKey } = await generateKeyPair('RS256', { extractable: true });
  const key = await exportJWK(privateKey);
  return { ...key, use: 'sig', alg: 'RS256', kid: await calculateJwkThumbprint(key) };
}

function makeHandler(issuer, keys) {
  const provider = new Provider(issuer, {
    clients,
    jwks: { keys },
    cookies: { keys: ['of tests only'] },
    scopes: ['openid', ...SCOPE.split(' ')],
    responseTypes: ['code'],
    clientBasedCORS: () => true,
    ttl: { AccessToken: people.seconds, Session: 600, Grant: 600, Interaction: 600, IdToken: 600 },
    extraTokenClaims: (context, token) => ({ roles: (services[token.clientId] ?? people).roles }),
    features: {
      devInteractions: { enabled: true },
      clientCredentials: { enabled: true },
      introspection: { enabled: true },
      revocation: { enabled: true },
      resourceIndicators: {
        enabled: true,
        defaultResource: () => audience,
        useGrantedResource: () => true,
        getResourceServerInfo: (context, resource, client) => {
          const { format, seconds } = services[client.clientId] ?? people;
          return {
            audience: resource, scope: SCOPE, accessTokenFormat: format, accessTokenTTL: seconds,
            jwt: { sign: { alg: 'RS256' } },
          };
        },
      },
    },
  });
  return provider.callback();
}

const server = createServer();
await new Promise((resolve) => server.listen(port, '127.0.0.1', resolve));
const issuer = `http://127.0.0.1:${server.address().port}`;
let keys = existsSync(KEYS) ? JSON.parse(readFileSync(KEYS)) : [await makeKey()];
let handler;

function use(newKeys) {
  keys = newKeys;
  writeFileSync(KEYS, JSON.stringify(keys));
  handler = makeHandler(issuer, keys);
  console.log(JSON.stringify({ issuer, keys: keys.map((key) => key.kid) }));
}

use(keys);
server.on('request', (request, response) => handler(request, response));

const commands = createInterface({ input: process.stdin });
commands.on('line', async (line) => {
  if (line === 'rotate') use([await makeKey(), ...keys]);
});
commands.on('close', () => process.exit(0));
