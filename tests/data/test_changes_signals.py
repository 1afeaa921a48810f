"""When a unit of work tells of its changes, whom it asks, and what a receiver can do to it."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest
from quart import Quart
from sqlalchemy import event, select, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Session
from uuid_utils.compat import uuid7

from ligand_async import Conflict, on_commit, operation
from ligand_async.context import current_request_id
from ligand_async.data import Change, ConnectionLost
from ligand_async.data.changes import FlushObserver, observe_flushes, watcher_of
from ligand_async.signals import ReceiverTimedOut, changes_committed, changes_flushing, changes_rolled_back
from ligand_async.tasks import StrayExit
from tests.data.zoo import hearing
from tests.services import Item, Shelf, count_items, db, make_app, make_service, post, routes, running


@pytest.fixture
async def app(database_url: str) -> AsyncIterator[Quart]:
    """A started app with empty tables, in whose context the test runs."""
    app = make_service(database_url, signal_timeout=0.2)
    async with running(app):
        yield app


async def is_watched(app: Quart) -> bool:
    """Tell whether what a unit of an app does is collected."""
    async with app.app_context(), db.transaction() as session:
        return watcher_of(session.sync_session) is not None


async def listen(_app: Quart, **_: Any) -> None:
    """Hear a signal."""


@pytest.mark.parametrize("signal", [changes_flushing, changes_committed, changes_rolled_back])
async def test_nothing_is_collected_when_nobody_listens(app: Quart, sqlite_url: str, signal: Any) -> None:
    """A flush is watched only while this app's changes have a receiver: one of another app is none."""
    assert not await is_watched(app)
    other = make_app(sqlite_url)
    with signal.connected_to(listen, sender=other):
        assert not await is_watched(app)
    with signal.connected_to(listen, sender=app):
        assert await is_watched(app)
        async with db.read() as session:
            assert watcher_of(session.sync_session) is None
    assert not await is_watched(app)
    with signal.connected_to(listen):
        assert await is_watched(app)


async def test_observer_sees_each_flush_in_its_transaction(app: Quart) -> None:
    """An observer of flushes is told of each as it is, and what it writes is committed or rolled back with it."""
    seen: list[list[str]] = []

    class Trail:
        """Writes a shelf for each change."""

        def observe(self, session: Session, changes: Sequence[Change]) -> None:
            seen.append([change.action for change in changes])
            for change in changes:
                label = f"{change.action} {change.new.get('name')}"
                session.connection().execute(Shelf.__table__.insert().values(id=uuid7(), label=label))  # type: ignore[attr-defined]  # a Table

    trail: FlushObserver = Trail()
    observe_flushes(app, trail)
    async with db.transaction() as session:
        cup = Item(name="cup")
        session.add(cup)
        await session.flush()
        cup.name = "mug"
    with pytest.raises(ZeroDivisionError):
        async with db.transaction() as session:
            session.add(Item(name="pot"))
            await session.flush()
            raise ZeroDivisionError

    assert seen == [["insert"], ["update"], ["insert"]]
    async with db.read() as session:
        assert set(await session.scalars(select(Shelf.label))) == {"insert cup", "update mug"}


async def test_order_of_what_follows_a_commit(app: Quart) -> None:
    """First who may veto, then the commit, then `on_commit` callbacks, then who is told."""
    order: list[str] = []

    async def veto(_app: Quart, *, session: AsyncSession, changes: Sequence[Change]) -> None:
        order.append(f"flushing {await session.scalar(text('SELECT count(*) FROM item'))} {await count_items()}")

    async def tell(_app: Quart, *, changes: Sequence[Change]) -> None:
        order.append(f"committed {await count_items()}")

    with changes_flushing.connected_to(veto, sender=app), changes_committed.connected_to(tell, sender=app):
        async with db.transaction() as session:
            session.add(Item(name="cup"))
            on_commit(lambda: order.append("callback"))

    assert order == ["flushing 1 0", "callback", "committed 1"]


def refuse(_app: Quart, *, session: AsyncSession, changes: Sequence[Change]) -> None:
    """Veto what is called bad."""
    if any(change.new.get("name") == "bad" for change in changes):
        raise Conflict("no bad items")


async def test_veto_rolls_back_and_is_answered(app: Quart) -> None:
    """A problem that a receiver raises before the commit is the answer; nothing is stored, and it is told so."""
    with (
        changes_flushing.connected_to(refuse, sender=app),
        hearing(changes_rolled_back, app) as lost,
        hearing(changes_committed, app) as kept,
    ):
        client = app.test_client()
        status, problem = await post(client, "/items", name="bad")
        assert (await post(client, "/items", name="good"))[0] == 201

    assert (status, problem["detail"]) == (409, "no bad items")
    assert [change.new["name"] for change in lost] == ["bad"]
    assert [change.new["name"] for change in kept] == ["good"]
    assert await count_items() == 1


async def test_veto_ends_a_transaction_outside_a_request(app: Quart) -> None:
    """The block's end raises what the receiver raised, and the callbacks do not run."""
    ran: list[str] = []
    with changes_flushing.connected_to(refuse, sender=app), pytest.raises(Conflict):
        async with db.transaction() as session:
            session.add(Item(name="bad"))
            on_commit(lambda: ran.append("never"))

    assert ran == []
    assert await count_items() == 0


