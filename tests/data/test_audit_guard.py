"""Statements that change audited rows without a flush: none passes the trail in silence."""

from collections.abc import AsyncIterator, Awaitable, Callable
from uuid import UUID, uuid4

import pytest
from quart import Quart
from sqlalchemy import (
    DDL,
    Column,
    Connection,
    Integer,
    MetaData,
    Table,
    column,
    delete,
    event,
    insert,
    literal,
    literal_column,
    select,
    table,
    text,
    update,
)
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Session, aliased
from sqlalchemy.schema import CreateTable, DropTable

from ligand_async.context import service_of
from ligand_async.data.audit import UnrecordedStatement
from tests.data.bank import Account, Scratch, Seat, audit, db, events, make_bank, told
from tests.data.bank import running_bank as running

Way = Callable[[AsyncSession], Awaitable[object]]

SEAT = {"row": "z", "number": 9, "visits": 0}


async def by_connection(session: AsyncSession) -> None:
    connection = await session.connection()
    await connection.execute(update(Seat).values(number=8))


async def by_driver(session: AsyncSession) -> None:
    connection = await session.connection()
    await connection.exec_driver_sql("UPDATE seat SET number = 8")


async def by_its_own_connection(_session: AsyncSession) -> None:
    async with db.engines().write.connect() as connection:
        await connection.execute(update(Seat).values(number=8))


async def by_a_cte(session: AsyncSession) -> None:
    gone = delete(Seat).returning(Seat.row).cte("gone")
    await session.execute(gone.select())


async def by_a_plain_session(_session: AsyncSession) -> None:
    async with AsyncSession(db.engines().write) as session:
        session.add(Seat(**SEAT))
        await session.commit()


WAYS: dict[str, Way] = {
    "orm update": lambda session: session.execute(update(Seat).values(number=8)),
    "orm delete": lambda session: session.execute(delete(Seat)),
    "orm insert": lambda session: session.execute(insert(Seat).values(SEAT)),
    "orm insert of many": lambda session: session.execute(insert(Seat), [SEAT, SEAT | {"number": 10}]),
    "orm update by key": lambda session: session.execute(update(Seat), [{"row": "a", "number": 1, "visits": 2}]),
    "core update": lambda session: session.execute(update(Seat.__table__).values(number=8)),  # type: ignore[arg-type]  # a Table
    "bulk_insert_mappings": lambda session: session.run_sync(lambda own: own.bulk_insert_mappings(Seat, [SEAT])),
    "bulk_save_objects": lambda session: session.run_sync(lambda own: own.bulk_save_objects([Seat(**SEAT)])),
    "text": lambda session: session.execute(text('update  /* all of them */\n "seat" set number = 8')),
    "connection": by_connection,
    "driver": by_driver,
}


async def by_compiled_cache(session: AsyncSession) -> None:
    await session.execute(update(Seat).values(number=8), execution_options={"compiled_cache": None})
    connection = await session.connection()
    await connection.execute(update(Seat.__table__).values(number=8), execution_options={"compiled_cache": {}})  # type: ignore[arg-type]  # a Table


def by_text(sql: str) -> Way:
    return lambda session: session.execute(text(sql))


WAYS |= {
    "compiled cache": by_compiled_cache,
    "alias": lambda session: session.execute(update(aliased(Seat)).values(number=8)),
    "light table": lambda session: session.execute(update(table("Seat", column("number"))).values(number=8)),
    "drop": lambda session: session.execute(DropTable(Seat.__table__)),  # type: ignore[arg-type]  # a Table
    "ddl": lambda session: session.execute(DDL("DROP TABLE seat")),  # type: ignore[no-untyped-call]  # SQLAlchemy's
    "quoted": by_text('UPDATE"seat"SET number = 8'),
    "comment": by_text("UPDATE/**/seat SET number = 8"),
}
ON_POSTGRESQL: dict[str, Way] = {
    "escaped": by_text('UPDATE U&"s\\0065at" SET number = 8'),
    "only": by_text("UPDATE ONLY(seat) SET number = 8"),
    "do": by_text("DO $$ BEGIN EXECUTE 'UPDATE se' || 'at SET number = 8'; END $$"),
    "text in a cte": lambda session: session.execute(
        text("DELETE FROM seat RETURNING number").columns(column("number")).cte("gone").select()
    ),
    "truncate": lambda session: session.execute(text("TRUNCATE TABLE scratch, seat")),
    "schema": lambda session: session.execute(text("DELETE FROM ONLY public.seat")),
    "merge": lambda session: session.execute(
        text("MERGE INTO seat USING scratch ON false WHEN NOT MATCHED THEN INSERT (row, number) VALUES ('q', 1)")
    ),
    "cte": by_a_cte,
    "connection of its own": by_its_own_connection,
    "session of its own": by_a_plain_session,
}
ON_SQLITE: dict[str, Way] = {
    "replace": lambda session: session.execute(text("REPLACE INTO seat (row, number, visits) VALUES ('q', 1, 0)")),
    "or ignore": lambda session: session.execute(text("UPDATE OR IGNORE seat SET number = 8")),
    "insert or": lambda session: session.execute(
        text("INSERT OR REPLACE INTO [seat] (row, number, visits) VALUES ('q', 1, 0)")
    ),
}


