"""Each kind of column, type and constraint is written, checked, upgraded and downgraded, with rows in the tables."""

from collections.abc import Callable
from copy import copy
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.types import TypeDecorator

from ligand_async import Database
from ligand_async.data.migrations import (
    MigrationFailed,
    autogenerate,
    check,
    create_directory,
    downgrade,
    upgrade,
)
from tests.data.migration_files import EMPTY, fetch, make_base, reflect, schema_of, settings_for

pytestmark = pytest.mark.extended  # many migrations, on both databases

Items = Callable[[], list[Any]]


class Folded(TypeDecorator[str]):
    """A type of a service's own."""

    impl = sa.String(20)
    cache_ok = True


def make_pets(*items: Any, key: tuple[Any, ...] = ()) -> Database:
    """Return a database with one table `pet`, with a key, a name and some items more."""
    base = make_base()
    columns = (sa.Column("id", sa.Integer, *key, primary_key=True), sa.Column("name", sa.String(20), nullable=False))
    sa.Table("pet", base.metadata, *columns, *items)
    return Database(base)


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """An empty migrations directory."""
    return create_directory(tmp_path / "migrations")


async def generate(database: Database, url: str, directory: Path) -> str:
    """Write a migration and run it; return its source."""
    settings = settings_for(url)
    path = await autogenerate(database, settings, directory, "change")
    assert path is not None
    await upgrade(database, settings, directory)
    assert (await check(database, settings, directory)).drift == ()
    assert await autogenerate(database, settings, directory, "nothing") is None
    return path.read_text()


JSONB = sa.JSON().with_variant(postgresql.JSONB(astext_type=sa.Text()), "postgresql")
ADDED: dict[str, tuple[Items, Any]] = {
    "computed": (lambda: [sa.Column("more", sa.Integer, sa.Computed("id * 2", persisted=True))], 2),
    "computed text": (
        lambda: [sa.Column("more", sa.String(40), sa.Computed("name || '''s %'", persisted=True))],
        "Rex's %",
    ),
    "computed not null": (
        lambda: [sa.Column("more", sa.Integer, sa.Computed("length(name)", persisted=True), nullable=False)],
        3,
    ),
    "variant": (lambda: [sa.Column("more", JSONB)], None),
    "variant of array": (
        lambda: [sa.Column("more", sa.JSON().with_variant(postgresql.ARRAY(sa.String(20)), "postgresql"))],
        None,
    ),
    "variant of own": (
        lambda: [sa.Column("more", sa.Text().with_variant(Folded(), "sqlite"))],
        None,
    ),
    "own with variant": (
        lambda: [sa.Column("more", Folded().with_variant(sa.Text(), "postgresql"))],
        None,
    ),
    "variant with enum": (
        lambda: [sa.Column("more", sa.String(9).with_variant(sa.Enum("calm", "wild", name="mood"), "postgresql"))],
        None,
    ),
    "enum with variant": (
        lambda: [sa.Column("more", sa.Enum("calm", "wild", name="mood").with_variant(sa.String(9), "sqlite"))],
        None,
    ),
    "array of enum": (
        lambda: [
            sa.Column(
                "more",
                sa.JSON().with_variant(postgresql.ARRAY(sa.Enum("calm", "wild", name="mood")), "postgresql"),
            )
        ],
        None,
    ),
}


@pytest.mark.parametrize(("items", "value"), ADDED.values(), ids=list(ADDED))
async def test_column_comes_and_goes(directory: Path, database_url: str, items: Items, value: Any) -> None:
    """A column of each kind is added to a table with rows and taken away; its rows stay."""
    settings = settings_for(database_url)
    await generate(make_pets(), database_url, directory)
    await fetch(database_url, "INSERT INTO pet (id, name) VALUES (1, 'Rex')")
    old = await reflect(database_url)
    database = make_pets(*items())
    await generate(database, database_url, directory)
    new = await reflect(database_url)
    for _ in range(2):
        assert await fetch(database_url, "SELECT id, name, more FROM pet") == [(1, "Rex", value)]
        await downgrade(database, settings, directory)
        assert await reflect(database_url) == old
        assert await fetch(database_url, "SELECT id, name FROM pet") == [(1, "Rex")]
        await upgrade(database, settings, directory)
        assert await reflect(database_url) == new


@pytest.mark.parametrize(("items", "value"), ADDED.values(), ids=list(ADDED))
async def test_column_goes_and_comes(directory: Path, database_url: str, items: Items, value: Any) -> None:
    """A column of each kind that was there from the beginning is dropped, and made again by the downgrade."""
    settings = settings_for(database_url)
    await generate(make_pets(*items()), database_url, directory)
    await fetch(database_url, "INSERT INTO pet (id, name) VALUES (1, 'Rex')")
    old = await reflect(database_url)
    database = make_pets()
    await generate(database, database_url, directory)
    await downgrade(database, settings, directory)
    assert await fetch(database_url, "SELECT id, name, more FROM pet") == [(1, "Rex", value)]
    assert await reflect(database_url) == old


