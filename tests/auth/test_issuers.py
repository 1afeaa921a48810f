"""Issuers by their settings: another address than the public name, options of each, tokens without a subject."""

import json
import logging
from typing import Any

import pytest
from quart import Quart

from ligand_async.auth import trusted_issuers
from ligand_async.auth.tokens import PROFILES, TrustedIssuer
from ligand_async.settings import IssuerOptions, Settings, SettingsError
from ligand_async.upstream import ClientCredentials, ServiceClient
from tests.auth.issuing import (
    AUDIENCE,
    CLIENT,
    KEYS,
    METADATA,
    OAUTH_METADATA,
    SECRET,
    Answer,
    Asked,
    IntrospectingIssuer,
    Issuer,
    to_json,
)
from tests.auth.verifying import bearer, make_service, settings_for
from tests.services import NEVER_OPENED, running

PUBLIC = "http://localhost:9/realms/acme"  # where nobody listens
STRICT = {
    "database_url": "postgresql://u:p@h/d",
    "secret_key": "0123456789abcdefghijklmnopqrstuvwxyz",
    "service_public_url": "https://shop.example",
    "service_private_url": "http://shop:8000",
}


class Keycloak(IntrospectingIssuer):
    """An issuer that its users reach as `PUBLIC`, and services at its own port.

    Args:
        named: What its metadata has as `issuer`.
        endpoints: The address in its endpoints.
        path: The path of the realm for services.
    """

    def __init__(self, *, named: str = PUBLIC, endpoints: str | None = None, path: str = "/realms/acme") -> None:
        super().__init__()
        self.path = path
        self.named = named
        self.endpoints = endpoints

    def claims(self) -> dict[str, Any]:
        return {**super().claims(), "iss": PUBLIC}

    def metadata(self) -> dict[str, Any]:
        base = self.endpoints or self.url
        return {
            "issuer": self.named.replace("{own}", self.url),
            "jwks_uri": f"{base}/certs",
            "token_endpoint": f"{base}/token",
            "introspection_endpoint": f"{base}/introspect",
        }

    def respond(self, asked: Asked) -> Answer:
        paths = {f"{self.path}/certs": KEYS, f"{self.path}/introspect": "/introspect"}
        if asked.path == f"{self.path}/token":
            return Answer(body=to_json({"access_token": "a-token", "token_type": "Bearer", "expires_in": 300}))
        if asked.path == "/items":
            return Answer(body=b"[]")
        return super().respond(Asked(asked.method, paths.get(asked.path, asked.path), asked.headers, asked.body))


def app_for(issuer: Issuer, **settings: Any) -> Quart:
    """Make a service that trusts an issuer by its public name, and reaches it at its private address."""
    return make_service(NEVER_OPENED, issuer, **{"oidc_issuer": PUBLIC, "oidc_private_url": issuer.url, **settings})


async def status(app: Quart, *tokens: str, path: str = "/who") -> list[int]:
    """Return the status that each token gets."""
    async with running(app, tables=False) as client:
        return [(await client.get(path, headers=bearer(token))).status_code for token in tokens]


@pytest.mark.parametrize(
    "issuer",
    [
        Keycloak(),  # with `hostname` and `hostname-backchannel-dynamic`
        Keycloak(endpoints=PUBLIC),  # with `hostname` alone: the endpoints cannot be reached as they stand there
        Keycloak(named="{own}"),  # without `hostname`: it takes the name from the request
        Keycloak(endpoints=PUBLIC, path="/auth/realms/acme"),  # below a path of its own
    ],
    ids=["backchannel", "public endpoints", "own name", "another path"],
)
async def test_metadata_and_keys_come_from_the_private_address(issuer: Keycloak) -> None:
    """Tokens name `PUBLIC`, which the service cannot reach; another name in `iss` is still refused."""
    with issuer:
        good, private = issuer.mint(), issuer.mint(iss=issuer.url)
        assert await status(app_for(issuer), good, private) == [200, 401]
        assert issuer.asked[f"{issuer.path}{METADATA}"] == 1


