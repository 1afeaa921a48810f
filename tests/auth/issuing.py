"""An issuer for tests: a real HTTP server in a thread, whose answers can be made wrong, and tokens of any shape.

    with Issuer() as issuer:
        settings = {"oidc_issuer": issuer.url, "oidc_audience": AUDIENCE}
        token = issuer.mint(sub="ada", roles=["admin"])                 # a good one
        issuer.mint(exp=1)                                              # expired, and correctly signed
        issuer.mint(without=["aud"])                                    # a claim left out
        issuer.mint(header={"typ": "JWT"})                              # another header
        issuer.mint(payload=b'{"a": 1, "a": 2}')                        # any bytes, correctly signed
        issuer.mint(key=SigningKey("ES256", "rogue"))                   # a key that is not published
        issuer.rotate()                                                 # a new key; the old one is gone
        issuer.answer("/keys", status=500)                              # or body=b"...", headers={"Location": ...}
        issuer.hang("/keys")                                            # never answers
        issuer.heal()                                                   # answers well again
        issuer.stop(), issuer.start()                                   # on the same port
        assert issuer.asked["/keys"] == 1

The metadata is at `METADATA` (OpenID Connect) and at `OAUTH_METADATA` (RFC 8414).
"""

import base64
import json
import ssl
import threading
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qs, unquote_plus
from uuid import uuid4

from joserfc.errors import SecurityWarning
from joserfc.jwk import ECKey, OctKey, OKPKey, RSAKey
from joserfc.jws import JWSRegistry
from joserfc.util import urlsafe_b64encode

AUDIENCE = "https://api.example"

METADATA = "/.well-known/openid-configuration"

OAUTH_METADATA = "/.well-known/oauth-authorization-server"

KEYS = "/keys"

CURVES = {"ES256": "P-256", "ES384": "P-384", "ES512": "P-521"}

Key = RSAKey | ECKey | OKPKey | OctKey


@cache
def rsa_key(bits: int, number: int = 0) -> RSAKey:
    """Return an RSA key, which takes long to make; `number` tells several apart."""
    with warnings.catch_warnings(action="ignore", category=SecurityWarning):  # of short ones
        return RSAKey.generate_key(bits)


class SigningKey:
    """A key with a name, for one algorithm.

    Args:
        algorithm: The algorithm that it signs with.
        key_id: Its `kid`; None for none.
        key: The key, if not a new one.
    """

    def __init__(self, algorithm: str = "ES256", key_id: str | None = "first", *, key: Key | None = None) -> None:
        self.algorithm = algorithm
        self.key_id = key_id
        self.key = key or make_key(algorithm)

    def sign(self, message: bytes, algorithm: str | None = None) -> bytes:
        """Sign bytes, by default with the algorithm of the key."""
        return JWSRegistry.algorithms[algorithm or self.algorithm].sign(message, self.key)

    def published(self, **members: Any) -> dict[str, Any]:
        """Return the JWK that an issuer publishes, with other members as told."""
        named = {} if self.key_id is None else {"kid": self.key_id}
        return {**self.key.as_dict(private=False), **named, "use": "sig", "alg": self.algorithm, **members}


def make_key(algorithm: str) -> Key:
    """Make a key for an algorithm; RSA keys are made once."""
    if algorithm in CURVES:
        return ECKey.generate_key(CURVES[algorithm])
    if algorithm in {"EdDSA", "Ed25519", "Ed448"}:
        return OKPKey.generate_key("Ed448" if algorithm == "Ed448" else "Ed25519")
    return OctKey.generate_key(512) if algorithm.startswith("HS") else rsa_key(2048)


@dataclass(frozen=True)
class Answer:
    """What a path answers."""

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    never: bool = False


