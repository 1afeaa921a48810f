"""The development issuer: where there is one, what it answers, and that its tokens are verified like any other's."""

import base64
import logging
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest
from joserfc import jwt
from joserfc.jwk import KeySet
from quart import Quart
from quart.typing import TestClientProtocol as Client

import ligand_async
from ligand_async import Principal, Settings, current_principal, operation, requires, role
from ligand_async.auth import BearerAuthenticator, DevelopmentIssuer, issuer_of
from ligand_async.auth.development import PATH, development_issuer_of
from ligand_async.auth.tokens import Fetcher, discover
from ligand_async.settings import ENVIRONMENTS
from ligand_async.testing import access_token, authorization
from tests.auth.issuing import claims_of
from tests.docs.documents import describe
from tests.services import NEVER_OPENED

KEY = "0123456789abcdefghijklmnopqrstuv"
STRICT = {
    "database_url": "postgresql://user:password@database.example/db",
    "service_public_url": "https://api.example",
    "service_private_url": "http://api.internal",
    "secret_key": KEY,
}
TOKEN = f"{PATH}/token"
GOOD = {"grant_type": "client_credentials", "client_id": "robot"}


def settings_of(environment: str, **more: Any) -> Settings:
    """Return settings with which a service starts, in any environment."""
    strict = STRICT if environment not in {"local", "testing"} else {"database_url": NEVER_OPENED, "secret_key": KEY}
    return Settings.load(environment, **{**strict, **more})


def make_app(environment: str = "testing", **more: Any) -> Quart:
    """Make a service with one route, for admins."""
    app = ligand_async.create_app(__name__, title="Shop", version="1", settings=settings_of(environment, **more))

    @app.get("/")
    @requires(role("admin"))
    @operation
    async def read_caller() -> dict[str, Any]:
        """Tell who calls."""
        principal = current_principal() or Principal("", "")
        return {
            "subject": principal.subject,
            "scopes": sorted(principal.scopes),
            "client_id": principal.client_id,
            "issuer": principal.issuer,
        }

    return app


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    """A client of the service."""
    app = make_app()
    async with app.test_app():
        yield app.test_client()


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_it_is_there_in_local_and_testing_only(environment: str) -> None:
    """Elsewhere there is no issuer, no route of one, and no way to make one."""
    settings = settings_of(environment)
    app = make_app(environment)
    exists = environment in {"local", "testing"}

    assert (development_issuer_of(settings) is not None) is exists
    assert (issuer_of(app) is not None) is exists
    assert (
        any("/_dev" in rule.rule or "authorization-server" in rule.rule for rule in app.url_map.iter_rules()) is exists
    )


@pytest.mark.parametrize("environment", ["prod", "stage", "cli"])
def test_it_cannot_be_made_elsewhere(environment: str) -> None:
    """Not even by hand."""
    with pytest.raises(ValueError, match=f"no development issuer in {environment}"):
        DevelopmentIssuer(settings_of(environment))


@pytest.mark.parametrize("environment", ["prod", "stage", "cli"])
async def test_its_tokens_are_worth_nothing_elsewhere(environment: str) -> None:
    """A production service that has the same secret key and address refuses a token made on a laptop."""
    more = {key: STRICT[key] for key in ("service_public_url", "service_private_url")}
    token = access_token(make_app("local", **more), roles=["admin"])
    app = make_app(environment, oidc_issuer="https://issuer.example", oidc_audience=more["service_public_url"])
    response = await app.test_client().get("/", headers={"Authorization": f"Bearer {token}"})

    assert response.status_code == 401


@pytest.mark.parametrize("environment", ["local", "testing"])
def test_a_real_issuer_takes_its_place(environment: str) -> None:
    """Where one is set, there is no other."""
    app = make_app(environment, oidc_issuer="https://issuer.example", oidc_audience="shop")

    assert issuer_of(app) is None
    with pytest.raises(RuntimeError, match="no development issuer"):
        access_token(app)


def test_an_authenticator_of_ones_own_takes_its_place() -> None:
    """A service that reads bearer tokens itself trusts no others."""

    class Nobody:
        async def verify(self, token: str) -> Principal:
            return Principal(token, "")

    app = ligand_async.create_app(
        __name__,
        title="S",
        version="1",
        settings=settings_of("testing"),
        authenticators=[BearerAuthenticator(Nobody())],
    )

    assert issuer_of(app) is None


