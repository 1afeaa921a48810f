"""What an issuer says of an active token decides no less than the claims of a signed one."""

import time
from typing import Any

import pytest

from ligand_async.auth import InvalidToken
from ligand_async.auth.tokens.introspection import IntrospectionVerifier
from tests.auth.introspecting import IntrospectingIssuer, make_verifier, outcome
from tests.auth.issuing import AUDIENCE
from tests.auth.verifying import Clock

GOOD: dict[str, dict[str, Any]] = {
    "no issuer": {"iss": ...},
    "no end": {"exp": ...},
    "an audience among others": {"aud": ["https://other.example", AUDIENCE]},
    "a token type in lower case": {"token_type": "bearer"},
    "no token type": {"token_type": ...},
    "null for what is not known": {"sub": "ada", "nbf": None, "jti": None, "token_type": None},
    "an end just now": {"exp": lambda _: int(time.time()) - 5},
    "an end with a fraction": {"exp": lambda _: time.time() + 100.5},
}
BAD: dict[str, tuple[str, dict[str, Any]]] = {
    "another issuer": ("issuer", {"iss": "https://other.example"}),
    "an issuer with a slash more": ("issuer", {"iss": lambda issuer: issuer.url + "/"}),
    "an issuer that is a list": ("issuer", {"iss": lambda issuer: [issuer.url]}),
    "another audience": ("audience", {"aud": "https://other.example"}),
    "no audience": ("audience", {"aud": ...}),
    "an audience that is null": ("audience", {"aud": None}),
    "an empty audience": ("audience", {"aud": []}),
    "an audience that is a part of ours": ("audience", {"aud": AUDIENCE[:-1]}),
    "an audience of another type": ("audience", {"aud": [AUDIENCE, 5]}),
    "an end in the past": ("expired", {"exp": 1}),
    "an end that is a text": ("exp", {"exp": "4102444800"}),
    "an end that is true": ("exp", {"exp": True}),
    "an end beyond all calendars": ("exp", {"exp": 10**400}),
    "a beginning in the future": ("not_yet", {"nbf": 4102444800}),
    "a beginning that is a text": ("nbf", {"nbf": "0"}),
    "a token bound to a key": ("token_type", {"token_type": "DPoP"}),
    "a token type that is a list": ("token_type", {"token_type": ["Bearer"]}),
    "a refresh token": ("token_type", {"token_use": "refresh_token"}),
    "a use that is a list": ("token_type", {"token_use": ["access_token"]}),
    "a subject that is empty": ("sub", {"sub": ""}),
    "a subject with NUL": ("sub", {"sub": "ada\0"}),
    "a subject that is a number": ("sub", {"sub": 5}),
    "nobody": ("sub", {"sub": ..., "client_id": ...}),
    "a client that is a list": ("sub", {"sub": ..., "client_id": ["tests"]}),
}


def made(claims: dict[str, Any], issuer: IntrospectingIssuer) -> dict[str, Any]:
    """Return claims, those made that need the issuer or the time."""
    return {name: value(issuer) if callable(value) else value for name, value in claims.items()}


@pytest.mark.parametrize("claims", GOOD.values(), ids=GOOD.keys())
async def test_answer_is_good(
    issuer: IntrospectingIssuer, verifier: IntrospectionVerifier, claims: dict[str, Any]
) -> None:
    """What RFC 7662 leaves to the issuer is the issuer's."""
    assert await outcome(verifier, issuer.issue(**made(claims, issuer))) == "ada"


@pytest.mark.parametrize(("reason", "claims"), BAD.values(), ids=BAD.keys())
async def test_answer_is_not_good_enough(
    issuer: IntrospectingIssuer, verifier: IntrospectionVerifier, reason: str, claims: dict[str, Any]
) -> None:
    """An active token is refused where it is not for us, not for now, or not for whoever holds it."""
    assert await outcome(verifier, issuer.issue(**made(claims, issuer))) == reason


async def test_service_without_a_user_is_its_client(
    issuer: IntrospectingIssuer, verifier: IntrospectionVerifier
) -> None:
    """A token of the client credentials grant, for which some issuers name no subject, speaks for its client."""
    assert await outcome(verifier, issuer.issue(sub=..., client_id="reports")) == "reports"


@pytest.mark.parametrize(
    ("profile", "claims", "expected"),
    [
        ("keycloak", {"typ": "Bearer", "realm_access": {"roles": ["admin"]}}, ({"admin"}, {"pets:read", "pets:write"})),
        ("keycloak", {"typ": "Refresh"}, None),
        ("okta", {"groups": ["admin"]}, ({"admin"}, {"pets:read", "pets:write"})),
        ("auth0", {"permissions": ["pets:write"]}, (set(), {"pets:read", "pets:write"})),
    ],
)
async def test_profile_says_where_roles_are(
    issuer: IntrospectingIssuer, clock: Clock, profile: str, claims: dict[str, Any], expected: Any
) -> None:
    """Roles stand where the issuer's tokens have them, scopes also where RFC 7662 has them."""
    verifier = make_verifier(issuer, clock, profile=profile)
    token = issuer.issue(**claims)
    try:
        principal = await verifier.verify(token)
        assert (principal.roles, principal.scopes) == expected
    except InvalidToken:
        assert expected is None
    finally:
        await verifier.stop()
