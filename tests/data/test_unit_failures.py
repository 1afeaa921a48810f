"""The unit of work when things go wrong at the worst moment: nothing leaks, nothing is done by half."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from quart import Quart
from sqlalchemy import event, select, text
from sqlalchemy.util import await_only

from ligand_async import on_commit
from ligand_async.data import SessionMisused, UnitOfWork
from ligand_async.tasks import run_to_completion
from tests.services import Item, count_checked_out, count_items, db, make_app, names, running


@pytest.fixture
async def app(database_url: str) -> AsyncIterator[Quart]:
    """A started app with empty tables, in whose context the test runs."""
    app = make_app(database_url)
    async with running(app):
        yield app


def hold_commits(seconds: float) -> asyncio.Event:
    """Make each commit take a while; return what is set when one begins."""
    began = asyncio.Event()

    def hold(connection: object) -> None:
        began.set()
        await_only(asyncio.sleep(seconds))

    event.listen(db.engines().write.sync_engine, "commit", hold)
    return began


async def test_cancelled_in_the_middle_of_its_commit(app: Quart) -> None:
    """A block that is cancelled while the database commits leaves at once; commit and callbacks go on."""
    began, done = hold_commits(0.1), asyncio.Event()

    async def work() -> None:
        async with db.transaction() as session:
            session.add(Item(name="cup"))
            on_commit(done.set)

    task = asyncio.create_task(work())
    await began.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not done.is_set()

    await asyncio.wait_for(done.wait(), 2)
    assert await count_items() == 1
    assert count_checked_out() == 0


async def test_cancelled_before_its_commit_began(app: Quart) -> None:
    """A block whose task is being cancelled as it ends commits whole, its callback included."""
    callbacks: list[str] = []

    async def work() -> None:
        async with db.transaction() as session:
            session.add(Item(name="cup"))
            await session.flush()
            on_commit(lambda: callbacks.append("ran"))
            task.cancel()

    task = asyncio.create_task(work())
    with pytest.raises(asyncio.CancelledError):
        await task
    await app.shutdown()

    await app.startup()
    assert await count_items() == len(callbacks) == 1


async def test_cancelled_in_the_middle_of_a_block(app: Quart) -> None:
    """A block that is cancelled before its end is rolled back, and gives its connection back."""
    inside = asyncio.Event()

    async def work() -> None:
        async with db.transaction() as session:
            session.add(Item(name="cup"))
            await session.flush()
            inside.set()
            await asyncio.sleep(60)

    task = asyncio.create_task(work())
    await inside.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert count_checked_out() == 0
    assert await count_items() == 0


async def test_stopping_waits_for_what_was_begun(database_url: str) -> None:
    """An app that stops finishes the units that nobody awaits any more before it closes the engines."""
    app = make_app(database_url)
    await app.startup()
    async with app.app_context():
        await db.create_tables()
        began = hold_commits(0.2)

        async def work() -> None:
            async with db.transaction() as session:
                session.add(Item(name="cup"))

        task = asyncio.create_task(work())
        await began.wait()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    await app.shutdown()

    async with running(app):
        assert await count_items() == 1


async def test_unit_that_fails_unseen_does_not_stop_the_stopping(
    database_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A unit that fails after its client had gone is logged, and the app still closes its engines."""
    app = make_app(database_url)
    await app.startup()
    async with app.app_context():

        async def fail() -> None:
            await asyncio.sleep(0.05)
            raise ZeroDivisionError

        task = asyncio.create_task(run_to_completion(fail()))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await app.shutdown()
        with pytest.raises(RuntimeError, match="is not open"):
            db.engines()

    assert "whose client had gone was rolled back: ZeroDivisionError" in caplog.text


