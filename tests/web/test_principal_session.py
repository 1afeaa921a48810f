"""What a service keeps for each of its callers, in memory and in Redis."""

import asyncio
import logging
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

import pytest
from pydantic import BaseModel
from quart import Blueprint, Quart, abort, websocket
from quart.testing.app import LifespanError
from quart.typing import TestClientProtocol as Client
from redis.asyncio import Redis
from sqlalchemy.ext.asyncio import AsyncSession

from ligand_async import Principal, Settings, create_app, on_commit, operation, public
from ligand_async.context import current_principal, state_of
from ligand_async.errors import PrincipalSessionTooLarge, PrincipalSessionUnavailable
from ligand_async.settings import SettingsError
from ligand_async.testing import authorization
from ligand_async.web import (
    Depends,
    PrincipalSession,
    app_scope,
    current_principal_session,
    empty_principal_session,
    services_of,
)
from ligand_async.web import principal_session as module
from ligand_async.web.principal_session import PrincipalSessions
from tests.auth.issuing import AUDIENCE, Issuer
from tests.redis_server import RedisServer
from tests.services import NEVER_OPENED, Item, app_of, make_app, running

Config = dict[str, Any]
ENTRY_BYTES = 128


@pytest.fixture(params=["memory", pytest.param("redis", marks=pytest.mark.extended)])
def config(request: pytest.FixtureRequest) -> Config:
    """The settings of each storage."""
    if request.param == "memory":
        return {}
    server: RedisServer = request.getfixturevalue("redis_server")
    return {"principal_session_storage": server.url}


class Note(BaseModel):
    """A value."""

    text: str


shop = Blueprint("shop", __name__)


@shop.get("/values/<key>")
@operation
async def read_value(key: str, session: PrincipalSession) -> dict[str, Any]:
    return {"value": await session.get(key)}


@shop.put("/values/<key>")
@operation
async def write_value(key: str, data: dict[str, Any], session: PrincipalSession) -> None:
    await session.set(key, data["value"])


@shop.delete("/values/<key>")
@operation
async def delete_value(key: str, session: PrincipalSession) -> None:
    await session.delete(key)


@shop.get("/keys")
@operation
async def list_keys(session: PrincipalSession) -> list[str]:
    return await session.keys()


@shop.post("/values/<key>/increment")
@operation
async def increment_value(key: str, session: PrincipalSession) -> int:
    return await session.increment(key)


@shop.post("/values/<key>/append")
@operation
async def append_to_value(key: str, data: dict[str, int], session: PrincipalSession) -> None:
    await session.update(key, list[int], lambda old: [*(old or []), data["value"]])


@shop.post("/values/<key>/pop")
@operation
async def pop_value(key: str, session: PrincipalSession) -> dict[str, Any]:
    return {"value": await session.pop(key)}


@shop.post("/sign-out")
@operation
async def sign_out(session: PrincipalSession) -> None:
    await session.clear()


@shop.post("/fail")
@operation
async def fail_after_writing(session: PrincipalSession) -> None:
    await session.set("a", 1)
    abort(409)


def make_shop(config: Config, *blueprints: Blueprint, **more: Any) -> Quart:
    return make_app(NEVER_OPENED, *(blueprints or [shop]), database=None, settings=config, **more)


class Caller:
    """One caller of a service."""

    def __init__(self, client: Client, headers: dict[str, str]) -> None:
        self.client = client
        self.headers = headers

    async def status(self, method: str, path: str, value: Any = ...) -> int:
        status: int = (await self.send(method, path, value)).status_code
        return status

    async def send(self, method: str, path: str, value: Any = ...) -> Any:
        request: dict[str, Any] = {} if value is ... else {"json": {"value": value}}
        return await self.client.open(path, method=method, headers=self.headers, **request)

    async def put(self, key: str, value: Any) -> None:
        assert await self.status("PUT", f"/values/{key}", value) == 204

    async def read(self, path: str) -> Any:
        response = await self.client.get(path, headers=self.headers)
        assert response.status_code == 200
        return await response.get_json()

    async def value(self, key: str) -> Any:
        return (await self.read(f"/values/{key}"))["value"]

    async def post(self, path: str, value: Any = ...) -> Any:
        response = await self.send("POST", path, value)
        assert response.status_code < 300
        return await response.get_json() if response.status_code == 200 else None