async def test_its_tokens_open_what_they_should(client: Client) -> None:
    """A token with the role passes, one without it is a 403, and what they say reaches the handler."""
    good = await client.get("/", headers=authorization(client.app, roles=["admin"], scopes=["a", "b"], subject="grace"))
    poor = await client.get("/", headers=authorization(client.app, roles=["user"]))

    assert (good.status_code, poor.status_code) == (200, 403)
    assert await good.get_json() == {
        "subject": "grace",
        "scopes": ["a", "b"],
        "client_id": "development",
        "issuer": f"http://127.0.0.1:8000{PATH}",
    }


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost:8000", 200),
        ("127.0.0.1", 200),
        ("[::1]:8000", 200),
        ("LOCALHOST.", 200),
        ("evil.example", 421),
        ("localhost.evil.example", 421),
        ("petstore:8000", 421),
        ("0.0.0.0:8000", 421),
    ],
)
async def test_it_answers_on_this_machine_only(client: Client, host: str, status: int) -> None:
    """Row 139: a web page whose name leads to this machine gets no token, and no other document either."""
    answers = [await client.post(TOKEN, form=GOOD, headers={"Host": host})]
    answers += [
        await client.get(f"{PATH}/{name}", headers={"Host": host})
        for name in ("jwks", ".well-known/openid-configuration")
    ]

    assert [answer.status_code for answer in answers] == [status] * 3


@pytest.mark.parametrize(
    ("claims", "status"),
    [
        ({}, 200),
        ({"exp": 1}, 401),
        ({"aud": "another"}, 401),
        ({"iss": "https://issuer.example"}, 401),
        ({"sub": "a\0b"}, 401),
        ({"roles": "admin"}, 200),
        ({"roles": "administrator"}, 403),
        ({"roles": {"admin": True}}, 401),
        ({"cnf": {"jkt": "x"}}, 401),
        ({"cnf": None}, 401),
    ],
)
async def test_they_are_verified_like_any_other(client: Client, claims: dict[str, Any], status: int) -> None:
    """Correctly signed by the right key is not enough."""
    issuer = issuer_of(client.app)
    assert issuer is not None
    token = issuer._sign({**issuer._registered("ada", "development", 60), "roles": ["admin"], **claims})

    assert (await client.get("/", headers={"Authorization": f"Bearer {token}"})).status_code == status


async def test_another_key_opens_nothing(client: Client) -> None:
    """A token of a process with another secret key is refused."""
    other = DevelopmentIssuer(settings_of("testing", secret_key="t" * 40))
    token = other.issue(roles=["admin"])

    assert (await client.get("/", headers={"Authorization": f"Bearer {token}"})).status_code == 401


async def test_processes_with_one_secret_agree(client: Client) -> None:
    """The key pair follows from the secret key: workers and the command line need no other file."""
    other = DevelopmentIssuer(settings_of("testing"))
    token = other.issue(roles=["admin"])

    assert (await client.get("/", headers={"Authorization": f"Bearer {token}"})).status_code == 200


async def test_tokens_are_those_of_rfc_9068(client: Client) -> None:
    """Type, key, signature and claims, as section 2 of RFC 9068 has them; each has an id of its own."""
    issuer = issuer_of(client.app)
    assert issuer is not None
    keys = KeySet.import_key_set(await (await client.get(f"{PATH}/jwks")).get_json())
    one, two = issuer.issue(roles=["admin"], scopes=["a", "b"], expires=60), issuer.issue()
    token = jwt.decode(one, keys, algorithms=["ES256"])

    assert token.header == {"typ": "at+jwt", "alg": "ES256", "kid": keys.keys[0].thumbprint()}
    assert token.claims["exp"] - token.claims["iat"] == 60
    assert {name: token.claims[name] for name in ("iss", "sub", "aud", "client_id", "scope", "roles")} == {
        "iss": f"http://127.0.0.1:8000{PATH}",
        "sub": "ada",
        "aud": "http://127.0.0.1:8000",
        "client_id": "development",
        "scope": "a b",
        "roles": ["admin"],
    }
    assert token.claims["jti"] != claims_of(two)["jti"]
    assert {"scope", "roles"} & set(claims_of(two)) == set()


