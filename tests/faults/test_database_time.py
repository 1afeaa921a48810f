"""FAULTS 98, 102: a database that takes its time, or for ever."""

import asyncio
import time

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from ligand_async import operation
from tests.database_proxies import proxied
from tests.services import backend, count_checked_out, count_items, db, make_service, post, running

ENDLESS = {
    "sqlite": "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n",
    "postgresql": "SELECT pg_sleep(30)",
}


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_statement_that_takes_too_long_is_504(database_url: str, method: str) -> None:
    """Row 98: a statement is ended at its timeout, on both databases, and answered 504; its connection serves on."""

    @operation
    async def crawl(session: AsyncSession) -> None:
        """Take for ever."""
        await session.execute(text(ENDLESS[backend(database_url)]))

    app = make_service(
        database_url,
        (method, "/crawl", crawl),
        database_statement_timeout=0.2,
        database_pool_size=1,
    )
    async with running(app) as client:
        began = time.monotonic()
        response = await (client.get("/crawl") if method == "GET" else client.post("/crawl"))

        assert (response.status_code, response.content_type) == (504, "application/problem+json")
        assert time.monotonic() - began < 2
        assert count_checked_out() == 0
        assert (await post(client, "/items", name="cup"))[0] == 201
        assert await count_items() == 1


@pytest.mark.ligand_database("postgresql")
async def test_command_that_takes_too_long_is_504(database_url: str) -> None:
    """Row 98: where the server does not end a statement, the driver gives it up, and the answer is 504."""

    @operation
    async def crawl(session: AsyncSession) -> None:
        """Take for ever."""
        await session.execute(text("SELECT pg_sleep(30)"))

    app = make_service(
        database_url,
        ("POST", "/crawl", crawl),
        database_command_timeout=0.3,
        database_pool_size=1,
    )
    async with running(app) as client:
        began = time.monotonic()
        assert (await client.post("/crawl")).status_code == 504
        assert time.monotonic() - began < 2
        assert count_checked_out() == 0
        assert (await post(client, "/items", name="cup"))[0] == 201


@pytest.mark.parametrize("mode", ["read", "write"])
async def test_cancelled_statement_gives_its_connection_back(database_url: str, mode: str) -> None:
    """Row 98: a caller that gives a statement up by `asyncio.timeout` leaves no connection behind, and no lock."""
    app = make_service(database_url, database_pool_size=1, database_statement_timeout=1.0)
    statement = text(ENDLESS[backend(database_url)])
    async with running(app) as client:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1), db.read() if mode == "read" else db.transaction() as session:
                await session.execute(statement)
        assert (await post(client, "/items", name="cup"))[0] == 201
        assert await count_items() == 1
        assert count_checked_out() == 0


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_silent_database_is_504_on_an_open_connection(postgres_url: str, method: str) -> None:
    """Row 102: a database that falls silent is a 504 at the command timeout; the request's deadline is the guard's."""
    async with proxied(postgres_url) as proxy:
        app = make_service(proxy.url, database_command_timeout=0.3, database_connect_timeout=0.3, database_pool_size=2)
        async with running(app) as client:
            assert (await post(client, "/items", name="cup"))[0] == 201
            assert await count_items() == 1
            proxy.silent = True
            began = time.monotonic()
            request = client.get("/items") if method == "GET" else client.post("/items", json={"name": "pot"})
            response = await request

            assert (response.status_code, response.content_type) == (504, "application/problem+json")
            assert time.monotonic() - began < 2
            assert count_checked_out() == 0


async def test_silent_database_is_503_on_a_new_connection(postgres_url: str) -> None:
    """Row 102: no connection within the connect timeout is a 503; the request's deadline is the guard's."""
    async with proxied(postgres_url) as proxy:
        proxy.silent = True
        app = make_service(proxy.url, database_connect_timeout=0.3)
        async with running(app, tables=False) as client:
            began = time.monotonic()
            response = await client.get("/items")

            assert (response.status_code, response.headers["Retry-After"]) == (503, "2")
            assert time.monotonic() - began < 1
            assert count_checked_out() == 0


@pytest.mark.extended
async def test_silent_database_does_not_keep_the_app_from_stopping(postgres_url: str) -> None:
    """Row 102: with idle connections and a request under way on a silent database, the app stops within ten seconds."""
    async with proxied(postgres_url) as proxy:
        app = make_service(proxy.url)
        await app.startup()
        async with app.app_context():
            await db.create_tables()
            async with db.read() as one, db.read() as two:
                await one.execute(text("SELECT 1"))
                await two.execute(text("SELECT 1"))
        proxy.silent = True
        request = asyncio.create_task(app.test_client().get("/items"))
        await asyncio.sleep(0.2)
        request.cancel()
        began = time.monotonic()
        await app.shutdown()

    assert time.monotonic() - began < 10
