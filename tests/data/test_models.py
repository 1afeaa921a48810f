"""Models: metadata of their own, names by convention, ids and moments that compare, versions that count."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from uuid import UUID

import pytest
from quart import Quart
from sqlalchemy import CheckConstraint, ForeignKey, String, UniqueConstraint, inspect, select, text, update
from sqlalchemy.dialects import sqlite
from sqlalchemy.exc import SAWarning, StatementError
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.orm import DeclarativeBase, Mapped, declared_attr, mapped_column
from sqlalchemy.orm.exc import StaleDataError

from ligand_async import Database, Identified, Model, Versioned
from ligand_async.data import utc_now
from ligand_async.data.models import UTCDateTime
from tests.services import Item, Shelf, db, make_app, running


class VetBase(Model, DeclarativeBase):
    """A service of its own."""


class VetPet(Identified, VetBase):
    """What a vet knows of a pet, in a table that another service has too."""

    __tablename__ = "pet"

    illness: Mapped[str] = mapped_column(String(50))


class StoreBase(Model, DeclarativeBase):
    """Another service, in the same process."""


class StorePet(Identified, StoreBase):
    """What a store knows of a pet, with every kind of constraint."""

    __tablename__ = "pet"
    __table_args__ = (UniqueConstraint("name", "born"), CheckConstraint("price >= 0", name="price"))

    name: Mapped[str] = mapped_column(String(50), index=True)
    price: Mapped[int]
    born: Mapped[datetime]
    parent_id: Mapped[UUID | None] = mapped_column(ForeignKey("pet.id"))


@pytest.fixture
async def app(database_url: str) -> AsyncIterator[Quart]:
    """A started app with empty tables, in whose context the test runs."""
    app = make_app(database_url)
    async with running(app):
        yield app


async def store(*items: Item) -> None:
    """Commit items."""
    async with db.transaction() as session:
        session.add_all(items)


async def test_two_services_in_one_process_have_a_table_of_one_name(sqlite_url: str, postgres_url: str) -> None:
    """Each base has metadata of its own: two services keep a table `pet` each, in a database each."""
    vets, stores = Database(VetBase), Database(StoreBase)
    vet_app, store_app = make_app(sqlite_url, database=vets), make_app(postgres_url, database=stores)

    async with vet_app.test_app(), store_app.test_app():
        async with vet_app.app_context():
            await vets.create_tables()
            async with vets.transaction() as session:
                session.add(VetPet(illness="cold"))
        async with store_app.app_context():
            await stores.create_tables()
            async with stores.read() as session:
                assert (await session.scalars(select(StorePet))).all() == []
        async with vet_app.app_context(), vets.read() as session:
            assert await session.scalar(select(VetPet.illness)) == "cold"


def test_every_constraint_has_a_name() -> None:
    """Primary key, foreign key, unique, check and index are named by convention: migrations can speak of them."""
    table = inspect(StorePet).local_table

    assert {str(item.name) for item in (*table.constraints, *table.indexes)} == {  # type: ignore[attr-defined]  # a Table
        "pk_pet",
        "fk_pet_parent_id_pet",
        "uq_pet_name_born",
        "ck_pet_price",
        "ix_pet_name",
    }


async def test_names_are_those_in_the_database(database_url: str) -> None:
    """The database knows constraints by the same names as the metadata."""
    stores = Database(StoreBase)
    app = make_app(database_url, database=stores)
    async with app.test_app(), app.app_context():
        await stores.create_tables()
        async with stores.read() as session:
            found = await (await session.connection()).run_sync(
                lambda connection: {
                    inspect(connection).get_pk_constraint("pet")["name"],
                    *(key["name"] for key in inspect(connection).get_foreign_keys("pet")),
                    *(unique["name"] for unique in inspect(connection).get_unique_constraints("pet")),
                    *(check["name"] for check in inspect(connection).get_check_constraints("pet")),
                    *(index["name"] for index in inspect(connection).get_indexes("pet")),
                }
            )

    assert {"pk_pet", "fk_pet_parent_id_pet", "uq_pet_name_born", "ck_pet_price", "ix_pet_name"} <= found


async def test_ids_sort_by_time_of_creation(app: Quart) -> None:
    """UUIDv7: the order of ids is the order of creation, in Python and in the database."""
    made = []
    for number in range(5):
        shelf = Shelf(label=str(number))
        await asyncio.sleep(0.002)
        async with db.transaction() as session:
            session.add(shelf)
        made.append(shelf.id)

    assert made == sorted(made)
    assert {identity.version for identity in made} == {7}
    async with db.read() as session:
        labels = (await session.scalars(select(Shelf.label).order_by(Shelf.id))).all()
    assert list(labels) == ["0", "1", "2", "3", "4"]


async def test_moments_are_aware_and_in_utc(app: Quart) -> None:
    """A timestamp comes back aware, in UTC, near the present, whatever the zone of the session."""
    before = datetime.now(UTC) - timedelta(seconds=1)
    item = Item(name="cup")
    await store(item)

    assert item.created_at.utcoffset() == timedelta(0)
    assert before < item.created_at < datetime.now(UTC) + timedelta(seconds=1)
    assert item.created_at == item.updated_at


async def test_a_moment_equals_itself_in_a_query(app: Quart) -> None:
    """What was read finds its row again, exactly: keysets rely on it."""
    item = Item(name="cup")
    await store(item)

    async with db.read() as session:
        assert await session.scalar(select(Item.name).where(Item.created_at == item.created_at)) == "cup"
        assert await session.scalar(select(Item.name).where(Item.created_at > item.created_at)) is None
        assert await session.scalar(select(Item.name).where(Item.created_at <= utc_now())) == "cup"


@pytest.mark.parametrize("microseconds", [-1, 1])
async def test_python_moments_compare_with_database_moments(app: Quart, microseconds: int) -> None:
    """A bound moment one microsecond away is before or after, not equal, also where moments are text."""
    item = Item(name="cup")
    await store(item)
    other = item.created_at + timedelta(microseconds=microseconds)

    async with db.read() as session:
        later = await session.scalar(select(Item.name).where(Item.created_at > other))
    assert later == ("cup" if microseconds < 0 else None)


async def test_a_moment_of_another_zone_is_the_same_moment(app: Quart) -> None:
    """What is bound in another zone is stored, and found, as the moment that it is."""
    noon = datetime(2024, 6, 1, 12, 0, 0, 123456, tzinfo=timezone(timedelta(hours=2)))
    await store(Item(name="cup", created_at=noon))

    async with db.read() as session:
        found = await session.scalar(select(Item.created_at).where(Item.created_at == noon))
    assert found == noon
    assert found is not None
    assert found.tzinfo is UTC


@pytest.mark.ligand_database("sqlite")
async def test_moments_are_text_of_one_form_on_sqlite(app: Quart) -> None:
    """Moments of the database and of Python are text of one length: text sorts as time does."""
    await store(Item(name="cup"), Item(name="pot", created_at=datetime(2024, 1, 1, tzinfo=UTC)))

    async with db.read() as session:
        written = (await session.execute(text("SELECT created_at, updated_at FROM item"))).all()
    assert {len(moment) for row in written for moment in row} == {len("2024-01-01 00:00:00.000000")}


def reader_on_sqlite() -> Any:
    dialect = sqlite.dialect()
    return UTCDateTime().dialect_impl(dialect).result_processor(dialect, None)


@pytest.mark.parametrize(
    ("stored", "expected"),
    [
        (None, None),
        ("2026-11-30 12:00:00.000001", datetime(2026, 11, 30, 12, 0, 0, 1, tzinfo=UTC)),
        ("2026-11-30T12:00:00", datetime(2026, 11, 30, 12, tzinfo=UTC)),
        ("2026-11-30", datetime(2026, 11, 30, tzinfo=UTC)),
        ("2026-11-30 14:00:00+02:00", datetime(2026, 11, 30, 12, tzinfo=UTC)),
        ("2026-11-30 12:00:00Z", datetime(2026, 11, 30, 12, tzinfo=UTC)),
    ],
)
def test_text_of_another_form_is_read_on_sqlite(stored: str | None, expected: datetime | None) -> None:
    """Another program may have written a date, or an offset; without one it is UTC."""
    read = reader_on_sqlite()
    found = read(stored)

    assert found == expected
    assert found is None or found.tzinfo is UTC


@pytest.mark.parametrize(("stored", "error"), [("noon", ValueError), (12, TypeError)])
def test_what_is_no_moment_is_refused_on_sqlite(stored: object, error: type[Exception]) -> None:
    """A number or a word in the column is an error, as it is for SQLAlchemy's own type."""
    read = reader_on_sqlite()
    with pytest.raises(error):
        read(stored)


