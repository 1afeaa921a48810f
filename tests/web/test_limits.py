"""Callers who ask too often."""

import asyncio
import logging
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from quart import Blueprint, Quart
from quart.typing import TestClientProtocol as Client
from quart.views import MethodView

from ligand_async import Settings, create_app, limit, operation, public
from ligand_async.auth import network_of
from ligand_async.settings import Quota, SettingsError, read_quotas
from ligand_async.testing import authorization
from ligand_async.web import limits
from ligand_async.web.limits import MemoryCounters, SharedCounters, limits_of
from tests.docs.documents import describe, operations
from tests.redis_server import RedisServer
from tests.services import NEVER_OPENED, app_of, make_app, routes, running


class Clock:
    """Time that passes when it is told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def freeze(app: Quart) -> Clock:
    """Let an app count by a clock of the test's."""
    limits = limits_of(app)
    assert limits is not None
    assert isinstance(limits.counters, MemoryCounters)
    clock = limits.counters.clock = Clock()
    return clock


@operation
async def free() -> str:
    return "x"


@limit("2/minute")
@operation
async def dear() -> str:
    return "x"


async def statuses(client: Client, path: str, times: int, method: str = "GET") -> list[int]:
    return [(await getattr(client, method.lower())(path)).status_code for _ in range(times)]


async def test_a_window_begins_with_the_first_request_and_ends() -> None:
    """Two a minute: the third is refused until the minute is over."""
    app = app_of(("GET", "/", dear))
    clock = freeze(app)
    async with running(app, tables=False) as client:
        assert await statuses(client, "/", 3) == [200, 200, 429]
        clock.now += 59.9
        assert await statuses(client, "/", 1) == [429]
        clock.now += 0.1
        assert await statuses(client, "/", 3) == [200, 200, 429]


async def test_every_answer_tells_what_is_left() -> None:
    """The policy, what remains and for how long; and when to come back."""
    app = app_of(("GET", "/", dear))
    clock = freeze(app)
    async with running(app, tables=False) as client:
        told = []
        for _ in range(3):
            response = await client.get("/")
            told.append((response.headers["RateLimit"], response.headers.get("Retry-After")))
            clock.now += 10.5

        assert response.headers["RateLimit-Policy"] == '"shop.dear_get-60";q=2;w=60'
    name = '"shop.dear_get-60"'
    assert told == [(f"{name};r=1;t=60", None), (f"{name};r=0;t=50", None), (f"{name};r=0;t=39", "39")]


async def test_errors_of_the_handler_count_and_tell_too() -> None:
    """A handler that fails has worked."""

    @limit("1/minute")
    @operation
    async def fail() -> None:
        raise ZeroDivisionError

    async with running(app_of(("GET", "/", fail)), tables=False) as client:
        response = await client.get("/")
        assert (response.status_code, response.headers["RateLimit"].split(";")[1]) == (500, "r=0")
        assert await statuses(client, "/", 1) == [429]


async def test_requests_at_once_are_counted_one_by_one() -> None:
    """Of fifty that come together, as many pass as the quota says."""

    @limit("10/minute")
    @operation
    async def handler() -> str:
        return "x"

    async with running(app_of(("GET", "/", handler)), tables=False) as client:
        responses = await asyncio.gather(*(client.get("/") for _ in range(50)))

    assert sorted(response.status_code for response in responses) == [200] * 10 + [429] * 40


async def test_several_quotas_all_hold() -> None:
    """The shortest window is asked first, and who is refused there does not use up the longer."""

    @limit("3/hour; 2/second")
    @operation
    async def handler() -> str:
        return "x"

    app = app_of(("GET", "/", handler))
    clock = freeze(app)
    async with running(app, tables=False) as client:
        assert await statuses(client, "/", 5) == [200, 200, 429, 429, 429]
        clock.now += 1
        assert await statuses(client, "/", 2) == [200, 429]
        response = await client.get("/")
    assert response.status_code == 429
    assert response.headers["RateLimit-Policy"] == '"shop.handler_get-1";q=2;w=1'


@pytest.mark.parametrize("above", [True, False])
async def test_the_order_of_decorators_does_not_matter(above: bool) -> None:
    """Above or below `@operation`, above or below the route."""
    blueprint = public(Blueprint("shop", __name__))

    async def handler() -> str:
        return "x"

    mark, route = limit("1/minute"), blueprint.get("/")
    if above:
        mark(route(operation(handler)))
    else:
        route(mark(operation(handler)))
    under = public(Blueprint("under", __name__, url_prefix="/under"))
    under.get("/")(operation(mark(handler)))
    async with running(make_app(NEVER_OPENED, blueprint, under, database=None), tables=False) as client:
        assert await statuses(client, "/", 2) == [200, 429]
        assert await statuses(client, "/under/", 2) == [200, 429]


@limit("2/minute")
class Things(MethodView):
    @operation
    async def get(self) -> str:
        return "x"

    @operation
    async def put(self) -> str:
        return "x"

    @limit("1/minute")
    @operation
    async def post(self) -> str:
        return "x"

    @limit(None)
    @operation
    async def delete(self) -> str:
        return "x"