def caller_of(app: Quart, client: Client, subject: str = "ada") -> Caller:
    return Caller(client, authorization(app, subject=subject))


@asynccontextmanager
async def session_of(config: Config, subject: str = "ada", **settings: Any) -> AsyncIterator[PrincipalSession]:
    """Yield the session of a caller, outside of any request."""
    app = make_shop({**config, **settings})
    async with app.test_app(), app.app_context():
        yield state_of(app).get(PrincipalSessions).open(Principal(subject, "https://issuer.example"))


async def test_each_caller_has_a_session_of_its_own(config: Config) -> None:
    """A value is there in the caller's next request, and nobody else sees it."""
    app = make_shop(config)
    async with running(app, tables=False) as client:
        ada, bob = (caller_of(app, client, name) for name in ("ada", "bob"))
        await ada.put("color", {"name": "red", "tones": [1, None, "ä"]})

        assert await ada.value("color") == {"name": "red", "tones": [1, None, "ä"]}
        assert await bob.value("color") is None
        assert (await ada.read("/keys"), await bob.read("/keys")) == (["color"], [])
        assert await ada.status("DELETE", "/values/color") == 204
        assert await ada.value("color") is None


async def test_one_subject_of_two_issuers_is_two_callers(config: Config) -> None:
    """`sub` is unique within an issuer only."""
    with Issuer() as one, Issuer() as other:
        app = make_shop({**config, "oidc_issuer": (one.url, other.url), "oidc_audience": AUDIENCE})
        async with running(app, tables=False) as client:
            first, second = (Caller(client, {"Authorization": f"Bearer {issuer.mint()}"}) for issuer in (one, other))
            await first.put("a", 1)

            assert await first.value("a") == 1
            assert await second.value("a") is None


@pytest.mark.parametrize(
    ("one", "other"),
    [(("a b", "c"), ("b", "c a")), (('a", "b', "c"), ("a", 'b", "c'))],
)
async def test_no_two_callers_have_one_name(one: tuple[str, str], other: tuple[str, str]) -> None:
    """Whatever characters are in a subject and an issuer."""
    sessions = state_of(make_shop({})).get(PrincipalSessions)

    assert sessions.open(Principal(*one))._name != sessions.open(Principal(*other))._name


async def test_claims_can_tell_sessions_apart(config: Config) -> None:
    """A caller of two tenants has a session in each, if the service says so."""
    sessions = state_of(make_shop({**config, "principal_session_claims": ("tenant",)})).get(PrincipalSessions)
    acme, other, none = (
        sessions.open(Principal("ada", "i", claims=claims)) for claims in ({"tenant": "acme"}, {"tenant": "x"}, {})
    )
    await acme.set("a", 1)

    assert [await session.get("a") for session in (acme, other, none)] == [1, None, None]
    await sessions.store.close()


async def test_values_come_back_as_the_type_that_is_asked_for(config: Config) -> None:
    """Models too; a value of another shape counts as not there, and is not logged."""
    async with session_of(config) as session:
        await session.set("note", Note(text="x"))
        assert await session.get("note", Note) == Note(text="x")
        assert await session.get("note") == {"text": "x"}
        assert await session.get("note", int) is None
        assert await session.get("none", Note) is None
        await session.update("note", Note, lambda old: Note(text=f"{old and old.text}y"))
        assert await session.pop("note", Note) == Note(text="xy")
        assert await session.pop("note", Note) is None


async def test_a_value_that_is_changed_later_does_not_change_the_session(config: Config) -> None:
    """The session keeps JSON, not objects."""
    async with session_of(config) as session:
        value = [1]
        await session.set("a", value)
        value.append(2)
        (await session.get("a")).append(3)

        assert await session.get("a") == [1]


