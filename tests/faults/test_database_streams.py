"""Row 143: a streamed body reads the database on a session of its own, and leaves nothing behind."""

import asyncio
import json
import random
import tracemalloc
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest
from quart import Quart, Response
from sqlalchemy import insert, literal_column, select, text
from sqlalchemy.ext.asyncio import AsyncSession

from ligand_async.web import ResponseCut
from tests.servers import serving
from tests.services import Item, db, make_app, routes, running

ROWS = 5_000
NDJSON = "application/x-ndjson"

pytestmark = pytest.mark.ligand_conformance("off", reason="streams text by hand")


def stream_items(
    name: str, *, mimetype: str = "text/csv", column: Any = Item.price, fail_at: int | None = None, pause: float = 0
) -> Any:
    line = '{"price": %d}\n' if mimetype == NDJSON else "%d\n"

    async def export() -> Response:
        async def lines() -> AsyncIterator[str]:
            async with db.read() as session:
                await session.execute(text("SELECT 1"))  # a plain statement before it, on the same session
                statement = select(column).order_by(Item.price) if column is Item.price else select(column(session))
                result = await session.stream(statement.add_columns(Item.price))
                async for rows in result.partitions(500):
                    if fail_at is not None and any(price == fail_at for _, price in rows):
                        raise ValueError("in the middle of the body")
                    await asyncio.sleep(pause)
                    yield "".join(line % price for _, price in rows)

        return Response(lines(), content_type=mimetype)

    export.__name__ = name
    return export


def failing_column(session: AsyncSession) -> Any:
    """Return a column that the database cannot compute for the row in the middle."""
    if session.get_bind().dialect.name == "postgresql":
        return literal_column(f"1 / (price - {ROWS // 2})")
    return literal_column(f"abs(CASE price WHEN {ROWS // 2} THEN -9223372036854775807 - 1 ELSE price END)")


async def end_backend() -> Response:
    """Stream, and let PostgreSQL end the connection after the first batch."""

    async def lines() -> AsyncIterator[str]:
        async with db.read() as session:
            backend = await session.scalar(text("SELECT pg_backend_pid()"))
            result = await session.stream(select(Item.price).order_by(Item.price))
            async for rows in result.partitions(500):
                yield "".join(f"{price}\n" for (price,) in rows)
                async with db.transaction() as other:
                    await other.execute(text(f"SELECT pg_terminate_backend({backend})"))

    return Response(lines(), content_type="text/csv")