CHANGED: dict[str, tuple[Items, Items]] = {
    "computed otherwise": (
        lambda: [
            sa.Column("more", sa.Integer, sa.Computed("id * 2", persisted=True)),
            sa.Index("ix_pet_more", "more"),
        ],
        lambda: [
            sa.Column("more", sa.Integer, sa.Computed("id * 3 + 1", persisted=True)),
            sa.Index("ix_pet_more", "more"),
        ],
    ),
    "computed no longer": (
        lambda: [sa.Column("more", sa.Integer, sa.Computed("id * 2", persisted=True))],
        lambda: [sa.Column("more", sa.Integer)],
    ),
    "computed from now on": (
        lambda: [sa.Column("more", sa.Integer)],
        lambda: [sa.Column("more", sa.Integer, sa.Computed("id * 2", persisted=True))],
    ),
    "computed of a new column": (
        list,
        lambda: [
            sa.Column("weight", sa.Integer, server_default="5"),
            sa.Column("more", sa.Integer, sa.Computed("id * weight", persisted=True)),
        ],
    ),
}


@pytest.mark.parametrize(("before", "after"), CHANGED.values(), ids=list(CHANGED))
async def test_changes_go_up_and_down(directory: Path, database_url: str, before: Items, after: Items) -> None:
    """A column that is computed in another way is changed with rows there, up and down, with its indexes."""
    settings = settings_for(database_url)
    await generate(make_pets(*before()), database_url, directory)
    await fetch(database_url, "INSERT INTO pet (id, name) VALUES (1, 'Rex')")
    old = await reflect(database_url)
    database = make_pets(*after())
    await generate(database, database_url, directory)
    new = await reflect(database_url)
    for _ in range(2):
        await downgrade(database, settings, directory)
        assert await reflect(database_url) == old
        await upgrade(database, settings, directory)
        assert await reflect(database_url) == new
    assert await fetch(database_url, "SELECT id, name FROM pet") == [(1, "Rex")]


@pytest.mark.parametrize("always", [False, True])
async def test_identity_as_key(directory: Path, database_url: str, always: bool) -> None:
    """A key that is an identity counts on both databases, differs from nothing, and goes with its table."""
    settings, database = settings_for(database_url), make_pets(key=(sa.Identity(always=always),))
    empty = await schema_of(database_url)
    await generate(database, database_url, directory)
    for _ in range(2):
        await fetch(database_url, "INSERT INTO pet (name) VALUES ('Rex')")
        assert await fetch(database_url, "SELECT id, name FROM pet") == [(1, "Rex")]
        await downgrade(database, settings, directory, "base")
        assert await schema_of(database_url) == empty
        await upgrade(database, settings, directory)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ((), (sa.Identity(),)),
        ((sa.Identity(),), ()),
        ((sa.Identity(),), (sa.Identity(always=True, increment=2),)),
    ],
    ids=["from now on", "no longer", "other options"],
)
async def test_key_becomes_identity(
    directory: Path, database_url: str, before: tuple[Any, ...], after: tuple[Any, ...]
) -> None:
    """A key that becomes an identity, or no longer is one, goes on counting after its rows, up and down."""
    settings = settings_for(database_url)
    await generate(make_pets(key=tuple(copy(item) for item in before)), database_url, directory)
    await fetch(database_url, "INSERT INTO pet (name) VALUES ('Rex')")
    old = await reflect(database_url)
    database = make_pets(key=tuple(copy(item) for item in after))
    path = await autogenerate(database, settings, directory, "change")
    assert (path is None) == database_url.startswith("sqlite")
    await upgrade(database, settings, directory)
    assert (await check(database, settings, directory)).drift == ()
    await fetch(database_url, "INSERT INTO pet (name) VALUES ('Tom')")
    if path is not None:
        await downgrade(database, settings, directory)
    await fetch(database_url, "INSERT INTO pet (name) VALUES ('Ada')")
    ids = [row[0] for row in await fetch(database_url, "SELECT id FROM pet")]
    assert len(ids) == len(set(ids)) == 3
    assert await reflect(database_url) == old


async def test_identity_added(directory: Path, postgres_url: str) -> None:
    """A column that is an identity numbers the rows that are there; SQLite has no such columns."""
    settings = settings_for(postgres_url)
    await generate(make_pets(), postgres_url, directory)
    await fetch(postgres_url, "INSERT INTO pet (name) VALUES ('Rex'), ('Tom')")
    old = await reflect(postgres_url)
    database = make_pets(sa.Column("number", sa.BigInteger, sa.Identity(start=10)))
    await generate(database, postgres_url, directory)
    assert await fetch(postgres_url, "SELECT name, number FROM pet") == [("Rex", 10), ("Tom", 11)]
    await downgrade(database, settings, directory)
    assert await reflect(postgres_url) == old


