"""Clients that go away at any moment, over real sockets: the trail holds what was committed, and nothing else."""

import asyncio
from collections.abc import Callable, Sequence
from random import Random
from typing import Any

import pytest
from quart import Quart
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from ligand_async import operation
from ligand_async.data import Change
from ligand_async.signals import changes_committed
from tests.data.bank import Account, Seat, audit, db, make_bank
from tests.http import send
from tests.servers import serving
from tests.services import routes

chance = Random(7)  # noqa: S311  (not a secret)


@operation(status=201)
async def open_account(data: dict[str, Any], session: AsyncSession) -> None:
    """Open an account with a seat, slowly; every tenth is refused at the end, and a savepoint is always taken back."""
    session.add(Account(name=data["name"], seats=[Seat(row="a", number=data["number"])]))
    await asyncio.sleep(chance.uniform(0, 0.005))
    await session.flush()
    savepoint = await session.begin_nested()
    session.add(Seat(row="b", number=data["number"]))
    await session.flush()
    await savepoint.rollback()
    await asyncio.sleep(chance.uniform(0, 0.005))
    if data["number"] % 10 == 0:
        raise RuntimeError("refused")


def write_key(key: tuple[Any, ...]) -> str:
    """Return the key of an account or a seat as the audit trail writes it."""
    return str(key[0]) if len(key) == 1 else f'["{key[0]}",{key[1]}]'


async def ask(port: int, number: int) -> int | None:
    """Send a request, and leave at a random moment or stay for the answer."""
    leave_after = chance.choice([None, chance.uniform(0, 0.03)])
    return await send(port, "POST", "/accounts", {"name": "x", "number": number}, leave_after=leave_after)


@pytest.mark.extended
async def test_random_disconnects_leave_as_many_events_as_rows(
    database_url: str, figure: Callable[[int, int], int]
) -> None:
    """Whenever clients leave, each committed row has its event and its hook, and each of them its row.

    The full form sends 2,000 requests.
    """
    app = make_bank(database_url, routes(("POST", "/accounts", open_account)), database_pool_timeout=30.0)
    statuses: list[int | None] = []
    told: list[str] = []

    @changes_committed.connect_via(app)
    async def hear(_app: Quart, *, changes: Sequence[Change]) -> None:
        await asyncio.sleep(chance.uniform(0, 0.005))
        told.extend(write_key(change.key) for change in changes)

    async with serving(app) as port, app.app_context():
        await db.create_tables()
        total = figure(120, 2000)
        for first in range(0, total, 20):
            statuses += await asyncio.gather(*(ask(port, number) for number in range(first, first + 20)))
        await asyncio.sleep(0.1)  # what a client has sent last may not have arrived
        while app.background_tasks:
            await asyncio.gather(*app.background_tasks)
        async with db.read() as session:
            accounts = {str(key) for key in await session.scalars(select(Account.id))}
            seats = {f'["{row}",{number}]' for row, number in await session.execute(select(Seat.row, Seat.number))}
            keys = select(audit.table.c.key).where(audit.table.c.action == "insert")
            events = await session.scalar(select(func.count()).select_from(audit.table))
            of_accounts = set(await session.scalars(keys.where(audit.table.c.entity == "Account")))
            of_seats = set(await session.scalars(keys.where(audit.table.c.entity == "Seat")))

    assert statuses.count(None) > total / 10
    assert statuses.count(201) <= len(accounts) < total
    assert (of_accounts, of_seats) == (accounts, seats)
    assert events == len(accounts) + len(seats) == len(told)
    assert set(told) == accounts | seats
