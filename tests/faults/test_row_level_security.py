"""A second tenant cannot pass: policies of PostgreSQL hold on every way to the rows."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from quart import Quart
from quart.typing import TestClientProtocol as Client
from sqlalchemy import func, select, text
from sqlalchemy.ext.asyncio import create_async_engine

from ligand_async import Database, Forbidden
from tests import tenants
from tests.database_proxies import bounced
from tests.tenants import Note, as_tenant, db, make_tenants, prepare

COUNTS = {"ada": 3, "bob": 2, "eve": 0}
OF_ADA, OF_BOB = UUID(int=1), UUID(int=11)


async def get(client: Client, app: Quart, tenant: str, path: str) -> Any:
    """Return what a tenant reads."""
    response = await client.get(path, headers=as_tenant(app, tenant))
    assert response.status_code == 200
    return await response.get_json()


async def stored(url: str) -> dict[str, int]:
    """Count the notes of each tenant, as the superuser."""
    engine = create_async_engine(url)
    async with engine.connect() as connection:
        rows = (await connection.execute(select(Note.tenant, func.count()).group_by(Note.tenant))).all()
    await engine.dispose()
    return {row.tenant: row[1] for row in rows}


async def test_a_tenant_reads_its_own(postgres_url: str) -> None:
    """Lists, totals, counts, snapshots, replicas, streams and services show the rows of the tenant and no more."""
    app = make_tenants(await prepare(postgres_url), database_pool_size=1)
    async with app.test_app():
        client = app.test_client()
        for tenant in ("ada", "bob", "eve", "bob", "ada"):
            page = await get(client, app, tenant, "/notes/?page=1")
            words = sorted(item["words"] for item in page["items"])
            assert (len(words), page["total"]) == (COUNTS[tenant], COUNTS[tenant])
            assert all(one.startswith(tenant) for one in words)
            for path in ("count", "snapshot", "replica"):
                assert await get(client, app, tenant, f"/notes/{path}") == COUNTS[tenant]
            response = await client.get("/notes/stream", headers=as_tenant(app, tenant))
            assert (await response.get_data(as_text=True)).split("\n")[:-1] == words
            assert await get(client, app, tenant, "/notes/words") == words


async def test_a_tenant_changes_its_own(postgres_url: str) -> None:
    """What belongs to another tenant is not there: 404 for PUT and DELETE, no row for an UPDATE without a WHERE."""
    app = make_tenants(await prepare(postgres_url), database_pool_size=1)
    async with app.test_app():
        client, bob = app.test_client(), as_tenant(app, "bob")
        path = f"/notes/{OF_ADA}"
        tag = (await client.get(path, headers=as_tenant(app, "ada"))).headers["ETag"]
        assert (await client.get(path, headers=bob)).status_code == 404
        put = await client.put(path, json={"words": "mine"}, headers=bob | {"If-Match": tag})
        assert put.status_code == 404
        assert (await client.delete(path, headers=bob)).status_code == 404
        assert await (await client.post("/notes/all", headers=bob)).get_json() == 2
        smuggled = await client.post("/notes/", json={"tenant": "ada", "words": "from bob"}, headers=bob)
        assert smuggled.status_code == 500
        own = await client.post("/notes/", json={"tenant": "bob", "words": "own"}, headers=bob)
        assert own.status_code == 201
        assert (await get(client, app, "ada", path))["words"] == "ada 1"

    assert await stored(postgres_url) == {"ada": 3, "bob": 3}


async def test_savepoints_keep_the_tenant(postgres_url: str) -> None:
    """A savepoint that is rolled back takes back what was set inside it, and only that."""
    app = make_tenants(await prepare(postgres_url))
    async with app.test_app():
        client = app.test_client()
        for tenant, count in (("ada", 3), ("bob", 2)):
            response = await client.post("/notes/count", headers=as_tenant(app, tenant))
            assert await response.get_json() == [count, 0, count, count]


async def test_background_tasks_work_for_the_caller(postgres_url: str) -> None:
    """A background task that a request starts has the variables of that request's caller."""
    tenants.seen_in_background.clear()
    app = make_tenants(await prepare(postgres_url), database_pool_size=1)
    async with app.test_app():
        for tenant in ("ada", "bob"):
            await app.test_client().post("/notes/background", headers=as_tenant(app, tenant))
    assert sorted(map(len, tenants.seen_in_background)) == [2, 3]
    assert all(len({words[:3] for words in seen}) == 1 for seen in tenants.seen_in_background)


