"""FAULTS 104: clients that go away at any moment, over real sockets."""

import asyncio
from collections.abc import Callable
from random import Random

import pytest
from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.util import await_only

from ligand_async import on_commit, operation
from tests.http import send
from tests.servers import serving
from tests.services import Item, ItemBody, Rule, count_checked_out, count_items, db, make_service

chance = Random(104)  # noqa: S311  (not a secret)


def creating(callbacks: list[str]) -> Rule:
    """Return an operation that stores an item, slowly, and keeps account of its callbacks."""

    @operation(status=201)
    async def create(data: ItemBody, session: AsyncSession) -> None:
        """Store an item."""
        session.add(Item(**data.model_dump()))
        on_commit(lambda: callbacks.append(data.name))
        await asyncio.sleep(chance.uniform(0, 0.005))
        await session.flush()
        await asyncio.sleep(chance.uniform(0, 0.005))

    return "POST", "/slow", create


async def settle() -> None:
    """Wait until no unit of work is under way."""
    for _ in range(500):
        if count_checked_out() == 0:
            return
        await asyncio.sleep(0.02)


async def test_client_that_leaves_during_commit_gets_its_row_and_callback(database_url: str) -> None:
    """Row 104: a client that goes away while its work is being committed gets its row and its callback."""
    callbacks: list[str] = []
    committing = asyncio.Event()
    app = make_service(database_url, creating(callbacks))
    async with serving(app) as port, app.app_context():
        await db.create_tables()

        def hold(connection: object) -> None:
            committing.set()
            await_only(asyncio.sleep(0.3))

        event.listen(db.engines().write.sync_engine, "commit", hold)
        client = asyncio.create_task(send(port, "POST", "/slow", {"name": "cup"}))
        await committing.wait()
        client.cancel()
        await asyncio.gather(client, return_exceptions=True)
        assert callbacks == []
        await settle()

        assert await count_items() == 1
        assert callbacks == ["cup"]


async def leave_or_stay(port: int, number: int) -> int | None:
    """Send a request, and leave at a random moment or stay for the answer."""
    leave_after = chance.choice([None, chance.uniform(0, 0.03)])
    return await send(port, "POST", "/slow", {"name": f"item {number}"}, leave_after=leave_after)


@pytest.mark.extended
async def test_random_disconnects_lose_nothing(database_url: str, figure: Callable[[int, int], int]) -> None:
    """Row 104: whenever clients leave, each row has its callback, each 201 its row, and each connection its pool.

    The full form sends 10,000 requests.
    """
    callbacks: list[str] = []
    statuses: list[int | None] = []
    app = make_service(database_url, creating(callbacks), database_pool_timeout=30.0)
    async with serving(app) as port, app.app_context():
        await db.create_tables()
        total = figure(200, 10_000)
        for first in range(0, total, 20):
            statuses += await asyncio.gather(*(leave_or_stay(port, number) for number in range(first, first + 20)))
        await settle()

        assert count_checked_out() == 0
        rows = await count_items()

    assert statuses.count(None) > total / 10
    assert set(statuses) <= {None, 201}
    assert rows == len(callbacks) == len(set(callbacks))
    assert statuses.count(201) <= rows <= total


@pytest.mark.extended
async def test_disconnects_while_stopping_lose_nothing(database_url: str) -> None:
    """Row 104: work that was begun for a client that left is finished before the engines close."""
    callbacks: list[str] = []
    app = make_service(database_url, creating(callbacks), database_pool_timeout=30.0)
    async with serving(app) as port, app.app_context():
        await db.create_tables()
        await asyncio.gather(*(send(port, "POST", "/slow", {"name": str(n)}, leave_after=0.01) for n in range(20)))
    async with app.test_app(), app.app_context():
        assert await count_items() == len(callbacks)
