"""As whom another service is called: the service's own token, fetched once, renewed in time, shown to nobody."""

import asyncio
import gc
import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, nullcontext
from typing import Any

import httpx2
import pytest
from pydantic import SecretStr

import ligand_async
from examples.petstore.app import create_app
from ligand_async import Principal, Problem, Settings, operation
from ligand_async.auth import BearerAuthenticator
from ligand_async.auth.tokens import Fetcher, OAuthClient
from ligand_async.errors import BadGateway, ServiceUnavailable
from ligand_async.settings import SettingsError
from ligand_async.upstream import ClientCredentials, ForwardToken, ServiceClient
from ligand_async.upstream.credentials import ClientToken
from tests.provider.running import Provider
from tests.services import NEVER_OPENED
from tests.upstream.service import HANG, RESET, SECRET, TOKEN_PATH, Clock, Reply, Upstream, raw, wait_until

METADATA = "/realm/.well-known/openid-configuration"


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    with Upstream() as service:
        yield service


@asynccontextmanager
async def calling(upstream: Upstream, **options: Any) -> AsyncIterator[ServiceClient]:
    async with ServiceClient(upstream.url, credentials=upstream.credentials(**options), retries=0) as client:
        yield client


@asynccontextmanager
async def holding(upstream: Upstream, clock: Clock, *, seconds: float = 5.0) -> AsyncIterator[ClientToken]:
    fetcher = Fetcher(timeout=seconds, allow_http=True, client=OAuthClient("shop", SECRET))
    token = ClientToken(upstream.credentials(), fetcher=fetcher, clock=clock)
    try:
        yield token
    finally:
        await token.close()


def sent(upstream: Upstream, path: str = "/items") -> list[str | None]:
    """Return what showed who called, call by call."""
    return [asked.headers.get("Authorization") for asked in upstream.requests if asked.path == path]


async def test_a_hundred_calls_fetch_one_token(upstream: Upstream) -> None:
    """However many begin at once: the first fetches it for all."""
    upstream.script(TOKEN_PATH, Reply(body=b'{"access_token": "t", "token_type": "bearer"}', pause=0.1))
    async with calling(upstream) as client:
        await asyncio.gather(*(client.get("/items") for _ in range(100)))

    assert upstream.tokens == 1
    assert sent(upstream) == ["Bearer t"] * 100


async def test_the_grant_is_that_of_client_credentials(upstream: Upstream) -> None:
    """With the scope and the audience that were asked for, and the secret in the header."""
    async with calling(upstream, scope="items:read items:write", audience="inventory") as client:
        await client.get("/items")

    asked = upstream.requests[0]
    assert asked.body == b"grant_type=client_credentials&scope=items%3Aread+items%3Awrite&audience=inventory"
    assert asked.headers["authorization"] == "Basic c2hvcDphLXNlY3JldC10aGF0LW5vYm9keS1tYXktc2Vl"


async def test_the_secret_can_be_in_the_form(upstream: Upstream) -> None:
    """Where the issuer wants it there."""
    async with calling(upstream, auth_method="client_secret_post") as client:
        await client.get("/items")

    assert upstream.requests[0].body == f"grant_type=client_credentials&client_id=shop&client_secret={SECRET}".encode()
    assert "authorization" not in upstream.requests[0].headers


async def test_the_issuer_says_where_tokens_are(upstream: Upstream) -> None:
    """With an issuer and no address of its endpoint, its metadata is read."""
    issuer = f"{upstream.url}/realm"
    upstream.script(METADATA, {"issuer": issuer, "token_endpoint": upstream.url + TOKEN_PATH})
    async with calling(upstream, issuer=issuer, token_url=None) as client:
        await client.get("/items")

    assert sent(upstream) == ["Bearer token-1"]


async def test_a_token_is_renewed_before_it_ends(upstream: Upstream) -> None:
    """Half a minute before its end another is fetched, while this one serves: nobody waits."""
    clock = Clock()
    async with holding(upstream, clock) as token:
        assert [await token.get() for _ in range(2)] == ["token-1"] * 2
        clock.now += 269
        assert await token.get() == "token-1"
        clock.now += 2
        assert [await token.get() for _ in range(3)] == ["token-1"] * 3
        await asyncio.to_thread(wait_until, lambda: upstream.tokens == 2)
        await asyncio.sleep(0.05)
        assert await token.get() == "token-2"

    assert upstream.tokens == 2


async def test_a_token_that_has_ended_is_not_sent(upstream: Upstream) -> None:
    """Whoever comes then waits for the next, and not even its last seconds are used."""
    clock = Clock()
    async with holding(upstream, clock) as token:
        await token.get()
        clock.now += 296
        assert set(await asyncio.gather(*(token.get() for _ in range(10)))) == {"token-2"}