async def test_the_private_key_is_not_published(client: Client) -> None:
    """The key set holds what verifies and not what signs."""
    [key] = (await (await client.get(f"{PATH}/jwks")).get_json())["keys"]

    assert set(key) == {"kty", "crv", "x", "y", "kid", "alg", "use"}


async def test_one_text_is_no_list_of_roles(client: Client) -> None:
    """`roles="admin"` would be five roles of one letter each."""
    with pytest.raises(TypeError, match="must be lists of strings"):
        access_token(client.app, roles="admin")
    with pytest.raises(TypeError, match="must be lists of strings"):
        access_token(client.app, scopes="pets:write")


async def test_audiences_of_the_settings_are_named() -> None:
    """A token is for all that the service is called."""
    app = make_app(oidc_audience=("shop", "store"))
    async with app.test_app():
        headers = authorization(app, roles=["admin"])
        response = await app.test_client().get("/", headers=headers)

    assert response.status_code == 200
    assert claims_of(headers["Authorization"])["aud"] == ["shop", "store"]


@pytest.mark.parametrize(
    "more",
    [
        {"service_public_url": "https://api.example/mounted/here"},
        {"service_public_url": "http://LocalHost:80"},
        {"service_public_url": "http://[::1]:8000/a%20b"},
        {"trusted_hosts": ("api.example",)},
        {"oidc_algorithms": ("RS256",)},
        {"oidc_profile": "keycloak", "oidc_roles_claim": "groups"},
        {"rate_limit": "1/hour"},
    ],
    ids=str,
)
async def test_settings_for_elsewhere_do_not_break_it(more: dict[str, Any]) -> None:
    """Neither the service's address nor what is expected of a real issuer changes what it does."""
    app = make_app(**more)
    async with app.test_app():
        headers = {**authorization(app, roles=["admin"]), "Host": "api.example"}

        assert (await app.test_client().get("/", headers=headers)).status_code == 200


async def test_hooks_of_the_service_do_not_break_it() -> None:
    """A service that refuses requests without a tenant finds the keys all the same; its hooks see its own requests."""
    app = make_app()
    seen = []

    @app.before_request
    async def ask_for_a_tenant() -> None:
        from quart import abort, request

        seen.append(request.path)
        if "X-Tenant" not in request.headers:
            abort(400)

    async with app.test_app():
        headers = {**authorization(app, roles=["admin"]), "X-Tenant": "acme"}
        response = await app.test_client().get("/", headers=headers)

    assert (response.status_code, seen) == (200, ["/"])


async def test_a_client_finds_everything_by_its_issuer_alone() -> None:
    """Discovery, by OpenID Connect and by RFC 8414, leads a client that knows one URL to keys and tokens."""
    app = make_app()
    asgi: Any = app
    async with app.test_app():
        fetcher = Fetcher(timeout=2, allow_http=True, transport=httpx2.ASGITransport(asgi))
        metadata = await discover(fetcher, f"http://127.0.0.1:8000{PATH}")
        async with httpx2.AsyncClient(transport=httpx2.ASGITransport(asgi)) as client:
            granted = await client.post(metadata.token_endpoint or "", data={**GOOD, "roles": "admin"})
        other_place = f"http://127.0.0.1:8000/.well-known/oauth-authorization-server{PATH}"
        same = await fetcher.get_json(other_place)
        await fetcher.close()
        answer = await app.test_client().get("/", headers={"Authorization": f"Bearer {granted.json()['access_token']}"})

    assert (granted.status_code, answer.status_code) == (200, 200)
    assert metadata.jwks_uri == same["jwks_uri"] == f"http://127.0.0.1:8000{PATH}/jwks"


async def test_it_is_no_part_of_the_document() -> None:
    """Clients that are generated know nothing of it."""
    assert [path for path in describe(make_app())["paths"] if "_dev" in path or "well-known" in path] == []


@pytest.mark.parametrize(("environment", "level"), [("local", logging.WARNING), ("testing", logging.INFO)])
async def test_the_log_warns_at_start(environment: str, level: int, caplog: pytest.LogCaptureFixture) -> None:
    """Whoever runs it by mistake reads what it is, and which variable ends it; in tests it is no warning."""
    app = make_app(environment)
    with caplog.at_level(logging.INFO, "ligand_async.auth.development"):
        async with app.test_app():
            pass

    [record] = [record for record in caplog.records if record.name.startswith("ligand_async.auth.development")]
    assert record.levelno == level
    assert "LIGAND_OIDC_ISSUER" in record.getMessage()


