"""FAULTS 106 to 110: sessions used by the wrong task, too late, or in another loop."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from quart import current_app, stream_with_context
from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncSession

from ligand_async import on_commit, operation
from ligand_async.data import SessionMisused
from tests.servers import free_port
from tests.services import Item, Shelf, count_checked_out, count_items, db, make_service, post, running


async def test_gather_on_one_session_is_named(database_url: str, caplog: pytest.LogCaptureFixture) -> None:
    """Row 106: `gather` on one session is a 500 whose log entry names the mistake and the remedy."""

    @operation
    async def gather(session: AsyncSession) -> None:
        """Do two things at once."""
        await asyncio.gather(session.execute(text("SELECT 1")), session.execute(text("SELECT 2")))

    async with running(make_service(database_url, ("POST", "/gather", gather))) as client:
        assert (await client.post("/gather")).status_code == 500
        assert count_checked_out() == 0

    assert "one session, two tasks" in caplog.text
    assert "give each task its own with `async with db.read()`" in caplog.text


async def test_lazy_load_names_attribute_and_remedy(database_url: str, caplog: pytest.LogCaptureFixture) -> None:
    """Row 107: a relationship read without having been loaded is a 500 whose log entry names it and the remedy."""

    @operation
    async def label(session: AsyncSession) -> str:
        """Read what was not loaded."""
        shelf = (await session.scalars(select(Shelf))).one()
        return str(shelf.items)

    async with running(make_service(database_url, ("POST", "/label", label))) as client:
        async with db.transaction() as session:
            session.add(Shelf(label="top"))
        assert (await client.post("/label")).status_code == 500

    assert "Shelf.items was not loaded" in caplog.text
    assert ".options(selectinload(Shelf.items))" in caplog.text


@pytest.mark.ligand_conformance("off", reason="streams text by hand")
async def test_stream_opens_its_own_session(database_url: str) -> None:
    """Row 108: a stream runs after the unit of work has ended; it opens a session by `db.read()`."""

    @operation
    async def names(session: AsyncSession) -> Any:
        """Stream the names."""

        @stream_with_context
        async def lines() -> AsyncIterator[bytes]:
            async with db.read() as own:
                for name in await own.scalars(select(Item.name).order_by(Item.name)):
                    yield f"{name}\n".encode()

        return current_app.response_class(lines(), content_type="text/plain")

    async with running(make_service(database_url, ("GET", "/names", names))) as client:
        for name in ("cup", "pot"):
            assert (await post(client, "/items", name=name))[0] == 201
        assert await (await client.get("/names")).get_data() == b"cup\npot\n"
        assert count_checked_out() == 0


@pytest.mark.ligand_conformance("off", reason="streams text by hand")
async def test_stream_cannot_use_the_requests_session(database_url: str) -> None:
    """Row 108: the request's own session is closed by then, and says so to a stream that uses it."""
    caught: list[SessionMisused] = []

    @operation
    async def names(session: AsyncSession) -> Any:
        """Stream the names, wrongly."""

        async def lines() -> AsyncIterator[bytes]:
            try:
                await session.scalars(select(Item.name))
            except SessionMisused as error:
                caught.append(error)
            yield b""

        return current_app.response_class(lines(), content_type="text/plain")

    async with running(make_service(database_url, ("GET", "/names", names))) as client:
        await (await client.get("/names")).get_data()
        assert count_checked_out() == 0

    assert "opens its own with `async with db.read()`" in str(caught[0])


async def test_callback_cannot_use_the_units_session(database_url: str, caplog: pytest.LogCaptureFixture) -> None:
    """Row 108: neither can a callback: what it began would be nobody's to end."""
    async with running(make_service(database_url)):
        async with db.transaction() as session:
            on_commit(lambda: touch(session))
        assert count_checked_out() == 0

    assert "the unit of work of this session has ended" in caplog.text


async def touch(session: AsyncSession) -> None:
    """Use a session."""
    await session.execute(text("SELECT 1"))


async def test_background_task_starts_after_commit(database_url: str) -> None:
    """Row 109: a background task that `on_commit` starts finds the row, and writes in a session of its own."""
    done = asyncio.Event()

    async def relabel() -> None:
        async with db.transaction() as session:
            item = (await session.scalars(select(Item))).one()
            item.price = 9
        done.set()

    @operation(status=201)
    async def create(session: AsyncSession) -> None:
        """Store an item, and do the rest later."""
        session.add(Item(name="cup"))
        on_commit(lambda: current_app.add_background_task(relabel))

    async with running(make_service(database_url, ("POST", "/later", create))) as client:
        assert (await client.post("/later")).status_code == 201
        await asyncio.wait_for(done.wait(), 5)
        async with db.read() as session:
            assert (await session.scalars(select(Item.price))).all() == [9]


async def test_background_task_never_starts_after_rollback(database_url: str) -> None:
    """Row 109: where the commit fails, the task is not started."""
    started = []

    async def work() -> None:
        started.append(1)

    @operation(status=201)
    async def create(session: AsyncSession) -> None:
        """Store an item that cannot be."""
        session.add(Item(name="cup", price=-1))
        on_commit(lambda: current_app.add_background_task(work))

    async with running(make_service(database_url, ("POST", "/later", create))) as client:
        assert (await client.post("/later")).status_code == 422

    assert started == []


async def test_late_on_commit_is_refused(database_url: str) -> None:
    """Row 109: a task that outlives its unit of work cannot hang a callback on it: it would never run."""
    async with running(make_service(database_url)):
        ended = asyncio.Event()

        async def late() -> None:
            await ended.wait()
            on_commit(lambda: None)

        async with db.transaction():
            task = asyncio.create_task(late())
        ended.set()
        with pytest.raises(RuntimeError, match="after its unit of work had ended"):
            await task


def test_app_runs_in_one_loop_after_another(sqlite_url: str) -> None:
    """Row 110: engines belong to the loop that started the app; stopped and started again, it runs in the next loop."""
    app = make_service(sqlite_url)

    async def visit(name: str) -> int:
        async with running(app) as client:
            assert (await post(client, "/items", name=name))[0] == 201
            return int(await count_items())

    assert [asyncio.run(visit(name)) for name in ("cup", "pot")] == [1, 2]


async def test_apps_run_in_two_loops_at_once(postgres_url: str) -> None:
    """Row 110: two loops in two threads, one `Database`, an app each: neither meets the other's connections."""
    async with running(make_service(postgres_url)):
        pass

    async def visit(name: str) -> None:
        async with running(make_service(postgres_url), tables=False) as client:
            for number in range(10):
                assert (await post(client, "/items", name=f"{name} {number}"))[0] == 201

    await asyncio.gather(*(asyncio.to_thread(asyncio.run, visit(name)) for name in ("cup", "pot")))

    async with running(make_service(postgres_url), tables=False):
        assert await count_items() == 20


async def test_nothing_is_connected_before_the_start(postgres_url: str) -> None:
    """Row 110: an app that is made and not started, as before a fork, has no engine that a child could inherit."""
    app = make_service(f"postgresql://user@127.0.0.1:{free_port()}/pets")

    async with app.app_context():
        with pytest.raises(RuntimeError, match="engines live from start to stop"):
            db.engines()