async def test_the_nearest_mark_decides() -> None:
    """Method, class, view, blueprints from the inside out, setting; what one mark decides is counted together."""
    outer, inner = public(Blueprint("outer", __name__)), limit("3/minute")(Blueprint("inner", __name__))
    inner.add_url_rule("/things", view_func=Things.as_view("things"))
    inner.add_url_rule("/one", "one", free)
    inner.add_url_rule("/two", "two", free)
    inner.add_url_rule("/dear", "dear", dear)
    outer.add_url_rule("/outside", "outside", free)
    outer.register_blueprint(inner)
    app = make_app(NEVER_OPENED, outer, database=None, settings={"rate_limit": "4/minute"})
    freeze(app)
    async with running(app, tables=False) as client:
        assert await statuses(client, "/things", 2, "POST") == [200, 429]
        assert await statuses(client, "/things", 1, "GET") == [200]
        assert await statuses(client, "/things", 2, "PUT") == [200, 429]
        assert await statuses(client, "/things", 1, "HEAD") == [429]
        assert await statuses(client, "/things", 9, "DELETE") == [200] * 9
        assert await statuses(client, "/dear", 3) == [200, 200, 429]
        assert await statuses(client, "/one", 2) == [200, 200]
        assert await statuses(client, "/two", 2) == [200, 429]
        assert await statuses(client, "/outside", 5) == [200] * 4 + [429]


@pytest.mark.parametrize("marked", ["blueprint", "view", "child"])
async def test_a_limit_counts_once_for_every_registration(marked: str) -> None:
    """A blueprint that is mounted twice does not double the quota of its callers, nor does one inside it."""
    child = public(Blueprint("child", __name__))
    child.add_url_rule("/x", "x", dear if marked == "view" else free)
    parent = Blueprint("parent", __name__)
    if marked != "view":
        limit("2/minute")(child if marked == "child" else parent)
    parent.register_blueprint(child)
    app = app_of()
    app.register_blueprint(parent, url_prefix="/one")
    app.register_blueprint(parent, url_prefix="/two", name="again")
    async with running(app, tables=False) as client:
        first, second = await statuses(client, "/one/x", 2), await statuses(client, "/two/x", 1)

    assert (first, second) == ([200, 200], [429])


async def test_probes_preflights_and_wrong_paths_are_not_counted() -> None:
    """Only what reaches a handler is; and no probe is ever refused."""
    app = app_of(("POST", "/", free), settings={"rate_limit": "1/minute"})
    async with running(app, tables=False) as client:
        assert await statuses(client, "/livez", 3) == [200] * 3
        assert set(await statuses(client, "/", 3, "OPTIONS")) <= {200, 204}
        assert await statuses(client, "/nothing", 3) == [404] * 3
        assert await statuses(client, "/", 3) == [405] * 3
        assert await statuses(client, "/", 2, "POST") == [200, 429]


async def test_nothing_is_limited_by_default() -> None:
    """No mark, no setting: no header."""
    async with running(app_of(("GET", "/", free)), tables=False) as client:
        assert "RateLimit" not in (await client.get("/")).headers


async def test_a_principal_is_counted_wherever_it_calls_from() -> None:
    """By issuer and subject, once it is known; each has a quota of its own."""
    app = app_of(("GET", "/", dear))
    async with running(app, tables=False) as client:

        async def ask_as(name: str, address: str) -> int:
            base = {"client": (address, 1)}
            return (await client.get("/", headers=authorization(app, subject=name), scope_base=base)).status_code

        assert [await ask_as("ada", f"192.0.2.{number}") for number in range(3)] == [200, 200, 429]
        assert await ask_as("bob", "192.0.2.1") == 200


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::9", "2001:db8:1:2::/64"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("<local>", "<local>"),
    ],
)
def test_a_customer_s_ipv6_addresses_are_one_caller(address: str, network: str) -> None:
    """Who has one has 2 to the 64."""
    assert network_of(address, ipv4_prefix=32) == network


async def test_handshakes_of_websockets_are_counted() -> None:
    """A websocket's mark limits how often it is opened."""
    from quart import websocket
    from quart.testing import WebsocketResponseError

    app = app_of()

    @app.websocket("/ws")
    @public
    @limit("1/minute")
    async def socket_view() -> None:
        await websocket.send("x")

    async with running(app, tables=False) as client:
        async with client.websocket("/ws") as connection:
            assert await connection.receive() == "x"
        with pytest.raises(WebsocketResponseError) as refused:
            async with client.websocket("/ws") as connection:
                await connection.receive()
    assert refused.value.response.status_code == 429


def test_the_document_says_where_429_may_come() -> None:
    """On what carries a mark, and on everything where the setting has a default."""
    marked = operations(describe(app_of(("GET", "/dear", dear), ("GET", "/free", free))))
    everything = operations(describe(app_of(("GET", "/free", free), settings={"rate_limit": "1/second"})))

    assert {name: "429" in told["responses"] for name, told in marked.items()} == {
        "dear_shop_get": True,
        "free_shop_get": False,
    }
    assert all("429" in told["responses"] for told in everything.values())


