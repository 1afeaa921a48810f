"""Migrations written from the models: they suit both databases, and leave no trace when undone."""

import enum
import re
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import sqlalchemy as sa
from sqlalchemy import ForeignKey, String
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from sqlalchemy.types import TypeDecorator

from ligand_async import Database, Identified, Timestamped, Versioned
from ligand_async.data.migrations import (
    MigrationError,
    autogenerate,
    check,
    create_directory,
    downgrade,
    upgrade,
    write_sql,
)
from tests.data.migration_files import (
    EMPTY,
    connected,
    create_table,
    fetch,
    make_base,
    reflect,
    schema_of,
    settings_for,
    write_migration,
)

pytestmark = pytest.mark.extended  # many migrations, on both databases


class Mood(enum.Enum):
    """A native enum type on PostgreSQL."""

    calm = "calm"
    wild = "wild"


class Folded(TypeDecorator[str]):
    """A type of a service's own."""

    impl = String(20)
    cache_ok = True

    def process_bind_param(self, value: str | None, _dialect: sa.Dialect) -> str | None:
        """Fold case."""
        return value.casefold() if value is not None else None


class PerDialect(Folded):
    """A type that chooses its column type by dialect."""

    cache_ok = True

    def load_dialect_impl(self, dialect: sa.Dialect) -> sa.types.TypeEngine[Any]:
        """Choose."""
        return dialect.type_descriptor(sa.Text() if dialect.name == "postgresql" else sa.String(20))


def make_wide() -> Database:
    """Return a database with every kind of column, default, constraint and index that a service may use."""
    base = make_base()

    class Owner(Identified, base):  # type: ignore[misc,valid-type]  # a base made at run time
        __tablename__ = "owner"

        name: Mapped[str] = mapped_column(String(40), unique=True)

    class Animal(Identified, Timestamped, Versioned, base):  # type: ignore[misc,valid-type]  # as above
        __tablename__ = "animal"
        __table_args__ = (
            sa.CheckConstraint("weight > 0", name="weight"),
            sa.UniqueConstraint("name", "owner_id"),
            sa.Index(None, "born", "weight"),
        )

        name: Mapped[str] = mapped_column(String(255), index=True)
        folded: Mapped[str] = mapped_column(Folded)
        owner_id: Mapped[UUID] = mapped_column(ForeignKey("owner.id", ondelete="CASCADE"))
        friend_id: Mapped[UUID | None] = mapped_column(ForeignKey("animal.id"))
        mood: Mapped[Mood] = mapped_column(server_default="calm")
        born: Mapped[datetime]
        weight: Mapped[Decimal] = mapped_column(sa.Numeric(10, 2), server_default="1.50")
        legs: Mapped[int] = mapped_column(sa.SmallInteger, server_default=sa.text("4"))
        steps: Mapped[int] = mapped_column(sa.BigInteger, server_default="0")
        height: Mapped[float]
        tame: Mapped[bool] = mapped_column(server_default=sa.false())
        loud: Mapped[bool] = mapped_column(server_default=sa.true())
        traits: Mapped[dict[str, Any]] = mapped_column(sa.JSON, server_default="{}")
        title: Mapped[str] = mapped_column(sa.Text, server_default="it's :ok 100%")
        token: Mapped[bytes | None]
        seen: Mapped[Any] = mapped_column(sa.DateTime, server_default=sa.func.now())
        size: Mapped[str] = mapped_column(sa.Enum("s", "l", native_enum=False, name="size", create_constraint=True))
        colour: Mapped[str] = mapped_column(sa.Enum("red", "blue", name="colour", create_constraint=True))

    return Database(base)


def make_pets(*columns: str) -> Database:
    """Return a database with one table `pet` that has some of the columns `age`, `mood` and `name`."""
    types: dict[str, sa.types.TypeEngine[Any]] = {
        "age": sa.Integer(),
        "mood": sa.Enum(Mood, name="mood"),
        "name": sa.String(20),
    }
    base = make_base()
    sa.Table(
        "pet", base.metadata, sa.Column("id", sa.Integer, primary_key=True), *(sa.Column(c, types[c]) for c in columns)
    )
    return Database(base)


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """An empty migrations directory."""
    return create_directory(tmp_path / "migrations")


async def generate(database: Database, url: str, directory: Path) -> str:
    """Write a migration and run it; return its source, in one form of quotes."""
    settings = settings_for(url)
    path = await autogenerate(database, settings, directory, "change")
    assert path is not None
    await upgrade(database, settings, directory)
    return path.read_text()


