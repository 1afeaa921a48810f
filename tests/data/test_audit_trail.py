"""The audit trail: one row for each entity that is changed, in the transaction of the change."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from uuid import UUID

import pytest
from quart import Quart
from sqlalchemy import DateTime, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from ligand_async import AuditTrail, Database, Identified, Model, operation
from ligand_async.context import service_of
from ligand_async.data.audit import AuditWriteRefused
from tests.data.bank import ADA, BOB, Account, Key, Kind, Scratch, Seat, acting, audit, db, events, make_bank, told
from tests.data.bank import running_bank as running
from tests.data.statements import captured
from tests.services import routes


@pytest.fixture
async def app(database_url: str) -> AsyncIterator[Quart]:
    """A started service with empty tables, in whose context the test runs."""
    app = make_bank(database_url, audit_bulk="error")
    async with running(app):
        yield app


async def open_account(**values: object) -> UUID:
    async with db.transaction() as session:
        account = Account(**{"name": "first"} | values)
        session.add(account)
    return account.id


async def test_insert_update_and_delete_are_told(app: Quart) -> None:
    """An insert has new values, a delete old ones, an update both and only of what changed."""
    key = await open_account(balance=Decimal("1.50"), opened_at=datetime(2026, 1, 2, 3, 4, 5, 6, UTC))
    async with db.transaction() as session:
        account = await session.get_one(Account, key)
        account.kind, account.balance = Kind.CURRENT, Decimal("2.25")
    async with db.transaction() as session:
        await session.delete(await session.get_one(Account, key))

    inserted, updated, deleted = await events(entity="Account", key=str(key))
    assert inserted.old is None
    assert inserted.new is not None
    assert inserted.new["opened_at"] == "2026-01-02T03:04:05.000006Z"
    assert (inserted.new["id"], inserted.new["kind"], inserted.new["balance"]) == (str(key), "saving", "1.50")
    assert updated.old is not None
    assert updated.new is not None
    assert set(updated.old) == set(updated.new) == {"kind", "balance", "version", "updated_at"}
    assert (updated.old["balance"], updated.new["balance"]) == ("1.50", "2.25")
    assert deleted.old is not None
    assert (deleted.old["balance"], deleted.old["version"], deleted.new) == ("2.25", 2, None)


async def test_values_that_json_lacks_are_written(app: Quart) -> None:
    """Bytes, spans, members and numbers that are none have a form that comes back."""
    key = await open_account(
        seal=b"\xff\x00", notice=timedelta(days=3, microseconds=7), tags={"a": [1, None]}, rate=float("inf")
    )

    (event,) = await events(key=str(key))
    async with db.read() as session:
        values = await audit.as_of(session, Account, key, event.at)
    assert event.new is not None
    assert (event.new["rate"], event.new["tags"]) == ("Infinity", {"a": [1, None]})
    assert values is not None
    assert values["seal"] == b"\xff\x00"
    assert values["notice"] == timedelta(days=3, microseconds=7)
    assert (values["kind"], values["rate"], values["tags"]) == (Kind.SAVING, float("inf"), {"a": [1, None]})


async def test_who_and_whence_are_told(database_url: str) -> None:
    """A request's events name its principal, its id, its operationId and its client; all of one request share them."""

    @operation(status=201)
    async def open_one(session: AsyncSession) -> None:
        """Open an account."""
        session.add(Account(name="first", seats=[Seat(row="a", number=1)]))

    app = make_bank(database_url, routes(("POST", "/accounts", open_one)))
    async with running(app) as client:
        with acting(ADA):
            headers = {"X-Request-ID": "request-7"}
            await client.post("/accounts", headers=headers, scope_base={"client": ("198.51.100.7", 5000)})

        found = await events()
        assert {event.entity for event in found} == {"Account", "Seat"}
        assert {
            (event.subject, event.issuer, event.client_id, event.request_id, event.operation_id, event.client_address)
            for event in found
        } == {("ada", "https://issuer.example", "bank-app", "request-7", "open_shop_one_post", "198.51.100.7")}


