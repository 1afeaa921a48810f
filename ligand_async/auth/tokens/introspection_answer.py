"""What an issuer says about a token: whether it is good here and now, and whom it speaks for (RFC 7662 section 2.2)."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ligand_async.auth.refusals import InvalidToken
from ligand_async.auth.tokens.claims import check_claims
from ligand_async.auth.tokens.profiles import ClaimProfile, principal_of
from ligand_async.auth.tokens.verifier import TrustedIssuer
from ligand_async.principal import Principal

ACCESS = frozenset({"access_token", "access"})  # where `token_use` tells refresh tokens, which are active too


def read_answer(answer: Mapping[str, Any], issuer: TrustedIssuer, *, now: float) -> Principal:
    """Return whom a token speaks for.

    `aud` must name this service, though RFC 7662 lets an issuer leave it out: without it any token of the issuer would
    do, also one made for somebody else. `iss` may be missing, as it is known who was asked, and `exp`, as the issuer
    knows it. A token of the client credentials grant has no user: its `client_id` is the subject where there is no
    `sub`.

    Args:
        answer: The issuer's, with `active`.
        issuer: Who was asked.
        now: Seconds since 1970.

    Raises:
        InvalidToken: It is not to be trusted.
    """
    if answer["active"] is not True:
        raise InvalidToken("inactive")
    if not is_bearer(answer):
        raise InvalidToken("token_type")
    claims = {name: value for name, value in answer.items() if name != "active" and value is not None}
    claims.setdefault("iss", issuer.issuer)
    if "client_id" in claims:
        claims.setdefault("sub", claims["client_id"])
    profile = profile_of(claims, issuer.profile)
    check_claims(
        {"exp": now + 1, **claims},
        profile,
        issuer=issuer.issuer,
        audience=issuer.audience,
        now=now,
        leeway=issuer.leeway,
    )
    return principal_of(claims, profile, issuer=issuer.issuer)


def is_bearer(answer: Mapping[str, Any]) -> bool:
    """Tell whether whoever holds the token may use it, and not only with a key (RFC 9449), or to get another."""
    kind, use = answer.get("token_type"), answer.get("token_use")
    is_plain = kind is None or (isinstance(kind, str) and kind.lower() == "bearer")
    return is_plain and (use is None or (isinstance(use, str) and use in ACCESS))


def profile_of(claims: Mapping[str, Any], profile: ClaimProfile) -> ClaimProfile:
    """Return the profile of an issuer's answers.

    They have `scope` whatever its tokens have (section 2.2), and need not repeat what tells the kinds of its tokens.
    """
    return replace(
        profile,
        scopes=tuple(dict.fromkeys((*profile.scopes, "scope"))),
        needs=(),
        fixed=tuple((name, value) for name, value in profile.fixed if name in claims),
    )