@pytest.fixture
async def app(database_url: str, request: pytest.FixtureRequest) -> AsyncIterator[Quart]:
    """A started service with one seat, in whose context the test runs; its parameter is `audit_bulk`."""
    app = make_bank(database_url, audit_bulk=getattr(request, "param", "error"))
    async with running(app):
        async with db.transaction() as session:
            session.add(Seat(row="a", number=1))
        yield app


async def test_no_way_to_send_a_statement_is_silent(app: Quart, database_url: str) -> None:
    """Whoever sends it and however it is written: it is an error where that was asked for, and nothing is changed."""
    ways = WAYS | (ON_SQLITE if database_url.startswith("sqlite") else ON_POSTGRESQL)
    for name, way in ways.items():
        with pytest.raises(UnrecordedStatement, match=r"audit\.record"):
            async with db.transaction() as session:
                await way(session)
                pytest.fail(f"{name} went through")

    async with db.read() as session:
        rows = (await session.execute(text("SELECT row, number FROM seat"))).all()
    assert [tuple(row) for row in rows] == [("a", 1)]
    assert await told() == [("insert", "Seat")]


@pytest.mark.parametrize("app", ["warn"], indirect=True)
async def test_by_default_it_is_a_warning(app: Quart, caplog: pytest.LogCaptureFixture) -> None:
    """The statement does what it says, and the log says what the trail lacks."""
    async with db.transaction() as session:
        await session.execute(update(Seat).values(visits=3))

    (warning,) = [record.getMessage() for record in caplog.records if record.name.startswith("ligand_async.data.audit")]
    assert "changes seat without the audit trail" in warning
    assert "outside an operation" in warning
    assert "3" not in warning


@pytest.mark.parametrize("app", ["ignore"], indirect=True)
async def test_it_can_be_let_pass(app: Quart, caplog: pytest.LogCaptureFixture) -> None:
    """`ignore` is as it says."""
    async with db.transaction() as session:
        await session.execute(update(Seat).values(visits=3))

    assert caplog.records == []


async def test_what_is_recorded_passes(app: Quart) -> None:
    """`record` beside a statement writes an event for each key and lets the statement pass."""
    keys = [("a", 1), ("a", 2)]
    async with db.transaction() as session:
        await audit.record(session, "update", Seat, keys=keys, old={"visits": 0}, new={"account_id": None})
        await session.execute(update(Seat).values(account_id=None))

    found = (await events())[1:]
    assert [(event.action, event.key, event.old, event.new) for event in found] == [
        ("update", '["a",1]', {}, {"account_id": None}),
        ("update", '["a",2]', {}, {"account_id": None}),
    ]


async def test_a_record_without_keys_is_one_event(app: Quart) -> None:
    """What changes too many rows to name is one event without a key; no keys at all are none."""
    async with db.transaction() as session:
        await audit.record(session, "delete", Seat)
        await audit.record(session, "delete", Seat, keys=[])
        await session.execute(delete(Seat))

    assert [(event.action, event.key) for event in (await events())[1:]] == [("delete", None)]


async def test_a_record_is_for_its_tables_and_its_transaction(app: Quart) -> None:
    """It covers no other class, and ends with its transaction."""
    async with db.transaction() as session:
        await audit.record(session, "update", Seat)
    with pytest.raises(UnrecordedStatement):
        async with db.transaction() as session:
            await session.execute(update(Seat).values(visits=3))
    with pytest.raises(UnrecordedStatement):
        async with db.transaction() as session:
            await audit.record(session, "update", Seat)
            await session.execute(update(Account).values(name="x"))


async def test_a_record_is_taken_back_with_its_savepoint(app: Quart) -> None:
    """After a savepoint that was rolled back a record is needed again; one before a savepoint is good inside it."""
    async with db.transaction() as session:
        with pytest.raises(ZeroDivisionError):
            async with session.begin_nested():
                await audit.record(session, "update", Seat)
                raise ZeroDivisionError
        with pytest.raises(UnrecordedStatement):
            await session.execute(update(Seat).values(visits=3))
        await audit.record(session, "update", Seat)
        async with session.begin_nested():
            await session.execute(update(Seat).values(visits=3))

    assert await told() == [("insert", "Seat"), ("update", "Seat")]


