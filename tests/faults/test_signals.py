"""Signals among faults: clients that go away, and receivers that fail in every way, over real sockets."""

import asyncio
import time
from collections.abc import Callable, Sequence
from random import Random
from typing import Any

import pytest
from quart import Quart
from sqlalchemy.ext.asyncio import AsyncSession

from ligand_async import Conflict, on_commit, operation
from ligand_async.data import Change
from ligand_async.signals import Signal, changes_committed, changes_flushing, changes_rolled_back, failures_of
from tests.http import send
from tests.servers import serving
from tests.services import Item, ItemBody, count_checked_out, count_items, db, make_service

chance = Random(7)  # noqa: S311  (not a secret)
item_stored = Signal("item-stored")


@operation(status=201)
async def store(data: ItemBody, session: AsyncSession) -> None:
    """Store an item, slowly, and tell."""
    session.add(Item(**data.model_dump()))
    await item_stored.send(name=data.name)
    await asyncio.sleep(chance.uniform(0, 0.005))
    await session.flush()
    await asyncio.sleep(chance.uniform(0, 0.005))
    if data.price == 13:
        raise Conflict


SLOW = ("POST", "/slow", store)


class Ledger:
    """Writes down what an app tells."""

    def __init__(self, app: Quart) -> None:
        self.committed: list[str] = []
        self.rolled_back: list[str] = []
        self.stored: list[str] = []
        changes_committed.connect_via(app)(self.hear_committed)
        changes_rolled_back.connect_via(app)(self.hear_rolled_back)
        item_stored.connect_via(app)(self.hear_stored)

    async def hear_committed(self, _app: Quart, *, changes: Sequence[Change]) -> None:
        await asyncio.sleep(chance.uniform(0, 0.005))
        self.committed += [change.new["name"] for change in changes]

    def hear_rolled_back(self, _app: Quart, *, changes: Sequence[Change]) -> None:
        self.rolled_back += [change.new["name"] for change in changes]

    async def hear_stored(self, _app: Quart, *, name: str) -> None:
        self.stored.append(name)


async def leave_or_stay(port: int, number: int) -> int | None:
    """Send a request, and leave at a random moment or stay for the answer; every tenth is refused by its handler."""
    leave_after = chance.choice([None, chance.uniform(0, 0.03)])
    body = {"name": f"item {number}", "price": 13 if number % 10 == 0 else 1}
    return await send(port, "POST", "/slow", body, leave_after=leave_after)


async def settle(app: Quart) -> None:
    """Wait until no unit of work is under way, and nobody is being told."""
    for _ in range(500):
        if count_checked_out() == 0 and not app.background_tasks:
            return
        await asyncio.sleep(0.02)


@pytest.mark.extended
async def test_random_disconnects_lose_no_signal(database_url: str, figure: Callable[[int, int], int]) -> None:
    """Whenever clients leave, what is stored was told as committed, once, and what is not never was.

    The full form sends 2,000 requests.
    """
    statuses: list[int | None] = []
    app = make_service(database_url, SLOW, database_pool_timeout=30.0)
    ledger = Ledger(app)
    async with serving(app) as port, app.app_context():
        await db.create_tables()
        total = figure(200, 2_000)
        for first in range(0, total, 20):
            statuses += await asyncio.gather(*(leave_or_stay(port, number) for number in range(first, first + 20)))
        await settle(app)
        rows = await count_items()

    assert statuses.count(None) > total / 10
    assert set(statuses) <= {None, 201, 409}
    assert statuses.count(201) <= rows == len(ledger.committed) == len(set(ledger.committed))
    assert sorted(ledger.stored) == sorted(ledger.committed)
    assert statuses.count(409) <= len(ledger.rolled_back)
    assert not set(ledger.rolled_back) & set(ledger.committed)
    assert failures_of(app) == {}


def fail(_app: Quart, **_: Any) -> None:
    raise RuntimeError("broken receiver")


def veto(_app: Quart, **_: Any) -> None:
    raise Conflict


async def hang(_app: Quart, **_: Any) -> None:
    await asyncio.sleep(60)


