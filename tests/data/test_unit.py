"""The unit of work: committed whole with what follows, or not at all; its session, and when it runs again."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from quart import Quart
from sqlalchemy import func, inspect, select, text
from sqlalchemy.exc import DBAPIError, IntegrityError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import defer, joinedload, selectinload
from sqlalchemy.orm.exc import DetachedInstanceError

from ligand_async import on_commit
from ligand_async.data import (
    ConnectionLost,
    DatabaseUnreachable,
    LazyLoadRefused,
    SessionMisused,
    StatementTimedOut,
    WriteOnReadSession,
)
from ligand_async.data.unit import MAX_ATTEMPTS, may_run_again
from tests.services import Item, Shelf, db, make_app, running


@pytest.fixture
async def app(database_url: str) -> AsyncIterator[Quart]:
    """A started app with empty tables, in whose context the test runs."""
    app = make_app(database_url)
    async with running(app):
        yield app


async def count_items() -> int:
    """Count what is stored, in a session of its own."""
    async with db.read() as session:
        return await session.scalar(select(func.count()).select_from(Item)) or 0


async def test_end_of_block_commits(app: Quart) -> None:
    """What a block added is stored once the block has ended."""
    async with db.transaction() as session:
        session.add(Item(name="cup"))

    assert await count_items() == 1


async def test_exception_rolls_back(app: Quart) -> None:
    """A block that raises leaves nothing, although it was flushed."""
    with pytest.raises(ZeroDivisionError):
        async with db.transaction() as session:
            session.add(Item(name="cup"))
            await session.flush()
            raise ZeroDivisionError

    assert await count_items() == 0


async def test_callback_runs_after_commit(app: Quart) -> None:
    """A callback sees the row from another session: it runs after the commit, not before."""
    seen: list[int] = []

    async def look() -> None:
        seen.append(await count_items())

    async with db.transaction() as session:
        session.add(Item(name="cup"))
        on_commit(look)
        assert seen == []

    assert seen == [1]


async def test_callback_never_runs_after_rollback(app: Quart) -> None:
    """A failed commit runs no callback."""
    ran: list[str] = []
    async with db.transaction() as session:
        session.add(Item(name="cup"))

    with pytest.raises(IntegrityError):
        async with db.transaction() as session:
            session.add(Item(name="cup"))
            on_commit(lambda: ran.append("never"))

    assert ran == []


async def test_failing_callback_changes_nothing(app: Quart, caplog: pytest.LogCaptureFixture) -> None:
    """A callback that raises is logged, the next one runs, the row stays."""
    ran: list[str] = []

    def fail() -> None:
        raise RuntimeError("broken hook")

    async with db.transaction() as session:
        session.add(Item(name="cup"))
        on_commit(fail)
        on_commit(lambda: ran.append("next"))

    assert ran == ["next"]
    assert await count_items() == 1
    assert "fail failed; the commit stands" in caplog.text


async def test_hanging_callback_is_given_up(
    app: Quart, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A callback that does not end is cancelled after its time."""
    monkeypatch.setattr("ligand_async.data.unit.CALLBACK_TIMEOUT", 0.05)

    async with db.transaction():
        on_commit(lambda: asyncio.sleep(60))

    assert "did not end within" in caplog.text


async def test_on_commit_needs_a_unit(app: Quart) -> None:
    """Outside a unit of work there is nothing to follow."""
    with pytest.raises(RuntimeError, match=r"db\.transaction\(\)"):
        on_commit(lambda: None)


async def test_nobody_commits_by_hand(app: Quart) -> None:
    """A handler cannot commit half of its work."""
    async with db.transaction() as session:
        with pytest.raises(SessionMisused, match="the unit of work commits"):
            await session.commit()


async def test_commit_goes_on_when_cancelled(app: Quart) -> None:
    """A task that is cancelled while it commits leaves the row and has run the callback."""
    done = asyncio.Event()
    began = asyncio.Event()

    async def slow_callback() -> None:
        began.set()
        await asyncio.sleep(0.05)
        done.set()

    async def work() -> None:
        async with db.transaction() as session:
            session.add(Item(name="cup"))
            on_commit(slow_callback)

    task = asyncio.create_task(work())
    await began.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    await asyncio.wait_for(done.wait(), 2)
    assert await count_items() == 1


