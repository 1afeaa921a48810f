"""FAULTS 111: pgbouncer in transaction mode."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from ligand_async import operation
from ligand_async.data import WriteOnReadSession
from tests.database_proxies import bounced
from tests.services import Rule, count_checked_out, count_items, db, make_service, post, running

RequireTool = Callable[[str], Path]


@operation(session="snapshot")
async def compare(session: AsyncSession) -> bool:
    """Tell whether two statements of a snapshot see the same."""
    first: int = await session.scalar(text("SELECT count(*) FROM item")) or 0
    await asyncio.sleep(0.002)
    return first == (await session.scalar(text("SELECT count(*) FROM item")) or 0)


COMPARE: Rule = ("GET", "/compare", compare)


@pytest.mark.extended
async def test_transaction_pooler_serves_every_request(
    postgres_url: str, require_tool: RequireTool, figure: Callable[[int, int], int]
) -> None:
    """Row 111: with `database_pooler="transaction"`, 72 of 72 requests are served by a few server connections."""
    total = figure(72, 7_200)
    with bounced(require_tool("pgbouncer"), postgres_url, size=3) as url:
        app = make_service(url, COMPARE, database_pooler="transaction", database_direct_url=postgres_url)
        async with running(app) as client:
            for first in range(0, total, 24):
                writes = [post(client, "/items", name=f"item {number}") for number in range(first, first + 8)]
                reads = [client.get("/items") for _ in range(8)]
                snapshots = [client.get("/compare") for _ in range(8)]
                answers = await asyncio.gather(
                    asyncio.gather(*writes), asyncio.gather(*reads), asyncio.gather(*snapshots)
                )
                assert [status for status, _ in answers[0]] == [201] * 8
                assert [answer.status_code for answer in answers[1]] == [200] * 8
                assert [await answer.get_json() for answer in answers[2]] == [True] * 8
            assert await count_items() == total / 3
            assert count_checked_out() == 0


@pytest.mark.extended
@pytest.mark.parametrize("mode", ["read", "snapshot", "replica"])
async def test_nothing_is_written_on_a_read_session_behind_a_pooler(
    postgres_url: str, require_tool: RequireTool, mode: str
) -> None:
    """Row 111: a session that reads cannot write through the pooler, and what it tried stays with nobody."""
    with bounced(require_tool("pgbouncer"), postgres_url, size=1) as url:
        app = make_service(url, database_pooler="transaction", database_direct_url=postgres_url)
        async with running(app) as client:
            assert (await post(client, "/items", name="cup"))[0] == 201
            for statement in ("DELETE FROM item", "CREATE TABLE other (id int)", "SET TRANSACTION READ WRITE"):
                with pytest.raises(WriteOnReadSession):
                    async with db.read(mode=mode) as session:  # type: ignore[arg-type]  # a parameter of the test
                        await session.execute(text(statement))
            assert (await post(client, "/items", name="pot"))[0] == 201
            assert await count_items() == 2


@pytest.mark.extended
async def test_nothing_is_left_on_a_connection_of_the_pooler(postgres_url: str, require_tool: RequireTool) -> None:
    """Row 137: what a transaction set for the session does not reach the next one on the same server connection."""
    left = (
        "SET search_path TO pg_catalog",
        "SELECT set_config('app.tenant', 'ada', false)",
        "SET SESSION AUTHORIZATION pg_monitor",
        "SELECT pg_advisory_lock(7)",
        "CREATE TEMP TABLE mine (x int)",
    )
    look = text(
        "SELECT current_user, current_setting('search_path'), coalesce(current_setting('app.tenant', true), ''), "
        "(SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'), to_regclass('pg_temp.mine'), pg_backend_pid()"
    )
    with bounced(require_tool("pgbouncer"), postgres_url, size=1) as url:
        app = make_service(url, database_pooler="transaction", database_direct_url=postgres_url)
        async with running(app):
            async with db.read() as session:
                clean = (await session.execute(look)).one()
            for statement in left:
                async with db.transaction() as session:
                    await session.execute(text(statement))
                async with db.read() as session:
                    assert (await session.execute(look)).one() == clean
            for statement in left:
                if "lock" in statement:
                    continue  # a rollback keeps a lock of the session
                with pytest.raises(ZeroDivisionError):
                    async with db.transaction() as session:
                        await session.execute(text(statement))
                        raise ZeroDivisionError
                async with db.read() as session:
                    assert (await session.execute(look)).one() == clean