async def test_a_token_serves_while_the_issuer_is_away(upstream: Upstream) -> None:
    """A renewal that fails is no failure of the calls, until the token ends; and the issuer is not asked by each."""
    clock = Clock()
    async with holding(upstream, clock) as token:
        await token.get()
        upstream.script(TOKEN_PATH, 503)
        clock.now += 275
        for _ in range(20):
            assert await token.get() == "token-1"
            await asyncio.sleep(0.005)
        assert upstream.tokens == 2
        clock.now += 2
        assert await token.get() == "token-1"
        await asyncio.to_thread(wait_until, lambda: upstream.tokens == 3)
        await asyncio.sleep(0.05)
        clock.now += 20
        with pytest.raises(ServiceUnavailable):
            await token.get()


@pytest.mark.parametrize(
    ("lifetime", "seconds"),
    [(60, 29), (2, 0.9), ("60", 29), (None, 269), ("soon", 269), (-5, 269), (True, 269), ([], 269), (10**400, 269)],
)
async def test_a_token_is_kept_as_long_as_it_lives(upstream: Upstream, lifetime: Any, seconds: float) -> None:
    """As `expires_in` says; five minutes where it says nothing sensible."""
    upstream.lifetime = lifetime
    clock = Clock()
    async with holding(upstream, clock) as token:
        await token.get()
        clock.now += seconds
        await token.get()
        await asyncio.sleep(0.02)
        assert upstream.tokens == 1
        clock.now += max(2.0, seconds)
        await token.get()
        await asyncio.to_thread(wait_until, lambda: upstream.tokens == 2)


async def test_who_gives_up_does_not_stop_the_others(upstream: Upstream) -> None:
    """A request that is cancelled while it waits leaves the token to those who wait with it."""
    upstream.script(TOKEN_PATH, Reply(body=b'{"access_token": "t", "token_type": "Bearer"}', pause=0.1))
    async with holding(upstream, Clock()) as token:
        first, second = asyncio.create_task(token.get()), asyncio.create_task(token.get())
        await asyncio.sleep(0.02)
        first.cancel()
        assert await second == "t"

    assert (first.cancelled(), upstream.tokens) == (True, 1)


async def test_a_failure_that_nobody_waits_for_is_silent(upstream: Upstream, caplog: pytest.LogCaptureFixture) -> None:
    """A fetch whose callers have all gone leaves no complaint of asyncio's behind."""
    upstream.script(TOKEN_PATH, Reply(500, pause=0.05))
    async with holding(upstream, Clock()) as token:
        waiting = asyncio.create_task(token.get())
        await asyncio.sleep(0.02)
        waiting.cancel()
        await asyncio.sleep(0.1)
        gc.collect()

    assert "never retrieved" not in caplog.text


async def test_a_refused_token_is_renewed_once(upstream: Upstream) -> None:
    """401 before its time: another is fetched and the call is made again, also one that is not safe."""
    upstream.script("/items", 200, 401, {"n": 1})
    async with calling(upstream) as client:
        await client.get("/items")
        assert (await client.post("/items", json={"n": 1})).json() == {"n": 1}

    assert sent(upstream) == ["Bearer token-1", "Bearer token-1", "Bearer token-2"]


async def test_a_hundred_refused_calls_renew_one_token(upstream: Upstream) -> None:
    """Whoever finds that another has renewed it takes that one."""
    upstream.accepts = "token-2"
    async with calling(upstream) as client:
        await asyncio.gather(*(client.get("/items") for _ in range(100)))

    assert upstream.tokens == 2


async def test_a_service_that_refuses_every_token_gets_no_more(upstream: Upstream) -> None:
    """It is a 502: the fault is not our caller's, and the issuer does not pay for it."""
    upstream.script("/items", 401)
    async with calling(upstream) as client:
        for _ in range(5):
            with pytest.raises(BadGateway):
                await client.get("/items")

    assert upstream.tokens == 2


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        (Reply(401, b'{"error": "invalid_client"}'), BadGateway),
        (Reply(400, b'{"error": "invalid_scope"}'), BadGateway),
        (Reply(403, b"<html>"), BadGateway),
        (Reply(200, b"{}"), BadGateway),
        (Reply(200, b'{"access_token": "", "token_type": "Bearer"}'), BadGateway),
        (Reply(200, b'{"access_token": "a b", "token_type": "Bearer"}'), BadGateway),
        (Reply(200, b'{"access_token": "a\\r\\nX: y", "token_type": "Bearer"}'), BadGateway),
        (Reply(200, b'{"access_token": "\xc3\xa4", "token_type": "Bearer"}'), BadGateway),
        (Reply(200, b'{"access_token": 5, "token_type": "Bearer"}'), BadGateway),
        (Reply(200, b'{"access_token": "t", "token_type": "DPoP"}'), BadGateway),
        (Reply(200, b'{"access_token": "t"}'), BadGateway),
        (Reply(200, b"nonsense"), BadGateway),
        (Reply(500), ServiceUnavailable),
        (Reply(503, b"<html>"), ServiceUnavailable),
        (Reply(429), ServiceUnavailable),
        (RESET, ServiceUnavailable),
        (raw(b"nonsense\r\n\r\n"), ServiceUnavailable),
    ],
)
async def test_no_token_is_a_problem(upstream: Upstream, reply: Reply, kind: type[Problem]) -> None:
    """502 where the issuer refuses us or talks nonsense, 503 where it is away; the call itself is not made."""
    upstream.script(TOKEN_PATH, reply)
    async with calling(upstream) as client:
        with pytest.raises(kind) as caught:
            await client.get("/items")

    assert sent(upstream) == []
    assert ("Retry-After" in caught.value.headers) == (kind is ServiceUnavailable)


