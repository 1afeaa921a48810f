"""The petstore's own migrations."""

from pathlib import Path

import pytest

from examples.petstore.models import db
from ligand_async.data.migrations import check, downgrade, upgrade
from tests.data.migrating import reflect, schema_of, settings_for

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