def make_export(url: str, **more: Any) -> Quart:
    settings = {"database_pool_size": 1, "database_pool_timeout": 1, **more}
    views = {
        "whole": stream_items("whole"),
        "records": stream_items("records", mimetype=NDJSON),
        "first": stream_items("first", fail_at=0),
        "middle": stream_items("middle", fail_at=ROWS // 2),
        "broken": stream_items("broken", column=failing_column),
        "broken-records": stream_items("broken_records", mimetype=NDJSON, column=failing_column),
        "ended": end_backend,
        "slow": stream_items("slow", pause=0.01),
        "slow-records": stream_items("slow_records", mimetype=NDJSON, pause=0.01),
    }
    return make_app(url, routes(*(("GET", f"/{path}", view) for path, view in views.items())), settings=settings)


async def fill(rows: int = ROWS) -> None:
    async with db.transaction() as session:
        await session.execute(insert(Item), [{"name": str(n), "price": n} for n in range(rows)])


async def test_a_streamed_body_reads_in_batches(database_url: str) -> None:
    """`db.read()` and `session.stream()` work as the guide shows, without a context of their own making."""
    async with running(make_export(database_url)) as client:
        await fill()
        response = await client.get("/whole")
        assert (await response.get_data(as_text=True)).splitlines() == [str(n) for n in range(ROWS)]


async def test_a_stream_that_fails_is_seen_and_leaves_nothing(
    database_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Before the first byte it is a 500. Later the test client raises; and the only connection serves the next one."""
    async with running(make_export(database_url)) as client:
        await fill()
        for _ in range(3):
            assert (await client.get("/first")).status_code == 500
            with pytest.raises(ResponseCut, match="GET /middle"):
                await client.get("/middle")
            response = await client.get("/whole")
            assert len((await response.get_data(as_text=True)).splitlines()) == ROWS
    assert "in the middle of the body" in caplog.text


async def test_a_refused_cursor_does_not_poison_its_connection(postgres_url: str) -> None:
    """A cursor outside of a transaction is refused; the connection is given up, and later transactions are whole."""
    async with running(make_export(postgres_url)) as client:
        await fill(10)
        for _ in range(3):
            async with db.read() as session:
                connection = await session.connection()
                with pytest.raises(Exception, match="outside of a transaction"):
                    await connection.stream(select(Item.name))
            async with db.read(mode="snapshot") as session:
                assert await session.scalar(text("SELECT pg_current_xact_id_if_assigned() IS NULL"))
            assert (await client.get("/whole")).status_code == 200


@pytest.mark.parametrize("path", ["/slow", "/slow-records"])
@pytest.mark.extended
async def test_clients_that_leave_at_any_moment_leave_nothing(database_url: str, path: str) -> None:
    """Twenty streams are left at random moments; none keeps the only connection."""
    async with running(make_export(database_url)) as client:
        await fill()
        for _ in range(20):
            async with client.request(path) as connection:
                await connection.send_complete()
                await asyncio.sleep(random.uniform(0, 0.1))  # noqa: S311  (not a secret)
                await connection.disconnect()
        response = await client.get("/whole")
        assert len((await response.get_data(as_text=True)).splitlines()) == ROWS


async def read_lines(client: httpx2.AsyncClient, path: str) -> tuple[list[str], bool]:
    """Return the lines that a client of a real server gets, and whether it is told that they are not all."""
    lines: list[str] = []
    async with client.stream("GET", path) as response:
        assert response.status_code == 200
        try:
            async for line in response.aiter_lines():
                lines.append(line)  # noqa: PERF401  (a comprehension would lose them when the body is cut)
        except httpx2.RemoteProtocolError:
            return lines, True
    return lines, False


async def test_a_database_that_fails_midway_is_seen_by_the_client(database_url: str) -> None:
    """CSV is cut, which HTTP reports; NDJSON ends with a problem. The only connection serves the next one."""
    app = make_export(database_url)
    async with running(app), serving(app) as port, httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
        await fill()
        for _ in range(3):
            lines, is_cut = await read_lines(client, "/broken")
            assert (lines[0], is_cut) == ("0", True)
            records, is_cut = await read_lines(client, "/broken-records")
            problem = json.loads(records[-1])
            assert (is_cut, problem["status"]) == (False, 500)
            assert problem["request_id"]
            assert json.loads(records[0]) == {"price": 0}
            assert await read_lines(client, "/records") == ([f'{{"price": {n}}}' for n in range(ROWS)], False)


async def test_a_connection_that_ends_midway_is_seen_by_the_client(postgres_url: str) -> None:
    """The stream is cut, and the next one has a new connection."""
    app = make_export(postgres_url)
    async with running(app), serving(app) as port, httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
        await fill()
        for _ in range(2):
            assert (await read_lines(client, "/ended"))[1]
            assert await read_lines(client, "/whole") == ([str(n) for n in range(ROWS)], False)


async def test_real_clients_that_leave_midway_leave_nothing(database_url: str) -> None:
    """A client that closes its connection after the first part frees the session behind it."""
    app = make_export(database_url)
    async with running(app), serving(app) as port, httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
        await fill()
        for _ in range(5):
            async with client.stream("GET", "/slow-records") as response:
                async for _line in response.aiter_lines():
                    break
        assert await read_lines(client, "/whole") == ([str(n) for n in range(ROWS)], False)


@pytest.mark.extended
@pytest.mark.parametrize(("path", "extra"), [("/whole", 0), ("/records", len('{"price": }') * 100_000)])
async def test_a_hundred_thousand_rows_are_streamed_in_constant_memory(
    database_url: str, path: str, extra: int
) -> None:
    """The peak of Python's memory while a client reads 100,000 rows is that of some batches."""
    size = 588_890 + extra  # digits and line ends of 0 to 99,999
    async with running(make_export(database_url)) as client:
        await fill(100_000)
        async with client.request(path) as connection:
            await connection.send_complete()
            tracemalloc.start()
            received = 0
            while received < size:
                received += len(await connection.receive())
            _, peak = tracemalloc.get_traced_memory()
            tracemalloc.stop()
        assert received == size
        assert peak < 8_000_000
