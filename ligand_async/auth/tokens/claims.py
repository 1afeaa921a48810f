"""The claims of tokens: their checks (RFC 7519 section 4.1, RFC 9068 section 4), and the profiles of issuers."""

import math
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any

from ligand_async.auth.errors import InvalidToken
from ligand_async.principal import Principal

_ACCESS_TOKEN = ("at+jwt", "application/at+jwt")  # RFC 9068 section 2.1
# Claims that only ID tokens and logout tokens have (OpenID Connect Core 1.0 section 2, Back-Channel Logout 1.0).
_ID_TOKEN_CLAIMS = frozenset({"nonce", "at_hash", "c_hash", "events"})
_CLIENT = "{client}"
_CLIENT_CLAIMS = ("azp", "client_id", "cid", "appid")  # of OpenID Connect, RFC 9068, Okta and Entra


@dataclass(frozen=True, slots=True)
class ClaimProfile:
    """The shape of the access tokens of one kind of issuer.

    The name of a claim may contain dots, and a dot may also lead into an object: `realm_access.roles`.

    Attributes:
        name: The name in settings.
        roles: The claims with roles, lists of strings. `{client}` stands for the service's client identifiers.
        scopes: The claims with scopes, strings separated by spaces or lists of strings.
        token_types: The values of `typ` in the header, in lower case; None if it may be missing.
        audience_claims: The claims with the audience; the first one in a token decides.
        needs: Claims of which an access token has at least one.
        fixed: Claims with the same value in every access token.
        foreign: Claims that only tokens of other kinds have, such as ID tokens.
    """

    name: str
    roles: tuple[str, ...] = ()
    scopes: tuple[str, ...] = ("scope",)
    token_types: tuple[str | None, ...] = ("jwt", *_ACCESS_TOKEN)
    audience_claims: tuple[str, ...] = ("aud",)
    needs: tuple[str, ...] = ()
    fixed: tuple[tuple[str, str], ...] = ()
    foreign: frozenset[str] = _ID_TOKEN_CLAIMS


PROFILES: Mapping[str, ClaimProfile] = MappingProxyType(
    {
        profile.name: profile
        for profile in (
            ClaimProfile("generic", roles=("roles",), token_types=_ACCESS_TOKEN, foreign=frozenset()),
            # Older ones repeat the nonce in access tokens; the payload's own `typ` tells ID tokens.
            ClaimProfile(
                "keycloak",
                roles=("realm_access.roles", f"resource_access.{_CLIENT}.roles"),
                fixed=(("typ", "Bearer"),),
                foreign=_ID_TOKEN_CLAIMS - {"nonce"},
            ),
            # Roles stand in a claim of one's own, whose name is a URL: the setting `oidc_roles_claim`.
            ClaimProfile("auth0", scopes=("permissions", "scope")),
            ClaimProfile("entra", roles=("roles",), scopes=("scp",), needs=("azp", "appid")),
            ClaimProfile(
                "cognito",
                roles=("cognito:groups",),
                token_types=(None, "jwt", *_ACCESS_TOKEN),
                audience_claims=("aud", "client_id"),
                fixed=(("token_use", "access"),),
            ),
            ClaimProfile(
                "okta",
                roles=("groups",),
                scopes=("scp",),
                token_types=(None, "jwt", "application/okta-internal-at+jwt", *_ACCESS_TOKEN),
                needs=("cid",),
            ),
        )
    }
)


def adapt_profile(
    profile: ClaimProfile,
    *,
    clients: Sequence[str] = (),
    roles_claim: str | None = None,
    scopes_claim: str | None = None,
) -> ClaimProfile:
    """Return a profile as one service uses it.

    Args:
        profile: One of `PROFILES`.
        clients: The client identifiers of this service.
        roles_claim: The claim with the roles, instead of the profile's.
        scopes_claim: The claim with the scopes, instead of the profile's.
    """
    roles = (roles_claim,) if roles_claim else profile.roles
    named = [path.replace(_CLIENT, client) for path in roles for client in (clients if _CLIENT in path else ("",))]
    scopes = (scopes_claim,) if scopes_claim else profile.scopes
    return replace(profile, roles=tuple(dict.fromkeys(named)), scopes=scopes)


def principal_of(
    claims: Mapping[str, Any],
    profile: ClaimProfile,
    *,
    issuer: str,
    client_id: str | None = None,
    client_subject: bool = False,
) -> Principal:
    """Return the principal of verified claims.

    Args:
        claims: The claims of the token or of its introspection.
        profile: The profile of the issuer.
        issuer: The issuer.
        client_id: The client that holds the token, if the claims do not have it.
        client_subject: Whether the client is the subject if there is no `sub`.

    Raises:
        InvalidToken: There is no subject, or a claim cannot be read.
    """
    client_id = next((value for name in _CLIENT_CLAIMS if (value := _text_in(claims, name))), client_id)
    subject = _text_in(claims, "sub")
    if subject is None and client_subject:
        subject = client_id
    if subject is None:
        raise InvalidToken("sub")
    expires = _time_in(claims, "exp")
    return Principal(
        subject=subject,
        issuer=issuer,
        roles=frozenset(word for path in profile.roles for word in _words_in(claims, path, "roles")),
        scopes=frozenset(word for path in profile.scopes for word in _words_in(claims, path, "scopes", separator=" ")),
        claims=_freeze(claims),
        client_id=client_id,
        expires_at=None if expires is None else datetime.fromtimestamp(expires, UTC),
        token_id=_text_in(claims, "jti"),
    )


