"""The compact form of a signed token, read strictly before any cryptography (RFC 7515 section 7.1, RFC 8725)."""

import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import jiter
from joserfc.util import urlsafe_b64decode

from ligand_async.auth.errors import InvalidToken
from ligand_async.principal import Principal
from ligand_async.protocols import TokenVerifier

MAX_TOKEN = 16 * 1024  # characters
_MAX_KEY_ID = 512
_SHAPE = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+", re.ASCII)  # a JWE has five parts

# These members change how the rest is read. No extension is supported, so a token with `crit` is rejected.
_CHANGING = frozenset({"crit", "b64", "zip", "enc"})


@dataclass(frozen=True, slots=True)
class CompactToken:
    """The parts of a signed token, not verified.

    Attributes:
        algorithm: The header's `alg`, one of those allowed.
        key_id: Its `kid`.
        type: Its `typ` in lower case.
        claims: The payload.
        signed: The bytes that are signed.
        signature: The signature.
    """

    algorithm: str
    key_id: str | None
    type: str | None
    claims: dict[str, Any]
    signed: bytes
    signature: bytes


def read_compact(token: str, algorithms: Collection[str]) -> CompactToken:
    """Parse a token.

    `jku`, `x5u`, `jwk` and `x5c` are ignored: keys come only from the issuer.

    Args:
        token: The token as it was sent.
        algorithms: The values of `alg` that are allowed.

    Raises:
        InvalidToken: It is not a signed token in compact form, or two parsers could read it differently.
    """
    if len(token) > MAX_TOKEN or not token.isascii() or not _SHAPE.fullmatch(token):
        raise InvalidToken("shape")
    signed, _, signature = token.encode("ascii").rpartition(b".")
    header_part, _, payload_part = signed.partition(b".")
    header = _read_part(header_part, "header")
    if not _CHANGING.isdisjoint(header):
        raise InvalidToken("header_extension")
    algorithm = header.get("alg")
    if not isinstance(algorithm, str) or algorithm not in algorithms:
        raise InvalidToken("algorithm")
    key_id = header.get("kid")
    if "kid" in header and not is_key_id(key_id):
        raise InvalidToken("key_id")
    kind = header.get("typ")
    if "typ" in header and not isinstance(kind, str):
        raise InvalidToken("type")
    return CompactToken(
        algorithm=algorithm,
        key_id=key_id,
        type=kind.lower() if kind is not None else None,
        claims=_read_part(payload_part, "payload"),
        signed=signed,
        signature=_decode(signature, "signature"),
    )


def is_key_id(value: object) -> bool:
    """Return whether a value can be a `kid`."""
    return isinstance(value, str) and 0 < len(value) <= _MAX_KEY_ID and value.isascii() and value.isprintable()


def _read_part(part: bytes, name: str) -> dict[str, Any]:
    """Return a part that is a JSON object: UTF-8, no duplicate keys, no NaN, at most 200 levels deep."""
    try:
        document = jiter.from_json(_decode(part, name), catch_duplicate_keys=True, allow_inf_nan=False)
    except ValueError:
        raise InvalidToken(name) from None  # the error's text may hold what was sent
    if not isinstance(document, dict):
        raise InvalidToken(name)
    return document


def _decode(part: bytes, name: str) -> bytes:
    """Decode base64url, and accept only the canonical encoding (RFC 4648 section 3.5)."""
    try:
        return urlsafe_b64decode(part)
    except ValueError:
        raise InvalidToken(name) from None  # the same


class EitherVerifier:
    """Verifies tokens that look signed with one verifier, and all others with another; neither is tried twice.

    Args:
        jwt: For signed tokens, which have three parts in base64url.
        opaque: For all others.
    """

    def __init__(self, jwt: TokenVerifier, opaque: TokenVerifier) -> None:
        self.jwt = jwt
        self.opaque = opaque

    async def verify(self, token: str) -> Principal:
        """Return the principal of a token.

        Raises:
            InvalidToken: The token is not valid.
            ServiceUnavailable: The token cannot be verified now.
        """
        return await (self.jwt if _SHAPE.fullmatch(token) else self.opaque).verify(token)
