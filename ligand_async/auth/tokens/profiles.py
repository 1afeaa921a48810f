"""Claim profiles: where the tokens of an issuer say what, as data."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any

from ligand_async.auth.refusals import InvalidToken
from ligand_async.auth.tokens.claim_values import find_claim, freeze, text_in, time_in, words_of
from ligand_async.principal import Principal

ACCESS_TOKEN = ("at+jwt", "application/at+jwt")  # RFC 9068 section 2.1
# Claims that only ID tokens and logout tokens have (OpenID Connect Core 1.0 section 2, Back-Channel Logout 1.0).
ID_TOKEN_CLAIMS = frozenset({"nonce", "at_hash", "c_hash", "events"})
CLIENT = "{client}"
CLIENT_CLAIMS = ("azp", "client_id", "cid", "appid")  # of OpenID Connect, RFC 9068, Okta and Entra


@dataclass(frozen=True, slots=True)
class ClaimProfile:
    """What the access tokens of one kind of issuer look like.

    A claim's name may hold dots, and a dot may also lead into an object: `realm_access.roles`.

    Attributes:
        name: What settings call it.
        roles: The claims with roles: lists of texts. `{client}` stands for the service's names.
        scopes: The claims with scopes: texts with spaces, or lists of texts.
        token_types: What `typ` in the header may be, in lower case; None where it may be missing.
        audience_claims: The claims that say for whom a token is; the first that is there decides.
        needs: Claims of which an access token has one.
        fixed: Claims that have one value in every access token.
        foreign: Claims that an access token never has, as ID tokens do.
    """

    name: str
    roles: tuple[str, ...] = ()
    scopes: tuple[str, ...] = ("scope",)
    token_types: tuple[str | None, ...] = ("jwt", *ACCESS_TOKEN)
    audience_claims: tuple[str, ...] = ("aud",)
    needs: tuple[str, ...] = ()
    fixed: tuple[tuple[str, str], ...] = ()
    foreign: frozenset[str] = ID_TOKEN_CLAIMS


PROFILES: Mapping[str, ClaimProfile] = MappingProxyType(
    {
        profile.name: profile
        for profile in (
            ClaimProfile("generic", roles=("roles",), token_types=ACCESS_TOKEN, foreign=frozenset()),
            # Older ones repeat the nonce in access tokens; the payload's own `typ` tells ID tokens.
            ClaimProfile(
                "keycloak",
                roles=("realm_access.roles", f"resource_access.{CLIENT}.roles"),
                fixed=(("typ", "Bearer"),),
                foreign=ID_TOKEN_CLAIMS - {"nonce"},
            ),
            # Roles stand in a claim of one's own, whose name is a URL: the setting `oidc_roles_claim`.
            ClaimProfile("auth0", scopes=("permissions", "scope")),
            ClaimProfile("entra", roles=("roles",), scopes=("scp",), needs=("azp", "appid")),
            ClaimProfile(
                "cognito",
                roles=("cognito:groups",),
                token_types=(None, "jwt", *ACCESS_TOKEN),
                audience_claims=("aud", "client_id"),
                fixed=(("token_use", "access"),),
            ),
            ClaimProfile(
                "okta",
                roles=("groups",),
                scopes=("scp",),
                token_types=(None, "jwt", "application/okta-internal-at+jwt", *ACCESS_TOKEN),
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
        clients: What the issuer calls this service.
        roles_claim: The claim with the roles, instead of the profile's.
        scopes_claim: The claim with the scopes, instead of the profile's.
    """
    roles = (roles_claim,) if roles_claim else profile.roles
    named = [path.replace(CLIENT, client) for path in roles for client in (clients if CLIENT in path else ("",))]
    scopes = (scopes_claim,) if scopes_claim else profile.scopes
    return replace(profile, roles=tuple(dict.fromkeys(named)), scopes=scopes)


def principal_of(
    claims: Mapping[str, Any], profile: ClaimProfile, *, issuer: str, client_id: str | None = None
) -> Principal:
    """Return whom verified claims speak for.

    Roles and scopes that are missing or of another type are none.

    Args:
        claims: What the token or its introspection says.
        profile: Where it says it.
        issuer: Who vouches for it.
        client_id: The application that holds the token, where the claims do not say.

    Raises:
        InvalidToken: There is no subject, or a claim cannot be read.
    """
    subject = text_in(claims, "sub")
    if subject is None:
        raise InvalidToken("sub")
    expires = time_in(claims, "exp")
    return Principal(
        subject=subject,
        issuer=issuer,
        roles=frozenset(word for path in profile.roles for word in words_of(find_claim(claims, path))),
        scopes=frozenset(
            word for path in profile.scopes for word in words_of(find_claim(claims, path), may_be_text=True)
        ),
        claims=freeze(claims),
        client_id=next((value for name in CLIENT_CLAIMS if (value := text_in(claims, name))), client_id),
        expires_at=None if expires is None else datetime.fromtimestamp(expires, UTC),
        token_id=text_in(claims, "jti"),
    )