def mood(*labels: str, **options: Any) -> list[Any]:
    """Return a column with an enum type, and one with a list of it on PostgreSQL."""
    enum = sa.Enum(*labels, name="mood", **options)
    default = next(label for label in labels if label not in {"new", "very last"})
    other = sa.JSON().with_variant(postgresql.ARRAY(sa.Enum(*labels, name="mood", **options)), "postgresql")
    return [sa.Column("mood", enum, server_default=default, nullable=False), sa.Column("more", other)]


@pytest.mark.parametrize("options", [{}, {"schema": "zoo"}, {"create_constraint": True}], ids=str)
async def test_enum_gets_labels(directory: Path, database_url: str, postgres_url: str, options: dict[str, Any]) -> None:
    """New labels, before, between and after the others, are written as `op.add_enum_value` and taken away again."""
    await fetch(postgres_url, "CREATE SCHEMA zoo")
    first = make_pets(*mood("it's %calm", ":x", **options))
    await generate(first, postgres_url, directory)
    labels = ("new", "it's %calm", "a ' longer label", ":x", "last", "very last")
    database = make_pets(*mood(*labels, **options))
    assert (await check(database, settings_for(postgres_url), directory)).drift != ()
    source = await generate(database, postgres_url, directory)
    assert source.count("op.add_enum_value('mood'") == 4

    settings = settings_for(database_url)
    await upgrade(database, settings, directory)
    await downgrade(database, settings, directory)
    await fetch(database_url, "INSERT INTO pet (id, name, more) VALUES (1, 'Rex', NULL)")
    before = await reflect(database_url)
    for _ in range(2):
        await upgrade(database, settings, directory)
        assert (await check(database, settings, directory)).drift == ()
        await fetch(database_url, "INSERT INTO pet (id, name, mood) VALUES (2, 'Tom', 'a '' longer label')")
        await fetch(database_url, "DELETE FROM pet WHERE id = 2")
        await downgrade(database, settings, directory)
        assert await reflect(database_url) == before
        assert await fetch(database_url, "SELECT id, mood FROM pet") == [(1, "it's %calm")]


async def test_enum_loses_labels(directory: Path, postgres_url: str) -> None:
    """A label that goes, or moves, is a type made anew; a row that has it stops the migration."""
    settings = settings_for(postgres_url)
    await generate(make_pets(*mood("a", "b", "c")), postgres_url, directory)
    await fetch(postgres_url, "INSERT INTO pet (name, mood, more) VALUES ('Rex', 'c', '{a,c}')")
    database = make_pets(*mood("c", "a"))
    source = await generate(database, postgres_url, directory)
    assert "op.set_enum_values('mood', ['c', 'a'])" in source
    assert await fetch(postgres_url, "SELECT mood, more FROM pet") == [("c", ["a", "c"])]
    await downgrade(database, settings, directory)
    await fetch(postgres_url, "INSERT INTO pet (name, mood) VALUES ('Tom', 'b')")
    with pytest.raises(MigrationFailed, match="invalid input value for enum"):
        await upgrade(database, settings, directory)


async def test_default_moves_to_another_label(directory: Path, postgres_url: str) -> None:
    """A default may change to a label that comes in the same migration, from one that goes."""
    settings = settings_for(postgres_url)
    await generate(make_pets(*mood("a", "b")), postgres_url, directory)
    await fetch(postgres_url, "INSERT INTO pet (name, mood) VALUES ('Rex', 'b')")
    before = await reflect(postgres_url)
    for labels in (("c", "a", "b"), ("c", "b")):
        database = make_pets(*mood(*labels))
        await generate(database, postgres_url, directory)
        await fetch(postgres_url, "INSERT INTO pet (name) VALUES ('Tom')")
        assert await fetch(postgres_url, "DELETE FROM pet WHERE name = 'Tom' RETURNING mood") == [("c",)]
        await downgrade(database, settings, directory)
        assert await reflect(postgres_url) == before
        for file in (directory / "versions").glob("*.py"):
            if "set_enum_values" in file.read_text():
                file.unlink()


async def test_enum_in_another_schema(directory: Path, database_url: str) -> None:
    """An enum type in another schema is made, compared and dropped there."""
    settings = settings_for(database_url)
    if not database_url.startswith("sqlite"):
        await fetch(database_url, "CREATE SCHEMA zoo")
    plain = make_pets()
    await generate(plain, database_url, directory)
    await fetch(database_url, "INSERT INTO pet (name) VALUES ('Rex')")
    before = await schema_of(database_url)
    database = make_pets(sa.Column("mood", sa.Enum("calm", "wild", name="mood", schema="zoo"), server_default="calm"))
    await generate(database, database_url, directory)
    for _ in range(2):
        assert await fetch(database_url, "SELECT mood FROM pet") == [("calm",)]
        await downgrade(database, settings, directory)
        if not database_url.startswith("sqlite"):
            assert await schema_of(database_url) == before
        await upgrade(database, settings, directory)


