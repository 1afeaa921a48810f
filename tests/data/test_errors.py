"""Errors of the database become problems, which name the columns of a broken constraint."""

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import pytest
from quart import Quart
from sqlalchemy import (
    CheckConstraint,
    Column,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    UniqueConstraint,
    func,
    insert,
    select,
    text,
    update,
)
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from sqlalchemy.orm.exc import StaleDataError

from ligand_async import Database, Model
from ligand_async.data import ConnectionLost, DatabaseUnreachable, StatementTimedOut, WriteOnReadSession, problem_of
from ligand_async.data.errors import Written, columns_of
from ligand_async.errors import InvalidPart, Problem
from tests.services import Base, Item, Shelf, db, make_app, running

NOWHERE = UUID("00000000-0000-0000-0000-00000000dead")


@pytest.fixture
async def app(database_url: str) -> AsyncIterator[Quart]:
    """A started app with a cup on a shelf, in whose context the test runs."""
    app = make_app(database_url)
    async with running(app):
        async with db.transaction() as session:
            session.add(Shelf(label="top", items=[Item(name="cup", price=3)]))
        yield app


async def problem_of_writing(work: Callable[[AsyncSession], Awaitable[Any]]) -> Problem | None:
    """Return the problem that some work ends with."""
    with pytest.raises(SQLAlchemyError) as caught:
        async with db.transaction() as session:
            await work(session)
    return problem_of(caught.value, Base.metadata)


def adding(row: Base) -> Callable[[AsyncSession], Awaitable[Any]]:
    """Return work that adds a row."""

    async def add(session: AsyncSession) -> None:
        session.add(row)

    return add


def running_sql(statement: str, **values: Any) -> Callable[[AsyncSession], Awaitable[Any]]:
    """Return work that runs a statement."""
    return lambda session: session.execute(text(statement), values)


VIOLATIONS: dict[str, tuple[Callable[[], Base], int, str, str]] = {
    "unique": (lambda: Item(name="cup"), 409, "/name", "unique"),
    "foreign key": (lambda: Item(name="secret", shelf_id=NOWHERE), 409, "/shelf_id", "reference"),
    "null": (lambda: Shelf(label=None), 422, "/label", "required"),
    "check": (lambda: Item(name="secret", price=-4711), 422, "/price", "check"),
}


@pytest.mark.parametrize("violation", VIOLATIONS)
async def test_violation_names_its_field(app: Quart, violation: str) -> None:
    """A broken constraint is a 409 or 422 that names the field and holds no SQL, no value, no name of a constraint."""
    row, status, pointer, code = VIOLATIONS[violation]

    problem = await problem_of_writing(adding(row()))

    assert problem is not None
    assert problem.status == status
    assert [(part.pointer, part.code) for part in problem.errors] == [(pointer, code)]
    written = json.dumps(problem.document())
    for inside in ("INSERT", "secret", "cup", "4711", "dead", "uq_", "fk_", "ck_"):
        assert inside not in written.replace("/shelf_id", "")


async def test_deleting_what_is_referred_to_is_a_conflict(app: Quart) -> None:
    """The other end of a reference is a conflict, too."""
    problem = await problem_of_writing(running_sql("DELETE FROM shelf"))

    assert problem is not None
    assert problem.status == 409


VALUES_ANYWHERE = {
    "integer of any size": running_sql("UPDATE item SET price = :price", price=2**70),
    "half of a character": running_sql("UPDATE item SET name = :name", name="\ud800"),
}
VALUES_ON_POSTGRESQL = {
    "too long": adding(Item(name="x" * 51)),
    "NUL": adding(Item(name="a\x00b")),
    "integer too large": adding(Item(name="x", price=2**31)),
    "negative offset": running_sql("SELECT * FROM item OFFSET :offset", offset=-1),
    "division by zero": running_sql("SELECT 1 / 0"),
    "no date": running_sql("SELECT CAST('2024-02-31' AS date)"),
}


@pytest.mark.parametrize("value", VALUES_ANYWHERE)
async def test_value_that_no_column_takes(app: Quart, value: str) -> None:
    """Class 22, and what the driver itself refuses, is a 422."""
    problem = await problem_of_writing(VALUES_ANYWHERE[value])

    assert problem is not None
    assert (problem.status, problem.detail) == (422, "a value does not fit its column")