@pytest.mark.parametrize("value", [object(), float("nan"), {"a": [float("inf")]}, b"\xff", "\ud800"])
async def test_a_value_that_is_not_json_is_refused(config: Config, value: Any) -> None:
    """When it is stored, and not when it is read; the error does not show it."""
    async with session_of(config) as session:
        with pytest.raises(TypeError, match=r"^a \w+, or something in it, cannot be written as JSON$"):
            await session.set("a", value)
        assert await session.keys() == []


@pytest.mark.parametrize("key", ["", "k" * 256, "ä" * 128, "\ud800", None, 1])
async def test_a_key_that_is_no_key_is_refused(config: Config, key: Any) -> None:
    """By every call, alike for both storages."""
    async with session_of(config) as session:
        calls = [session.get(key), session.set(key, 1), session.pop(key), session.delete(key), session.increment(key)]
        for call in [*calls, session.update(key, int, lambda _: 1)]:
            with pytest.raises(ValueError, match=r"key|surrogates"):
                await call


async def test_any_other_key_can_be_used(config: Config) -> None:
    """The names of the storage's own fields too."""
    names = ["began", "size", ":", ":a", "a b", "ä" * 127, "\0", "None"]
    async with session_of(config) as session:
        for number, name in enumerate(names):
            await session.set(name, number)
        assert [await session.get(name) for name in names] == list(range(len(names)))
        assert await session.keys() == sorted(names)


async def test_integers_are_added_to_in_one_step(config: Config) -> None:
    """From 0 on, up and down, within 64 bits; what is not an integer is refused and stays."""
    async with session_of(config) as session:
        assert [await session.increment("n", by) for by in (1, 5, -9, 0)] == [1, 6, -3, -3]
        assert await session.get("n", int) == -3
        await session.set("n", 2**63 - 1)
        with pytest.raises(OverflowError):
            await session.increment("n")
        for much in (2**63, -(2**64)):
            with pytest.raises(OverflowError):
                await session.increment("n", much)
        assert await session.get("n") == 2**63 - 1
        strange: Any
        for strange in (1.5, True, "1"):
            with pytest.raises(TypeError):
                await session.increment("n", strange)
        for value in ("1", 1.0, True, None, [1], 2**64):
            await session.set("n", value)
            with pytest.raises(TypeError, match="not an integer"):
                await session.increment("n")
            assert await session.get("n") == value


async def test_requests_at_once_lose_nothing(config: Config) -> None:
    """Forty that write keys, count, append and take: every key, every count, every item, and one that takes."""
    app = make_shop(config)
    async with running(app, tables=False) as client:
        ada = caller_of(app, client)
        await asyncio.gather(*(ada.put(f"key-{number}", number) for number in range(40)))
        sums = await asyncio.gather(*(ada.post("/values/n/increment") for _ in range(40)))
        await asyncio.gather(*(ada.post("/values/list/append", number) for number in range(40)))
        await ada.put("ticket", "x")
        taken = await asyncio.gather(*(ada.post("/values/ticket/pop") for _ in range(40)))

        assert await ada.read("/keys") == sorted([*(f"key-{number}" for number in range(40)), "list", "n"])
        assert sorted(sums) == list(range(1, 41))
        assert sorted(await ada.value("list")) == list(range(40))
        assert [found["value"] for found in taken if found["value"]] == ["x"]


async def test_values_have_a_size(config: Config) -> None:
    """A larger one is a 413 that says how large it may be; the one before it stays."""
    app = make_shop({**config, "principal_session_max_value_bytes": 100})
    async with running(app, tables=False) as client:
        ada = caller_of(app, client)
        await ada.put("a", "x" * 98)
        response = await client.put("/values/a", json={"value": "x" * 99}, headers=ada.headers)
        problem = await response.get_json()

        assert (response.status_code, problem["type"]) == (413, "/problems/principal-session-too-large")
        assert problem["detail"] == "a value for the caller's session has 101 bytes, and may have 100"
        assert await ada.value("a") == "x" * 98