async def test_tenants_share_connections_and_nothing_else(postgres_url: str, figure: Callable[[int, int], int]) -> None:
    """Many interleaved requests of three tenants on two connections: each sees its own rows, every time."""
    app = make_tenants(await prepare(postgres_url), database_pool_size=2, database_pool_timeout=30)
    paths = ("count", "snapshot", "replica", "words", "smuggle", "")
    async with app.test_app():
        client = app.test_client()

        async def ask(number: int) -> None:
            tenant = ("ada", "bob", "eve")[number % 3]
            path = paths[number % len(paths)]
            answer = await get(client, app, tenant, f"/notes/{path}")
            count = len(answer) if path == "words" else len(answer["items"]) if path == "" else answer
            assert count == (0 if path == "smuggle" else COUNTS[tenant])

        for first in range(0, figure(200, 5_000), 20):
            await asyncio.gather(*(ask(number * 7) for number in range(first, first + 20)))


async def test_what_a_tenant_sets_by_hand_stays_with_it(postgres_url: str) -> None:
    """Text and functions that set a variable of the session taint its connection, which is reset for the next one."""
    app = make_tenants(await prepare(postgres_url), database_pool_size=1)
    async with app.test_app(), app.app_context():
        client = app.test_client()
        assert await get(client, app, "bob", "/notes/smuggle") == 0
        assert await get(client, app, "bob", "/notes/count") == 2
        assert await get(client, app, "bob", "/notes/smuggle") == 0
        async with db.read() as session:
            assert await session.scalar(select(func.count()).select_from(Note)) == 0
            assert not await session.scalar(text("SELECT current_setting('app.other', true)"))


async def test_a_retry_is_for_the_same_tenant(postgres_url: str) -> None:
    """A read whose connection was closed runs again, on a new connection, for the same tenant."""
    app = make_tenants(await prepare(postgres_url), database_pool_size=1)
    async with app.test_app():
        client = app.test_client()
        for tenant in ("ada", "bob", "ada"):
            assert await get(client, app, tenant, "/notes/count") == COUNTS[tenant]
            await kill_all(postgres_url)
            for path in ("count", "snapshot", "words"):
                assert await get(client, app, tenant, f"/notes/{path}") == COUNTS[tenant] or path == "words"


async def kill_all(url: str) -> None:
    """Close the service's connections from the server."""
    engine = create_async_engine(url)
    kill = text(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{tenants.ROLE}'")
    async with engine.connect() as connection:
        await connection.execute(kill)
    await engine.dispose()


async def test_a_request_that_is_cut_off_leaves_nothing(postgres_url: str) -> None:
    """After a request that its deadline cut off in the middle of a statement, the next one has its own tenant."""
    app = make_tenants(await prepare(postgres_url), database_pool_size=1, request_timeout=0.3)
    async with app.test_app(), app.app_context():
        client = app.test_client()
        for tenant in ("ada", "bob"):
            response = await client.get("/notes/slow", headers=as_tenant(app, tenant))
            assert response.status_code in {503, 504}
            assert await get(client, app, "eve", "/notes/count") == 0
            assert await get(client, app, "bob", "/notes/count") == 2
            async with asyncio.timeout(5), db.read() as session:
                assert await session.scalar(select(func.count()).select_from(Note)) == 0


async def test_a_caller_without_a_tenant_can_be_refused(postgres_url: str) -> None:
    """A problem that the function raises is the response."""

    def refuse(_principal: Any) -> dict[str, str]:
        raise Forbidden("you belong to no tenant")

    database = Database(tenants.Base, variables=refuse)
    app = make_tenants(await prepare(postgres_url), database=database)
    async with app.test_app():
        response = await app.test_client().get("/notes/count", headers=as_tenant(app, "ada"))
        assert (response.status_code, (await response.get_json())["detail"]) == (403, "you belong to no tenant")


@pytest.mark.extended
async def test_tenants_behind_a_pooler(postgres_url: str, require_tool: Callable[[str], Path]) -> None:
    """Behind pgbouncer in transaction mode, tenants that share one server connection see their own rows."""
    url = await prepare(postgres_url)
    with bounced(require_tool("pgbouncer"), url, size=1) as pooled:
        app = make_tenants(pooled, database_pooler="transaction", database_direct_url=url, database_pool_size=3)
        async with app.test_app(), app.app_context():
            client = app.test_client()

            async def ask(tenant: str, path: str) -> None:
                assert await get(client, app, tenant, f"/notes/{path}") == COUNTS[tenant]

            for _ in range(5):
                await asyncio.gather(*(ask(tenant, path) for tenant in COUNTS for path in ("count", "snapshot")))
            async with db.read() as session:
                assert await session.scalar(select(func.count()).select_from(Note)) == 0
