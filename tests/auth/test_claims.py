"""Each profile reads the tokens of its issuers, in the shape that their documentation shows."""

import time
from typing import Any

import pytest

from ligand_async.auth import InvalidToken, trusted_issuers
from ligand_async.auth.tokens import PROFILES, ClaimProfile
from ligand_async.auth.tokens.claims import adapt_profile, find_claim, principal_of
from ligand_async.principal import Principal
from ligand_async.settings import Settings
from tests.auth.issuing import AUDIENCE, Issuer, SigningKey, rsa_key
from tests.auth.verifying import trust, verifying
from tests.servers import ROOT

RSA = SigningKey("RS256", "kid-1", key=rsa_key(2048))
USER = "7deb4dd0-f7f9-4b58-8a6f-1b2a1d0a7b55"


async def principal(
    profile: str, claims: dict[str, Any], header: dict[str, Any], *, path: str = "", **settings: Any
) -> Principal:
    """Return whom a token speaks for, verified as a service with such settings would."""
    with Issuer(path, keys=[RSA]) as issuer:
        chosen = Settings.load(
            "testing",
            oidc_issuer=issuer.url,
            oidc_audience=settings.pop("audience", AUDIENCE),
            oidc_profile=profile,
            **settings,
        )
        now = int(time.time())
        whole = {"iss": issuer.url, "iat": now, "exp": now + 300, **claims}
        token = issuer.mint(header={"typ": None, **header}, without=set(issuer.claims()) - set(whole), **whole)
        async with verifying(*trusted_issuers(chosen)) as verifier:
            return await verifier.verify(token)


async def test_keycloak() -> None:
    """Keycloak: realm roles, the roles of this service's own clients and no other's, scopes in a text."""
    found = await principal(
        "keycloak",
        {
            "jti": "onrtro:4d0f8a9e-96ee-4d06-9d2a-7d3b3f6a4a3c",
            "aud": ["petstore", "account"],
            "sub": USER,
            "typ": "Bearer",
            "azp": "web-app",
            "sid": "e6b2d9a2",
            "acr": "1",
            "allowed-origins": ["https://app.example"],
            "realm_access": {"roles": ["offline_access", "user"]},
            "resource_access": {
                "petstore": {"roles": ["pets-admin"]},
                "pets.api": {"roles": ["pets-own"]},
                "account": {"roles": ["manage-account"]},
            },
            "scope": "openid email profile",
            "email_verified": True,
            "preferred_username": "ada",
        },
        {"typ": "JWT"},
        path="/realms/acme",
        audience="petstore",
        oidc_client_id="pets.api",
    )

    assert found.subject == USER
    assert found.roles == {"offline_access", "user", "pets-admin", "pets-own"}
    assert found.scopes == {"openid", "email", "profile"}
    assert (found.client_id, found.token_id) == ("web-app", "onrtro:4d0f8a9e-96ee-4d06-9d2a-7d3b3f6a4a3c")


async def test_auth0() -> None:
    """Auth0: roles in a claim whose name is a URL, permissions and scopes."""
    found = await principal(
        "auth0",
        {
            "https://petstore.example/roles": ["admin"],
            "sub": "auth0|5f7c8ec7c33c6c004bbafe82",
            "aud": [AUDIENCE, "https://tenant.eu.auth0.com/userinfo"],
            "scope": "openid profile pets:read",
            "azp": "my_client_id",
            "permissions": ["pets:read", "pets:write"],
        },
        {"typ": "JWT"},
        path="/",
        oidc_roles_claim="https://petstore.example/roles",
    )

    assert found.subject == "auth0|5f7c8ec7c33c6c004bbafe82"
    assert found.roles == {"admin"}
    assert found.scopes == {"openid", "profile", "pets:read", "pets:write"}
    assert found.client_id == "my_client_id"


