"""The development issuer: access tokens for whoever asks, where no real issuer is."""

import time
from collections.abc import Iterable, Mapping
from typing import Any
from uuid import uuid4

from joserfc import jwt
from joserfc.jwk import ECKey

from ligand_async.settings import Settings

PATH = "/_dev/issuer"
ENVIRONMENTS = frozenset({"local", "testing"})
ALGORITHM = "ES256"
CLIENT = "development"
LIFETIME = 3600  # seconds


class DevelopmentIssuer:
    """An issuer with the key pair that follows from the secret key, so that all processes of a service agree.

    It takes the part of a real issuer: metadata, keys and tokens are those of RFC 8414, RFC 7517 and RFC 9068.

    Args:
        settings: Of the environment `local` or `testing`.

    Attributes:
        issuer: The `iss` of its tokens, and where its metadata is found.
        audience: The `aud` of its tokens.

    Raises:
        ValueError: The environment is another one.
    """

    def __init__(self, settings: Settings) -> None:
        if settings.environment not in ENVIRONMENTS:
            raise ValueError(f"there is no development issuer in {settings.environment}; name a real one, oidc_issuer")
        self.issuer = settings.service_public_url + PATH
        self.audience = settings.oidc_audience or (settings.service_public_url,)
        self._key = ECKey.derive_key(
            settings.secret_key.get_secret_value(),
            "P-256",
            {"alg": ALGORITHM, "use": "sig"},
            auto_kid=True,
            kdf_options={"salt": b"ligand_async", "info": b"the development issuer's ES256 key"},
        )

    def issue(
        self,
        *,
        subject: str = "ada",
        roles: Iterable[str] = (),
        scopes: Iterable[str] = (),
        expires: int = LIFETIME,
        claims: Mapping[str, Any] | None = None,
    ) -> str:
        """Return an access token (RFC 9068).

        Args:
            subject: Who it speaks for.
            roles: What that one is.
            scopes: What it may be used for.
            expires: Seconds from now until it ends.
            claims: More claims; of the same name they take the place of those above.

        Raises:
            TypeError: Roles or scopes are one text instead of several.
        """
        if isinstance(roles, str) or isinstance(scopes, str):
            raise TypeError('roles and scopes are several texts, such as ["admin"]')
        now = int(time.time())
        names = {"roles": list(roles), "scope": " ".join(scopes)}
        payload = {
            "iss": self.issuer,
            "sub": subject,
            "aud": self.audience[0] if len(self.audience) == 1 else list(self.audience),
            "iat": now,
            "exp": now + expires,
            "jti": str(uuid4()),
            "client_id": CLIENT,
            **{name: value for name, value in names.items() if value},
            **(claims or {}),
        }
        header = {"alg": ALGORITHM, "typ": "at+jwt", "kid": self._key.kid}
        return jwt.encode(header, payload, self._key, algorithms=[ALGORITHM])

    def jwks(self) -> dict[str, Any]:
        """Return the public keys (RFC 7517 section 5)."""
        return {"keys": [self._key.as_dict(private=False)]}

    def metadata(self) -> dict[str, Any]:
        """Return what clients read about the issuer (RFC 8414 section 2, OpenID Connect Discovery 1.0 section 3)."""
        return {
            "issuer": self.issuer,
            "jwks_uri": f"{self.issuer}/jwks",
            "token_endpoint": f"{self.issuer}/token",
            "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post", "none"],
            "grant_types_supported": ["client_credentials"],
            "response_types_supported": [],
        }


def development_issuer_of(settings: Settings) -> DevelopmentIssuer | None:
    """Return the development issuer, or None where there is none: outside `local` and `testing`, beside a real one."""
    if settings.environment not in ENVIRONMENTS or settings.oidc_issuer:
        return None
    return DevelopmentIssuer(settings)