async def test_opaque_tokens_are_introspected_at_the_private_address() -> None:
    """The endpoint of the metadata is called there too."""
    with Keycloak(endpoints=PUBLIC) as issuer:
        app = app_for(issuer, **{**settings_for(issuer), "oidc_issuer": PUBLIC})
        assert await status(app, issuer.issue(iss=PUBLIC), "unknown") == [200, 401]


async def test_this_services_token_comes_from_the_private_address() -> None:
    """Credentials that the settings make call the token endpoint there."""
    with Keycloak(endpoints=PUBLIC) as issuer:
        settings = Settings.load(
            "testing", **{**settings_for(issuer), "oidc_issuer": PUBLIC, "oidc_private_url": issuer.url}
        )
        credentials = ClientCredentials.from_settings(settings)
        async with ServiceClient(issuer.origin, credentials=credentials) as client:
            response = await client.get("/items")

        assert (response.status_code, issuer.requests[-1].headers["Authorization"]) == (200, "Bearer a-token")


@pytest.mark.parametrize("named", ["https://evil.example/realms/acme", "http://localhost:9/realms/other", ""])
async def test_metadata_of_another_issuer_is_refused_there_too(named: str, caplog: pytest.LogCaptureFixture) -> None:
    """The private address does not make another issuer this one, and the log says what to correct."""
    with Keycloak(named=named) as issuer:
        assert await status(app_for(issuer), issuer.mint()) == [503]

    assert "oidc_private_url" in caplog.text


async def test_without_a_private_address_the_log_says_what_is_missing(caplog: pytest.LogCaptureFixture) -> None:
    """Somebody wrote the private address as the issuer: no metadata of that name is there."""
    with Keycloak() as issuer:
        app = app_for(issuer, oidc_issuer=issuer.url, oidc_private_url=None)
        assert await status(app, issuer.mint(iss=issuer.url)) == [503]

    assert f"but of {PUBLIC}; oidc_issuer is the `iss` of its tokens, and oidc_private_url" in caplog.text


async def test_each_issuer_has_its_own_options() -> None:
    """Audience, profile, names of claims and address of one issuer do not count for another."""
    with Issuer() as one, Issuer() as two:
        options = [
            {"issuer": one.url, "audience": ["one"]},
            {"issuer": two.url, "audience": "two", "profile": "keycloak", "client_subject": True},
        ]
        app = make_service(
            NEVER_OPENED,
            one,
            oidc_issuer=[one.url, two.url],
            oidc_issuer_options=options,
            oidc_audience=(),
            oidc_roles_claim="groups",
        )
        realm: dict[str, Any] = {
            "header": {"typ": "JWT"},
            "typ": "Bearer",
            "realm_access": {"roles": ["admin"]},
            "groups": ["admin"],
        }
        plain: dict[str, Any] = {"header": {"typ": "JWT"}, "typ": "Bearer", "groups": ["admin"]}
        tokens = [
            one.mint(aud="one", groups=["admin"]),
            one.mint(aud="two", groups=["admin"]),
            one.mint(aud="one", realm_access={"roles": ["admin"]}),
            one.mint(aud="one", **realm),
            one.mint(aud="one", groups=["admin"], without=["sub"]),
            two.mint(aud="two", **realm),
            two.mint(aud="one", **realm),
            two.mint(aud="two", **plain),
            two.mint(aud="two", **realm, without=["sub"]),
        ]
        assert await status(app, *tokens, path="/admin") == [200, 401, 403, 401, 401, 200, 401, 403, 200]


def test_options_are_read_from_a_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    """As JSON; what an issuer does not have is taken from the shared settings."""
    written = [{"issuer": "https://two.example", "profile": "entra", "private_url": "https://inside.example/"}]
    monkeypatch.setenv("LIGAND_OIDC_ISSUER_OPTIONS", json.dumps(written))
    settings = Settings.load(
        "local",
        secret_key=STRICT["secret_key"],
        oidc_issuer=["https://one.example", "https://two.example"],
        oidc_audience="shop",
        oidc_profile="okta",
        oidc_scopes_claim="scopes",
    )
    one, two = trusted_issuers(settings)

    assert settings.oidc_issuer_options == (
        IssuerOptions(issuer="https://two.example", profile="entra", private_url="https://inside.example"),
    )
    assert (one.profile.name, one.profile.scopes, one.private_url) == ("okta", ("scopes",), None)
    assert (two.profile.name, two.profile.scopes, two.private_url) == ("entra", ("scp",), "https://inside.example")
    assert (one.audience, two.audience) == (("shop",), ("shop",))