async def test_sessions_have_a_size(config: Config) -> None:
    """What would make one too large is a 413 and changes nothing; what is removed makes room."""
    app = make_shop({**config, "principal_session_max_bytes": 2 * (ENTRY_BYTES + 1) + 10})
    async with running(app, tables=False) as client:
        ada, bob = (caller_of(app, client, name) for name in ("ada", "bob"))
        await ada.put("a", "x" * 5)
        await ada.put("b", 1)
        response = await client.put("/values/b", json={"value": 1234}, headers=ada.headers)
        problem = await response.get_json()
        assert (response.status_code, problem["type"]) == (413, "/problems/principal-session-too-large")
        assert problem["detail"] == "the caller's session would have 269 bytes, and may have 268"
        assert await ada.status("POST", "/values/c/increment") == 413
        assert (await ada.read("/keys"), await ada.value("b")) == (["a", "b"], 1)
        assert await bob.status("PUT", "/values/b", 1234) == 204

        await ada.put("a", "")
        await ada.put("b", 1234)
        assert await ada.status("DELETE", "/values/a") == 204
        assert await ada.post("/values/c/increment") == 1
        await ada.put("b", 999)
        for _ in range(8):
            await ada.post("/values/c/increment")
        assert await ada.value("c") == 9


async def test_a_count_that_grows_out_of_the_session_stays(config: Config) -> None:
    """One digit too many is refused, like any other value."""
    async with session_of(config, principal_session_max_bytes=ENTRY_BYTES + 2) as session:
        await session.set("n", 9)
        with pytest.raises(PrincipalSessionTooLarge):
            await session.increment("n")
        assert await session.get("n") == 9
        assert await session.increment("n", -9) == 0


async def test_a_caller_who_signs_out_has_an_empty_session(config: Config) -> None:
    """All keys go, of this caller only, and the next request begins anew."""
    app = make_shop(config)
    async with running(app, tables=False) as client:
        ada, bob = (caller_of(app, client, name) for name in ("ada", "bob"))
        for one in (ada, bob):
            await one.put("a", 1)
            await one.put("b", 1)
        assert await ada.status("POST", "/sign-out") == 204

        assert await ada.read("/keys") == []
        assert await bob.read("/keys") == ["a", "b"]
        await ada.put("c", 1)
        assert await ada.read("/keys") == ["c"]


async def test_any_caller_can_be_signed_out(config: Config) -> None:
    """By subject and issuer, as an issuer names them in a logout token."""
    app = make_shop(config)
    async with running(app, tables=False) as client:
        ada = caller_of(app, client)
        await ada.put("a", 1)
        who: list[Principal] = []

        @app.before_request
        async def remember() -> None:
            principal = current_principal()
            assert principal is not None
            who.append(Principal(principal.subject, principal.issuer))

        await ada.read("/keys")
        await empty_principal_session(who[0])
        assert await ada.read("/keys") == []


async def test_denial_empties_the_session(config: Config) -> None:
    """A caller whose token is denied gets a 401, and finds nothing when it is let in again; others keep theirs."""
    denied: set[str] = set()

    async def deny(principal: Principal) -> bool:
        return principal.subject in denied

    app = make_shop(config, deny_list=deny)
    async with running(app, tables=False) as client:
        ada, bob = (caller_of(app, client, name) for name in ("ada", "bob"))
        for one in (ada, bob):
            await one.put("a", 1)
        denied.add("ada")
        assert await ada.status("GET", "/keys") == 401
        denied.clear()

        assert await ada.read("/keys") == []
        assert await bob.read("/keys") == ["a"]


async def test_a_value_is_stored_at_once(config: Config) -> None:
    """It stays when the handler fails afterwards."""
    app = make_shop(config)
    async with running(app, tables=False) as client:
        ada = caller_of(app, client)
        assert await ada.status("POST", "/fail") == 409
        assert await ada.value("a") == 1


