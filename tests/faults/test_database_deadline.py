"""Row 102 and issue 16: the deadline of a request is the database's, too, and a silent database holds nobody."""

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from quart import Response
from sqlalchemy import func, select, text
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine

from ligand_async import operation
from tests.database_proxies import proxied
from tests.faults.database_service import PATH, VIEWS
from tests.http import PROBLEM, WireReply, exchange_now, request
from tests.servers import Launched, launched
from tests.services import Item, count_items, db, make_service, running

ASLEEP = text("SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query LIKE 'SELECT pg_sleep%'")


async def count_asleep(url: str) -> int:
    """Count the statements that wait in a database, on a connection of another program."""
    engine = create_async_engine(url)
    try:
        async with engine.connect() as connection:
            return int(await connection.scalar(ASLEEP) or 0)
    finally:
        await engine.dispose()


@pytest.mark.parametrize("pooler", ["none", "transaction"])
async def test_transaction_has_what_is_left(postgres_url: str, pooler: str) -> None:
    """A transaction that begins has a statement timeout of what is left; the next one has its own again."""
    app = make_service(postgres_url, *VIEWS, request_timeout=2.0, database_pool_size=1, database_pooler=pooler)
    async with running(app) as client:
        for _ in range(2):
            shown = await (await client.post("/timeout")).get_json()
            assert 1000 < int(shown.removesuffix("ms")) < 2000
    app = make_service(postgres_url, *VIEWS, request_timeout=60.0, database_pooler=pooler)
    async with running(app) as client:
        assert await (await client.post("/timeout")).get_json() == "15s"
        assert await (await client.get("/timeout")).get_json() == "15s"


async def test_commit_has_the_whole_time(postgres_url: str) -> None:
    """A commit is not ended by the deadline: what it runs, such as a deferred trigger, has the setting's time."""
    statements = (
        """
        CREATE FUNCTION dawdle() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN PERFORM pg_sleep(1); RETURN NULL; END $$""",
        """
        CREATE CONSTRAINT TRIGGER late AFTER INSERT ON item DEFERRABLE INITIALLY DEFERRED
        FOR EACH ROW EXECUTE FUNCTION dawdle()""",
    )
    app = make_service(postgres_url, request_timeout=0.7)
    async with running(app) as client:
        engine = create_async_engine(postgres_url)
        async with engine.begin() as connection:
            for statement in statements:
                await connection.execute(text(statement))
        await engine.dispose()
        response = await client.post("/items", json={"name": "cup"})

        assert response.status_code == 201
        assert await count_items() == 1


async def test_deadline_costs_no_round_trip(postgres_url: str) -> None:
    """A deadline that is nearer than the timeout of statements costs neither a read nor a write another message."""

    @operation(status=201)
    async def add(session: AsyncSession) -> None:
        """Write."""
        session.add(Item(name=f"item {time.monotonic_ns()}"))

    async def count_messages(seconds: float) -> list[int]:
        async with proxied(postgres_url) as proxy:
            app = make_service(proxy.url, ("POST", "/add", add), request_timeout=seconds, database_pool_size=1)
            async with running(app) as client:
                counts = []
                for method, path in 2 * [("GET", "/items"), ("POST", "/add")]:
                    before = proxy.questions
                    assert (await (client.get(path) if method == "GET" else client.post(path))).status_code < 300
                    counts.append(proxy.questions - before)
                return counts[2:]

    assert await count_messages(5.0) == await count_messages(60.0)


async def test_stream_outlives_the_deadline(database_url: str) -> None:
    """A stream that has begun, and a background task, use the database after the deadline of their request."""
    done = asyncio.Event()

    async def work_late() -> None:
        await asyncio.sleep(0.5)
        async with db.transaction() as session:
            session.add(Item(name="late"))
        done.set()

    async def send_late() -> Response:
        app.add_background_task(work_late)

        async def parts() -> AsyncIterator[str]:
            yield "counted "
            await asyncio.sleep(0.7)
            async with db.read(mode="snapshot") as session:
                yield str(await session.scalar(select(func.count()).select_from(Item)))

        return Response(parts())

    app = make_service(database_url, ("GET", "/late", send_late), request_timeout=0.3)
    async with running(app) as client:
        response = await client.get("/late")
        assert await response.get_data(as_text=True) == "counted 1"
        assert done.is_set()


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_statement_ends_with_its_request(postgres_url: str, method: str) -> None:
    """Soon after the answer of a request that was stopped, its statement is no longer running in the database."""
    app = make_service(postgres_url, *VIEWS, request_timeout=0.6, database_pool_size=1)
    async with running(app) as client:
        response = await (client.get("/sleep/60.0") if method == "GET" else client.post("/sleep/60.0"))
        assert response.status_code == 504
        await asyncio.sleep(0.3)
        assert await count_asleep(postgres_url) == 0
        assert (await client.get("/items")).status_code == 200