def leave(_app: Quart, **_: Any) -> None:
    raise SystemExit(3)


def stray(_app: Quart, **_: Any) -> None:
    raise asyncio.CancelledError


async def cancel_itself(_app: Quart, **_: Any) -> None:
    task = asyncio.current_task()
    assert task is not None
    task.cancel()
    await asyncio.sleep(60)


@pytest.mark.parametrize("receiver", [fail, veto, hang, leave, stray, cancel_itself], ids=lambda one: one.__name__)
async def test_receiver_after_the_commit_changes_nothing(sqlite_url: str, receiver: Any) -> None:
    """However a receiver of `changes_committed` fails, the answer and the row stand, and the others are told."""
    app = make_service(sqlite_url, SLOW, signal_timeout=0.2)
    ledger = Ledger(app)
    callbacks: list[str] = []
    async with serving(app) as port, app.app_context():
        await db.create_tables()
        with changes_committed.connected_to(receiver, sender=app):
            began = time.monotonic()
            assert await send(port, "POST", "/slow", {"name": "cup"}) == 201
            took = time.monotonic() - began
            async with db.transaction() as session:
                session.add(Item(name="mug"))
                on_commit(lambda: callbacks.append("mug"))
        assert await count_items() == 2
        assert await send(port, "POST", "/slow", {"name": "pot"}) == 201

    assert took < 2
    assert callbacks == ["mug"]
    assert sorted(ledger.committed) == ["cup", "mug", "pot"]
    assert ledger.stored == ["cup", "pot"]
    assert failures_of(app) == {"changes-committed": 2}


@pytest.mark.parametrize(
    ("receiver", "status"),
    [(fail, 500), (veto, 409), (hang, 500), (leave, 500), (stray, 500), (cancel_itself, 500)],
    ids=lambda one: getattr(one, "__name__", ""),
)
async def test_receiver_before_the_commit_stops_it(database_url: str, receiver: Any, status: int) -> None:
    """However a receiver of `changes_flushing` fails, nothing is stored, it is told so, and the service serves on."""
    app = make_service(database_url, SLOW, signal_timeout=0.2)
    ledger = Ledger(app)
    async with serving(app) as port, app.app_context():
        await db.create_tables()
        with changes_flushing.connected_to(receiver, sender=app):
            answered = await send(port, "POST", "/slow", {"name": "cup"})
        await settle(app)
        assert (await count_items(), count_checked_out()) == (0, 0)
        assert await send(port, "POST", "/slow", {"name": "cup"}) == 201

    assert answered == status
    assert (ledger.rolled_back, ledger.committed, ledger.stored) == (["cup"], ["cup"], ["cup"])


async def test_disconnect_while_a_receiver_is_told(sqlite_url: str) -> None:
    """A client that leaves while a receiver works does not stop it; the next request finds everything in its place."""
    app = make_service(sqlite_url, SLOW)
    telling, told = asyncio.Event(), asyncio.Event()

    @changes_committed.connect_via(app)
    async def tell(_app: Quart, **_: Any) -> None:
        telling.set()
        await asyncio.sleep(0.2)
        told.set()

    async with serving(app) as port, app.app_context():
        await db.create_tables()
        client = asyncio.create_task(send(port, "POST", "/slow", {"name": "cup"}))
        await telling.wait()
        client.cancel()
        await asyncio.gather(client, return_exceptions=True)
        async with asyncio.timeout(2):
            await told.wait()
        assert await send(port, "POST", "/slow", {"name": "mug"}) == 201


async def test_stopping_waits_for_who_is_told(sqlite_url: str) -> None:
    """A service that stops while receivers work lets them end before it closes the database."""
    app = make_service(sqlite_url, SLOW)
    seen: list[int] = []

    @changes_committed.connect_via(app)
    async def tell(_app: Quart, **_: Any) -> None:
        await asyncio.sleep(0.2)
        seen.append(await count_items())

    async with serving(app) as port, app.app_context():
        await db.create_tables()
        await send(port, "POST", "/slow", {"name": "cup"}, leave_after=0.1)

    assert seen == [1]
