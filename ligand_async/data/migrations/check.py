"""Whether the database is what the models say, and whether getting there stops anybody."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from alembic.autogenerate import produce_migrations
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import Script, ScriptDirectory
from sqlalchemy import MetaData, inspect
from sqlalchemy.dialects.postgresql.base import PGInspector

from ligand_async.data.migrations.enums import describe_labels
from ligand_async.data.migrations.errors import MigrationError
from ligand_async.data.migrations.offline import write_sql
from ligand_async.data.migrations.runner import Migrated, connect, look, run_in_environment
from ligand_async.data.migrations.squawk import INSTALL_HINT, find_locks, find_squawk
from ligand_async.data.migrations.words import describe
from ligand_async.settings import Settings


@dataclass(frozen=True, slots=True)
class Findings:
    """What `check` found.

    Attributes:
        pending: Migrations that the database lacks, the oldest first.
        drift: Differences between models and database, in words; empty where migrations are pending: those come first.
    """

    pending: tuple[Script, ...]
    drift: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class LockFindings:
    """What `check_locks` found.

    Attributes:
        warnings: In words, each with the name of its migration.
        complete: Whether all migrations could be looked at.
    """

    warnings: tuple[str, ...]
    complete: bool


async def check(database: Migrated, settings: Settings, directory: Path) -> Findings:
    """Compare the database with the migrations and with the models.

    Raises:
        MigrationError: The database cannot be reached, or is at a revision that is not in the directory.
    """
    async with connect(database, settings) as connection:
        return await look(connection, database, settings, directory, compare)


def compare(config: Config) -> Findings:
    """Compare, in Alembic's environment."""
    script = ScriptDirectory.from_config(config)

    def work(context: MigrationContext) -> Findings:
        there = context.get_current_heads()
        pending = tuple(script.iterate_revisions("heads", there or "base"))
        if pending or set(there) != set(script.get_heads()):
            return Findings(pending[::-1], ())
        return Findings((), tuple(differences(context, context.opts["target_metadata"])))

    return run_in_environment(config, work)


def differences(context: MigrationContext, metadata: MetaData) -> Iterator[str]:
    """Yield what is different in a database, in words."""
    wanted = produce_migrations(context, metadata).upgrade_ops
    if wanted is not None:
        yield from describe(wanted.ops)
    inspector = inspect(context.connection)
    if isinstance(inspector, PGInspector):
        yield from describe_labels(inspector, metadata)


async def check_locks(
    database: Migrated, settings: Settings, directory: Path, revisions: Sequence[Script]
) -> LockFindings:
    """Look for what would make PostgreSQL lock a table that others use, with squawk if that is installed.

    Args:
        database: The service's.
        settings: Its settings.
        directory: The migrations directory.
        revisions: The migrations to look at.

    Raises:
        MigrationError: squawk failed.
    """
    program = find_squawk()
    if program is None:
        return LockFindings((INSTALL_HINT,), complete=False)
    unreadable, sql = [], {}
    for revision in revisions:
        if revision.is_merge_point:
            continue
        before = revision.down_revision
        span = f"{before}:{revision.revision}" if isinstance(before, str) else revision.revision
        name = Path(revision.path).stem
        try:
            sql[name] = await write_sql(database, settings, directory, span, dialect="postgresql")
        except MigrationError as error:
            unreadable.append(f"{name}: cannot be written as SQL to look for locks ({error})")
    return LockFindings((*unreadable, *await find_locks(program, sql)), complete=not unreadable)