@pytest.mark.parametrize(
    "version",
    [
        {"ver": "2.0", "azp": "a1b2c3d4-app", "azpacr": "1"},
        {"ver": "1.0", "appid": "a1b2c3d4-app", "appidacr": "1"},
    ],
)
async def test_entra(version: dict[str, Any]) -> None:
    """Entra: app roles and delegated scopes, in tokens of both versions."""
    found = await principal(
        "entra",
        {
            "aud": "6e74172b-be56-4843-9ff4-e66a39bb12e3",
            "nbf": int(time.time()),
            "aio": "AXQAi/8IAAAA",
            "name": "Ada",
            "oid": "690222be-ff1a-4d56-abd1-7e4f7d38e474",
            "preferred_username": "ada@example.org",
            "rh": "I",
            "roles": ["Pets.Admin"],
            "scp": "access_as_user Pets.Read",
            "sub": "HKZpfaHyWadeOouYlitjrI-KffTm222X5rrV3xDqfKQ",
            "tid": "72f988bf-86f1-41af-91ab-2d7cd011db47",
            "uti": "fqiBqXLPj0eQa82S-IYFAA",
            **version,
        },
        {"typ": "JWT", "x5t": "i6lGk3FZzxRcUb2C3nEQ7syHJlY"},
        path="/72f988bf-86f1-41af-91ab-2d7cd011db47/v2.0",
        audience="6e74172b-be56-4843-9ff4-e66a39bb12e3",
    )

    assert found.roles == {"Pets.Admin"}
    assert found.scopes == {"access_as_user", "Pets.Read"}
    assert found.client_id == "a1b2c3d4-app"


async def test_cognito() -> None:
    """Cognito: groups for roles, the client for the audience, and no `typ` in the header."""
    found = await principal(
        "cognito",
        {
            "sub": USER,
            "device_key": "aaaa",
            "cognito:groups": ["admin"],
            "version": 2,
            "client_id": "1example23456789",
            "origin_jti": "aaaaaaaa",
            "event_id": "64f513be",
            "token_use": "access",
            "scope": "pets/read openid",
            "auth_time": int(time.time()),
            "jti": "bbbbbbbb",
            "username": "ada",
        },
        {},
        path="/eu-central-1_Example",
        audience="1example23456789",
    )

    assert found.roles == {"admin"}
    assert found.scopes == {"pets/read", "openid"}
    assert (found.client_id, found.token_id) == ("1example23456789", "bbbbbbbb")


async def test_cognito_audience_decides_where_it_is() -> None:
    """Cognito: a token that was asked for another resource is not for us, though our client asked for it."""
    claims = {"sub": USER, "token_use": "access", "client_id": "mine", "aud": "https://other.example"}
    with pytest.raises(InvalidToken) as caught:
        await principal("cognito", claims, {}, audience="mine")

    assert caught.value.reason == "audience"


async def test_okta() -> None:
    """Okta: groups for roles, scopes in a list, the client in `cid`."""
    found = await principal(
        "okta",
        {
            "ver": 1,
            "jti": "AT.0mP4JKAZX1iACIT4vbEDF7LpvDVjxypPMf0D7uX39RE",
            "aud": AUDIENCE,
            "sub": "ada@example.org",
            "cid": "nmdP1fcyvdVO11AL7ECm",
            "uid": "00ujmkLgagxeRrAg20g3",
            "scp": ["openid", "pets:read"],
            "groups": ["Everyone", "admin"],
            "auth_time": int(time.time()),
        },
        {},
        path="/oauth2/default",
    )

    assert found.roles == {"Everyone", "admin"}
    assert found.scopes == {"openid", "pets:read"}
    assert found.client_id == "nmdP1fcyvdVO11AL7ECm"


async def test_generic() -> None:
    """Generic: what RFC 9068 says: `at+jwt`, roles in a list, scopes in a text."""
    found = await principal(
        "generic",
        {
            "sub": USER,
            "aud": AUDIENCE,
            "client_id": "s6BhdRkqt3",
            "jti": "dbe39bf3a3ba4238a513f51d6e1691c4",
            "roles": ["user"],
            "scope": "openid reademail",
        },
        {"typ": "at+jwt"},
    )  # fmt: skip  (a token)

    assert (found.subject, found.client_id) == (USER, "s6BhdRkqt3")
    assert found.roles == {"user"}
    assert found.scopes == {"openid", "reademail"}


