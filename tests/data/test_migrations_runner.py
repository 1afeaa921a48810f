"""Running migrations on SQLite, which rebuilds a table to alter it, and those of the petstore on both databases."""

from pathlib import Path

import pytest

from examples.petstore.models import db
from ligand_async.data.migrations import MigrationFailed, check, create_directory, current, downgrade, upgrade
from tests.data.migration_files import EMPTY, connected, fetch, reflect, schema_of, settings_for, write_migration

SHELVES = """
op.create_table('shelf', sa.Column('id', sa.Integer, primary_key=True), sa.Column('label', sa.String(5)))
op.create_table(
    'item',
    sa.Column('id', sa.Integer, primary_key=True),
    sa.Column('price', sa.Integer, sa.CheckConstraint('price >= 0', name='ck_item_price')),
    sa.Column('shelf_id', sa.Integer, nullable=False),
    sa.ForeignKeyConstraint(['shelf_id'], ['shelf.id'], name='fk_item_shelf', ondelete='CASCADE'),
)
op.create_index('ix_item_price', 'item', ['price'])
"""
REBUILD = """
with op.batch_alter_table('shelf') as batch:
    batch.alter_column('label', type_=sa.String(50), existing_type=sa.String(5))
with op.batch_alter_table('item') as batch:
    batch.alter_column('price', nullable=False, existing_type=sa.Integer)
"""
REBUILD_BACK = """
with op.batch_alter_table('item') as batch:
    batch.alter_column('price', nullable=True, existing_type=sa.Integer)
with op.batch_alter_table('shelf') as batch:
    batch.alter_column('label', type_=sa.String(5), existing_type=sa.String(50))
"""


@pytest.fixture
async def directory(tmp_path: Path, database_url: str) -> Path:
    """A directory whose first migration was applied and filled: an item on a shelf."""
    directory = create_directory(tmp_path / "migrations")
    write_migration(directory, "shelves", up=SHELVES, down="op.drop_table('item')\nop.drop_table('shelf')")
    await upgrade(EMPTY, settings_for(database_url), directory)
    await fetch(database_url, "INSERT INTO shelf (id, label) VALUES (1, 'top')")
    await fetch(database_url, "INSERT INTO item (id, price, shelf_id) VALUES (1, 5, 1)")
    return directory


async def test_rebuilding_keeps_referring_rows(directory: Path, database_url: str) -> None:
    """Altering a table deletes nothing that refers to it, although the reference says ON DELETE CASCADE."""
    write_migration(directory, "wider", up=REBUILD, down=REBUILD_BACK, after="shelves")
    await upgrade(EMPTY, settings_for(database_url), directory)
    assert await fetch(database_url, "SELECT id, price, shelf_id FROM item") == [(1, 5, 1)]


async def test_rebuilding_leaves_no_trace(directory: Path, database_url: str) -> None:
    """Altering tables and undoing it keeps every constraint and index by name, on both databases."""
    settings = settings_for(database_url)
    write_migration(directory, "wider", up=REBUILD, down=REBUILD_BACK, after="shelves")
    before = await reflect(database_url)

    await upgrade(EMPTY, settings, directory)
    altered = await reflect(database_url)
    await downgrade(EMPTY, settings, directory)
    assert await reflect(database_url) == before != altered

    await upgrade(EMPTY, settings, directory)
    assert await reflect(database_url) == altered


async def test_dangling_reference_is_refused(directory: Path, database_url: str) -> None:
    """A migration after which a row refers to nothing is rolled back, on both databases."""
    settings = settings_for(database_url)
    up = "op.execute('INSERT INTO item (id, price, shelf_id) VALUES (2, 5, 99)')"
    write_migration(directory, "orphans", up=up, after="shelves")

    with pytest.raises(MigrationFailed, match=r"item"):
        await upgrade(EMPTY, settings, directory)

    assert await fetch(database_url, "SELECT id FROM item") == [(1,)]
    assert await current(EMPTY, settings, directory) == ("shelves",)


@pytest.mark.ligand_database("sqlite")
async def test_dangling_reference_is_named(directory: Path, database_url: str) -> None:
    """The error says how many rows of which table refer to nothing."""
    up = "op.execute('INSERT INTO item (id, price, shelf_id) VALUES (2, 5, 99)')"
    write_migration(directory, "orphans", up=up, after="shelves")
    with pytest.raises(MigrationFailed, match=r"orphans .*, but 1 rows would refer to nothing \(item -> shelf\)"):
        await upgrade(EMPTY, settings_for(database_url), directory)


@pytest.mark.ligand_database("sqlite")
async def test_foreign_keys_are_on_again(directory: Path, database_url: str) -> None:
    """Whoever connects after a migration finds foreign keys on."""
    async with connected(database_url) as connection:
        result = await connection.exec_driver_sql("PRAGMA foreign_keys")
        assert result.scalar() == 1


DIRECTORY = Path(__file__).parents[2] / "migrations"


async def test_models_and_migrations_agree(database_url: str) -> None:
    """A petstore that was migrated has exactly what its models say."""
    settings = settings_for(database_url)
    await upgrade(db, settings, DIRECTORY)
    findings = await check(db, settings, DIRECTORY)
    assert (findings.pending, findings.drift) == ((), ())


async def test_up_down_up_leaves_no_trace(database_url: str) -> None:
    """Down leaves an empty database, and up again the very same schema, to the letter."""
    settings = settings_for(database_url)
    empty = await schema_of(database_url)
    await upgrade(db, settings, DIRECTORY)
    full, reflected = await schema_of(database_url), await reflect(database_url)

    await downgrade(db, settings, DIRECTORY, "base")
    assert await schema_of(database_url) == empty

    await upgrade(db, settings, DIRECTORY)
    assert (await schema_of(database_url), await reflect(database_url)) == (full, reflected)


@pytest.mark.ligand_database("postgresql")
async def test_migrations_make_what_models_make(database_url: str, sqlite_url: str) -> None:
    """A migrated petstore is the one that its models would make."""
    for url in (database_url, sqlite_url):
        settings = settings_for(url)
        engine = db.migration_engine(settings)
        async with engine.begin() as connection:
            await connection.run_sync(db.metadata.create_all)
        made = await reflect(url)
        async with engine.begin() as connection:
            await connection.run_sync(db.metadata.drop_all)
        await engine.dispose()

        await upgrade(db, settings, DIRECTORY)

        migrated = {kind: rows for kind, rows in (await reflect(url)).items() if "alembic_version" not in kind}
        assert migrated == made