async def test_receiver_may_change_the_session(app: Quart) -> None:
    """What a receiver changes is flushed, sent in turn as what is new since then, and committed with the rest."""
    rounds: list[list[str]] = []

    async def shelve(_app: Quart, *, session: AsyncSession, changes: Sequence[Change]) -> None:
        rounds.append([f"{change.action} {change.entity_type}" for change in changes])
        for change in changes:
            if change.entity_type == "Item" and change.action == "insert":
                item = await session.get_one(Item, change.key)
                item.shelf = Shelf(label="new")

    with changes_flushing.connected_to(shelve, sender=app), hearing(changes_committed, app) as kept:
        assert (await post(app.test_client(), "/items", name="cup"))[0] == 201

    assert [sorted(names) for names in rounds] == [["insert Item"], ["insert Shelf", "update Item"]]
    assert [(change.action, change.entity_type) for change in kept] == [("insert", "Item"), ("insert", "Shelf")]
    assert kept[0].new["shelf_id"] == kept[1].key[0]


async def test_receiver_that_never_ceases_is_stopped(app: Quart) -> None:
    """A receiver that answers each change with another ends in an error, and nothing is stored."""

    def breed(_app: Quart, *, session: AsyncSession, changes: Sequence[Change]) -> None:
        session.add(Item(name=f"{changes[0].new['name']}'"))

    with changes_flushing.connected_to(breed, sender=app), pytest.raises(RuntimeError, match="skip its own"):
        async with db.transaction() as session:
            session.add(Item(name="rabbit"))

    assert await count_items() == 0


def fail(_app: Quart, **_: Any) -> None:
    raise RuntimeError("broken receiver")


async def hang(_app: Quart, **_: Any) -> None:
    await asyncio.sleep(60)


def leave(_app: Quart, **_: Any) -> None:
    raise SystemExit(3)


def stray(_app: Quart, **_: Any) -> None:
    raise asyncio.CancelledError


BAD = {fail: RuntimeError, hang: ReceiverTimedOut, leave: StrayExit, stray: StrayExit}


@pytest.mark.parametrize(("receiver", "error"), BAD.items(), ids=lambda value: value.__name__)
async def test_receiver_that_fails_before_the_commit_stops_it(
    app: Quart, receiver: Any, error: type[Exception]
) -> None:
    """Who may veto and fails, hangs or tries to leave is a fault of the service: a 500, and nothing is stored."""
    with changes_flushing.connected_to(receiver, sender=app):
        status, _ = await post(app.test_client(), "/items", name="cup")
        with pytest.raises(error):
            async with db.transaction() as session:
                session.add(Item(name="cup"))

    assert status == 500
    assert await count_items() == 0
    assert (await post(app.test_client(), "/items", name="cup"))[0] == 201


async def test_error_answer_is_a_rollback(sqlite_url: str) -> None:
    """A handler that flushes and returns an error has its changes told as rolled back."""

    @operation(status=201)
    async def create(session: AsyncSession) -> tuple[None, int]:
        session.add(Item(name="cup"))
        await session.flush()
        return None, 409

    app = make_app(sqlite_url, routes(("POST", "/refused", create)))
    async with running(app) as client:
        with hearing(changes_rolled_back, app) as lost, hearing(changes_committed, app) as kept:
            assert (await post(client, "/refused"))[0] == 409

    assert [change.new["name"] for change in lost] == ["cup"]
    assert kept == []


async def test_receiver_has_the_context_of_the_request(app: Quart) -> None:
    """A receiver knows which request it hears of, and can open a transaction of its own."""
    heard: list[str | None] = []

    async def tell(_app: Quart, *, changes: Sequence[Change]) -> None:
        if changes[0].entity_type == "Item":
            heard.append(current_request_id())
            async with db.transaction() as session:
                session.add(Shelf(label="told"))

    with changes_committed.connected_to(tell, sender=app):
        response = await app.test_client().post("/items", json={"name": "cup"})

    assert heard == [response.headers["X-Request-ID"]]
    async with db.read() as session:
        assert list(await session.scalars(select(Shelf.label))) == ["told"]


async def test_on_commit_in_a_receiver_is_too_late(app: Quart) -> None:
    """What hears of a commit cannot ask to be called after it."""
    errors: list[RuntimeError] = []

    def tell(_app: Quart, *, changes: Sequence[Change]) -> None:
        try:
            on_commit(lambda: None)
        except RuntimeError as error:
            errors.append(error)

    with changes_committed.connected_to(tell, sender=app):
        async with db.transaction() as session:
            session.add(Item(name="cup"))

    assert len(errors) == 1


async def test_commit_that_nobody_knows_of_is_not_told(app: Quart) -> None:
    """Where the connection breaks during the commit itself, neither signal is sent: either could be wrong."""

    def break_off(_connection: object) -> None:
        raise ConnectionLost("broke")

    engine = db.engines().write.sync_engine
    event.listen(engine, "commit", break_off)
    with (
        hearing(changes_committed, app) as kept,
        hearing(changes_rolled_back, app) as lost,
        contextlib.suppress(SQLAlchemyError),
    ):
        async with db.transaction() as session:
            session.add(Item(name="cup"))
    event.remove(engine, "commit", break_off)

    assert (kept, lost) == ([], [])


async def test_cancelled_unit_is_told_as_rolled_back(app: Quart) -> None:
    """A unit that is cancelled tells what was rolled back although nobody waits for it."""
    with hearing(changes_rolled_back, app) as lost:
        begun = asyncio.Event()

        async def work() -> None:
            async with db.transaction() as session:
                session.add(Item(name="cup"))
                await session.flush()
                begun.set()
                await asyncio.sleep(60)

        task = asyncio.create_task(work())
        await begun.wait()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    assert [change.new["name"] for change in lost] == ["cup"]
