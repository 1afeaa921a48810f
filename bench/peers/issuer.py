"""An issuer of access tokens for the benchmark: it serves its metadata and keys, and signs with RS256."""

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

from joserfc import jwt
from joserfc.jwk import RSAKey

AUDIENCE = "pets"


class Issuer:
    """Runs while the block runs, in a thread of its own.

    Attributes:
        address: Its address, which is the issuer's name.
    """

    def __init__(self) -> None:
        self._key = RSAKey.generate_key(2048, {"kid": "bench", "use": "sig", "alg": "RS256"})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._make_handler())
        self.address = f"http://127.0.0.1:{self._server.server_port}"

    @property
    def public_key(self) -> bytes:
        """The public key as PEM."""
        return self._key.as_pem(private=False)

    def token(self, subject: str, roles: list[str]) -> str:
        """Sign an access token (RFC 9068) that lasts a day."""
        now = int(time.time())
        claims = {
            "iss": self.address,
            "aud": AUDIENCE,
            "sub": subject,
            "client_id": "bench",
            "jti": "bench",
            "roles": roles,
            "iat": now,
            "exp": now + 86_400,
        }
        return jwt.encode({"alg": "RS256", "kid": "bench", "typ": "at+jwt"}, claims, self._key)

    def __enter__(self) -> Self:
        """Begin to serve."""
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        """End."""
        self._server.shutdown()
        self._server.server_close()

    def _make_handler(self) -> type[BaseHTTPRequestHandler]:
        issuer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                documents: dict[str, Any] = {
                    "/.well-known/openid-configuration": {
                        "issuer": issuer.address,
                        "jwks_uri": f"{issuer.address}/keys",
                        "token_endpoint": f"{issuer.address}/token",
                        "authorization_endpoint": f"{issuer.address}/authorize",
                    },
                    "/keys": {"keys": [issuer._key.as_dict(private=False)]},
                }
                document = documents.get(self.path)
                body = json.dumps(document).encode()
                self.send_response(200 if document else 404)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        return Handler