async def test_a_record_may_be_of_anything(app: Quart) -> None:
    """An event need not be a change of rows; values are written as those of rows are."""
    number = uuid4()
    async with db.transaction() as session:
        await audit.record(session, "sent", "Statement", keys=[number], new={"to": UUID(int=1)})

    event = (await events())[-1]
    assert (event.action, event.entity, event.key) == ("sent", "Statement", str(number))
    assert event.new == {"to": str(UUID(int=1))}


async def test_a_record_is_rolled_back_with_its_work(app: Quart) -> None:
    """It is in the transaction like everything else."""
    with pytest.raises(ZeroDivisionError):
        async with db.transaction() as session:
            await audit.record(session, "update", Seat)
            raise ZeroDivisionError

    assert await told() == [("insert", "Seat")]


async def test_a_record_hides_what_columns_hide(app: Quart) -> None:
    """Private columns and redacted ones are no more told by hand than by a flush."""
    async with db.transaction() as session:
        await audit.record(session, "update", Account, new={"pin": "hunter", "holder": "Ada", "name": "x"})

    assert (await events())[-1].new == {"holder": "[redacted]", "name": "x"}


async def test_other_statements_pass(app: Quart) -> None:
    """Reading, locking, and what changes tables without a trail needs no record."""
    old = Table("seat_old", MetaData(), Column("id", Integer))
    async with db.transaction() as session:
        await session.execute(select(Seat.row, literal("delete from seat")).with_for_update())
        await session.execute(select(literal_column("'update seat'")))
        await session.execute(insert(Scratch).values(id=uuid4(), text="delete from seats"))
        await session.execute(update(Scratch).values(text="x"))
        await session.execute(CreateTable(old))
        await session.execute(delete(old))
        async with session.begin_nested():
            await session.execute(DropTable(old))

    assert await told() == [("insert", "Seat")]


async def test_text_needs_a_record(app: Quart) -> None:
    """It is not read, so that it is refused until something is recorded in its transaction."""
    async with db.transaction() as session:
        with pytest.raises(UnrecordedStatement, match=r"db\.read\(\)"):
            await session.execute(text("SELECT 1"))
        async with session.begin_nested():
            await audit.record(session, "renumbered", "Seats")
            await session.execute(text("UPDATE seat SET visits = 3"))
            connection = await session.connection()
            await connection.exec_driver_sql("UPDATE seat SET visits = 4")
        with pytest.raises(UnrecordedStatement):  # of the seats nothing is recorded
            await session.execute(update(Seat).values(visits=3))
    with pytest.raises(UnrecordedStatement):
        async with db.transaction() as session:
            await session.execute(text("SELECT 1"))
    async with db.read() as session:
        assert (await session.execute(text("SELECT visits FROM seat"))).scalar_one() == 4


@pytest.mark.parametrize("app", ["warn"], indirect=True)
async def test_a_text_is_warned_of_once(app: Quart, caplog: pytest.LogCaptureFixture) -> None:
    """It is the same text each time, and the log does not repeat it."""
    for _ in range(3):
        async with db.transaction() as session:
            await session.execute(text("SELECT 'hunter'"))

    (warning,) = [record.getMessage() for record in caplog.records if record.name.startswith("ligand_async.data.audit")]
    assert "SQL text" in warning
    assert "hunter" not in warning


async def test_a_listener_of_a_flush_is_no_flush(app: Quart) -> None:
    """A statement that it sends while the session flushes is looked at like any other."""

    def change_more(session: Session, *_: object) -> None:
        session.connection().execute(update(Seat.__table__).values(visits=9))  # type: ignore[arg-type]  # a Table

    with pytest.raises(UnrecordedStatement, match="seat"):
        async with db.transaction() as session:
            event.listen(session.sync_session, "after_flush", change_more)
            session.add(Seat(row="b", number=2))


async def test_flush_that_failed_opens_no_door(app: Quart) -> None:
    """After a flush that the database refused, statements are looked at as before."""
    async with db.transaction() as session:
        with pytest.raises(Exception, match=r"(?i)unique"):
            async with session.begin_nested():
                session.add(Seat(row="a", number=1))
                await session.flush()
        with pytest.raises(UnrecordedStatement):
            await session.execute(update(Seat).values(visits=3))


async def test_engine_of_migrations_is_not_looked_at(app: Quart) -> None:
    """A migration of data is nobody's bulk statement."""
    settings = service_of(app).settings
    engine = db.migration_engine(settings)

    def change(connection: Connection) -> None:
        connection.execute(update(Seat).values(visits=3))

    async with engine.begin() as connection:
        await connection.run_sync(change)
    await engine.dispose()

    assert await told() == [("insert", "Seat")]
