"""`ligand db check` compares the database with the migrations and with the models."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from ligand_async import Database
from ligand_async.data.migrations import (
    MigrationError,
    check,
    create_directory,
    stamp,
    upgrade,
    write_sql,
)
from tests.data.migration_files import EMPTY, create_table, fetch, make_base, settings_for, write_migration


def make_pets(*items: Any) -> Database:
    """Return a database with one table `pet`."""
    base = make_base()
    sa.Table("pet", base.metadata, sa.Column("id", sa.Integer, primary_key=True), *items)
    return Database(base)


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """A directory with one migration, which makes a table `pet`."""
    directory = create_directory(tmp_path / "migrations")
    columns = ["sa.Column('name', sa.String(20), nullable=False)", "sa.Column('age', sa.Integer)"]
    write_migration(directory, "pets", up=create_table("pet", *columns))
    return directory


def name(length: int = 20, *, nullable: bool = False) -> sa.Column[Any]:
    """Return the column that the migration makes, or a variation."""
    return sa.Column("name", sa.String(length), nullable=nullable)


def age(*, nullable: bool = True, default: str | None = None) -> sa.Column[Any]:
    """Return the column that the migration makes, or a variation."""
    return sa.Column("age", sa.Integer, nullable=nullable, server_default=default)


# Made anew for each test: a table keeps its columns.
DRIFTS: dict[str, tuple[Callable[[], list[Any]], str]] = {
    "column missing": (lambda: [name(), age(), sa.Column("size", sa.Integer)], "column pet.size is missing"),
    "column too much": (lambda: [name()], "column pet.age is not in the models"),
    "type": (lambda: [name(99), age()], "column pet.name has type VARCHAR(20), the models say VARCHAR(99)"),
    "null refused": (lambda: [name(nullable=True), age()], "column pet.name refuses NULL, the models do not"),
    "null allowed": (lambda: [name(), age(nullable=False)], "column pet.age allows NULL, the models do not"),
    "default": (lambda: [name(), age(default="7")], "column pet.age has another default than in the models"),
    "index": (lambda: [name(), age(), sa.Index("ix_pet_age", "age")], "index ix_pet_age on pet is missing"),
    "unique": (lambda: [name(), age(), sa.UniqueConstraint("name")], "constraint uq_pet_name on pet is missing"),
    "foreign key": (
        lambda: [name(), age(), sa.ForeignKeyConstraint(["age"], ["pet.id"])],
        "constraint fk_pet_age_pet on pet is missing",
    ),
}


@pytest.mark.parametrize(("items", "words"), DRIFTS.values(), ids=DRIFTS.keys())
async def test_drift_is_told(directory: Path, database_url: str, items: Callable[[], list[Any]], words: str) -> None:
    """Each kind of difference between database and models is told in words."""
    settings = settings_for(database_url)
    await upgrade(EMPTY, settings, directory)
    assert (await check(make_pets(*items()), settings, directory)).drift == (words,)


async def test_no_drift(directory: Path, database_url: str) -> None:
    """A database that is what the models say is told to be so."""
    settings = settings_for(database_url)
    await upgrade(EMPTY, settings, directory)
    assert (await check(make_pets(name(), age()), settings, directory)).drift == ()


async def test_missing_table_is_told(directory: Path, database_url: str) -> None:
    """A table that only the models have is told."""
    settings = settings_for(database_url)
    await upgrade(EMPTY, settings, directory)
    database = make_pets(name(), age())
    sa.Table("cat", database.metadata, sa.Column("id", sa.Integer, primary_key=True))
    assert (await check(database, settings, directory)).drift == ("table cat is missing",)


async def test_constraint_too_much_is_told(directory: Path, postgres_url: str) -> None:
    """A constraint that only the database has is told."""
    settings = settings_for(postgres_url)
    await upgrade(EMPTY, settings, directory)
    await fetch(postgres_url, "ALTER TABLE pet ADD CONSTRAINT uq_pet_age UNIQUE (age)")
    findings = await check(make_pets(name(), age()), settings, directory)
    assert findings.drift == ("constraint uq_pet_age on pet is not in the models",)


async def test_comments_are_compared(directory: Path, postgres_url: str) -> None:
    """Other comments than in the models are a difference, of a table and of a column."""
    settings = settings_for(postgres_url)
    await upgrade(EMPTY, settings, directory)
    await fetch(postgres_url, "COMMENT ON COLUMN pet.age IS 'in years'")
    await fetch(postgres_url, "COMMENT ON TABLE pet IS 'animals'")
    findings = await check(make_pets(name(), age()), settings, directory)
    assert sorted(findings.drift) == [
        "column pet.age has another comment than in the models",
        "the comment of table pet differs",
    ]


async def test_schemas_of_others_are_left_alone(directory: Path, postgres_url: str) -> None:
    """Models in a schema of their own are compared with that one, and no other schema is looked at."""
    settings = settings_for(postgres_url)
    for schema in ("billing", "strangers"):
        await fetch(postgres_url, f"CREATE SCHEMA {schema}")
        await fetch(postgres_url, f"CREATE TABLE {schema}.bill (id SERIAL PRIMARY KEY)")
    await upgrade(EMPTY, settings, directory)
    database = make_pets(name(), age())
    sa.Table("bill", database.metadata, sa.Column("id", sa.Integer, primary_key=True), schema="billing")
    assert (await check(database, settings, directory)).drift == ()


async def test_tables_and_indexes_too_much(directory: Path, database_url: str) -> None:
    """Tables, indexes and constraints that the models do not have are told, too."""
    settings = settings_for(database_url)
    await upgrade(EMPTY, settings, directory)
    await fetch(database_url, "CREATE TABLE cat (id INTEGER PRIMARY KEY)")
    await fetch(database_url, "CREATE INDEX ix_pet_age ON pet (age)")
    findings = await check(make_pets(name(), age()), settings, directory)
    assert findings.drift == ("table cat is not in the models", "index ix_pet_age on pet is not in the models")


async def test_enum_labels_are_compared(directory: Path, postgres_url: str) -> None:
    """An enum type with other labels than in the models is a difference."""
    settings = settings_for(postgres_url)
    await stamp(EMPTY, settings, directory)
    await fetch(postgres_url, "CREATE TYPE mood AS ENUM ('calm')")
    await fetch(postgres_url, "CREATE TABLE pet (id SERIAL PRIMARY KEY, mood mood)")
    database = make_pets(sa.Column("mood", sa.Enum("calm", "wild", name="mood")))
    findings = await check(database, settings, directory)
    assert findings.drift == ("type mood has the labels calm, the models say calm, wild",)


async def test_pending_comes_first(directory: Path, database_url: str) -> None:
    """A database that lacks migrations is told to lack them, oldest first, and nothing of what would follow."""
    write_migration(directory, "cats", up=create_table("cat"), after="pets")
    findings = await check(EMPTY, settings_for(database_url), directory)
    assert [script.revision for script in findings.pending] == ["pets", "cats"]
    assert findings.drift == ()


async def test_unknown_revision_is_an_error(directory: Path, database_url: str) -> None:
    """A database at a revision that is not in the directory cannot be compared."""
    settings = settings_for(database_url)
    write_migration(directory, "cats", after="pets")
    await stamp(EMPTY, settings, directory)
    (directory / "versions" / "cats.py").unlink()
    with pytest.raises(MigrationError, match="cats"):
        await check(EMPTY, settings, directory)


async def test_sql_needs_no_database(directory: Path) -> None:
    """The SQL of an upgrade is written for the database that the settings name, without connecting."""
    settings = settings_for("postgresql://127.0.0.1:1/nowhere", database_lock_timeout=1.5)
    sql = await write_sql(EMPTY, settings, directory, "head")
    assert sql.startswith("SET lock_timeout = '1500ms';")
    assert "CREATE TABLE pet" in sql


async def test_sql_runs(directory: Path, database_url: str) -> None:
    """The SQL that is written does what the migration does."""
    settings = settings_for(database_url)
    sql = await write_sql(make_pets(name(), age()), settings, directory, "head")
    for statement in sql.split(";"):
        if statement.strip() and statement.split()[0] not in {"BEGIN", "COMMIT", "SET"}:
            await fetch(database_url, statement)
    assert (await check(make_pets(name(), age()), settings, directory)).drift == ()


async def test_sql_of_downgrade_needs_both_ends(directory: Path, sqlite_url: str) -> None:
    """Without a database at hand, where a downgrade begins must be said."""
    with pytest.raises(MigrationError, match="<fromrev>:<torev>"):
        await write_sql(EMPTY, settings_for(sqlite_url), directory, "base", down=True)