async def test_two_tasks_cannot_share_a_session(app: Quart) -> None:
    """`gather` on one session is refused, and the message says what to do instead."""
    async with db.read() as session:
        with pytest.raises(SessionMisused, match=r"db\.read\(\)"):
            await asyncio.gather(session.execute(text("SELECT 1")), session.execute(text("SELECT 2")))


async def test_flush_from_another_task_is_refused(app: Quart) -> None:
    """A flush is work too."""

    async def flush(session: AsyncSession) -> None:
        session.add(Item(name="cup"))
        await session.flush()

    with pytest.raises(SessionMisused):
        async with db.transaction() as session:
            await asyncio.create_task(flush(session))


async def test_fifty_writers_lose_nothing(app: Quart) -> None:
    """Fifty writers at once: fifty rows."""

    async def write(number: int) -> None:
        async with db.transaction() as session:
            session.add(Item(name=f"item {number}"))

    await asyncio.gather(*(write(number) for number in range(50)))

    assert await count_items() == 50


async def test_fifty_increments_are_fifty(app: Quart) -> None:
    """Fifty units that read, add one and write: the row's version lets none of them overwrite another."""
    async with db.transaction() as session:
        session.add(Item(name="cup"))

    async def add_one() -> None:
        async with db.transaction() as session:
            item = await session.scalar(select(Item).with_for_update())
            assert item is not None
            item.price += 1

    await asyncio.gather(*(add_one() for _ in range(50)))

    async with db.read() as session:
        assert await session.scalar(select(Item.price)) == 50


WRITES = {
    "core insert": "INSERT INTO shelf (id, label) VALUES ('00000000-0000-0000-0000-000000000000', 'x')",
    "update": "UPDATE item SET price = 1",
    "delete": "DELETE FROM item",
    "ddl": "CREATE TABLE other (id INTEGER)",
    "drop": "DROP TABLE item",
    "begin": "BEGIN",
    "comment first": "/* harmless */ -- really\n COMMIT",
}
WRITES_ON_POSTGRESQL = {
    "set": "SET default_transaction_read_only = off",
    "set_config": "SELECT set_config('default_transaction_read_only', 'off', false)",
    "writing cte": "WITH gone AS (DELETE FROM item RETURNING id) SELECT * FROM gone",
    "reset": "RESET ALL",
    "discard": "DISCARD ALL",
    "truncate": "TRUNCATE item",
    "row lock": "SELECT * FROM item FOR UPDATE",
    "block": "DO $$ BEGIN DELETE FROM item; END $$",
    "nested comment": "/* a /* b */ c */ SET default_transaction_read_only = off",
    "select into": "SELECT * INTO other FROM item",
    "explain analyze": "EXPLAIN ANALYZE DELETE FROM item",
    "copy": "COPY item TO PROGRAM 'true'",
    "sequence": "SELECT nextval('number')",
    "large object": "SELECT lo_create(0)",
    "comment": "COMMENT ON TABLE item IS 'mine'",
    "grant": "GRANT ALL ON item TO public",
    "merge": "MERGE INTO item USING shelf ON false WHEN NOT MATCHED THEN INSERT (id, name) VALUES (shelf.id, 'x')",
}
WRITES_ON_SQLITE = {
    "pragma": "PRAGMA query_only = OFF",
    "attach": "ATTACH DATABASE 'other.db' AS other",
    "replace": "REPLACE INTO shelf (id, label) VALUES ('00000000-0000-0000-0000-000000000000', 'x')",
    "vacuum": "VACUUM",
    "analyze": "ANALYZE",
    "reindex": "REINDEX",
    "insert by select": "WITH x AS (SELECT 1) INSERT INTO shelf SELECT id, name FROM item",
    "upsert": "INSERT INTO shelf (id, label) VALUES ('0', 'x') ON CONFLICT DO NOTHING",
    "temporary": "CREATE TEMP TABLE other (id INTEGER)",
}


