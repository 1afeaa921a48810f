"""FAULTS 99, 103: what is worth a second attempt."""

import asyncio

import pytest
from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncSession

from ligand_async import on_commit, operation
from tests.services import Item, count_items, db, make_service, post, running


async def add_to_both(session: AsyncSession, first: str, second: str, met: asyncio.Barrier | None) -> None:
    """Lock two items, one after the other."""
    for name in (first, second):
        item = (await session.scalars(select(Item).where(Item.name == name).with_for_update())).one()
        item.price += 1
        await session.flush()
        if met is not None and name == first:
            await met.wait()


@pytest.mark.parametrize("retry_safe", [True, False])
async def test_deadlock_is_retried_where_that_is_safe(postgres_url: str, retry_safe: bool) -> None:
    """Row 99: of two units in a deadlock one is run again where `retry_safe=True` says so, else it is a 503."""
    met = asyncio.Barrier(2)
    attempts = []

    async def lock(session: AsyncSession, first: str, second: str) -> None:
        attempts.append((first, second))
        await add_to_both(session, first, second, met=met if len(attempts) <= 2 else None)

    @operation(retry_safe=retry_safe)
    async def forth(session: AsyncSession) -> None:
        """Lock cup, then pot."""
        await lock(session, "cup", "pot")

    @operation(retry_safe=retry_safe)
    async def back(session: AsyncSession) -> None:
        """Lock pot, then cup."""
        await lock(session, "pot", "cup")

    app = make_service(postgres_url, ("POST", "/forth", forth), ("POST", "/back", back))
    async with running(app) as client:
        async with db.transaction() as session:
            session.add_all([Item(name="cup"), Item(name="pot")])
            name = await session.scalar(text("SELECT quote_ident(current_database())"))
            await session.execute(text(f"ALTER DATABASE {name} SET deadlock_timeout = '20ms'"))
        await db.stop(app)
        await db.start(app)
        answers = await asyncio.gather(client.post("/forth"), client.post("/back"))
        async with db.read() as session:
            prices = (await session.scalars(select(Item.price))).all()

    statuses = sorted(answer.status_code for answer in answers)
    assert statuses == ([204, 204] if retry_safe else [204, 503])
    assert list(prices) == ([2, 2] if retry_safe else [1, 1])
    assert len(attempts) == (3 if retry_safe else 2)
    assert all("Retry-After" in answer.headers for answer in answers if answer.status_code == 503)


@pytest.mark.parametrize(("failures", "status"), [(2, 204), (3, 503)])
async def test_serialization_failure_is_tried_three_times(postgres_url: str, failures: int, status: int) -> None:
    """Row 99: a unit that cannot be serialized runs three times in all; only what was committed has callbacks."""
    attempts, callbacks = [], []

    @operation(retry_safe=True)
    async def collide(session: AsyncSession) -> None:
        """Fail some times."""
        attempts.append(1)
        session.add(Item(name=f"item {len(attempts)}"))
        on_commit(lambda: callbacks.append(1))
        await session.flush()
        if len(attempts) <= failures:
            await session.execute(text("DO $$ BEGIN RAISE EXCEPTION 'x' USING ERRCODE = '40001'; END $$"))

    async with running(make_service(postgres_url, ("POST", "/collide", collide))) as client:
        assert (await client.post("/collide")).status_code == status
        assert len(attempts) == 3
        assert await count_items() == len(callbacks) == (1 if status == 204 else 0)


async def test_changed_table_costs_no_read(postgres_url: str) -> None:
    """Row 103: after another process altered a table, reads answer as if nothing had happened."""

    @operation
    async def prices(session: AsyncSession) -> list[int]:
        """List prices."""
        return list((await session.scalars(select(Item.price))).all())

    async with running(make_service(postgres_url, ("GET", "/prices", prices))) as client:
        assert (await post(client, "/items", name="cup", price=3))[0] == 201
        assert await (await client.get("/prices")).get_json() == [3]
        async with db.transaction() as session:
            await session.execute(text("ALTER TABLE item ALTER COLUMN price TYPE bigint"))
        for _ in range(3):
            assert await (await client.get("/prices")).get_json() == [3]


@pytest.mark.parametrize(("retry_safe", "first"), [(True, 204), (False, 503)])
async def test_changed_table_costs_one_write(postgres_url: str, retry_safe: bool, first: int) -> None:
    """Row 103: a write that met a stale plan is run again where that is safe, else it is one 503."""

    @operation(retry_safe=retry_safe)
    async def raise_price(session: AsyncSession) -> None:
        """Read, then write."""
        (await session.scalars(select(Item))).one().price += 1

    async with running(make_service(postgres_url, ("POST", "/raise", raise_price))) as client:
        assert (await post(client, "/items", name="cup"))[0] == 201
        assert (await client.post("/raise")).status_code == 204
        async with db.transaction() as session:
            await session.execute(text("ALTER TABLE item ALTER COLUMN price TYPE bigint"))
        # One connection served all three, so its plan is stale.
        assert [(await client.post("/raise")).status_code for _ in range(2)] == [first, 204]