async def test_claims_by_settings() -> None:
    """The settings name claims of one's own, in any profile, and replace those of the profile."""
    claims = {
        "sub": USER,
        "aud": AUDIENCE,
        "roles": ["not-these"],
        "scope": "nor these",
        "https://petstore.example/data": {"app.roles": ["user"]},
        "permissions": {"granted": ["pets:read"]},
    }
    found = await principal(
        "generic",
        claims,
        {"typ": "at+jwt"},
        oidc_roles_claim="https://petstore.example/data.app.roles",
        oidc_scopes_claim="permissions.granted",
    )

    assert found.roles == {"user"}
    assert found.scopes == {"pets:read"}


@pytest.mark.parametrize("profile", PROFILES.values(), ids=lambda profile: profile.name)
async def test_tokens_of_one_kind_are_not_for_another(profile: ClaimProfile) -> None:
    """An ID token, as any issuer makes it, is refused by every profile, its audience being right or not."""
    with Issuer(keys=[RSA]) as issuer:
        token = issuer.mint(
            header={"typ": "JWT"},
            without=["client_id"],
            aud=AUDIENCE,
            nonce="n-0S6_WzA2Mj",
            at_hash="77QmUPtjPfzWtF2AnpK9RQ",
            token_use="id",
            typ="ID",
            azp=AUDIENCE,
        )
        async with verifying(trust(issuer, profile)) as verifier:
            with pytest.raises(InvalidToken):
                await verifier.verify(token)


def test_profiles_are_those_of_the_settings() -> None:
    """Every profile that a setting can name is there."""
    annotation = Settings.model_fields["oidc_profile"].annotation

    assert set(PROFILES) == set(getattr(annotation, "__args__", ()))


def test_clients_are_named_once() -> None:
    """`{client}` stands for each of the service's names; a profile without it stays as it is."""
    keycloak = adapt_profile(PROFILES["keycloak"], clients=("a", "b", "a"))

    assert keycloak.roles == ("realm_access.roles", "resource_access.a.roles", "resource_access.b.roles")
    assert adapt_profile(PROFILES["okta"], clients=("a", "b")) == PROFILES["okta"]


@pytest.mark.parametrize(
    ("claims", "path", "found"),
    [
        ({"roles": 1}, "roles", 1),
        ({"a": {"b": {"c": 1}}}, "a.b.c", 1),
        ({"a.b": {"c": 1}}, "a.b.c", 1),
        ({"a": {"b.c": 1}}, "a.b.c", 1),
        ({"a.b.c": 1, "a": {"b": {"c": 2}}}, "a.b.c", 1),
        ({"https://x.example/roles": 1}, "https://x.example/roles", 1),
        ({"https://x": {"example/roles": 2}, "https://x.example/roles": 1}, "https://x.example/roles", 1),
        ({"a.b": {}, "a": {"b": {"c": 1}}}, "a.b.c", 1),
        ({}, "a.b", None),
        ({"a": None}, "a.b", None),
        ({"": {"": 1}}, ".", 1),
    ],
)
def test_dots_lead_into_objects(claims: dict[str, Any], path: str, found: Any) -> None:
    """A claim of the very name is found first; else a dot leads into an object."""
    assert find_claim(claims, path) == found


@pytest.mark.parametrize("claims", [{"a": [{"b": 1}]}, {"a": "text"}, {"a": 5}, {"a": {"b": 5}}], ids=repr)
def test_dots_lead_into_nothing_else(claims: dict[str, Any]) -> None:
    """A claim of another type is not a missing one."""
    with pytest.raises(TypeError):
        find_claim(claims, "a.b.c")


