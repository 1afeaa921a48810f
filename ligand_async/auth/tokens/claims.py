"""Whether what a token says is for us and for now (RFC 7519 section 4.1, RFC 9068 section 4)."""

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from ligand_async.auth.refusals import InvalidToken
from ligand_async.auth.tokens.claim_values import time_in
from ligand_async.auth.tokens.profiles import ClaimProfile


def check_claims(
    claims: Mapping[str, Any],
    profile: ClaimProfile,
    *,
    issuer: str,
    audience: Collection[str],
    now: float,
    leeway: float = 0.0,
) -> None:
    """Check the claims that decide whether a token is good here and now.

    Args:
        claims: The payload.
        profile: What the issuer's tokens look like.
        issuer: What `iss` must be.
        audience: What this service is called; the token must name one.
        now: Seconds since 1970.
        leeway: Seconds by which the issuer's clock may differ.

    Raises:
        InvalidToken: It is not good.
    """
    if claims.get("iss") != issuer:
        raise InvalidToken("issuer")
    if not names_one(claims, profile.audience_claims, audience):
        raise InvalidToken("audience")
    expires = time_in(claims, "exp")
    if expires is None:
        raise InvalidToken("exp")
    if now >= expires + leeway:
        raise InvalidToken("expired")
    for name in ("nbf", "iat"):
        begins = time_in(claims, name)
        if begins is not None and begins > now + leeway:
            raise InvalidToken("not_yet")
    if not is_access_token(claims, profile):
        raise InvalidToken("not_an_access_token")


def names_one(claims: Mapping[str, Any], names: Iterable[str], audience: Collection[str]) -> bool:
    """Tell whether a token is for this service: a text, or a list of texts (RFC 7519 section 4.1.3)."""
    found = next((claims[name] for name in names if name in claims), None)
    listed = [found] if isinstance(found, str) else found
    if not isinstance(listed, list | tuple) or not all(isinstance(one, str) for one in listed):
        return False
    return any(one in audience for one in listed)


def is_access_token(claims: Mapping[str, Any], profile: ClaimProfile) -> bool:
    """Tell an access token from what else an issuer signs, as far as its claims show."""
    return (
        profile.foreign.isdisjoint(claims)
        and all(claims.get(name) == value for name, value in profile.fixed)
        and (not profile.needs or any(name in claims for name in profile.needs))
    )
