"""Row 143: a streamed body reads the database on a session of its own, and leaves nothing behind."""

import asyncio
import random
import tracemalloc
from collections.abc import AsyncIterator
from typing import Any

import pytest
from quart import Quart, Response
from sqlalchemy import insert, select, text

from ligand_async.web import ResponseCut
from tests.services import Item, db, make_app, routes, running

ROWS = 5_000

pytestmark = pytest.mark.ligand_conformance("off", reason="streams text by hand")


def stream_items(name: str, *, fail_at: int | None = None, pause: float = 0) -> Any:
    async def export() -> Response:
        async def lines() -> AsyncIterator[str]:
            async with db.read() as session:
                await session.execute(text("SELECT 1"))  # a plain statement before it, on the same session
                result = await session.stream(select(Item.price).order_by(Item.price))
                async for rows in result.partitions(500):
                    if fail_at is not None and any(price == fail_at for (price,) in rows):
                        raise ValueError("in the middle of the body")
                    await asyncio.sleep(pause)
                    yield "".join(f"{price}\n" for (price,) in rows)

        return Response(lines(), content_type="text/csv")

    export.__name__ = name
    return export


def make_export(url: str, **more: Any) -> Quart:
    settings = {"database_pool_size": 1, "database_pool_timeout": 1, **more}
    blueprint = routes(
        ("GET", "/whole", stream_items("whole")),
        ("GET", "/first", stream_items("first", fail_at=0)),
        ("GET", "/middle", stream_items("middle", fail_at=ROWS // 2)),
        ("GET", "/slow", stream_items("slow", pause=0.01)),
    )
    return make_app(url, blueprint, settings=settings)


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


async def test_clients_that_leave_at_any_moment_leave_nothing(database_url: str) -> None:
    """Twenty streams are left at random moments; none keeps the only connection."""
    async with running(make_export(database_url)) as client:
        await fill()
        for _ in range(20):
            async with client.request("/slow") as connection:
                await connection.send_complete()
                await asyncio.sleep(random.uniform(0, 0.1))  # noqa: S311  (not a secret)
                await connection.disconnect()
        response = await client.get("/whole")
        assert len((await response.get_data(as_text=True)).splitlines()) == ROWS


@pytest.mark.extended
async def test_a_hundred_thousand_rows_are_streamed_in_constant_memory(database_url: str) -> None:
    """The peak of Python's memory while a client reads 100,000 rows is that of some batches."""
    async with running(make_export(database_url)) as client:
        await fill(100_000)
        async with client.request("/whole") as connection:
            await connection.send_complete()
            tracemalloc.start()
            received = 0
            while received < 588_890:  # digits and line ends of 0 to 99,999
                received += len(await connection.receive())
            _, peak = tracemalloc.get_traced_memory()
            tracemalloc.stop()
        assert received == 588_890
        assert peak < 8_000_000