@pytest.mark.ligand_database("postgresql")
async def test_own_error_survives_a_dead_connection(app: Quart) -> None:
    """What a handler raises while its connection is dead stays what it raised; the connection is thrown away."""
    with pytest.raises(ZeroDivisionError):
        async with db.transaction() as session:
            session.add(Item(name="cup"))
            await session.flush()
            killed = await session.scalar(text("SELECT pg_backend_pid()"))
            async with db.transaction() as other:
                await other.execute(text(f"SELECT pg_terminate_backend({killed})"))
            raise ZeroDivisionError

    assert count_checked_out() == 0
    assert await count_items() == 0


@pytest.mark.ligand_database("postgresql")  # SQLite has one writer
async def test_nested_transaction_stands_alone(app: Quart) -> None:
    """A `db.transaction()` inside another is a transaction of its own: one may fail without the other."""
    callbacks: list[str] = []
    async with db.transaction() as outer:
        outer.add(Item(name="outer"))
        with pytest.raises(ZeroDivisionError):
            async with db.transaction() as inner:
                inner.add(Item(name="failed"))
                on_commit(lambda: callbacks.append("failed"))
                raise ZeroDivisionError
        async with db.transaction() as inner:
            inner.add(Item(name="inner"))
            on_commit(lambda: callbacks.append("inner"))
        assert callbacks == ["inner"]
        on_commit(lambda: callbacks.append("outer"))

    assert callbacks == ["inner", "outer"]
    async with db.read() as session:
        assert names(await session.scalars(select(Item))) == {"outer", "inner"}


async def test_a_read_inside_a_transaction_takes_no_callbacks(app: Quart) -> None:
    """Inside `db.read()`, `on_commit` means the transaction around it; a read alone has nothing to commit."""
    callbacks: list[str] = []
    async with db.transaction(), db.read():
        on_commit(lambda: callbacks.append("ran"))
    assert callbacks == ["ran"]

    async with db.read():
        with pytest.raises(RuntimeError, match="needs a unit of work"):
            on_commit(lambda: None)


async def test_after_an_error_there_is_no_unit(app: Quart) -> None:
    """A unit that failed is gone: the next `on_commit` is not hung on it."""
    with pytest.raises(ZeroDivisionError):
        async with db.transaction():
            raise ZeroDivisionError

    with pytest.raises(RuntimeError, match="needs a unit of work"):
        on_commit(lambda: None)


async def test_abandoned_unit_rolls_back(app: Quart) -> None:
    """A unit that was abandoned commits nothing and runs no callback."""
    callbacks: list[str] = []
    async with UnitOfWork(db.engines().write) as unit:
        unit.session.add(Item(name="cup"))
        await unit.flush()
        on_commit(lambda: callbacks.append("ran"))
        unit.abandon()
        await unit.commit()

    assert callbacks == []
    assert await count_items() == 0
    assert count_checked_out() == 0


async def test_callback_that_meets_a_cancelled_task(app: Quart, caplog: pytest.LogCaptureFixture) -> None:
    """A callback that awaits something cancelled is a failed callback, not a cancelled request."""

    async def wait_for_what_was_cancelled() -> None:
        task = asyncio.create_task(asyncio.sleep(60))
        task.cancel()
        await task

    async with db.transaction() as session:
        session.add(Item(name="cup"))
        on_commit(wait_for_what_was_cancelled)

    assert await count_items() == 1
    assert "wait_for_what_was_cancelled failed; the commit stands" in caplog.text


async def test_callbacks_may_add_callbacks(app: Quart) -> None:
    """What a callback registers runs after it."""
    ran: list[str] = []

    def first() -> None:
        ran.append("first")
        on_commit(lambda: ran.append("second"))

    async with db.transaction():
        on_commit(first)

    assert ran == ["first", "second"]


async def test_session_is_of_no_use_after_its_unit(app: Quart) -> None:
    """A session that outlives its unit would begin a transaction that nobody ends: it refuses."""
    async with db.read() as session:
        await session.execute(text("SELECT 1"))
    with pytest.raises(SessionMisused, match="the unit of work of this session has ended"):
        await session.execute(text("SELECT 1"))

    assert count_checked_out() == 0