@pytest.mark.ligand_database("postgresql")
@pytest.mark.parametrize("value", VALUES_ON_POSTGRESQL)
async def test_value_that_postgresql_refuses(app: Quart, value: str) -> None:
    """Class 22 is a 422, whether server or driver finds it."""
    problem = await problem_of_writing(VALUES_ON_POSTGRESQL[value])

    assert problem is not None
    assert (problem.status, problem.detail) == (422, "a value does not fit its column")


async def test_too_much_for_an_index(postgres_url: str) -> None:
    """A text that is larger than an index can hold is the sender's mistake."""
    async with running(make_app(postgres_url)):
        async with db.transaction() as session:
            await session.execute(text("CREATE TABLE note (body text)"))
            await session.execute(text("CREATE INDEX ix_note_body ON note (body)"))
        problem = await problem_of_writing(
            running_sql("INSERT INTO note SELECT string_agg(md5(n::text), '') FROM generate_series(1, 1000) AS n")
        )

    assert problem is not None
    assert problem.status == 422


STATES = {
    "40001": 503,
    "40P01": 503,
    "55P03": 503,
    "57014": 504,
    "57P01": 503,
    "25P04": 504,
    "53300": 503,
    "53100": 503,
    "58030": 503,
    "08006": 503,
    "25006": 503,
    "23P01": 409,
    "23001": 409,
    "22012": 422,
}


@pytest.mark.parametrize("state", STATES)
async def test_states_of_postgresql(postgres_url: str, state: str) -> None:
    """What the server reports is answered by its SQLSTATE; a 503 says when to come back."""
    async with running(make_app(postgres_url)):
        problem = await problem_of_writing(
            running_sql(f"DO $$ BEGIN RAISE EXCEPTION 'secret' USING ERRCODE = '{state}'; END $$")
        )

    assert problem is not None
    assert problem.status == STATES[state]
    assert ("Retry-After" in problem.headers) == (problem.status == 503)
    assert "secret" not in json.dumps(problem.document())


UNKNOWN = {
    "syntax": running_sql("SELEKT 1"),
    "no such table": running_sql("SELECT * FROM nothing"),
    "no such column": running_sql("SELECT nothing FROM item"),
}


@pytest.mark.parametrize("mistake", UNKNOWN)
async def test_mistakes_of_the_service_are_no_problem_of_the_client(app: Quart, mistake: str) -> None:
    """What only the service can have caused is None: a 500, with its traceback in the log."""
    assert await problem_of_writing(UNKNOWN[mistake]) is None


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (PoolTimeoutError(), 503),
        (DatabaseUnreachable(), 503),
        (ConnectionLost(), 503),
        (StatementTimedOut(), 504),
        (StaleDataError(), 409),
        (WriteOnReadSession(), None),
    ],
)
def test_errors_without_a_state(error: SQLAlchemyError, status: int | None) -> None:
    """What SQLAlchemy and the sessions raise has its status, too."""
    problem = problem_of(error, Base.metadata)

    assert (problem.status if problem is not None else None) == status


async def test_driver_names_the_field_of_a_renamed_constraint(postgres_url: str) -> None:
    """A constraint that the metadata does not know is still a conflict, without a field."""
    async with running(make_app(postgres_url)):
        async with db.transaction() as session:
            session.add(Item(name="cup"))
            await session.execute(text("ALTER TABLE item RENAME CONSTRAINT uq_item_name TO unheard_of"))
        problem = await problem_of_writing(adding(Item(name="cup")))

        assert problem is not None
        assert (problem.status, problem.errors) == (409, ())
        async with db.read() as session:
            assert len((await session.scalars(select(Item))).all()) == 1


def test_parts_hold_no_value() -> None:
    """A part has a place and a reason, and no member for what was sent."""
    assert set(InvalidPart.__slots__) == {"detail", "code", "pointer", "parameter", "header", "cookie"}


metadata = MetaData(naming_convention=Base.metadata.naming_convention)
Table(
    "house",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("street", String(50)),
    Column("number", Integer),
    Column("price", Integer),
    Column("asking_price", Integer),
    Column("owner_id", ForeignKey("owner.id")),
    UniqueConstraint("street", "number"),
    CheckConstraint("asking_price > 0", name="asking_price"),
    CheckConstraint("price > 0 AND number > 0", name="sane"),
)
owner = Table("owner", metadata, Column("id", Integer, primary_key=True), Column("name", String(50), unique=True))
Table(
    "visit",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("house_id", ForeignKey("house.id")),
    Column("guest_id", ForeignKey("owner.id")),
)
Index("ix_owner_lower_name", func.lower(owner.c.name), unique=True)