@pytest.mark.parametrize(
    ("text", "quotas"),
    [
        ("10/minute", (Quota(60, 10),)),
        ("10 per minute", (Quota(60, 10),)),
        ("5/2 hours", (Quota(7200, 5),)),
        ("1000/day; 10/Second", (Quota(1, 10), Quota(86400, 1000))),
        ("1000/day,10/second", (Quota(1, 10), Quota(86400, 1000))),
    ],
)
def test_quotas_are_written_in_words(text: str, quotas: tuple[Quota, ...]) -> None:
    """The shortest window comes first."""
    assert read_quotas(text) == quotas


@pytest.mark.parametrize("text", ["", "10", "10/fortnight", "0/minute", "5/0 hours", "-1/day", "1/day;2/day", "1/day;"])
def test_other_quotas_are_refused_at_once(text: str) -> None:
    """At decoration, and as a setting."""
    with pytest.raises(ValueError, match="write it as"):
        limit(text)
    with pytest.raises(SettingsError, match="rate_limit"):
        Settings.load("testing", database_url=NEVER_OPENED, rate_limit=text)


async def test_memory_holds_what_it_must_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """Windows that are over are forgotten little by little, and there is a bound for the others."""
    monkeypatch.setattr(limits, "MAX_KEYS", 50)
    clock = Clock()
    memory = MemoryCounters(clock)
    for number in range(200):
        await memory.hit(f"old {number}", 10)
    assert len(memory.windows) == 50
    clock.now += 10
    for number in range(30):
        await memory.hit(f"new {number}", 10)
    assert len(memory.windows) == 30
    assert await memory.hit("new 0", 10) == (2, 10.0)


@pytest.mark.parametrize("extra", ["limits.aio.storage", "redis.asyncio"])
def test_a_missing_extra_is_named(extra: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A shared storage needs one; the error at start says which."""
    monkeypatch.setitem(sys.modules, extra, None)
    settings = Settings.load("testing", database_url=NEVER_OPENED, rate_limit_storage="redis://127.0.0.1:6379")

    with pytest.raises(SettingsError, match=r"pip install 'ligand-async\[ratelimit\]'"):
        create_app(__name__, title="T", version="1", settings=settings)


@pytest.mark.parametrize("url", ["memory://", "http://a", "redis://", "redis:6379", "redis://a:0", "redis://a:99999"])
def test_another_storage_is_refused(url: str) -> None:
    """It is a Redis or none."""
    with pytest.raises(SettingsError, match="rate_limit_storage"):
        Settings.load("testing", database_url=NEVER_OPENED, rate_limit_storage=url)


@contextmanager
def dead_storage(*, listening: bool) -> Iterator[str]:
    """Yield the URL of a port where nobody listens, or of one that takes connections and never answers."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        if listening:
            listener.listen(16)
        yield f"redis://127.0.0.1:{listener.getsockname()[1]}"


@pytest.mark.parametrize("listening", [False, True])
async def test_a_storage_that_is_down_stops_nobody(listening: bool, caplog: pytest.LogCaptureFixture) -> None:
    """Requests pass uncounted, the first after a short wait and the next at once; the log says so, once."""
    with dead_storage(listening=listening) as url:
        app = app_of(("GET", "/", dear), settings={"rate_limit_storage": url})
        async with running(app, tables=False) as client:
            with caplog.at_level(logging.WARNING):
                async with asyncio.timeout(2):
                    responses = await asyncio.gather(*(client.get("/") for _ in range(5)))
                    assert [response.status_code for response in responses] == [200] * 5
                    assert await statuses(client, "/", 5) == [200] * 5
    assert [record.name for record in caplog.records] == ["ligand_async.web.limits"]


@pytest.fixture
def redis_url(redis_server: RedisServer) -> str:
    """The URL of a Redis of the test's own."""
    return redis_server.url


@pytest.mark.extended
async def test_workers_count_together(redis_url: str) -> None:
    """Two apps on one Redis share a quota, and the window ends there too."""
    settings: dict[str, Any] = {"rate_limit_storage": redis_url, "rate_limit": "3/second"}
    views = routes(("GET", "/", free))
    first, second = (make_app(NEVER_OPENED, views, database=None, settings=settings) for _ in range(2))
    async with running(first, tables=False) as one, running(second, tables=False) as two:
        results = [(await client.get("/")).status_code for client in (one, two, one, two)]
        assert results == [200, 200, 200, 429]
        await asyncio.sleep(1.1)
        assert await statuses(two, "/", 1) == [200]


@pytest.mark.extended
async def test_a_storage_that_comes_back_counts_again(redis_url: str) -> None:
    """After a while it is asked anew."""
    shared = SharedCounters(redis_url)
    shared.cooldown.begin(0.1)

    assert await shared.hit("key", 60) is None
    await asyncio.sleep(0.15)
    found = await shared.hit("key", 60)
    await shared.close()

    assert found is not None
    assert found[0] == 1
    assert 58 < found[1] <= 60