async def test_an_issuer_that_hangs_is_a_503(upstream: Upstream) -> None:
    """All who wait are told at the end of one time limit."""
    upstream.script(TOKEN_PATH, HANG)
    async with holding(upstream, Clock(), seconds=0.1) as token:
        told = await asyncio.gather(*(token.get() for _ in range(20)), return_exceptions=True)

    assert {type(one) for one in told} == {ServiceUnavailable}
    assert len({id(one) for one in told}) == 20
    assert upstream.tokens == 1


@pytest.mark.parametrize("answer", [404, {"issuer": "https://another.example", "token_endpoint": "https://x/"}])
async def test_an_issuer_without_metadata_is_a_problem(upstream: Upstream, answer: Any) -> None:
    """Its secret is not sent to whoever answers in its place."""
    upstream.script(METADATA, answer)
    async with calling(upstream, issuer=f"{upstream.url}/realm", token_url=None) as client:
        with pytest.raises(Problem) as caught:
            await client.get("/items")

    assert caught.value.status in {502, 503}
    assert upstream.tokens == 0


async def test_secrets_are_shown_to_nobody(upstream: Upstream, caplog: pytest.LogCaptureFixture) -> None:
    """No problem, no log line and no repr holds the secret or a token, whatever goes wrong."""
    caplog.set_level(logging.DEBUG)
    shown = [repr(upstream.credentials()), str(upstream.credentials())]
    faults: list[tuple[str, Any]] = [("/items", 500), ("/items", RESET), ("/items", 401), ("/items", 200)]
    faults += [(TOKEN_PATH, 500), (TOKEN_PATH, Reply(401, SECRET.encode())), (TOKEN_PATH, Reply(200, b"{}"))]
    for path, reply in faults:
        upstream.script(path, reply)
        async with calling(upstream) as client:
            try:
                response = await client.get("/items")
                shown.append(f"{response!r} {response.request!r} {response.request.headers!r}")
            except Problem as problem:
                shown += [str(problem.document()), repr(problem), str(problem.headers), repr(problem.__cause__)]
            shown.append(repr(vars(client)) + repr(vars(client._token)))

    assert len(shown) > 20
    assert [text for text in [*shown, caplog.text] if SECRET in text or "token-1" in text] == []


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"token_url": None}, "give either issuer or token_url"),
        ({"issuer": "https://issuer.example"}, "give either issuer or token_url"),
        ({"token_url": "http://issuer.example/token"}, "plain http, which exposes the secret"),
        ({"token_url": "https://ada:hidden@issuer.example"}, "token_url must be https://host/path"),
        ({"token_url": None, "issuer": "issuer.example"}, "issuer must be https://host/path"),
        ({"client_secret": ""}, "printable ASCII"),
        ({"client_secret": "hidden\n"}, "printable ASCII"),
        ({"client_secret": SecretStr("hidden\N{EURO SIGN}")}, "printable ASCII"),
        ({"client_id": ""}, "printable ASCII"),
    ],
)
def test_credentials_are_whole(options: dict[str, Any], words: str) -> None:
    """What is missing or cannot be is said at once, without the secret."""
    values = {"client_id": "shop", "client_secret": SECRET, "token_url": "https://issuer.example/token", **options}
    with pytest.raises(ValueError, match=words) as caught:
        ClientCredentials(**values)
    assert "hidden" not in str(caught.value)


@pytest.mark.parametrize("url", ["http://127.0.0.1:9/t", "http://localhost/t", "http://[::1]/t", "https://i.example/t"])
def test_an_issuer_on_this_machine_may_be_plain(url: str) -> None:
    """Nobody listens between; elsewhere it takes a word."""
    ClientCredentials("shop", SECRET, token_url=url)
    ClientCredentials("shop", SECRET, token_url="http://keycloak:8080/token", allow_http=True)


