"""Migrations as SQL, for those who run it themselves."""

import io
from pathlib import Path

from alembic import command

from ligand_async.data.migrations.environment import Environment
from ligand_async.data.migrations.explaining import naming_failures
from ligand_async.data.migrations.lock import process_turn
from ligand_async.data.migrations.runner import Migrated, make_config
from ligand_async.data.urls import parse_database_url
from ligand_async.settings import Settings


async def write_sql(
    database: Migrated,
    settings: Settings,
    directory: Path,
    revision: str,
    *,
    down: bool = False,
    dialect: str | None = None,
) -> str:
    """Return the SQL of an upgrade or downgrade, without connecting.

    Args:
        database: The service's.
        settings: Its URL names the dialect; `database_lock_timeout` is set in the SQL for PostgreSQL.
        directory: As `find_directory` returns it.
        revision: A revision, or `from:to`; a downgrade needs both.
        down: Whether to go down.
        dialect: Another dialect than the database's.

    Raises:
        MigrationError: A migration looks at the database, as rebuilding a table on SQLite does.
    """
    dialect = dialect or parse_database_url(settings.database_url.get_secret_value()).get_backend_name()
    output = io.StringIO()
    environment = Environment(database.metadata, dialect, settings.database_lock_timeout)
    run = command.downgrade if down else command.upgrade
    async with process_turn():
        with naming_failures(directory):
            run(make_config(directory, environment, output), revision, sql=True)
    return output.getvalue()