async def test_on_commit_waits_for_the_commit(config: Config, sqlite_url: str) -> None:
    """A basket that goes with the order stays if the order fails."""
    orders = Blueprint("orders", __name__)

    @orders.post("/order/<name>")
    @operation
    async def order(name: str, session: AsyncSession, basket: PrincipalSession) -> None:
        session.add(Item(name=name))
        on_commit(basket.clear)

    app = make_app(sqlite_url, shop, orders, settings=config)
    async with running(app) as client:
        ada = caller_of(app, client)
        await ada.put("basket", ["tea"])
        assert await ada.status("POST", "/order/tea") == 204
        assert await ada.value("basket") is None
        await ada.put("basket", ["tea"])
        assert await ada.status("POST", "/order/tea") == 409
        assert await ada.value("basket") == ["tea"]


class Basket:
    """A service on the session."""

    def __init__(self, session: PrincipalSession) -> None:
        self.session = session


async def basket_size(session: PrincipalSession) -> int:
    return len(await session.keys())


async def test_services_and_dependencies_take_the_session(config: Config) -> None:
    """By annotation, the caller's own."""
    views = Blueprint("views", __name__)

    @views.post("/")
    @operation
    async def add(basket: Basket, size: Annotated[int, Depends(basket_size)]) -> int:
        await basket.session.set(str(size), 1)
        return size

    app = make_shop(config, views, provide={Basket: Basket})
    async with running(app, tables=False) as client:
        ada, bob = (caller_of(app, client, name) for name in ("ada", "bob"))
        assert [await one.post("/") for one in (ada, ada, bob)] == [0, 1, 0]


async def test_views_websockets_and_streams_find_the_session(config: Config) -> None:
    """`current_principal_session()` is for what is no operation; for an anonymous caller it is None."""
    views = Blueprint("views", __name__)

    async def count() -> str:
        session = current_principal_session()
        return "nobody" if session is None else str(await session.increment("n"))

    @views.get("/plain")
    @public
    async def plain() -> str:
        return await count()

    @views.get("/stream")
    async def stream() -> Any:
        async def body() -> AsyncIterator[str]:
            yield await count()

        return body()

    @views.websocket("/socket")
    async def socket() -> None:
        await websocket.send(await count())

    app = make_shop(config, views)
    async with running(app, tables=False) as client:
        headers = authorization(app)
        counts = [
            await (await client.get(path, headers=headers)).get_data(as_text=True) for path in ("/plain", "/stream")
        ]
        async with client.websocket("/socket", headers=headers) as connection:
            counts.append(str(await connection.receive()))
        anonymous = await (await client.get("/plain")).get_data(as_text=True)

    assert (counts, anonymous) == (["1", "2", "3"], "nobody")


@operation
async def required(session: PrincipalSession) -> None:
    """Take the session itself."""


@operation
async def required_by_service(basket: Basket) -> None:
    """Take a service that takes it."""


@operation
async def required_by_dependency(size: Annotated[int, Depends(basket_size)]) -> None:
    """Take what a function makes of it."""


@pytest.mark.parametrize("view", [required, required_by_service, required_by_dependency])
async def test_a_public_operation_cannot_require_a_session(view: Any) -> None:
    """The app does not start, and says why."""
    app = app_of(("GET", "/", view), provide={Basket: Basket})
    with pytest.raises(LifespanError, match=r"/ \(required.*\): anyone may call it.*PrincipalSession \| None"):
        async with app.test_app():
            pass


async def test_a_public_operation_may_take_a_session_if_there_is_one(config: Config) -> None:
    """None for an anonymous caller."""

    @operation
    async def optional(session: PrincipalSession | None) -> int | None:
        return None if session is None else await session.increment("n")

    app = app_of(("GET", "/", optional), settings=config)
    async with running(app, tables=False) as client:
        assert await (await client.get("/")).get_json() is None
        assert await (await client.get("/", headers=authorization(app))).get_json() == 1


async def test_a_service_of_the_app_cannot_take_a_session() -> None:
    """It outlives the request."""
    app = make_shop({}, provide={Basket: app_scope(Basket)})
    with pytest.raises(LifespanError, match="PrincipalSession belongs to a request"):
        async with app.test_app():
            pass


