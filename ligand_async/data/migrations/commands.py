"""The commands of `ligand db`, as functions: for a running loop, where the command line drives its own."""

import logging
from functools import partial
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from ligand_async.data.migrations.attempts import PATIENCE, Patience, Report, migrate
from ligand_async.data.migrations.directory import find_directory
from ligand_async.data.migrations.runner import Migrated, connect, look, run_in_environment
from ligand_async.settings import Settings

logger = logging.getLogger(__name__)


async def upgrade(
    database: Migrated,
    settings: Settings,
    directory: Path,
    revision: str = "head",
    *,
    patience: Patience = PATIENCE,
    report: Report = logger.info,
) -> None:
    """Apply the migrations up to a revision, each in a transaction, under the lock of the database.

    Args:
        database: The service's.
        settings: Where it is, and `database_lock_timeout`.
        directory: As `find_directory` returns it.
        revision: `head`, `heads`, an id or the beginning of one, or `+n`.
        patience: How long to wait for other processes and for busy tables.
        report: Told of each migration that was applied.

    Raises:
        MigrationError: It could not be done; what was applied before stays.
    """
    async with connect(database, settings) as connection:
        work = partial(command.upgrade, revision=revision)
        await migrate(connection, database, settings, directory, work, patience=patience, report=report)


async def downgrade(
    database: Migrated,
    settings: Settings,
    directory: Path,
    revision: str = "-1",
    *,
    patience: Patience = PATIENCE,
    report: Report = logger.info,
) -> None:
    """Undo the migrations down to a revision.

    Args:
        database: The service's.
        settings: Where it is, and `database_lock_timeout`.
        directory: As `find_directory` returns it.
        revision: `base`, an id or the beginning of one, or `-n`.
        patience: How long to wait for other processes and for busy tables.
        report: Told of each migration that was undone.

    Raises:
        MigrationError: It could not be done.
    """
    async with connect(database, settings) as connection:
        work = partial(command.downgrade, revision=revision)
        await migrate(connection, database, settings, directory, work, patience=patience, report=report)


async def stamp(
    database: Migrated, settings: Settings, directory: Path, revision: str = "head", *, purge: bool = False
) -> None:
    """Note down that the database is at a revision, without running anything.

    Args:
        database: The service's.
        settings: Where it is.
        directory: As `find_directory` returns it.
        revision: `head`, `base`, or an id.
        purge: Whether to forget first what was noted down.

    Raises:
        MigrationError: It could not be done.
    """
    async with connect(database, settings) as connection:
        work = partial(command.stamp, revision=revision, purge=purge)
        await migrate(connection, database, settings, directory, work, patience=PATIENCE, report=logger.info)


async def auto_upgrade(
    database: Migrated, settings: Settings, *, root_path: str | Path, patience: Patience = PATIENCE
) -> None:
    """Apply what is missing when an app starts; all its replicas may do so at once.

    A database that a newer release has migrated already is left alone: an old replica must be able to start again while
    the new ones roll out.

    Args:
        database: The service's.
        settings: Where it is, and `database_lock_timeout`.
        root_path: The app's `root_path`, to find its migrations.
        patience: How long to wait for other processes and for busy tables.

    Raises:
        MigrationError: The database cannot be reached or migrated; the service must not start.
    """
    directory = find_directory(beside=root_path)

    def work(config: Config) -> None:
        if is_behind(config):
            command.upgrade(config, "heads")

    async with connect(database, settings) as connection:
        if await look(connection, database, settings, directory, is_behind):
            await migrate(connection, database, settings, directory, work, patience=patience, report=logger.info)


def is_behind(config: Config) -> bool:
    """Tell whether migrations are missing that this release knows, in a database that holds none it does not know."""
    script = ScriptDirectory.from_config(config)
    there = set(run_in_environment(config, MigrationContext.get_current_heads))
    unknown = there - {known.revision for known in script.walk_revisions()}
    if unknown:
        logger.warning("the database is at %s, which a newer release knows: nothing to migrate", ", ".join(unknown))
    return not unknown and there != set(script.get_heads())


async def current(database: Migrated, settings: Settings, directory: Path) -> tuple[str, ...]:
    """Return the revisions that the database is at: none, one, or one for each branch."""
    async with connect(database, settings) as connection:
        return await look(
            connection,
            database,
            settings,
            directory,
            lambda config: run_in_environment(config, MigrationContext.get_current_heads),
        )