async def test_no_drift_after_upgrade(directory: Path, database_url: str) -> None:
    """A database that was migrated to the models does not differ from them in anything."""
    database = make_wide()
    await generate(database, database_url, directory)
    assert (await check(database, settings_for(database_url), directory)).drift == ()


async def test_nothing_to_write(directory: Path, database_url: str) -> None:
    """Where the database matches the models, no migration is written."""
    database = make_wide()
    await generate(database, database_url, directory)
    assert await autogenerate(database, settings_for(database_url), directory, "nothing") is None


async def test_no_trace_of_generated(directory: Path, database_url: str) -> None:
    """Down leaves what was there before, and up again makes what the first time made: tables, types, everything."""
    database = make_wide()
    settings = settings_for(database_url)
    empty = await schema_of(database_url)
    await generate(database, database_url, directory)
    full = await schema_of(database_url)

    await downgrade(database, settings, directory, "base")
    assert await schema_of(database_url) == empty

    await upgrade(database, settings, directory)
    assert await schema_of(database_url) == full


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (("name",), ("name", "age", "mood")),
        (("name", "age", "mood"), ("name",)),
        (("name", "mood"), ("name", "mood", "age")),
    ],
    ids=["added", "dropped", "kept"],
)
async def test_no_trace_of_changes(
    directory: Path, database_url: str, before: tuple[str, ...], after: tuple[str, ...]
) -> None:
    """Columns that come or go bring their enum types with them and take them away, up, down and up again."""
    settings = settings_for(database_url)
    first, second = make_pets(*before), make_pets(*after)
    await generate(first, database_url, directory)
    old = await reflect(database_url)
    await generate(second, database_url, directory)
    new = await reflect(database_url)

    await downgrade(second, settings, directory)
    assert await reflect(database_url) == old

    await upgrade(second, settings, directory)
    assert await reflect(database_url) == new
    assert (await check(second, settings, directory)).drift == ()


async def test_file_suits_both_databases(directory: Path, database_url: str, tmp_path: Path, postgres_url: str) -> None:
    """A migration written on one database makes what the models say on the other."""
    database = make_wide()
    await generate(database, database_url, directory)
    for url in (f"sqlite:///{tmp_path / 'other.db'}", postgres_url):
        settings = settings_for(url)
        await upgrade(database, settings, directory)
        assert (await check(database, settings, directory)).drift == ()


async def test_moments_are_written_portably(directory: Path, database_url: str) -> None:
    """A moment is written as its plain type, and the database's clock by its name, which it has to import."""
    source = await generate(make_wide(), database_url, directory)
    assert "sa.Column('created_at', sa.DateTime(timezone=True), server_default=utc_now(), nullable=False)" in source
    assert "\nfrom ligand_async.data import utc_now\n" in source


async def test_clock_is_recognised_in_the_database(directory: Path, database_url: str) -> None:
    """Undoing the loss of a moment gives it the clock again, although only the database knew of it."""
    await generate(make_wide(), database_url, directory)
    source = await generate(EMPTY, database_url, directory)
    for name in ("created_at", "updated_at"):
        assert re.search(rf"'{name}', .*server_default=utc_now\(\)", source)


@pytest.mark.filterwarnings("ignore:Cannot correctly sort tables")
async def test_tables_that_refer_to_each_other(directory: Path, postgres_url: str) -> None:
    """Tables in a circle are written as they come, for their author to complete; others beside them are not hurt."""
    base = make_base()
    cat = sa.Table("cat", base.metadata, sa.Column("id", sa.Integer, primary_key=True))
    dog = sa.Table("dog", base.metadata, sa.Column("id", sa.Integer, sa.ForeignKey("cat.id"), primary_key=True))
    settings = settings_for(postgres_url)
    await generate(Database(base), postgres_url, directory)
    cat.append_constraint(sa.ForeignKeyConstraint(["id"], [dog.c.id]))
    await generate(Database(base), postgres_url, directory)

    path = await autogenerate(EMPTY, settings, directory, "change")

    assert path is not None
    assert {"op.drop_table('cat')", "op.drop_table('dog')"} <= {line.strip() for line in path.read_text().splitlines()}


async def test_own_types_are_written_as_what_they_store(directory: Path, sqlite_url: str) -> None:
    """A type of the service's own is written as the type beneath: the file does not change when the class does."""
    source = await generate(make_wide(), sqlite_url, directory)
    assert "sa.Column('folded', sa.String(length=20), nullable=False)" in source