@dataclass(frozen=True)
class Asked:
    """A request that arrived."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes


class QuietServer(ThreadingHTTPServer):
    """A server that does not mind clients that leave."""

    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass


class Issuer:
    """An issuer that listens on 127.0.0.1 as long as its block lasts.

    Args:
        path: What follows the port in its identifier.
        keys: What it signs with; the first is used unless told otherwise.
        tls: The certificate that it shows; None for plain http.
        host: Its name in its identifier.
        members: More members of its metadata.
    """

    def __init__(
        self,
        path: str = "",
        *,
        keys: Iterable[SigningKey] = (),
        tls: ssl.SSLContext | None = None,
        host: str = "127.0.0.1",
        **members: Any,
    ) -> None:
        self.path = path
        self.tls = tls
        self.host = host
        self.keys = list(keys) or [SigningKey()]
        self.members = members
        self.published: list[Any] | None = None  # the JWK Set, instead of the keys'
        self.asked: Counter[str] = Counter()
        self.requests: list[Asked] = []
        self.answers: dict[str, Callable[[Asked], Answer]] = {}
        self.port = 0
        self._server: ThreadingHTTPServer | None = None
        self._thread: threading.Thread | None = None
        self._over = threading.Event()

    @property
    def origin(self) -> str:
        """Where it listens."""
        return f"http{'s' * (self.tls is not None)}://{self.host}:{self.port}"

    @property
    def url(self) -> str:
        """Its identifier."""
        return self.origin + self.path

    def mint(
        self,
        *,
        header: Mapping[str, Any] | bytes | None = None,
        payload: bytes | None = None,
        without: Iterable[str] = (),
        key: SigningKey | None = None,
        algorithm: str | None = None,
        signature: bytes | Callable[[bytes], bytes] | None = None,
        **claims: Any,
    ) -> str:
        """Make an access token, good unless told otherwise.

        Args:
            header: Members to change, None for one to leave out; bytes instead of the whole.
            payload: Bytes instead of the claims.
            without: Claims to leave out.
            key: What signs; by default the issuer's first key.
            algorithm: How it signs, if not as the key says.
            signature: Bytes instead of the signature, or what makes them from those that are signed.
            **claims: Claims to change.
        """
        key = key or self.keys[0]
        if not isinstance(header, bytes):
            members = {"alg": algorithm or key.algorithm, "typ": "at+jwt", "kid": key.key_id} | dict(header or {})
            header = to_json({name: value for name, value in members.items() if value is not None})
        if payload is None:
            whole = self.claims() | claims
            payload = to_json({name: value for name, value in whole.items() if name not in set(without)})
        signed = urlsafe_b64encode(header) + b"." + urlsafe_b64encode(payload)
        if signature is None:
            signature = key.sign(signed, algorithm)
        elif not isinstance(signature, bytes):
            signature = signature(signed)
        return (signed + b"." + urlsafe_b64encode(signature)).decode()

    def claims(self) -> dict[str, Any]:
        """Return the claims of a good token."""
        now = int(time.time())
        return {
            "iss": self.url,
            "aud": AUDIENCE,
            "sub": "ada",
            "client_id": "tests",
            "iat": now,
            "exp": now + 300,
            "jti": uuid4().hex,
        }

    def rotate(self, key: SigningKey | None = None) -> SigningKey:
        """Replace the keys by a new one, and return it."""
        new = key or SigningKey(key_id=uuid4().hex)
        self.keys = [new]
        return new

    def answer(self, path: str, *, status: int = 200, body: bytes = b"", headers: Mapping[str, str] = {}) -> None:
        """Let a path answer something else."""
        self.answers[path] = lambda _: Answer(status, body, headers)

    def hang(self, path: str) -> None:
        """Let a path never answer."""
        self.answers[path] = lambda _: Answer(never=True)

    def heal(self) -> None:
        """Answer well again."""
        self.answers.clear()

    def metadata(self) -> dict[str, Any]:
        """Return its metadata."""
        return {
            "issuer": self.url,
            "jwks_uri": self.origin + KEYS,
            "authorization_endpoint": f"{self.origin}/authorize",
            "token_endpoint": f"{self.origin}/token",
            "introspection_endpoint": f"{self.origin}/introspect",
            "response_types_supported": ["code"],
            **self.members,
        }

    def respond(self, asked: Asked) -> Answer:
        """Return the answer to a request."""
        if asked.path in self.answers:
            return self.answers[asked.path](asked)
        if asked.path in {self.path.rstrip("/") + METADATA, OAUTH_METADATA + self.path.rstrip("/")}:
            return Answer(body=to_json(self.metadata()))
        if asked.path == KEYS:
            published = [key.published() for key in self.keys] if self.published is None else self.published
            return Answer(body=to_json({"keys": published}))
        return Answer(404)

    def start(self) -> None:
        """Listen; on the same port as before."""
        self._over.clear()
        self._server = QuietServer(("127.0.0.1", self.port), self._handler())
        self.port = self._server.server_address[1]
        if self.tls is not None:
            listener = self._server.socket
            self._server.socket = self.tls.wrap_socket(listener, server_side=True, do_handshake_on_connect=False)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Listen no more."""
        self._over.set()
        if self._server is not None and self._thread is not None:
            self._server.shutdown()
            self._thread.join()
            self._server.server_close()
            self._server = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        issuer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                path = self.path.partition("?")[0]
                asked = Asked(self.command, path, dict(self.headers), body)
                issuer.asked[path] += 1
                issuer.requests.append(asked)
                answer = issuer.respond(asked)
                if answer.never:
                    issuer._over.wait(60)
                    return
                self.send_response(answer.status)
                for name, value in {"Content-Type": "application/json", **answer.headers}.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(answer.body)))
                self.end_headers()
                self.wfile.write(answer.body)

            do_POST = do_GET  # noqa: N815  (the server's names)

            def log_message(self, format: str, *arguments: Any) -> None:
                pass

        return Handler


def to_json(value: Any) -> bytes:
    """Return JSON, NaN and lone surrogates included."""
    return json.dumps(value, separators=(",", ":")).encode()


INTROSPECTION = "/introspect"

CLIENT = "petstore"

SECRET = "s%cret+ /:"  # what only a careful client gets across


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


def claims_of(token: str) -> dict[str, Any]:
    """Return a token's claims."""
    payload = token.split(".")[1]
    claims: dict[str, Any] = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    return claims