async def test_a_test_can_replace_the_session() -> None:
    """As any other service."""
    app = make_shop({})

    class Fake:
        async def get(self, key: str) -> str:
            return f"fake {key}"

    services_of(app).replace(PrincipalSession, Fake())
    async with running(app, tables=False) as client:
        assert await caller_of(app, client).value("a") == "fake a"


async def test_the_document_names_the_problems() -> None:
    """413 and 503, of operations that take the session, and of no others."""

    @operation
    async def other() -> None: ...

    views = Blueprint("views", __name__)
    views.add_url_rule("/other", view_func=other)
    views.add_url_rule("/service", view_func=required_by_service)
    app = make_shop({}, shop, views, provide={Basket: Basket})
    async with running(app, tables=False) as client:
        paths = (await (await client.get("/openapi.json")).get_json())["paths"]
    found = {path: paths[path]["get"]["responses"].keys() for path in ("/keys", "/service", "/other")}

    assert {"413", "503"} <= found["/keys"] & found["/service"]
    assert "413" not in found["/other"]


@pytest.mark.parametrize(("environment", "warnings"), [("prod", 1), ("testing", 0)])
async def test_sessions_in_memory_are_reported_in_prod(
    environment: str, warnings: int, caplog: pytest.LogCaptureFixture
) -> None:
    """Once, when the first is opened: several workers would not see the same."""
    given = {
        "secret_key": "0123456789abcdefghijklmnopqrstuv",
        "service_public_url": "https://a.example",
        "service_private_url": "http://a",
    }
    sessions = state_of(make_shop(given, environment=environment)).get(PrincipalSessions)
    for _ in range(3):
        sessions.open(Principal("ada", "i"))

    found = [record for record in caplog.records if record.name == module.__name__]
    assert len(found) == warnings


# -- in Redis


@pytest.mark.extended
async def test_workers_share_a_redis(redis_server: RedisServer) -> None:
    """What one stores the other reads, and sign-out at one empties both; another service sees nothing."""
    settings = {"principal_session_storage": redis_server.url}
    first, second = (make_shop(settings) for _ in range(2))
    third = create_app(
        __name__,
        title="Other",
        version="1",
        settings=Settings.load("testing", database_url=NEVER_OPENED, **settings),
        blueprints=[shop],
    )
    async with (
        running(first, tables=False) as one,
        running(second, tables=False) as two,
        running(third, tables=False) as three,
    ):
        here, there, elsewhere = caller_of(first, one), caller_of(second, two), caller_of(third, three)
        await here.put("a", 1)
        await there.put("b", 2)
        counts = await asyncio.gather(*(who.post("/values/n/increment") for who in [here, there] * 20))
        appends = (who.post("/values/list/append", n) for n, who in enumerate([here, there] * 10))
        await asyncio.gather(*appends)

        assert sorted(counts) == list(range(1, 41))
        assert sorted(await here.value("list")) == list(range(20))
        assert await here.read("/keys") == await there.read("/keys") == ["a", "b", "list", "n"]
        assert await elsewhere.read("/keys") == []
        await there.status("POST", "/sign-out")
        assert await here.read("/keys") == []


@asynccontextmanager
async def redis_of(server: RedisServer) -> AsyncIterator[Any]:
    """Yield a client of one's own."""
    redis = Redis.from_url(server.url)
    yield redis
    await redis.aclose()


@pytest.mark.extended
async def test_a_session_in_redis_ends(redis_server: RedisServer) -> None:
    """Each call extends its life, reading too, but not beyond its lifetime."""
    settings = {
        "principal_session_storage": redis_server.url,
        "principal_session_idle_timeout": 100,
        "principal_session_lifetime": 1000,
    }
    async with session_of(settings) as session, redis_of(redis_server) as redis:
        await session.set("k", 1)
        [name] = await redis.keys()
        for call in (session.get("k"), session.keys(), session.increment("k"), session.set("k", 2)):
            await redis.pexpire(name, 5000)
            await call
            assert 99_000 < await redis.pttl(name) <= 100_000
        now = int((await redis.time())[0]) * 1000
        await redis.hset(name, "began", now - 970_000)
        await session.get("k")
        assert 25_000 < await redis.pttl(name) <= 30_000
        await redis.hset(name, "began", now - 1_000_000)
        await redis.persist(name)
        assert await session.get("k") is None
        assert await redis.keys() == []