ONE = {"oidc_issuer": "https://one.example", "oidc_audience": "shop"}


@pytest.mark.parametrize(
    ("settings", "environment", "key", "words"),
    [
        ({"oidc_issuer_options": [{"issuer": "https://two.example"}]}, "testing", "oidc_issuer_options", "exactly"),
        ({"oidc_issuer_options": [{"issuer": "https://one.example/"}]}, "testing", "oidc_issuer_options", "exactly"),
        (
            {"oidc_issuer_options": [{"issuer": "https://one.example"}] * 2},
            "testing",
            "oidc_issuer_options",
            "each issuer once",
        ),
        (
            {"oidc_issuer_options": [{"issuer": "https://one.example", "audiences": ["x"]}]},
            "testing",
            "oidc_issuer_options",
            "not valid in item 1",
        ),
        (
            {"oidc_issuer_options": [{"issuer": "https://one.example", "private_url": "http://inside"}]},
            "prod",
            "oidc_issuer_options",
            "plain http",
        ),
        ({"oidc_private_url": "http://keycloak:8080"}, "prod", "oidc_private_url", "plain http"),
        (
            {"oidc_private_url": "https://inside", "oidc_issuer": ["https://one.example", "https://two.example"]},
            "testing",
            "oidc_private_url",
            "there are several",
        ),
        (
            {"oidc_private_url": "https://inside", "oidc_issuer": ()},
            "testing",
            "oidc_private_url",
            "LIGAND_OIDC_ISSUER is not set",
        ),
        (
            {
                "oidc_audience": (),
                "oidc_issuer": ["https://one.example", "https://two.example"],
                "oidc_issuer_options": [{"issuer": "https://one.example", "audience": ["shop"]}],
            },
            "testing",
            "oidc_audience",
            "is not set",
        ),
    ],
)
def test_options_that_cannot_be_meant_are_refused(
    settings: dict[str, Any], environment: str, key: str, words: str
) -> None:
    """At start, with the setting and what to do."""
    strict = STRICT if environment == "prod" else {}
    with pytest.raises(SettingsError) as caught:
        Settings.load(environment, **{**strict, **ONE, **settings})

    assert [mistake.key for mistake in caught.value.mistakes] == [key]
    assert words in str(caught.value)


METADATA_ADDRESSES = [
    ("https://id.example/realms/a/.well-known/openid-configuration", METADATA),
    ("https://id.example/.well-known/openid-configuration/", METADATA),
    ("https://id.example/.well-known/oauth-authorization-server/realms/a", OAUTH_METADATA),
    ("https://id.example/a/.well-known/oauth-authorization-server", OAUTH_METADATA),
    ("https://id.example/.well-known/jwks.json", "/.well-known and what follows"),
    ("https://id.example/a/.Well-Known/OpenID-Configuration", "/.well-known and what follows"),
    ("https://id.example/a/%2Ewell-known/openid-configuration", "/.well-known and what follows"),
]


@pytest.mark.parametrize(("address", "surplus"), METADATA_ADDRESSES)
@pytest.mark.parametrize("key", ["oidc_issuer", "oidc_private_url"])
def test_the_address_of_metadata_is_not_an_issuer(key: str, address: str, surplus: str) -> None:
    """The app does not start, and the error says what to write without repeating what was written."""
    with pytest.raises(SettingsError) as caught:
        Settings.load("testing", **{**ONE, key: address})

    assert f"write it without {surplus}" in str(caught.value)
    assert "id.example" not in str(caught.value)