async def test_types_per_dialect_are_imported(directory: Path, database_url: str) -> None:
    """A type that depends on the dialect stays what it is, and its module is imported."""
    base = make_base()
    sa.Table("pet", base.metadata, sa.Column("name", PerDialect, primary_key=True))
    source = await generate(Database(base), database_url, directory)
    assert f"import {__name__}" in source
    assert f"{__name__}.PerDialect" in source


async def test_enum_shared_by_tables(directory: Path, database_url: str) -> None:
    """An enum type that another table has already is neither made nor dropped with a new table."""
    settings = settings_for(database_url)
    await generate(make_pets("mood"), database_url, directory)
    both = make_pets("mood")
    sa.Table("cat", both.metadata, sa.Column("mood", sa.Enum(Mood, name="mood"), primary_key=True))
    before = await schema_of(database_url)
    await generate(both, database_url, directory)

    await downgrade(both, settings, directory)

    assert await schema_of(database_url) == before


async def test_enum_as_sql(directory: Path, sqlite_url: str) -> None:
    """The SQL of a migration makes an enum type once, before the column that has it."""
    await generate(make_pets("name"), sqlite_url, directory)
    database = make_pets("name", "mood")
    await generate(database, sqlite_url, directory)

    sql = await write_sql(database, settings_for("postgresql://127.0.0.1:1/none"), directory, "head")

    assert sql.count("CREATE TYPE mood AS ENUM ('calm', 'wild')") == 1
    assert sql.index("CREATE TYPE mood") < sql.index("ADD COLUMN mood")


async def test_database_must_be_at_head(directory: Path, database_url: str) -> None:
    """A migration is written only against a database that has the others."""
    write_migration(directory, "cups", up=create_table("cup"))
    with pytest.raises(MigrationError, match="not up to date"):
        await autogenerate(EMPTY, settings_for(database_url), directory, "change")


async def test_changed_type_and_default(directory: Path, database_url: str) -> None:
    """A column that changes its type, its default and whether it may be NULL keeps its values."""

    def pets(column: sa.Column[Any]) -> Database:
        base: type[DeclarativeBase] = make_base()
        sa.Table("pet", base.metadata, sa.Column("id", sa.Integer, primary_key=True), column)
        return Database(base)

    await generate(pets(sa.Column("name", sa.String(10), nullable=True)), database_url, directory)
    await fetch(database_url, "INSERT INTO pet (id, name) VALUES (1, 'Rex')")
    wanted = pets(sa.Column("name", sa.String(200), nullable=False, server_default="nobody"))

    await generate(wanted, database_url, directory)

    await fetch(database_url, "INSERT INTO pet (id) VALUES (2)")
    assert await fetch(database_url, "SELECT id, name FROM pet") == [(1, "Rex"), (2, "nobody")]
    assert (await check(wanted, settings_for(database_url), directory)).drift == ()


def make_notes(*mixins: type, more: dict[str, Any] | None = None) -> Database:
    """Return a database with one table `note`, whose model has some mixins."""
    base = make_base()
    name = {"__annotations__": {"name": Mapped[str]}, "__tablename__": "note"}
    type("Note", (Identified, *mixins, base), name | (more or {}))
    return Database(base)


ROW = "INSERT INTO note (id, name) VALUES ('00000000000000000000000000000001', 'first')"


@pytest.mark.parametrize("mixins", [(Versioned,), (Timestamped,), (Timestamped, Versioned)])
async def test_mixins_can_be_added_to_a_table_with_rows(
    directory: Path, database_url: str, mixins: tuple[type, ...]
) -> None:
    """The migration that adds `Versioned` or `Timestamped` runs with rows there, up and down, and is complete."""
    settings, plain = settings_for(database_url), make_notes()
    await autogenerate(plain, settings, directory, message="Make notes")
    await upgrade(plain, settings, directory)
    async with connected(database_url) as connection:
        await connection.exec_driver_sql(ROW)
        await connection.commit()

    database = make_notes(*mixins)
    assert await autogenerate(database, settings, directory, message="Add columns") is not None
    for _ in range(2):
        await upgrade(database, settings, directory)
        assert (await check(database, settings, directory)).drift == ()
        if Versioned in mixins:
            assert await fetch(database_url, "SELECT name, version FROM note") == [("first", 1)]
        if Timestamped in mixins:
            ((created_at, updated_at),) = await fetch(database_url, "SELECT created_at, updated_at FROM note")
            assert created_at == updated_at
            assert created_at is not None
        await downgrade(database, settings, directory, "-1")
        assert await fetch(database_url, "SELECT name FROM note") == [("first",)]