def of_asyncpg(table: str | None, constraint: str | None, column: str | None = None) -> Any:
    """What asyncpg's errors have: the names of table, constraint and column."""
    return SimpleNamespace(table_name=table, constraint_name=constraint, column_name=column)


@pytest.mark.parametrize(
    ("error", "columns"),
    [
        (of_asyncpg("house", "uq_house_street_number"), ["street", "number"]),
        (of_asyncpg("house", "fk_house_owner_id_owner"), ["owner_id"]),
        (of_asyncpg("house", "pk_house"), ["id"]),
        (of_asyncpg("house", "ck_house_asking_price"), ["asking_price"]),
        (of_asyncpg("house", None, "street"), ["street"]),
        (of_asyncpg("house", "ck_house_sane"), []),
        (of_asyncpg("garage", "uq_garage_street"), []),
        (of_asyncpg("owner", "ix_owner_lower_name"), ["name"]),
    ],
)
def test_names_of_postgresql(error: Any, columns: list[str]) -> None:
    """PostgreSQL names the constraint; the metadata knows its columns."""
    assert columns_of(error, "", metadata) == columns


@pytest.mark.parametrize(
    ("words", "columns"),
    [
        ("UNIQUE constraint failed: house.street, house.number", ["street", "number"]),
        ("UNIQUE constraint failed: index 'ix_owner_lower_name'", ["name"]),
        ("NOT NULL constraint failed: house.street", ["street"]),
        ("CHECK constraint failed: ck_house_asking_price", ["asking_price"]),
        ("CHECK constraint failed: price > 0", []),
        ("FOREIGN KEY constraint failed", []),
        ("something else", []),
    ],
)
def test_words_of_sqlite(words: str, columns: list[str]) -> None:
    """SQLite names columns, or the constraint; of a foreign key it says nothing."""
    assert columns_of(None, words, metadata) == columns


@pytest.mark.parametrize(
    ("table", "written", "columns"),
    [
        ("house", ("id", "owner_id"), ["owner_id"]),
        ("house", ("owner_id",), ["owner_id"]),
        ("house", ("price",), []),
        ("owner", (), []),
        ("garage", ("house_id",), []),
        ("visit", ("house_id", "guest_id"), []),
        ("visit", ("guest_id",), ["guest_id"]),
    ],
)
def test_the_only_reference_that_a_statement_writes(table: str, written: tuple[str, ...], columns: list[str]) -> None:
    """SQLite does not say which reference is broken; where only one was written, it is that one."""
    noted = Written(table, frozenset(written))
    assert columns_of(None, "FOREIGN KEY constraint failed", metadata, noted) == columns


BROKEN: dict[str, Callable[[AsyncSession], Awaitable[Any]]] = {
    "insert by Core": lambda session: session.execute(
        insert(Item).values(id=UUID(int=3), name="z", shelf_id=NOWHERE, version=1)
    ),
    "several rows": lambda session: session.execute(
        insert(Item), [{"name": str(number), "shelf_id": NOWHERE} for number in range(3)]
    ),
    "rows in one statement": lambda session: session.execute(
        insert(Item).values([{"id": UUID(int=number), "name": str(number), "shelf_id": NOWHERE} for number in (4, 5)])
    ),
    "update by Core": lambda session: session.execute(update(Item).values(shelf_id=NOWHERE)),
}


@pytest.mark.parametrize("way", BROKEN)
async def test_a_broken_reference_is_named_however_it_is_written(app: Quart, way: str) -> None:
    """Statements of Core name the reference as the ORM does, on both databases: by the table and columns they write."""
    problem = await problem_of_writing(BROKEN[way])
    assert problem is not None
    assert [part.pointer for part in problem.errors] == ["/shelf_id"]


async def test_a_broken_reference_of_an_update_is_named(app: Quart) -> None:
    """An entity that is changed to refer to nothing is told by the same rule."""

    async def move(session: AsyncSession) -> None:
        item = (await session.scalars(select(Item))).one()
        item.shelf_id = NOWHERE
        await session.flush()

    problem = await problem_of_writing(move)
    assert problem is not None
    assert [part.pointer for part in problem.errors] == ["/shelf_id"]