async def test_naive_moments_are_refused(app: Quart) -> None:
    """Whose clock a naive datetime was read from cannot be known."""
    with pytest.raises(StatementError, match="naive datetime"):
        async with db.read() as session:
            await session.scalar(select(Item).where(Item.created_at > datetime(2024, 1, 1)))  # noqa: DTZ001  (the mistake)


async def test_update_moves_updated_at_and_nothing_is_loaded_lazily(app: Quart) -> None:
    """After the flush of an update, `updated_at` and `version` are there to be read."""
    item = Item(name="cup")
    await store(item)
    created = item.created_at
    await asyncio.sleep(0.002)

    async with db.transaction() as session:
        session.add(item)
        item.price = 5
        await session.flush()
        assert item.updated_at > created
        assert (item.created_at, item.version) == (created, 2)


async def test_core_update_moves_updated_at(app: Quart) -> None:
    """An UPDATE without the entity moves it too."""
    item = Item(name="cup")
    await store(item)
    await asyncio.sleep(0.002)

    async with db.transaction() as session:
        await session.execute(update(Item).values(price=5))
    async with db.read() as session:
        assert await session.scalar(select(Item.updated_at > item.updated_at)) is True


async def test_a_stale_write_fails(app: Quart) -> None:
    """A write that saw version 1 fails once version 2 is there."""
    item = Item(name="cup")
    await store(item)
    assert item.version == 1
    async with db.read() as session:
        seen = await session.get_one(Item, item.id)
    async with db.transaction() as session:
        (await session.get_one(Item, item.id)).price = 1

    with pytest.raises(StaleDataError):
        async with db.transaction() as session:
            session.add(seen)
            seen.price = 2