@pytest.mark.parametrize(
    ("form", "claims"),
    [
        (GOOD, {"sub": "robot", "client_id": "robot", "roles": None, "scope": None}),
        ({**GOOD, "scope": "a b", "roles": "user,admin"}, {"roles": ["user", "admin"], "scope": "a b"}),
        ({**GOOD, "roles": "user admin"}, {"roles": ["user", "admin"]}),
        ({**GOOD, "client_secret": "any", "resource": "x"}, {"sub": "robot"}),
        ({**GOOD, "scope": ""}, {"scope": None}),
    ],
)
async def test_the_client_credentials_grant(client: Client, form: dict[str, str], claims: dict[str, Any]) -> None:
    """RFC 6749 section 4.4: any client gets what it asks for, and nobody keeps the answer."""
    response = await client.post(TOKEN, form=form)
    granted = await response.get_json()
    found = claims_of(granted["access_token"])

    assert (response.status_code, granted["token_type"], granted["expires_in"]) == (200, "Bearer", 3600)
    assert (response.headers["Cache-Control"], response.headers["Pragma"]) == ("no-store", "no-cache")
    assert {name: found.get(name) for name in claims} == claims
    assert granted.get("scope") == found.get("scope")


async def test_a_client_may_name_itself_in_the_header(client: Client) -> None:
    """RFC 6749 section 2.3.1: name and secret are percent-encoded before they are joined."""
    credentials = base64.b64encode(b"a%3Ab+c:secret").decode()
    response = await client.post(
        TOKEN, form={"grant_type": "client_credentials"}, headers={"Authorization": f"Basic {credentials}"}
    )

    assert claims_of((await response.get_json())["access_token"])["client_id"] == "a:b c"


@pytest.mark.parametrize(
    ("body", "status", "error"),
    [
        ("", 400, "invalid_request"),
        ("client_id=a", 400, "invalid_request"),
        ("grant_type=&client_id=a", 400, "invalid_request"),
        ("grant_type=password&client_id=a", 400, "unsupported_grant_type"),
        ("grant_type=client_credentials", 401, "invalid_client"),
        ("grant_type=client_credentials&client_id=%00", 401, "invalid_client"),
        ("grant_type=client_credentials&client_id=%C3%BC", 401, "invalid_client"),
        ("grant_type=client_credentials&client_id=a&client_id=b", 400, "invalid_request"),
        ("grant_type=client_credentials&client_id=a&scope=x++y", 400, "invalid_scope"),
        ("grant_type=client_credentials&client_id=a&scope=%22", 400, "invalid_scope"),
        ("grant_type=client_credentials&client_id=a&scope=%C3%BC", 400, "invalid_scope"),
        ("grant_type=client_credentials&client_id=a&roles=a%5C", 400, "invalid_request"),
    ],
)
async def test_what_cannot_be_granted_is_an_oauth_error(client: Client, body: str, status: int, error: str) -> None:
    """RFC 6749 section 5.2: clients of OAuth read its errors, not ours, and nothing sent is repeated."""
    response = await client.post(TOKEN, data=body, headers={"Content-Type": "application/x-www-form-urlencoded"})
    document = await response.get_json()

    assert (response.status_code, response.mimetype, document["error"]) == (status, "application/json", error)
    assert response.headers["Cache-Control"] == "no-store"
    assert ("WWW-Authenticate" in response.headers) is (status == 401)
    assert "ü" not in document["error_description"]


async def test_other_media_types_are_refused(client: Client) -> None:
    """A token is asked for by a form."""
    response = await client.post(TOKEN, json=GOOD)

    assert (response.status_code, (await response.get_json())["error"]) == (400, "invalid_request")


async def test_two_names_are_one_too_many(client: Client) -> None:
    """A client that is one in the header and another in the form is neither."""
    credentials = base64.b64encode(b"one:secret").decode()
    response = await client.post(TOKEN, form=GOOD, headers={"Authorization": f"Basic {credentials}"})

    assert (response.status_code, (await response.get_json())["error"]) == (400, "invalid_request")