@pytest.mark.parametrize(("address", "surplus"), METADATA_ADDRESSES)
def test_nor_is_it_where_code_names_one(address: str, surplus: str) -> None:
    """A verifier and credentials of a service's own are refused in the same way."""
    with pytest.raises(ValueError, match="leave out") as caught:
        TrustedIssuer(issuer=address, audience=(AUDIENCE,), profile=PROFILES["generic"])
    assert surplus in str(caught.value)
    with pytest.raises(ValueError, match="leave out"):
        ClientCredentials(CLIENT, SECRET, issuer=address)


def test_an_issuer_may_look_like_it() -> None:
    """Only the segment itself makes it the address of metadata."""
    for issuer in ("https://id.example/well-known", "https://well-known.example", "https://id.example/.well-knowns"):
        assert Settings.load("testing", **{**ONE, "oidc_issuer": issuer}).oidc_issuer == (issuer,)


SUBJECTLESS = [
    ({"client_id": "reports"}, "reports"),
    ({"azp": "reports", "client_id": ...}, "reports"),
    ({"appid": "reports", "client_id": ...}, "reports"),
    ({"client_id": ...}, None),
    ({"client_id": ""}, None),
    ({"client_id": 5}, None),
    ({"client_id": "a\0b"}, None),
    ({"sub": ""}, None),
    ({"sub": None}, None),
    ({"sub": 5}, None),
]


@pytest.mark.parametrize(("claims", "subject"), SUBJECTLESS)
@pytest.mark.parametrize("tokens", ["jwt", "opaque"])
async def test_a_token_without_subject_is_its_clients_by_setting(
    tokens: str, claims: dict[str, Any], subject: str | None
) -> None:
    """Signed or introspected: without the setting it is a 401; a `sub` that is there must be valid in any case."""
    with IntrospectingIssuer() as issuer:
        left_out = [name for name, value in {"sub": ..., **claims}.items() if value is ...]
        given = {name: value for name, value in claims.items() if value is not ...}
        token = issuer.mint(without=left_out, **given) if tokens == "jwt" else issuer.issue(**{"sub": ..., **claims})
        kept = settings_for(issuer, tokens)
        async with running(make_service(NEVER_OPENED, issuer, **kept), tables=False) as client:
            refused = await client.get("/who", headers=bearer(token))
        app = make_service(NEVER_OPENED, issuer, **kept, oidc_client_subject=True)
        async with running(app, tables=False) as client:
            taken = await client.get("/who", headers=bearer(token))

        assert refused.status_code == 401
        # An introspection response may say null for what it does not have.
        is_taken = subject is not None or (tokens == "opaque" and claims == {"sub": None})
        assert taken.status_code == (200 if is_taken else 401)
        if subject is not None:
            assert await taken.get_json() == {"subject": subject}


@pytest.mark.parametrize("tokens", ["jwt", "opaque"])
@pytest.mark.parametrize(
    ("cnf", "status"),
    [({"jkt": "x"}, 200), ({"x5t#S256": "x"}, 200), ({}, 401), ("x", 401), ([], 401)],
    ids=repr,
)
async def test_a_proxy_may_check_who_holds_the_key(tokens: str, cnf: Any, status: int) -> None:
    """Row 132: tokens bound to a key are refused, unless a setting says that the proxy in front has checked them."""
    with IntrospectingIssuer() as issuer:
        token = issuer.mint(cnf=cnf) if tokens == "jwt" else issuer.issue(cnf=cnf)
        kept = settings_for(issuer, tokens)
        proxy = {"oidc_key_bound_tokens": "proxy", "trusted_proxies": ("1",)}
        statuses = []
        for more in ({}, proxy):
            async with running(make_service(NEVER_OPENED, issuer, **kept, **more), tables=False) as client:
                statuses.append((await client.get("/who", headers=bearer(token))).status_code)

    assert statuses == [401, status]


async def test_a_token_with_subject_is_that_subjects(caplog: pytest.LogCaptureFixture) -> None:
    """With the setting, too."""
    caplog.set_level(logging.INFO)
    with Issuer() as issuer:
        app = make_service(NEVER_OPENED, issuer, oidc_client_subject=True)
        async with running(app, tables=False) as client:
            answer = await client.get("/who", headers=bearer(issuer.mint(client_id="reports")))

    assert await answer.get_json() == {"subject": "ada"}