def load(**settings: Any) -> Settings:
    return Settings.load("testing", database_url=NEVER_OPENED, **settings)


def test_credentials_come_from_the_settings() -> None:
    """The issuer that is trusted first is the one that knows this service."""
    settings = load(
        oidc_issuer=("https://one.example", "https://two.example"),
        oidc_audience="shop",
        oidc_client_id="shop",
        oidc_client_secret=SECRET,
        oidc_client_auth_method="client_secret_post",
    )

    credentials = ClientCredentials.from_settings(settings, scope="items:read", audience="inventory")

    assert (credentials.issuer, credentials.client_id, credentials.secret) == ("https://one.example", "shop", SECRET)
    assert (credentials.scope, credentials.audience) == ("items:read", "inventory")
    assert credentials.auth_method == "client_secret_post"


@pytest.mark.parametrize("missing", ["oidc_issuer", "oidc_client_id", "oidc_client_secret"])
def test_settings_without_credentials_say_so(missing: str) -> None:
    """The error names the three settings."""
    settings = {"oidc_issuer": "https://one.example", "oidc_client_id": "shop", "oidc_client_secret": SECRET}
    settings["oidc_audience"] = "shop"
    del settings[missing]

    with pytest.raises(SettingsError, match="set all three"):
        ClientCredentials.from_settings(load(**settings))


async def test_no_credentials_send_no_token(upstream: Upstream) -> None:
    """Neither do those of the process: a netrc file is not read."""
    async with ServiceClient(upstream.url) as client:
        await client.get("/items")

    assert sent(upstream) == [None]


async def test_nothing_is_forwarded_outside_a_request(upstream: Upstream) -> None:
    """There is no caller, and the error says what to use."""
    async with ServiceClient(upstream.url, credentials=ForwardToken()) as client:
        with pytest.raises(RuntimeError, match="use ClientCredentials"):
            await client.get("/items")

    assert upstream.requests == []


STRICT = {
    "database_url": "postgresql://user:password@database.example/db",
    "service_public_url": "https://api.example",
    "service_private_url": "http://api.internal",
    "secret_key": "0123456789abcdefghijklmnopqrstuvwxyz",
}


class _Knower:
    """Believes every token."""

    async def verify(self, token: str) -> Principal:
        return Principal(subject=token, issuer="https://issuer.example")


@pytest.mark.parametrize(
    ("environment", "address", "is_sent"),
    [
        ("prod", "http://stock.internal", False),
        ("prod", "http://127.0.0.1.example", False),
        ("prod", "http://user.localhost", False),
        ("prod", "https://stock.internal", True),
        ("prod", "http://127.0.0.1:9000", True),
        ("prod", "http://[::1]:9000", True),
        ("stage", "http://stock.internal", True),
    ],
)
async def test_a_token_is_forwarded_by_https_only(environment: str, address: str, is_sent: bool) -> None:
    """Row 139: in `prod`, unless a proxy on this machine takes it; what a running app makes is refused when made."""
    sent = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        sent.append(request.headers["Authorization"])
        return httpx2.Response(204)

    client = ServiceClient(address, credentials=ForwardToken(), transport=httpx2.MockTransport(answer))

    @operation
    async def call() -> str:
        try:
            await client.get("/")
        except RuntimeError as error:
            return str(error)
        return "called"

    app = ligand_async.create_app(
        __name__,
        title="S",
        version="1",
        settings=Settings.load(environment, **STRICT),
        authenticators=[BearerAuthenticator(_Knower())],
    )
    app.add_url_rule("/", "call", call)
    said = await (await app.test_client().get("/", headers={"Authorization": "Bearer ada"})).get_json()

    assert (said == "called", sent) == (is_sent, ["Bearer ada"] * is_sent), said
    async with app.app_context():
        with nullcontext() if is_sent else pytest.raises(RuntimeError, match="by https only"):
            ServiceClient(address, credentials=ForwardToken())


pytestmark = pytest.mark.extended


async def test_a_real_issuer_s_token_lets_a_service_in(provider: Provider) -> None:
    """Whatever its secret is made of; and what it is sent, another service of ours takes."""
    credentials = ClientCredentials("svc", provider.secret, issuer=provider.issuer, scope="pets:write")
    with Upstream() as other:
        async with ServiceClient(other.url, credentials=credentials) as client:
            await asyncio.gather(*(client.get("/pets") for _ in range(20)))
        sent = {asked.headers["Authorization"] for asked in other.requests}

    settings = {"oidc_issuer": provider.issuer, "oidc_audience": provider.audience}
    app = create_app("testing", database_url=NEVER_OPENED, **settings)
    async with app.test_app():
        told = await app.test_client().get("/me", headers={"Authorization": sent.pop()})

    assert (told.status_code, (await told.get_json())["scopes"], sent) == (200, ["pets:write"], set())