def check_claims(
    claims: Mapping[str, Any],
    profile: ClaimProfile,
    *,
    issuer: str,
    audience: Collection[str],
    now: float,
    leeway: float = 0.0,
    takes_bound: bool = False,
) -> None:
    """Check that a token is an access token for this service, and valid now.

    Args:
        claims: The payload.
        profile: The profile of the issuer.
        issuer: The required value of `iss`.
        audience: The names of this service, of which the token must have one.
        now: Seconds since 1970.
        leeway: Seconds by which the issuer's clock may differ.
        takes_bound: Whether a proxy has checked that the caller holds the key that the token is bound to, if any.

    Raises:
        InvalidToken: It is not.
    """
    if claims.get("iss") != issuer:
        raise InvalidToken("issuer")
    if not _names_one(claims, profile.audience_claims, audience):
        raise InvalidToken("audience")
    expires = _time_in(claims, "exp")
    if expires is None:
        raise InvalidToken("exp")
    if now >= expires + leeway:
        raise InvalidToken("expired")
    for name in ("nbf", "iat"):
        begins = _time_in(claims, name)
        if begins is not None and begins > now + leeway:
            raise InvalidToken("not_yet")
    if not _is_access_token(claims, profile):
        raise InvalidToken("not_an_access_token")
    # RFC 7800: only who proves to have the key may use it (RFC 8705, RFC 9449).
    if "cnf" in claims and not (takes_bound and isinstance(claims["cnf"], Mapping) and claims["cnf"]):
        raise InvalidToken("key_bound")


def _names_one(claims: Mapping[str, Any], names: Iterable[str], audience: Collection[str]) -> bool:
    # The audience is a string or a list of strings (RFC 7519 section 4.1.3).
    found = next((claims[name] for name in names if name in claims), None)
    listed = [found] if isinstance(found, str) else found
    if not isinstance(listed, list | tuple) or not all(isinstance(one, str) for one in listed):
        return False
    return any(one in audience for one in listed)


def _is_access_token(claims: Mapping[str, Any], profile: ClaimProfile) -> bool:
    """Return whether the claims are those of an access token, and not of another token that the issuer signs."""
    return (
        profile.foreign.isdisjoint(claims)
        and all(claims.get(name) == value for name, value in profile.fixed)
        and (not profile.needs or any(name in claims for name in profile.needs))
    )


_MAX_TEXT = 255
_LAST_SECOND = 253_402_300_799  # of the year 9999, the last that `datetime` knows


def _text_in(claims: Mapping[str, Any], name: str) -> str | None:
    """Return a claim that is a name, or None if it is missing.

    Raises:
        InvalidToken: It is not a string, or it is empty, too long or not printable.
    """
    if name not in claims:
        return None
    value = claims[name]
    if not isinstance(value, str) or not 0 < len(value) <= _MAX_TEXT or not value.isprintable():
        raise InvalidToken(name)
    return value


def _time_in(claims: Mapping[str, Any], name: str) -> float | None:
    """Return a claim that is a time, or None if it is missing.

    Raises:
        InvalidToken: It is not a number of seconds that `datetime` can represent.
    """
    if name not in claims:
        return None
    value = claims[name]
    # True is an int too, and nan compares false.
    if type(value) not in (int, float) or not 0 <= value <= _LAST_SECOND:
        raise InvalidToken(name)
    return float(value)


def find_claim(claims: Mapping[str, Any], path: str) -> Any:
    """Return the claim of that name, or the claim inside an object that the name leads to, or None.

    Raises:
        TypeError: The name leads into a claim that is not an object.
    """
    if path in claims:
        return claims[path]
    for index in [place for place, character in enumerate(path) if character == "."][::-1]:
        outer = claims.get(path[:index])
        if outer is None:
            continue
        if not isinstance(outer, Mapping):
            raise TypeError(path[:index])
        found = find_claim(outer, path[index + 1 :])
        if found is not None:
            return found
    return None


def _words_in(claims: Mapping[str, Any], path: str, reason: str, *, separator: str | None = None) -> Iterator[str]:
    """Yield the texts of a claim: of a list, or of one text, which may hold several with a separator between them.

    Raises:
        InvalidToken: It is something else. Left out, it would meet a requirement such as `~role("suspended")`.
    """
    try:
        value = find_claim(claims, path)
    except TypeError:
        raise InvalidToken(reason) from None
    if isinstance(value, str):
        value = value.split(separator) if separator else [value]
    if value is None:
        return
    if not isinstance(value, list | tuple) or not all(isinstance(word, str) for word in value):
        raise InvalidToken(reason)
    yield from filter(None, value)


def _freeze(value: Any) -> Any:
    """Return an immutable copy of a JSON value, as one principal serves many requests.

    Raises:
        InvalidToken: A number in it is not finite.
    """
    if isinstance(value, Mapping):
        return MappingProxyType({name: _freeze(item) for name, item in value.items()})
    if isinstance(value, list | tuple):
        return tuple(map(_freeze, value))
    if isinstance(value, float) and not math.isfinite(value):
        raise InvalidToken("number")
    return value