@pytest.mark.parametrize("mode", ["read", "snapshot", "replica"])
async def test_no_statement_writes_on_a_read_session(app: Quart, database_url: str, mode: str) -> None:
    """Whatever the statement, a session that reads refuses it, and the next user of its connection still reads."""
    is_sqlite = database_url.startswith("sqlite")
    async with db.transaction() as session:
        session.add(Item(name="cup", price=7))
        if not is_sqlite:
            await session.execute(text("CREATE SEQUENCE number"))

    more = WRITES_ON_SQLITE if is_sqlite else WRITES_ON_POSTGRESQL
    for name, statement in (WRITES | more).items():
        with pytest.raises(WriteOnReadSession):
            async with db.read(mode=mode) as session:  # type: ignore[arg-type]  # a parameter of the test
                await session.execute(text(statement))
                pytest.fail(f"{name} went through")

    async with db.read() as session:
        assert await session.scalar(select(Item.price)) == 7


async def test_orm_does_not_write_on_a_read_session(app: Quart) -> None:
    """Adding to a session that reads fails at the flush."""
    with pytest.raises(WriteOnReadSession, match=r"db\.transaction"):
        async with db.read() as session:
            session.add(Item(name="cup"))
            await session.flush()

    assert await count_items() == 0


async def test_reading_is_not_writing(app: Quart) -> None:
    """`read(mode="write")` is refused: its name would lie."""
    with pytest.raises(ValueError, match=r"db\.transaction\(\)"):
        async with db.read(mode="write"):
            pass


async def test_snapshot_sees_one_moment(app: Quart) -> None:
    """Two statements of a snapshot see the same rows, whatever is committed between them."""
    async with db.read(mode="snapshot") as session:
        before = await session.scalar(select(func.count()).select_from(Item))
        async with db.transaction() as writer:
            writer.add(Item(name="cup"))
        after = await session.scalar(select(func.count()).select_from(Item))

    assert (before, after) == (0, 0)
    assert await count_items() == 1


async def test_read_sees_what_was_committed_between(app: Quart) -> None:
    """A plain read session sees each commit: its statements stand alone."""
    async with db.read() as session:
        before = await session.scalar(select(func.count()).select_from(Item))
        async with db.transaction() as writer:
            writer.add(Item(name="cup"))
        after = await session.scalar(select(func.count()).select_from(Item))

    assert (before, after) == (0, 1)


@pytest.fixture
async def stocked(database_url: str) -> AsyncIterator[Quart]:
    """A started app with a cup on a shelf, in whose context the test runs."""
    app = make_app(database_url)
    async with running(app):
        async with db.transaction() as session:
            session.add(Shelf(label="top", items=[Item(name="cup", price=3)]))
        yield app


async def test_collection_that_was_not_loaded(stocked: Quart) -> None:
    """The error names the relationship, `selectinload` with it, and `refresh`."""
    async with db.read() as session:
        shelf = (await session.scalars(select(Shelf))).one()
        with pytest.raises(
            LazyLoadRefused, match=r"^Shelf\.items was not loaded.*selectinload\(Shelf\.items\).*refresh"
        ):
            _ = shelf.items


async def test_reference_that_was_not_loaded(stocked: Quart) -> None:
    """A many-to-one is loaded by key, and refused the same."""
    async with db.read() as session:
        item = (await session.scalars(select(Item))).one()
        with pytest.raises(LazyLoadRefused, match=r"^Item\.shelf was not loaded"):
            _ = item.shelf


async def test_expired_column(stocked: Quart) -> None:
    """The error of an expired attribute names it and `refresh`."""
    async with db.read() as session:
        item = (await session.scalars(select(Item))).one()
        session.expire(item, ["price", "name"])
        with pytest.raises(LazyLoadRefused, match=r"^Item\.name, Item\.price is expired.*session\.refresh\(entity\)"):
            _ = item.price


async def test_deferred_column(stocked: Quart) -> None:
    """The error of a deferred column names it and `undefer`."""
    async with db.read() as session:
        item = (await session.scalars(select(Item).options(defer(Item.price)))).one()
        with pytest.raises(LazyLoadRefused, match=r"^Item\.price is expired or deferred.*undefer\(Item\.price\)"):
            _ = item.price


async def test_remedies_work(stocked: Quart) -> None:
    """What the errors recommend does load."""
    async with db.read() as session:
        shelf = (await session.scalars(select(Shelf).options(selectinload(Shelf.items)))).one()
        assert [item.name for item in shelf.items] == ["cup"]
        item = shelf.items[0]
        session.expire(item)
        await session.refresh(item)
        assert item.price == 3
        await session.refresh(item, [Item.shelf.key])
        assert item.shelf is shelf


