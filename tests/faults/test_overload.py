"""Row 59 and issue 16: more requests than a worker can serve are refused early, and what is let in is served."""

import asyncio
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from quart import Response, request, websocket
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from ligand_async import Principal, operation, public
from ligand_async.auth import BearerAuthenticator
from tests.faults.floods import BUSY, VARIABLES, peak_memory
from tests.http import RawAnswer, exchange, head
from tests.servers import Launched, launched, serving_own
from tests.services import app_of, make_service, running

MOST = 4


async def fetch(port: int, method: str, target: str, *fields: str, body: bytes = b"") -> RawAnswer:
    length = [f"Content-Length: {len(body)}"] if method == "POST" else []
    return await exchange(port, head(method, target, *length, *fields, "Connection: close") + body)


def is_shed(answer: RawAnswer) -> bool:
    """Return whether an answer is that of a service which has too many requests."""
    if answer.status != 503:
        return False
    return (answer.is_problem, answer.headers["retry-after"], answer.json["type"]) == (
        True,
        "1",
        "/problems/overloaded",
    )


class Gate:
    """Views that stay in the service until a test lets them go."""

    def __init__(self, **more: Any) -> None:
        self.open = asyncio.Event()
        self.inside = 0

        async def wait() -> str:
            self.inside += 1
            await self.open.wait()
            return "done"

        async def read_and_wait() -> str:
            await request.get_data()
            return await wait()

        async def send_events() -> Response:
            async def events() -> Any:
                yield "data: begun\n\n"
                await wait()

            return Response(events(), content_type="text/event-stream")

        views = (("GET", "/wait", wait), ("POST", "/body", read_and_wait), ("GET", "/events", send_events))
        self.app = app_of(*views, settings={"max_requests": MOST}, **more)

        @self.app.websocket("/echo")
        @public
        async def echo() -> None:
            while True:
                await websocket.send(await websocket.receive())

    @property
    def working(self) -> int:
        return self.app.guard.load.working


async def until(condition: Callable[[], bool]) -> None:
    """Wait until something is true."""
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110  (it is not one event)
            await asyncio.sleep(0.01)


async def begin(port: int, sent: bytes) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(sent)
    await writer.drain()
    return reader, writer


async def test_requests_beyond_the_limit_are_refused_and_probes_are_not() -> None:
    """Row 59: what comes beyond the limit is a 503 at once, health is served, and places are free again afterwards."""
    gate = Gate()
    async with running(gate.app, tables=False), serving_own(gate.app) as port:
        held = [asyncio.create_task(fetch(port, "GET", "/wait")) for _ in range(MOST)]
        await until(lambda: gate.inside == MOST)
        async with asyncio.timeout(1):
            shed = [await fetch(port, "GET", "/wait") for _ in range(3)]
            probes = [(await fetch(port, "GET", path)).status for path in ("/livez", "/readyz", "/info")]
        gate.open.set()
        served = [answer.status for answer in await asyncio.gather(*held)]

        assert all(map(is_shed, shed))
        assert probes == [200, 200, 200]
        assert served == [200] * MOST
        assert (await fetch(port, "GET", "/wait")).status == 200
        assert (gate.inside, gate.working, gate.app.guard.load.shed) == (MOST + 1, 0, 3)


async def test_refusal_comes_before_authentication_and_body() -> None:
    """A request that is refused costs no look at its token and no byte of its body."""
    asked = 0

    class Asked:
        async def verify(self, token: str) -> Principal:
            nonlocal asked
            asked += 1
            return Principal(token, "")

    gate = Gate(authenticators=[BearerAuthenticator(Asked())])
    async with running(gate.app, tables=False), serving_own(gate.app) as port:
        held = [asyncio.create_task(fetch(port, "GET", "/wait")) for _ in range(MOST)]
        await until(lambda: gate.inside == MOST)
        fields = ("Authorization: Bearer x", "Content-Length: 1000000")
        async with asyncio.timeout(1):
            answer = await exchange(port, head("POST", "/body", *fields))  # without its body
        gate.open.set()
        await asyncio.gather(*held)

        assert is_shed(answer)
        assert asked == 0


