"""FAULTS 168: a database that swallows every byte is a 504 at the limit that the docs name."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from quart.typing import TestClientProtocol as Client
from sqlalchemy import func, select, text
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine

from ligand_async import operation
from ligand_async.errors import Conflict
from tests.database_proxies import Proxy, proxied
from tests.services import Item, count_checked_out, count_items, db, make_service, post, running

LIMIT = 0.6  # seconds, DATABASE_COMMAND_TIMEOUT of these tests
SLACK = 0.3  # of a busy machine


async def answered(request: Awaitable[Any]) -> tuple[int, float]:
    """Return the status of an answer, and the seconds that it took."""
    began = time.monotonic()
    response = await request
    return response.status_code, time.monotonic() - began


@asynccontextmanager
async def behind_a_proxy(url: str, **settings: Any) -> AsyncIterator[tuple[Client, Proxy]]:
    """Run the shop behind a proxy, with views that fall silent in the middle of their work."""
    async with proxied(url) as proxy:

        @operation
        async def fail_after_writing(session: AsyncSession) -> None:
            """Write, and fail when the database has fallen silent."""
            session.add(Item(name="lost"))
            await session.flush()
            proxy.silent = True
            raise Conflict("no")

        @operation
        async def commit_into_silence(session: AsyncSession) -> None:
            """Write, and return when the database has fallen silent."""
            session.add(Item(name="kept or not"))
            await session.flush()
            proxy.silent = True

        @operation
        async def flush_into_silence(session: AsyncSession) -> None:
            """Leave the flush to the unit of work."""
            await session.execute(select(func.count()).select_from(Item))
            session.add(Item(name="lost"))
            proxy.silent = True

        @operation(session="snapshot")
        async def count_in_a_snapshot(session: AsyncSession) -> int:
            """Count the items at one moment."""
            return await session.scalar(select(func.count()).select_from(Item)) or 0

        app = make_service(
            proxy.url,
            ("POST", "/rollback", fail_after_writing),
            ("POST", "/commit", commit_into_silence),
            ("POST", "/flush", flush_into_silence),
            ("GET", "/snapshot", count_in_a_snapshot),
            **{"database_command_timeout": LIMIT, "database_connect_timeout": LIMIT, **settings},
        )
        async with running(app) as client:
            yield client, proxy


@pytest.mark.parametrize("pooler", ["none", "transaction"])
@pytest.mark.parametrize("path", ["GET /items", "GET /snapshot", "POST /items"])
@pytest.mark.extended
async def test_open_connection(postgres_url: str, path: str, pooler: str) -> None:
    """A statement on a connection of the pool is given up after DATABASE_COMMAND_TIMEOUT, and that is the answer."""
    method, path = path.split()
    async with behind_a_proxy(postgres_url, database_pooler=pooler) as (client, proxy):
        assert (await post(client, "/items", name="cup"))[0] == 201
        assert (await client.get("/items")).status_code == (await client.get("/snapshot")).status_code == 200
        proxy.silent = True
        request = client.get(path) if method == "GET" else client.post(path, json={"name": "pot"})
        status, seconds = await answered(request)

        assert (status, count_checked_out()) == (504, 0)
        assert LIMIT - 0.1 < seconds < LIMIT + SLACK


@pytest.mark.parametrize(("path", "expected"), [("/rollback", 409), ("/commit", 504), ("/flush", 504)])
async def test_end_of_the_transaction(postgres_url: str, path: str, expected: int) -> None:
    """A commit or rollback without an answer is given up after the same time; a failed request keeps its answer."""
    async with behind_a_proxy(postgres_url) as (client, _):
        status, seconds = await answered(client.post(path))

        assert (status, count_checked_out()) == (expected, 0)
        assert LIMIT - 0.1 < seconds < LIMIT + SLACK


@pytest.mark.parametrize("answers", [0, 1, 2, 5, 8, 10, 12])
@pytest.mark.extended
async def test_new_connection(postgres_url: str, answers: int) -> None:
    """At whatever point of its first steps a connection falls silent, the answer is a 503 or 504 within the limit."""
    async with behind_a_proxy(postgres_url) as (client, proxy):
        await db.engines().dispose()
        proxy.answers_left = answers
        status, seconds = await answered(client.get("/items"))

        assert status in ({200} if answers == 12 else {503, 504})
        assert status == 200 or LIMIT - 0.1 < seconds < LIMIT + SLACK
        assert count_checked_out() == 0


@pytest.mark.extended
async def test_no_connection_is_503_at_the_connect_timeout(postgres_url: str) -> None:
    """Where no connection can be made, DATABASE_CONNECT_TIMEOUT is the limit."""
    async with behind_a_proxy(postgres_url) as (client, proxy):
        await db.engines().dispose()
        proxy.silent = True
        for request in (client.get("/items"), client.post("/items", json={"name": "pot"})):
            status, seconds = await answered(request)
            assert status == 503
            assert LIMIT - 0.1 < seconds < LIMIT + SLACK


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.extended
async def test_deadline_of_the_request(postgres_url: str, method: str) -> None:
    """Where REQUEST_TIMEOUT is nearer, it is the limit, and at most a second of clean-up."""
    async with behind_a_proxy(postgres_url, request_timeout=LIMIT, database_command_timeout=20.0) as (client, proxy):
        assert (await post(client, "/items", name="cup"))[0] == 201
        assert await count_items() == 1
        proxy.silent = True
        request = client.get("/items") if method == "GET" else client.post("/items", json={"name": "pot"})
        status, seconds = await answered(request)

        assert status == 504
        assert LIMIT - 0.1 < seconds < LIMIT + 1.0 + SLACK


@pytest.mark.extended
async def test_statement_on_a_live_server_is_still_cancelled(postgres_url: str) -> None:
    """The server ends a statement that was given up, although nobody waits for that."""

    @operation
    async def crawl(session: AsyncSession) -> None:
        """Take for ever."""
        await session.execute(text("SELECT pg_sleep(30)"))

    asleep = text("SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query LIKE '%pg_sleep(30)%'")
    app = make_service(postgres_url, ("POST", "/crawl", crawl), database_command_timeout=LIMIT)
    async with running(app) as client:
        assert (await client.post("/crawl")).status_code == 504
        for _ in range(100):
            async with db.transaction() as session:
                if await session.scalar(asleep) == 1:  # this one
                    return
            await asyncio.sleep(0.05)
        pytest.fail("the statement goes on")


@pytest.mark.extended
async def test_sqlalchemy_waits_for_a_goodbye(postgres_url: str) -> None:
    """SQLAlchemy's own `do_terminate` keeps a silent connection for two seconds; else ours is not needed any more."""
    async with proxied(postgres_url) as proxy:
        engine = create_async_engine(proxy.url)
        connection = await engine.connect()
        await connection.execute(text("SELECT 1"))
        proxy.silent = True
        began = time.monotonic()
        await connection.invalidate()

        assert time.monotonic() - began > 1