async def test_loading_where_one_may_await_is_allowed(stocked: Quart) -> None:
    """`run_sync` and eager options load as in any SQLAlchemy."""
    async with db.read() as session:
        shelf = (await session.scalars(select(Shelf))).one()
        assert await session.run_sync(lambda _: [item.name for item in shelf.items]) == ["cup"]
    async with db.read() as session:
        item = (await session.scalars(select(Item).options(joinedload(Item.shelf)))).one()
        assert item.shelf is not None


async def test_nothing_expires_with_the_commit(stocked: Quart) -> None:
    """What was written can be read after its transaction: ids, defaults, moments, version."""
    async with db.transaction() as session:
        item = Item(name="pot")
        session.add(item)

    assert (item.price, item.version, item.shelf_id) == (0, 1, None)
    assert item.created_at == item.updated_at
    assert inspect(item).expired_attributes == set()


async def test_lazy_load_after_the_session_names_the_attribute(stocked: Quart) -> None:
    """After its session, an entity's relationship cannot load: SQLAlchemy's own error names it."""
    async with db.read() as session:
        item = (await session.scalars(select(Item))).one()

    with pytest.raises(DetachedInstanceError, match="attribute 'shelf'"):
        _ = item.shelf


async def test_detached_entity_in_a_unit_comes_with_a_note(stocked: Quart) -> None:
    """Where that error leaves a unit of work, a note adds the remedy."""
    async with db.read() as session:
        item = (await session.scalars(select(Item))).one()

    with pytest.raises(DetachedInstanceError) as caught:
        async with db.transaction():
            _ = item.shelf
    assert "selectinload" in caught.value.__notes__[0]


class Refusal(Exception):
    """A driver's error with a SQLSTATE."""

    def __init__(self, sqlstate: str | None = None) -> None:
        self.sqlstate = sqlstate


class InvalidCachedStatementError(Exception):
    """Named as SQLAlchemy's asyncpg dialect names a stale plan."""


DEADLOCK = DBAPIError("", {}, Refusal("40P01"))
SERIALIZATION = DBAPIError("", {}, Refusal("40001"))
UNIQUE = DBAPIError("", {}, Refusal("23505"))
STALE = DBAPIError("", {}, InvalidCachedStatementError())
DEAD = DBAPIError("", {}, Refusal("57P01"), connection_invalidated=True)
LOST = ConnectionLost("")


@pytest.mark.parametrize("error", [DEAD, LOST, STALE])
def test_reads_run_again_once(error: SQLAlchemyError) -> None:
    """A read that met a dead connection or a stale plan runs a second time, not a third."""
    assert may_run_again(error, 1, reads=True, retry_safe=False)
    assert not may_run_again(error, 2, reads=True, retry_safe=False)


@pytest.mark.parametrize("error", [DEADLOCK, UNIQUE, StatementTimedOut(""), DatabaseUnreachable("")])
def test_reads_do_not_run_again_for_other_reasons(error: SQLAlchemyError) -> None:
    """A timeout would only double the wait, and a database that is down stays down for a while."""
    assert not may_run_again(error, 1, reads=True, retry_safe=False)


@pytest.mark.parametrize("error", [DEADLOCK, SERIALIZATION, STALE, DEAD, LOST, UNIQUE])
def test_writes_do_not_run_again_unasked(error: SQLAlchemyError) -> None:
    """A handler that writes may have done more than write: it runs once."""
    assert not may_run_again(error, 1, reads=False, retry_safe=False)


@pytest.mark.parametrize("error", [DEADLOCK, SERIALIZATION, STALE])
def test_safe_writes_run_three_times_in_all(error: SQLAlchemyError) -> None:
    """What declares itself `retry_safe` gets three attempts."""
    attempts = [may_run_again(error, attempt, reads=False, retry_safe=True) for attempt in range(1, MAX_ATTEMPTS + 1)]
    assert attempts == [True, True, False]


@pytest.mark.parametrize("error", [DEAD, LOST, UNIQUE, StatementTimedOut("")])
def test_safe_writes_do_not_run_again_after_a_lost_connection(error: SQLAlchemyError) -> None:
    """A connection lost at commit leaves open whether it was committed: running again could write twice."""
    assert not may_run_again(error, 1, reads=False, retry_safe=True)