async def test_work_outside_requests_is_told_of_nobody(app: Quart) -> None:
    """A transaction of a script is in the trail, by no subject."""
    await open_account()

    (event,) = await events()
    assert (event.subject, event.request_id, event.operation_id, event.client_address) == (None, None, None, None)


async def test_moment_is_the_databases(app: Quart) -> None:
    """Events are stamped by the database's clock, in UTC, in the order in which they were written."""
    key = await open_account()
    for name in ("second", "third", "fourth"):
        async with db.transaction() as session:
            (await session.get_one(Account, key)).name = name

    found = await events()
    assert [event.new["name"] for event in found if event.new] == ["first", "second", "third", "fourth"]
    assert all(event.at.tzinfo is UTC for event in found)
    assert abs(found[-1].at - datetime.now(UTC)) < timedelta(minutes=5)
    assert all(event.id.version == 7 for event in found)


@pytest.mark.ligand_database("postgresql")
async def test_moment_is_that_of_the_change_and_not_of_its_transaction(app: Quart) -> None:
    """Of two transactions, the one that began first and wrote last comes last."""
    key = await open_account()
    async with db.transaction() as early:
        await early.execute(select(1))
        async with db.transaction() as late:
            (await late.get_one(Account, key)).name = "by late"
        (await early.get_one(Account, key)).name = "by early"

    assert [event.new["name"] for event in await events() if event.new] == ["first", "by late", "by early"]


async def test_composite_key_is_an_array(app: Quart) -> None:
    """A key of several columns is one JSON array, in the order of the columns."""
    async with db.transaction() as session:
        session.add(Seat(row="a", number=7))

    assert [event.key for event in await events(entity="Seat")] == ['["a",7]']


async def test_marks_of_columns_hide(app: Quart) -> None:
    """A private column is nowhere, one that is left out neither, and of a redacted one it is told that it changed."""
    key = await open_account(pin="hunter two", holder="Ada Lovelace")
    async with db.transaction() as session:
        account = await session.get_one(Account, key)
        account.pin, account.holder = "hunter three", None
    async with db.transaction() as session:
        session.add(Seat(row="b", number=1, visits=9_876_543))

    found = await events()
    assert not any(secret in repr(found) for secret in ("hunter", "pin", "Lovelace", "visits", "9876543"))
    first, second, _ = found
    assert first.new is not None
    assert first.new["holder"] == "[redacted]"
    assert (second.old or {}).get("holder") == "[redacted]"
    assert (second.new or {}).get("holder", "") is None


async def test_update_of_a_private_column_alone_is_told_without_values(app: Quart) -> None:
    """That somebody changed a secret is worth knowing; the secret is not told."""
    async with db.transaction() as session:
        session.add(Key(code="x", secret="s"))
    async with db.transaction() as session:
        (await session.get_one(Key, "x")).secret = "t"

    assert [(event.action, event.old, event.new) for event in await events(entity="Key")][1:] == [("update", {}, {})]


async def test_what_is_left_out_is_not_told(app: Quart) -> None:
    """A class without a trail, and an update of nothing but columns that are left out, leave no event."""
    async with db.transaction() as session:
        session.add_all([Scratch(text="x"), Seat(row="b", number=1)])
    async with db.transaction() as session:
        (await session.get_one(Seat, ("b", 1))).visits += 1

    assert await told() == [("insert", "Seat")]


async def test_rolled_back_work_leaves_nothing(app: Quart) -> None:
    """Neither what raised, nor what the database refused, nor what a savepoint took back is in the trail."""
    with pytest.raises(ZeroDivisionError):
        async with db.transaction() as session:
            session.add(Account(name="lost"))
            await session.flush()
            raise ZeroDivisionError
    async with db.transaction() as session:
        session.add(Seat(row="a", number=1))
        await session.flush()
        with pytest.raises(IntegrityError):
            async with session.begin_nested():
                session.add(Account(name="taken back"))
                await session.flush()
                session.add(Seat(row="z", number=1, account_id=UUID(int=5)))
        async with session.begin_nested():
            session.add(Seat(row="a", number=2))

    assert [event.key for event in await events()] == ['["a",1]', '["a",2]']


