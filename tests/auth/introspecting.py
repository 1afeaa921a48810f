"""An issuer for tests that also says what opaque tokens are, to the clients that it knows."""

import base64
from typing import Any
from urllib.parse import parse_qs, unquote_plus

from ligand_async.auth import InvalidToken
from ligand_async.auth.tokens import AuthMethod, OAuthClient
from ligand_async.auth.tokens.introspection import IntrospectionClient, IntrospectionVerifier
from ligand_async.errors import ServiceUnavailable
from tests.auth.issuing import AUDIENCE, Answer, Asked, Issuer, to_json
from tests.auth.verifying import Clock, fetcher, trust

INTROSPECTION = "/introspect"
CLIENT = "petstore"
SECRET = "s%cret+ /:"  # what only a careful client gets across
PATIENCE = 0.3  # seconds


class IntrospectingIssuer(Issuer):
    """An issuer with an introspection endpoint (RFC 7662); `tokens` are those that are active, with what it says."""

    def __init__(self, **members: Any) -> None:
        super().__init__(**members)
        self.tokens: dict[str, dict[str, Any]] = {}
        self.secret = SECRET

    def issue(self, value: str = "opaque-token", **claims: Any) -> str:
        """Make a text an active token, and return it; a claim that is `...` is left out."""
        said = {**self.claims(), "token_type": "Bearer", "scope": "pets:read pets:write", "roles": ["user"], **claims}
        self.tokens[value] = {name: claim for name, claim in said.items() if claim is not ...}
        return value

    def respond(self, asked: Asked) -> Answer:
        """Return the answer to a request."""
        if asked.path != INTROSPECTION or asked.path in self.answers:
            return super().respond(asked)
        form = {name: values[0] for name, values in parse_qs(asked.body.decode()).items()}
        if asked.method != "POST" or credentials(asked, form) != (CLIENT, self.secret):
            return Answer(401, to_json({"error": "invalid_client"}))
        known = self.tokens.get(form["token"])
        return Answer(body=to_json({"active": False} if known is None else {"active": True, **known}))


def credentials(asked: Asked, form: dict[str, str]) -> tuple[str, str]:
    """Return who is asking, in either way that RFC 6749 section 2.3.1 has."""
    scheme, _, encoded = asked.headers.get("Authorization", "").partition(" ")
    if scheme == "Basic":
        client, _, secret = base64.b64decode(encoded).decode().partition(":")
        return unquote_plus(client), unquote_plus(secret)
    return form.get("client_id", ""), form.get("client_secret", "")


def settings_for(issuer: Issuer, tokens: str = "opaque") -> dict[str, Any]:
    """Return the settings of a service that asks this issuer."""
    return {
        "oidc_issuer": issuer.url,
        "oidc_audience": AUDIENCE,
        "oidc_tokens": tokens,
        "oidc_client_id": CLIENT,
        "oidc_client_secret": SECRET,
        "oidc_timeout": 0.5,
    }


def make_verifier(
    issuer: Issuer, clock: Clock, *, method: AuthMethod = "client_secret_basic", profile: str = "generic"
) -> IntrospectionVerifier:
    """Make what asks this issuer; only the test moves its clock on."""
    own = OAuthClient(CLIENT, SECRET, method)
    client = IntrospectionClient(issuer.url, fetcher=fetcher(PATIENCE, client=own), clock=clock)
    return IntrospectionVerifier(trust(issuer, profile), client, clock=clock, monotonic=clock)


async def outcome(verifier: IntrospectionVerifier, token: str) -> str:
    """Return the subject of a token, why it is refused, or `unknown`."""
    try:
        return (await verifier.verify(token)).subject
    except InvalidToken as refusal:
        return refusal.reason
    except ServiceUnavailable:
        return "unknown"
