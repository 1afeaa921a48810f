"""Units inside and beside each other: savepoints, and a second transaction."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Annotated, Any

import pytest
from quart import Quart
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from ligand_async import on_commit, operation
from ligand_async.signals import Signal
from ligand_async.web import Depends
from tests.services import Item, Shelf, db, make_app, routes, running

events: list[str] = []


@pytest.fixture(autouse=True)
def forget() -> None:
    events.clear()


def note(word: str) -> Callable[[], None]:
    return lambda: events.append(word)


async def test_callbacks_go_with_their_savepoint(database_url: str) -> None:
    """`on_commit` in a savepoint that is rolled back is forgotten; before, after and in a released one it runs."""
    async with running(make_app(database_url)), db.transaction() as session:
        on_commit(note("before"))
        async with session.begin_nested():
            on_commit(note("released"))
        savepoint = await session.begin_nested()
        on_commit(note("undone"))
        inner = await session.begin_nested()
        on_commit(note("undone with what is around it"))
        await inner.commit()
        await savepoint.rollback()
        on_commit(note("after"))

    assert events == ["before", "released", "after"]


async def test_signals_go_with_their_savepoint(database_url: str) -> None:
    """A signal of the service's own that is sent in a savepoint is sent after the commit, or not at all."""
    report_ready = Signal("report-ready-in-a-savepoint")
    app = make_app(database_url)

    @report_ready.connect_via(app)
    async def receive(_sender: Quart, **payload: Any) -> None:
        events.append(payload["name"])

    async with running(app), db.transaction() as session:
        await report_ready.send(name="kept")
        savepoint = await session.begin_nested()
        await report_ready.send(name="undone")
        await savepoint.rollback()

    assert events == ["kept"]


@operation
async def open_another(session: AsyncSession) -> None:
    session.add(Item(name="outer"))
    await session.flush()
    async with db.transaction() as other:
        other.add(Shelf(label="inner"))


async def open_ledger() -> AsyncIterator[None]:
    async with db.transaction() as session:
        session.add(Shelf(label="of a service"))
        await session.flush()
        yield


@operation
async def write_beside_a_service(session: AsyncSession, ledger: Annotated[None, Depends(open_ledger)]) -> None:
    session.add(Item(name="outer"))
    await session.flush()


@operation
async def write_one_after_the_other(session: AsyncSession) -> None:
    async with db.transaction() as other:
        other.add(Shelf(label="first"))
    session.add(Item(name="second"))


@operation
async def write_after_the_commit(session: AsyncSession) -> None:
    session.add(Item(name="third"))
    on_commit(add_shelf)


async def add_shelf() -> None:
    async with db.transaction() as session:
        session.add(Shelf(label="after"))


async def count() -> list[int | None]:
    async with db.read() as session:
        return [await session.scalar(select(func.count()).select_from(entity)) for entity in (Item, Shelf)]


@pytest.mark.parametrize("handler", [open_another, write_beside_a_service])
async def test_a_second_transaction_on_sqlite_is_an_error_at_once(
    sqlite_url: str, handler: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """It would wait for the connection that its own request has: the error says so, and nothing is kept."""
    async with running(make_app(sqlite_url, routes(("POST", "/", handler)))) as client:
        async with asyncio.timeout(1):
            assert (await client.post("/")).status_code == 500
        assert await count() == [0, 0]
    assert "SQLite has one writer" in caplog.text


@pytest.mark.parametrize("handler", [open_another, write_beside_a_service])
async def test_a_second_transaction_on_postgresql_is_its_own(postgres_url: str, handler: Any) -> None:
    """There it works, and commits by itself."""
    async with running(make_app(postgres_url, routes(("POST", "/", handler)))) as client:
        assert (await client.post("/")).status_code == 204
        assert await count() == [1, 1]


@pytest.mark.parametrize("handler", [write_one_after_the_other, write_after_the_commit])
async def test_transactions_one_after_the_other_are_fine(database_url: str, handler: Any) -> None:
    """A transaction that has ended, or has not begun, is in nobody's way."""
    async with running(make_app(database_url, routes(("POST", "/", handler)))) as client:
        assert (await client.post("/")).status_code == 204
        assert await count() == [1, 1]


async def test_another_task_waits_for_its_turn(sqlite_url: str) -> None:
    """A background task or another request may write while a unit is open: it gets the connection afterwards."""
    async with running(make_app(sqlite_url)):
        async with db.transaction() as session:
            session.add(Item(name="first"))
            await session.flush()
            later = asyncio.create_task(add_shelf())
            await asyncio.sleep(0.05)
            assert not later.done()
        await later
        assert await count() == [1, 1]