@pytest.mark.extended
async def test_a_session_in_redis_ends_by_itself(redis_server: RedisServer) -> None:
    """Redis forgets it; nobody has to clean up."""
    settings = {"principal_session_storage": redis_server.url, "principal_session_idle_timeout": 0.1}
    async with session_of(settings) as session, redis_of(redis_server) as redis:
        await session.set("k", 1)
        await asyncio.sleep(0.3)
        assert await redis.keys() == []
        assert await session.get("k") is None


@pytest.mark.extended
async def test_keys_in_redis_name_nobody(redis_server: RedisServer) -> None:
    """They have the title of the service and a digest; the last value that goes takes the key with it."""
    async with (
        session_of({"principal_session_storage": redis_server.url}, "ada@example.org") as session,
        redis_of(redis_server) as redis,
    ):
        await session.set("k", 1)
        [name] = await redis.keys()
        assert name.startswith(b"Shop:principal_session:")
        assert b"ada" not in name
        assert len(name.rpartition(b":")[2]) == 32
        await session.delete("k")
        assert await redis.keys() == []


def redis_config(server: RedisServer) -> Config:
    return {"principal_session_storage": server.url}


async def failing(ada: Caller) -> tuple[int, str | None]:
    """Return status and `Retry-After` of a request."""
    response = await ada.client.put("/values/a", json={"value": "secret value"}, headers=ada.headers)
    return response.status_code, response.headers.get("Retry-After")


@pytest.mark.extended
async def test_a_redis_that_restarts_loses_values_and_no_request(redis_server: RedisServer) -> None:
    """Connections of before are noticed; the next requests begin new sessions."""
    app = make_shop(redis_config(redis_server))
    async with running(app, tables=False) as client:
        ada = caller_of(app, client)
        await asyncio.gather(*(ada.put(f"k{number}", number) for number in range(10)))
        redis_server.stop()
        redis_server.start()

        assert await ada.read("/keys") == []
        assert await asyncio.gather(*(ada.status("PUT", f"/values/k{n}", n) for n in range(10))) == [204] * 10
        assert await ada.post("/values/n/increment") == 1


@pytest.mark.extended
async def test_a_redis_that_is_gone_is_a_503(redis_server: RedisServer, caplog: pytest.LogCaptureFixture) -> None:
    """It says when to come back; other operations serve, readiness fails, the log has no subject and no value."""
    app = make_shop(redis_config(redis_server))
    caplog.set_level(logging.DEBUG)
    async with running(app, tables=False) as client:
        ada = caller_of(app, client, "ada@example.org")
        await ada.put("a", "secret value")
        assert (await client.get("/readyz")).status_code == 200
        redis_server.stop()
        await asyncio.sleep(1.1)  # readiness is checked once a second
        async with asyncio.timeout(5):
            answer = await failing(ada)
        response = await client.get("/values/a", headers=ada.headers)
        ready = await client.get("/readyz")

        assert answer == (503, "1")
        assert (await response.get_json())["type"] == "/problems/principal-session-unavailable"
        assert (ready.status_code, (await ready.get_json())["checks"]["principal_sessions"]) == (503, "failed")
        assert (await client.get("/livez")).status_code == 200

        redis_server.start()
        await asyncio.sleep(1.1)
        await ada.put("a", 1)
        assert (await client.get("/readyz")).status_code == 200
    logged = "\n".join(record.getMessage() for record in caplog.records if record.name.startswith("ligand_async"))
    assert "the storage failed" in logged
    assert "ada" not in logged
    assert "secret value" not in logged


