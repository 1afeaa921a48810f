"""What `ligand db check` looks at: migrations, models, locks."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from ligand_async import Database
from ligand_async.data.migrations import (
    MigrationError,
    check,
    check_locks,
    create_directory,
    scripts,
    stamp,
    upgrade,
    write_sql,
)
from ligand_async.data.migrations.comparison import find_locks, find_squawk
from tests.data.migrating import EMPTY, create_table, fetch, make_base, settings_for, write_migration


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


LOCKS = {
    "index": ("op.create_index('ix', 'pet', ['age'])", "require-concurrent-index-creation"),
    "type": ("op.alter_column('pet', 'age', type_=sa.Text)", "changing-column-type"),
    "required": ("op.alter_column('pet', 'age', nullable=False)", "adding-not-nullable-field"),
    "foreign key": ("op.create_foreign_key('fk', 'pet', 'pet', ['age'], ['id'])", "adding-foreign-key-constraint"),
}


@pytest.mark.parametrize(("up", "rule"), LOCKS.values(), ids=LOCKS.keys())
async def test_locks_are_warned_of(directory: Path, database_url: str, up: str, rule: str) -> None:
    """A migration that would make PostgreSQL lock a busy table is warned of, whatever database is at hand."""
    write_migration(directory, "locks", up=up, after="pets")
    found = await check_locks(EMPTY, settings_for(database_url), directory, scripts(directory))
    assert found.complete
    assert any(warning.startswith("locks: ") and f"[{rule}]" in warning for warning in found.warnings)


async def test_new_tables_are_not_busy(directory: Path, sqlite_url: str) -> None:
    """Nobody waits for a table that the same migration makes."""
    write_migration(directory, "cats", up=create_table("cat") + "\nop.create_index('ix', 'cat', ['id'])", after="pets")
    found = await check_locks(EMPTY, settings_for(sqlite_url), directory, scripts(directory))
    assert found.warnings == ()


async def test_concurrent_index_is_fine(directory: Path, sqlite_url: str) -> None:
    """An index that is built outside a transaction locks nobody out."""
    up = """
    with op.get_context().autocommit_block():
        op.create_index('ix', 'pet', ['age'], postgresql_concurrently=True)
    """
    write_migration(directory, "index", up=up, after="pets")
    found = await check_locks(EMPTY, settings_for(sqlite_url), directory, scripts(directory))
    assert found.warnings == ()


async def test_what_cannot_be_read_is_told(directory: Path, sqlite_url: str) -> None:
    """A migration that needs a connection is named, and what was found about the others is not called complete."""
    write_migration(directory, "data", up="op.get_bind().execute(sa.text('SELECT 1')).all()", after="pets")
    found = await check_locks(EMPTY, settings_for(sqlite_url), directory, scripts(directory))
    assert not found.complete
    assert found.warnings[0].startswith("data: cannot be written as SQL")


async def test_missing_linter_is_told(
    directory: Path, sqlite_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without squawk one line says how to get it."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("sys.executable", str(tmp_path / "python"))
    found = await check_locks(EMPTY, settings_for(sqlite_url), directory, scripts(directory))
    assert found.warnings == ("locks were not looked at: `pip install squawk-cli` adds that",)
    assert not found.complete


async def test_failing_linter_is_an_error(tmp_path: Path) -> None:
    """A linter that does not answer in JSON has failed; its own words are told."""
    program = tmp_path / "squawk"
    program.write_text("#!/bin/sh\necho out of order >&2\nexit 3\n")
    program.chmod(0o755)
    with pytest.raises(MigrationError, match="squawk failed: out of order"):
        await find_locks(str(program), {"pets": "SELECT 1;"})


async def test_hanging_linter_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A linter that does not end is ended."""
    monkeypatch.setattr("ligand_async.data.migrations.comparison.TIMEOUT", 0.2)
    program = tmp_path / "squawk"
    program.write_text("#!/bin/sh\nexec sleep 60\n")
    program.chmod(0o755)
    with pytest.raises(MigrationError, match=r"did not end within 0\.2 s"):
        await find_locks(str(program), {"pets": "SELECT 1;"})


def test_linter_is_found_beside_python() -> None:
    """The environment's own squawk is found, whether or not the environment is activated."""
    assert find_squawk() is not None


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