async def test_clients_that_only_wait_take_no_place() -> None:
    """Bodies that do not arrive, streams of events and open websockets do not count: their clients work, not we."""
    gate = Gate()
    handshake = head(
        "GET",
        "/echo",
        "Upgrade: websocket",
        "Connection: Upgrade",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    )
    idle = [head("POST", "/body", "Content-Length: 10") + b"half", head("GET", "/events"), handshake]
    async with running(gate.app, tables=False), serving_own(gate.app) as port:
        opened = [await begin(port, sent) for sent in idle for _ in range(2 * MOST)]
        await until(lambda: gate.inside == 2 * MOST and gate.working == 0)  # all streams have begun
        bodies = opened[: 2 * MOST]
        held = [asyncio.create_task(fetch(port, "GET", "/wait")) for _ in range(MOST)]
        await until(lambda: gate.working == MOST)
        assert is_shed(await fetch(port, "GET", "/wait"))
        for _, writer in bodies:  # what was let in is served, although others came first
            writer.write(b"thrice")
        await until(lambda: gate.working == 3 * MOST)
        gate.open.set()
        assert {(await asyncio.wait_for(reader.readline(), 5)).split()[1] for reader, _ in bodies} == {b"200"}
        assert {answer.status for answer in await asyncio.gather(*held)} == {200}
        for _, writer in opened:
            writer.close()
        await until(lambda: gate.working == 0)


@pytest.mark.parametrize("path", ["/wait", "/body"])
async def test_clients_that_leave_free_their_place(path: str) -> None:
    """A client that goes away before its answer gives its place back, with its body or without."""
    gate = Gate()
    sent = head("GET", path) if path == "/wait" else head("POST", path, "Content-Length: 10") + b"half"
    async with running(gate.app, tables=False), serving_own(gate.app) as port:
        for _ in range(3 * MOST):
            _, writer = await begin(port, sent)
            await asyncio.sleep(0.02)
            writer.transport.abort()
        gate.open.set()
        await until(lambda: gate.working == 0)
        assert (await fetch(port, "GET", "/wait")).status == 200


async def test_default_is_fifty_for_each_connection_of_the_pool(sqlite_url: str) -> None:
    """Without a setting the limit follows the pool."""
    app: Any = make_service(sqlite_url, database_pool_size=3)

    assert app.guard.load.most == 150


@operation
async def wait_for_postgresql(session: AsyncSession) -> None:
    """Keep a connection for a while."""
    await session.execute(text("SELECT pg_sleep(1)"))


async def test_no_connection_by_the_deadline_is_503(postgres_url: str) -> None:
    """A request that waited for a connection to its deadline has changed nothing and says 503, not 504."""
    app = make_service(
        postgres_url,
        ("GET", "/slow", wait_for_postgresql),
        ("POST", "/slow", wait_for_postgresql),
        database_pool_size=1,
        database_pool_timeout=10.0,
        request_timeout=1.5,
    )
    async with running(app), serving_own(app) as port:
        for method in ("GET", "POST"):
            answers = await asyncio.gather(*(fetch(port, method, "/slow") for _ in range(4)))
            counted = Counter((answer.status, answer.headers.get("retry-after")) for answer in answers)
            assert counted[204, None] >= 1
            assert counted[503, "1"] >= 2
            assert counted[503, "1"] + counted[204, None] + counted[504, None] == 4


@pytest.mark.extended
def test_flood_at_ten_times_capacity(tmp_path: Path, figure: Callable[[int, int], int]) -> None:
    """Every refusal is a 503 with Retry-After within 2.5 s, memory stays bounded, and health answers all the while."""
    capacity = figure(10, 200)
    with launched(BUSY, tmp_path, {**VARIABLES, "LIGAND_MAX_REQUESTS": str(capacity)}) as server:
        asyncio.run(_flood(server, capacity, rounds=figure(3, 30)))
        code, _ = server.stop()

    assert code == 0


async def _flood(server: Launched, capacity: int, *, rounds: int) -> None:
    port = int(server.address.rpartition(":")[2])
    served = refused = 0
    slowest: dict[str, float] = {"refusal": 0.0, "probe": 0.0}
    before = peak_memory(server.process.pid)

    async def ask() -> None:
        nonlocal served, refused
        for _ in range(rounds):
            began = asyncio.get_running_loop().time()
            answer = await fetch(port, "POST", "/nap/0.3", body=bytes(20_000))
            if answer.status == 200:
                served += 1
                continue
            assert is_shed(answer), answer
            refused += 1
            slowest["refusal"] = max(slowest["refusal"], asyncio.get_running_loop().time() - began)

    async def probe() -> None:
        while True:
            began = asyncio.get_running_loop().time()
            assert (await fetch(port, "GET", "/readyz")).status == 200
            slowest["probe"] = max(slowest["probe"], asyncio.get_running_loop().time() - began)
            await asyncio.sleep(0.05)

    probing = asyncio.create_task(probe())
    await asyncio.gather(*(ask() for _ in range(10 * capacity)))
    probing.cancel()
    await asyncio.wait({probing})
    assert probing.cancelled(), probing.exception()
    grown = peak_memory(server.process.pid) - before
    print(f"served {served}, refused {refused}, slowest {slowest}, memory +{grown} MB")
    assert served >= capacity
    assert refused > served
    assert slowest["refusal"] < 2.5
    assert grown < 60  # MB