async def test_one_row_for_each_entity_in_one_statement(app: Quart) -> None:
    """However many entities a flush changes, it has one statement more, and each entity one event."""
    async with db.transaction() as session:
        with captured(session) as sent:
            session.add_all([Seat(row="a", number=number) for number in range(50)])
            await session.flush()

    assert len([statement for statement in sent if "audit_event" in statement]) == 1
    assert len(await events(entity="Seat")) == 50


async def test_delete_by_cascade_of_the_orm_is_told(app: Quart) -> None:
    """An orphan that the session deletes with its parent has an event of its own."""
    async with db.transaction() as session:
        account = Account(name="first", seats=[Seat(row="a", number=1)])
        session.add(account)
    async with db.transaction() as session:
        account = await session.get_one(Account, account.id)
        await session.refresh(account, ["seats"])
        await session.delete(account)

    assert sorted(await told(action="delete")) == [("delete", "Account"), ("delete", "Seat")]


async def test_events_of_two_people_are_parted(app: Quart) -> None:
    """What one principal did is found by its subject."""
    with acting(ADA):
        key = await open_account()
    with acting(BOB):
        async with db.transaction() as session:
            (await session.get_one(Account, key)).name = "second"

    assert await told(principal="ada") == [("insert", "Account")]
    assert await told(principal="bob") == [("update", "Account")]


async def test_without_a_trail_there_is_no_table() -> None:
    """A database that was not asked for a trail has no table for it."""

    class Plain(Model, DeclarativeBase):
        """Tables."""

    database = Database(Plain)

    assert (database.audit, list(database.metadata.tables)) == (None, [])


async def test_a_trail_is_of_one_database() -> None:
    """A second database is refused: events of two would be mixed up."""

    class Other(Model, DeclarativeBase):
        """Tables."""

    with pytest.raises(RuntimeError, match="make each Database its own"):
        Database(Other, audit=audit)
    with pytest.raises(RuntimeError, match="belongs to no database"):
        _ = AuditTrail().table


async def test_wrong_mark_is_named_at_start(sqlite_url: str) -> None:
    """A mark that means nothing keeps the service from starting, rather than a secret in the trail."""

    class Wrong(Model, DeclarativeBase):
        """Tables."""

    class Thing(Identified, Wrong):
        """A row."""

        __tablename__ = "thing"
        code: Mapped[str] = mapped_column(info={"audit": "hidden"})

    app = make_bank(sqlite_url)
    database = Database(Wrong, audit=AuditTrail())
    database.init_app(app, service_of(app).settings)
    with pytest.raises(ValueError, match=r"Thing\.code"):
        await database.start(app)


async def test_nobody_writes_through_the_orm(app: Quart) -> None:
    """Neither a mapped class, nor a statement of one's own, writes to the table."""
    registry = type("Registry", (DeclarativeBase,), {})
    mapped = type("Event", (registry,), {"__table__": audit.table})

    with pytest.raises(AuditWriteRefused, match=r"audit\.record"):
        async with db.transaction() as session:
            session.add(mapped(action="insert", entity="Account", key="forged"))
            await session.flush()
    with pytest.raises(AuditWriteRefused):
        async with db.transaction() as session:
            await session.execute(audit.table.insert(), {"action": "insert", "entity": "Account"})

    assert await events() == []


async def test_primary_key_holds_the_moment() -> None:
    """PostgreSQL can part the table by time only if the primary key begins with it."""
    assert [column.name for column in audit.table.primary_key] == ["at", "id"]
    assert isinstance(audit.table.c.at.type.impl, DateTime)  # type: ignore[attr-defined]  # UTCDateTime is decorated