def test_principal_cannot_be_changed() -> None:
    """One principal serves many requests: its claims are read only, all the way down."""
    ada = principal_of({"sub": "ada", "a": {"b": [1, {"c": 2}]}}, PROFILES["generic"], issuer="https://id.example")

    with pytest.raises(TypeError):
        ada.claims["sub"] = "root"  # type: ignore[index]  # that is the point
    with pytest.raises(TypeError):
        ada.claims["a"]["b"] = []
    assert ada.claims["a"]["b"] == (1, {"c": 2})


def test_introspection_may_know_less() -> None:
    """Claims without an end, an id or a client make a principal all the same; the client may be known otherwise."""
    ada = principal_of({"sub": "ada"}, PROFILES["generic"], issuer="https://id.example", client_id="web")

    assert (ada.expires_at, ada.token_id, ada.client_id) == (None, None, "web")


def test_end_is_in_utc() -> None:
    """`expires_at` is the exp claim, aware."""
    ada = principal_of({"sub": "ada", "exp": 1_800_000_000}, PROFILES["generic"], issuer="https://id.example")

    assert ada.expires_at is not None
    assert ada.expires_at.isoformat() == "2027-01-15T08:00:00+00:00"


@pytest.mark.parametrize(
    ("scopes", "words"),
    [
        ("a b", {"a", "b"}),
        ("  a  b ", {"a", "b"}),
        (["a", "b"], {"a", "b"}),
        (["a", "b", ""], {"a", "b"}),
        ("", set()),
        (" ", set()),
        ([""], set()),
        ([], set()),
        (None, set()),
    ],
)
def test_scopes_are_words(scopes: Any, words: set[str]) -> None:
    """Scopes are words of a text or of a list; nothing empty."""
    ada = principal_of({"sub": "ada", "scope": scopes}, PROFILES["generic"], issuer="https://id.example")

    assert ada.scopes == words


@pytest.mark.parametrize(
    ("roles", "found"),
    [("admin", {"admin"}), ("a b", {"a b"}), ("", set()), ([], set()), (None, set()), (["a", "", "b"], {"a", "b"})],
)
def test_one_text_is_one_role(roles: Any, found: set[str]) -> None:
    """Row 130: and not several, nor its letters."""
    ada = principal_of({"sub": "ada", "roles": roles}, PROFILES["generic"], issuer="https://id.example")

    assert ada.roles == found


UNREADABLE = [5, True, 1.5, {}, {"suspended": True}, [5], ["a", None], [["suspended"]], [{"name": "suspended"}]]


@pytest.mark.parametrize("value", UNREADABLE, ids=repr)
@pytest.mark.parametrize("name", ["roles", "scope"])
def test_roles_and_scopes_of_another_type_are_refused(name: str, value: Any) -> None:
    """Row 130: if they were left out, they would meet a requirement that a role is not there."""
    with pytest.raises(InvalidToken) as caught:
        principal_of({"sub": "ada", name: value}, PROFILES["generic"], issuer="https://id.example")

    assert caught.value.reason in ("roles", "scopes")


@pytest.mark.parametrize("outer", ["suspended", ["suspended"], 5, True])
def test_a_claim_that_should_be_an_object_is_one(outer: Any) -> None:
    """A path that leads into something else is not a missing claim."""
    claims = {"sub": "ada", "realm_access": outer}
    with pytest.raises(InvalidToken):
        principal_of(claims, PROFILES["keycloak"], issuer="https://id.example")


def test_profiles_are_documented() -> None:
    """The guide's table has each profile with the claims that it reads."""
    part = (ROOT / "docs" / "authentication.md").read_text().partition("## Profiles\n")[2].partition("\n## ")[0]
    rows = {row[1].strip(" `"): row for line in part.splitlines() if len(row := line.split("|")) > 5}

    for name, profile in PROFILES.items():
        for path in (*profile.roles, *profile.scopes, *profile.needs):
            assert f"`{path.replace('{client}', '<client>')}`" in "|".join(rows[name])
        assert ("none" in rows[name][4]) is (None in profile.token_types)