LONG = "a_name_that_is_longer_than_what_postgresql_takes_for_any_identifier"


class Plain(DeclarativeBase):
    """Tables whose constraints have no names, as SQLAlchemy makes them without a naming convention."""


class Parent(Plain):
    """What others refer to."""

    __tablename__ = "parent"

    id: Mapped[int] = mapped_column(primary_key=True)


class Unnamed(Plain):
    """Every kind of constraint."""

    __tablename__ = "unnamed"
    __table_args__ = (UniqueConstraint("left1", "right2"), CheckConstraint("price >= 0"))

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)
    left1: Mapped[int]
    right2: Mapped[int]
    price: Mapped[int]
    parent_id: Mapped[int | None] = mapped_column(ForeignKey("parent.id"))


class LongUnnamed(Plain):
    """A table and columns with names so long that PostgreSQL has to shorten what it makes of them."""

    __tablename__ = f"unnamed_{LONG}"[:60]

    id: Mapped[int] = mapped_column(primary_key=True)
    first: Mapped[int] = mapped_column(LONG[:50], unique=True)
    second: Mapped[int] = mapped_column(f"{LONG[:49]}2", unique=True)
    third: Mapped[int] = mapped_column(f"third_{LONG}"[:49], unique=True)
    parent_id: Mapped[int | None] = mapped_column(f"parent_{LONG}"[:55], ForeignKey("parent.id"))


class LongNamed(Model, DeclarativeBase):
    """A base with names by convention, which SQLAlchemy shortens."""


class LongConvention(LongNamed):
    """A table whose names by convention are too long."""

    __tablename__ = f"named_{LONG}"[:55]

    id: Mapped[int] = mapped_column(primary_key=True)
    first: Mapped[int] = mapped_column(LONG[:50], unique=True)


GOOD: dict[str, Any] = {"id": 1, "name": "x", "left1": 1, "right2": 1, "price": 1}


@pytest.mark.parametrize(
    ("changes", "pointers"),
    [
        ({"id": 1}, ["/id"]),
        ({"name": "x"}, ["/name"]),
        ({"left1": 1, "right2": 1}, ["/left1", "/right2"]),
        ({"price": -1}, ["/price"]),
        ({"parent_id": 7}, ["/parent_id"]),
        ({"price": None}, ["/price"]),
    ],
)
async def test_constraints_without_names_name_their_fields(
    postgres_url: str, changes: dict[str, Any], pointers: list[str]
) -> None:
    """Row 173: PostgreSQL makes a name for a constraint that has none, and it leads to the columns all the same."""
    row = {"id": 2, "name": "y", "left1": 2, "right2": 2, "price": 2} | changes
    assert await pointers_of(postgres_url, Plain, Unnamed(**GOOD), Unnamed(**row)) == pointers


async def test_names_that_were_shortened_name_their_fields(postgres_url: str) -> None:
    """Shortened names lead to the columns, too, and where two constraints have the same one, nothing is guessed."""
    first = {"id": 1, "first": 1, "second": 1, "third": 1}
    cases: list[tuple[dict[str, Any], list[str]]] = [
        ({"first": 1}, []),
        ({"second": 1}, []),
        ({"third": 1}, [f"/third_{LONG}"[:50]]),
        ({"parent_id": 7}, [f"/parent_{LONG}"[:56]]),
        ({"id": 1}, ["/id"]),
    ]
    for changes, pointers in cases:
        row = {"id": 2, "first": 2, "second": 2, "third": 2} | changes
        assert await pointers_of(postgres_url, Plain, LongUnnamed(**first), LongUnnamed(**row)) == pointers
    rows = (LongConvention(id=1, first=1), LongConvention(id=2, first=1))
    assert await pointers_of(postgres_url, LongNamed, *rows) == [f"/{LONG[:50]}"]


async def pointers_of(url: str, base: type[DeclarativeBase], *rows: DeclarativeBase) -> list[str | None]:
    """Make the tables, add rows in one transaction, and return the places that the problem names."""
    database = Database(base)
    app = make_app(url, database=database)
    async with app.test_app(), app.app_context():
        await database.create_tables()
        with pytest.raises(SQLAlchemyError) as caught:
            async with database.transaction() as session:
                for row in rows:
                    session.add(row)
                    await session.flush()
                    session.expunge_all()
    problem = problem_of(caught.value, base.metadata)
    assert problem is not None
    return [part.pointer for part in problem.errors]