@asynccontextmanager
async def launch(path: Path, url: str, *, request_timeout: float) -> AsyncIterator[Launched]:
    """Run the shop in a process of its own, without keeping the loop, in which a proxy may run."""
    variables = {"DATABASE_URL": url, "REQUEST_TIMEOUT": str(request_timeout), "GRACE_PERIOD": "1"}
    process = launched(PATH, path, variables)
    server = await asyncio.to_thread(process.__enter__)
    try:
        yield server
    finally:
        server.process.kill()
        process.__exit__(None, None, None)


async def ask(server: Launched, method: str, path: str) -> tuple[WireReply, float]:
    """Send a request; return the answer and the seconds that it took."""
    began = time.monotonic()
    reply = await asyncio.to_thread(exchange_now, server.address, request(method, path, body=b""), timeout=20)
    return reply, time.monotonic() - began


@pytest.mark.extended
async def test_server_ends_what_a_frozen_process_began(postgres_url: str, tmp_path: Path) -> None:
    """The database ends a write at the deadline also where the process cannot: here it is stopped by a signal."""
    async with launch(tmp_path, postgres_url, request_timeout=2.0) as server:
        asking = asyncio.create_task(ask(server, "POST", "/sleep/60.0"))
        await asyncio.sleep(1)
        assert await count_asleep(postgres_url) == 1
        os.kill(server.process.pid, signal.SIGSTOP)
        await asyncio.sleep(1.5)
        asleep = await count_asleep(postgres_url)
    await asking
    assert asleep == 0


@pytest.mark.extended
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_black_hole(postgres_url: str, tmp_path: Path, method: str) -> None:
    """Row 102: a database that swallows everything costs each request its deadline, and nobody once it is back."""
    async with proxied(postgres_url) as proxy, launch(tmp_path, proxy.url, request_timeout=1.0) as server:
        assert (await ask(server, "GET", "/items"))[0].status == 200
        proxy.silent = True
        answers = await asyncio.gather(*(ask(server, method, "/sleep/0.01") for _ in range(6)))
        probe, took = await ask(server, "GET", "/readyz")
        live, _ = await ask(server, "GET", "/livez")
        assert {reply.status for reply, _ in answers} <= {503, 504}
        assert {reply.headers["content-type"] for reply, _ in answers} == {PROBLEM}
        assert max(seconds for _, seconds in answers) < 1.0 + 1.0 + 0.5
        assert (probe.status, live.status) == (503, 200)
        assert took < 2
        proxy.silent = False
        replies = [await ask(server, method, "/sleep/0.01") for _ in range(4)]
        assert [reply.status for reply, _ in replies] == [200] * 4
        assert max(seconds for _, seconds in replies) < 1
        code, _ = await asyncio.to_thread(server.stop)

    assert code == 0


@pytest.mark.extended
async def test_silent_database_does_not_hold_the_stop(postgres_url: str, tmp_path: Path) -> None:
    """Row 102: SIGTERM ends the process within the limit, while requests wait for a database that is silent."""
    async with proxied(postgres_url) as proxy, launch(tmp_path, proxy.url, request_timeout=30.0) as server:
        replies = [await ask(server, method, "/timeout") for method in ("GET", "POST")]
        assert [reply.status for reply, _ in replies] == [200, 200]
        proxy.silent = True
        asking = [asyncio.create_task(ask(server, method, "/timeout")) for method in ("GET", "POST")]
        await asyncio.sleep(0.5)
        code, took = await asyncio.to_thread(server.stop)
        answers = [(await task)[0] for task in asking]

    assert took < 1 + 2 + 1
    assert code == 3
    assert [answer.status for answer in answers] == [503, 503]
    assert [answer.headers["retry-after"] for answer in answers] == ["1", "1"]