@pytest.mark.filterwarnings("ignore:Cannot correctly sort tables")
@pytest.mark.parametrize("use_alter", [True, False])
async def test_tables_in_a_circle(directory: Path, database_url: str, use_alter: bool) -> None:
    """Tables that refer to each other are made and dropped on both databases, with `use_alter` or without."""
    settings, base = settings_for(database_url), make_base()
    sa.Table(
        "cat",
        base.metadata,
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("dog_id", sa.ForeignKey("dog.id", use_alter=use_alter, ondelete="CASCADE"), nullable=True),
    )
    sa.Table(
        "dog",
        base.metadata,
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("cat_id", sa.ForeignKey("cat.id"), nullable=True),
    )
    database = Database(base)
    empty = await schema_of(database_url)
    await generate(database, database_url, directory)
    full = await reflect(database_url)
    await fetch(database_url, "INSERT INTO dog (id) VALUES (1)")
    await fetch(database_url, "INSERT INTO cat (id, dog_id) VALUES (1, 1)")
    await fetch(database_url, "UPDATE dog SET cat_id = 1")
    await generate(EMPTY, database_url, directory)
    assert await schema_of(database_url) == empty
    await downgrade(EMPTY, settings, directory)
    assert await reflect(database_url) == full
    await fetch(database_url, "INSERT INTO dog (id) VALUES (1)")
    await downgrade(database, settings, directory, "base")
    assert await schema_of(database_url) == empty
    await upgrade(database, settings, directory, "+1")
    assert await reflect(database_url) == full


async def test_sequences_are_made(directory: Path, database_url: str) -> None:
    """The sequence of a default is made before its table, and dropped after it; SQLite has none."""
    settings = settings_for(database_url)
    await generate(make_pets(), database_url, directory)
    await fetch(database_url, "INSERT INTO pet (name) VALUES ('Rex')")
    before = await schema_of(database_url)
    database = make_pets(sa.Column("number", sa.Integer, sa.Sequence("pet_number", start=7, increment=2)))
    source = await generate(database, database_url, directory)
    is_sqlite = database_url.startswith("sqlite")
    assert ("op.create_sequence('pet_number', start=7, increment=2)" in source) != is_sqlite
    for _ in range(2):
        if not is_sqlite:
            assert await fetch(database_url, "SELECT nextval('pet_number')") == [(7,)]
        await downgrade(database, settings, directory)
        if not is_sqlite:
            assert await schema_of(database_url) == before
        await upgrade(database, settings, directory)
    if not is_sqlite:
        await fetch(database_url, "DROP SEQUENCE pet_number")
        assert (await check(database, settings, directory)).drift == ("sequence pet_number is missing",)


async def test_refused_rows_are_told(directory: Path, database_url: str) -> None:
    """Where the rows of a table would stop a migration, this is said when it is written, with what to write instead."""
    settings, told = settings_for(database_url), list[str]()
    base = make_pets(sa.Column("age", sa.Integer))
    await autogenerate(base, settings, directory, "first", report=told.append)
    await upgrade(base, settings, directory)
    assert told == []
    database = make_pets(
        sa.Column("age", sa.Integer, nullable=False),
        sa.Column("size", sa.Integer, nullable=False),
        sa.Column("legs", sa.Integer, nullable=False, server_default="4"),
        sa.Column("double", sa.Integer, sa.Computed("id * 2", persisted=True), nullable=False),
        sa.Column("note", sa.Integer),
    )
    path = await autogenerate(database, settings, directory, "second", report=told.append)
    assert [line.split()[0] for line in sorted(told)] == ["pet.age", "pet.size"]
    assert all("op.execute" in line for line in told)

    await fetch(database_url, "INSERT INTO pet (name, age) VALUES ('Rex', 3)")
    assert path is not None
    source = path.read_text()
    added = "batch_op.add_column(sa.Column('size', sa.Integer(), nullable=False))"
    assert added in source
    filled = (
        f"{added.replace('False', 'True')}\n    op.execute('UPDATE pet SET size = 1')\n"
        "    with op.batch_alter_table('pet', schema=None) as batch_op:\n"
        "        batch_op.alter_column('size', nullable=False)"
    )
    path.write_text(source.replace(added, filled))
    await upgrade(database, settings, directory)
    assert (await check(database, settings, directory)).drift == ()
    assert await fetch(database_url, "SELECT name, size, legs FROM pet") == [("Rex", 1, 4)]