class Animal(Identified, Versioned, StoreBase):
    """What is of several kinds, in one table."""

    __tablename__ = "animal"
    __mapper_args__ = {"polymorphic_on": "kind", "polymorphic_identity": "animal"}  # noqa: RUF012  (SQLAlchemy's idiom)

    kind: Mapped[str] = mapped_column(String(20))


class Bird(Animal):
    """One kind."""

    __mapper_args__ = {"polymorphic_identity": "bird"}  # noqa: RUF012  (the same)


with pytest.warns(SAWarning, match="polymorphic_identity"):

    class Nameless(Animal):
        """One that says nothing of itself."""


class Cage(Identified, StoreBase):
    """What has no version."""

    __tablename__ = "cage"
    __mapper_args__ = {"confirm_deleted_rows": False}  # noqa: RUF012  (the same)


class Large(Versioned, Cage):
    """What has one below."""

    __tablename__ = "large_cage"
    __mapper_args__ = {"confirm_deleted_rows": False}  # noqa: RUF012  (the same)

    id: Mapped[UUID] = mapped_column(ForeignKey("cage.id"), primary_key=True)


class Vehicle(Identified, Versioned, StoreBase):
    """What says it in the form of a function, for those below it too."""

    __tablename__ = "vehicle"

    kind: Mapped[str] = mapped_column(String(20))

    @declared_attr.directive
    @classmethod
    def __mapper_args__(cls) -> dict[str, Any]:
        return {"polymorphic_on": "kind", "polymorphic_identity": cls.__name__}


class Bike(Vehicle):
    """One of them."""


@pytest.mark.parametrize(
    ("mapped", "version"),
    [
        (Animal, "animal.version"),
        (Bird, "animal.version"),
        (Nameless, "animal.version"),
        (Cage, None),
        (Large, "large_cage.version"),
        (Vehicle, "vehicle.version"),
        (Bike, "vehicle.version"),
    ],
)
def test_more_about_a_mapper_loses_nothing(mapped: type[Model], version: str | None) -> None:
    """A class with `__mapper_args__` of its own still counts its versions and reads what the database makes."""
    mapper = inspect(mapped)
    assert mapper.eager_defaults is True
    assert (mapper.version_id_col is None) == (version is None)
    assert version is None or str(mapper.version_id_col) == version


def test_nobody_takes_the_identity_of_its_parent() -> None:
    """What a class says of itself is not said of those below it; what a function says is said of each."""
    classes: tuple[type[Model], ...] = (Animal, Bird, Nameless, Vehicle, Bike)
    identities = {mapped: inspect(mapped).polymorphic_identity for mapped in classes}
    assert identities == {Animal: "animal", Bird: "bird", Nameless: None, Vehicle: "Vehicle", Bike: "Bike"}
    assert inspect(Animal).polymorphic_map["animal"].class_ is Animal


def test_versions_that_would_not_be_counted_are_refused() -> None:
    """Where another base goes before `Versioned` the class is not made."""
    with pytest.raises(TypeError, match="Late would not count its versions: name Versioned before"):

        class Late(StoreBase, Identified, Versioned):
            __tablename__ = "late"


def test_plain_datetimes_are_aware_columns() -> None:
    """`Mapped[datetime]` needs no type of its own."""
    column = inspect(StorePet).columns["born"]

    assert type(column.type).__name__ == "UTCDateTime"


async def test_server_clock_is_the_transactions_on_postgresql(postgres_url: str) -> None:
    """`utc_now()` is `now()`: one moment for a whole transaction, whatever the zone of the session."""
    app = make_app(postgres_url)
    async with running(app), db.transaction() as session:
        connection: AsyncConnection = await session.connection()
        await connection.exec_driver_sql("SET LOCAL TIME ZONE 'Asia/Tokyo'")
        first, second = await session.scalar(select(utc_now())), await session.scalar(select(utc_now()))

    assert first == second
    assert first is not None
    assert first.tzinfo is UTC