@pytest.mark.extended
async def test_a_redis_that_hangs_is_a_503_in_time(redis_server: RedisServer) -> None:
    """Eighty requests at once, more than there are connections, wait for a second each; then it is as before."""
    app = make_shop(redis_config(redis_server))
    async with running(app, tables=False) as client:
        ada = caller_of(app, client)
        await ada.put("a", 1)
        redis_server.freeze()
        async with asyncio.timeout(20):  # much less than eighty seconds
            found = await asyncio.gather(*(failing(ada) for _ in range(80)))
        redis_server.thaw()

        assert set(found) == {(503, "1")}
        await asyncio.sleep(1.1)
        await ada.put("a", 2)
        assert await ada.value("a") == 2


@pytest.mark.extended
async def test_a_redis_that_is_killed_under_load_hangs_nobody(redis_server: RedisServer) -> None:
    """Each request is answered, before with success and afterwards with 503, and nothing is counted twice."""
    app = make_shop(redis_config(redis_server))
    async with running(app, tables=False) as client:
        ada = caller_of(app, client)
        sums: list[int] = []
        is_loaded = asyncio.Event()

        async def count() -> int:
            response = await ada.send("POST", "/values/n/increment")
            if response.status_code == 200:
                sums.append(await response.get_json())
            if len(sums) == 40:
                is_loaded.set()
            return int(response.status_code)

        async def keep_counting() -> list[int]:
            return [await count() for _ in range(50)]

        async with asyncio.timeout(15):
            tasks = [asyncio.create_task(keep_counting()) for _ in range(8)]
            await is_loaded.wait()
            redis_server.stop()
            found = [status for statuses in await asyncio.gather(*tasks) for status in statuses]

    assert set(found) == {200, 503}
    assert len(set(sums)) == len(sums)


@pytest.mark.extended
async def test_a_denied_caller_is_denied_without_redis(redis_server: RedisServer) -> None:
    """An outage of the session is no reason to answer anything but 401."""

    async def deny(principal: Principal) -> bool:
        return True

    app = make_shop(redis_config(redis_server), deny_list=deny)
    async with running(app, tables=False) as client:
        redis_server.stop()
        assert await caller_of(app, client).status("GET", "/keys") == 401


@pytest.mark.extended
async def test_a_redis_that_is_full_refuses_one_call_only(redis_server: RedisServer) -> None:
    """It answers, so the next call is made at once."""
    app = make_shop(redis_config(redis_server))
    async with running(app, tables=False) as client, redis_of(redis_server) as redis:
        ada = caller_of(app, client)
        await ada.put("a", 1)
        await redis.config_set("maxmemory", "1")
        assert await failing(ada) == (503, "1")
        await redis.config_set("maxmemory", "0")
        assert await ada.value("a") == 1


@pytest.mark.extended
async def test_an_app_that_stops_closes_its_connections(redis_server: RedisServer) -> None:
    """Only the test's own is left."""
    async with session_of(redis_config(redis_server)) as session:
        await session.set("a", 1)
    async with redis_of(redis_server) as redis:
        assert len(await redis.client_list()) == 1


async def test_an_update_that_never_succeeds_is_a_503(monkeypatch: pytest.MonkeyPatch) -> None:
    """After a while it gives up."""
    monkeypatch.setattr(module, "_UPDATE_TIMEOUT", 0.05)
    async with session_of({}) as session:
        store: Any = session._sessions.store

        def change(old: int | None) -> int:
            store.write(session._name, "n", b"%d" % ((old or 0) + 1))
            return 0

        with pytest.raises(PrincipalSessionUnavailable):
            await session.update("n", int, change)


def test_the_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error at start says what to install."""
    monkeypatch.setitem(sys.modules, "redis.asyncio", None)
    with pytest.raises(SettingsError, match=r"pip install 'ligand-async\[redis\]'"):
        make_shop({"principal_session_storage": "redis://127.0.0.1:6379"})


def test_without_a_storage_there_is_no_health_check() -> None:
    """Memory does not fail."""
    assert state_of(make_shop({})).get(PrincipalSessions).checks == []
