"""Who is calling."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from types import MappingProxyType
from typing import Any


@dataclass(frozen=True, slots=True)
class Principal:
    """An authenticated caller: a person or a service, as its access token tells (RFC 7519, RFC 9068).

    Attributes:
        subject: The `sub` claim.
        issuer: The `iss` claim: who vouches for it.
        roles: What the caller is, by the issuer's claim profile.
        scopes: What the token may be used for (RFC 6749 section 3.3).
        claims: All claims of the token, read only.
        client_id: The application that holds the token.
        expires_at: When the token ends, in UTC.
        token_id: The `jti` claim.
    """

    subject: str
    issuer: str
    roles: frozenset[str] = frozenset()
    scopes: frozenset[str] = frozenset()
    claims: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}), hash=False)
    client_id: str | None = None
    expires_at: datetime | None = None
    token_id: str | None = None
