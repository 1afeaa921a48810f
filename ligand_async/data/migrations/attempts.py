"""Migrations that share their tables with traffic: patient with locks, and never in the way for long."""

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alembic.config import Config
from alembic.migration import MigrationContext
from sqlalchemy import Connection, MetaData, event
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from ligand_async.data.migrations.environment import Environment, milliseconds
from ligand_async.data.migrations.errors import MigrationFailed
from ligand_async.data.migrations.explaining import naming_failures
from ligand_async.data.migrations.lock import hold_migration_lock, process_turn
from ligand_async.data.migrations.runner import Migrated, make_config
from ligand_async.data.sqlstate import sqlstate_of
from ligand_async.settings import Settings

LOCK_CONFLICTS = {"55P03", "40P01"}  # lock_not_available, deadlock_detected

Report = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a command that changes the database tries.

    Attributes:
        wait: Seconds to wait while another process migrates the same database.
        attempts: How often a migration is tried when a table it needs is busy.
    """

    wait: float = 60.0
    attempts: int = 10

    def pause_after(self, attempt: int, lock_timeout: float) -> float:
        """Return the seconds until the next attempt: long enough for the queries that queued behind the last one."""
        return lock_timeout * min(2.0**attempt / 8, 4) * random.uniform(0.5, 1)  # noqa: S311  (not a secret)


PATIENCE = Patience()


@dataclass(slots=True)
class Attempt:
    """One try to migrate; tells whether it may be tried again.

    Attributes:
        lock_timeout: Seconds that a statement waits for a table.
        report: Told of each migration that was applied.
        left_behind: Whether the current migration has done something that a rollback does not undo.
        applied: The migration that ran last, until it is reported.
    """

    lock_timeout: float
    report: Report
    left_behind: bool = False
    applied: str | None = None

    def on_begin(self, connection: Connection) -> None:
        """Bound the waiting for locks in transactions.

        Only there: what must run outside one, such as CREATE INDEX CONCURRENTLY, stops nobody while it waits, and
        leaves an invalid index behind when it is interrupted.
        """
        self.announce()
        if connection.get_execution_options().get("isolation_level") == "AUTOCOMMIT":
            self.left_behind = True
        elif connection.dialect.name == "postgresql":
            connection.exec_driver_sql(f"SET LOCAL lock_timeout = '{milliseconds(self.lock_timeout)}ms'")

    def on_apply(self, context: MigrationContext, label: str) -> None:
        """Check what SQLite was told not to check during the migration.

        Raises:
            MigrationFailed: A row refers to nothing; the migration is rolled back.
        """
        connection = context.connection
        if context.dialect.name == "sqlite" and connection is not None:
            dangling = connection.exec_driver_sql("PRAGMA foreign_key_check").all()
            if dangling:
                tables = ", ".join(sorted({f"{row[0]} -> {row[2]}" for row in dangling}))
                raise MigrationFailed(
                    f"{label}, but {len(dangling)} rows would refer to nothing ({tables}): rolled back"
                )
        self.left_behind = False
        self.applied = label

    def announce(self) -> None:
        """Report a migration once what follows shows that it was committed."""
        if self.applied is not None:
            self.report(self.applied)
            self.applied = None


async def migrate(
    connection: AsyncConnection,
    database: Migrated,
    settings: Settings,
    directory: Path,
    work: Callable[[Config], None],
    *,
    patience: Patience,
    report: Report,
) -> None:
    """Run something that changes the database, under its lock, again when a table was busy for too long.

    Args:
        connection: One of its own for this command, not in a transaction.
        database: The service's.
        settings: `database_lock_timeout` bounds how long one attempt may keep the queries behind it waiting.
        directory: The migrations directory.
        work: Calls one of Alembic's commands.
        patience: How long to try.
        report: Told of each migration that was applied.

    Raises:
        MigrationLockHeld: Another process took too long.
        MigrationFailed: A migration raised, or did not get its locks in any attempt. It is rolled back, those before
            it stay.
    """
    async with hold_migration_lock(connection, wait=patience.wait):
        await switch_foreign_keys_off(connection)
        for number in range(1, patience.attempts + 1):
            attempt = Attempt(settings.database_lock_timeout, report)
            try:
                async with process_turn():
                    await connection.run_sync(run_attempt, attempt, database.metadata, directory, work)
                return
            except MigrationFailed as error:
                await connection.rollback()
                if not is_lock_conflict(error.__cause__):
                    raise
                if attempt.left_behind:
                    raise MigrationFailed(
                        f"{error}. Part of it ran outside a transaction, so it is not tried again: "
                        "look what is there (an INVALID index?), put it right and run the command again"
                    ) from error
                if number == patience.attempts:
                    raise MigrationFailed(
                        f"{error}. Gave up after {patience.attempts} attempts of {attempt.lock_timeout:g} s each: "
                        "end the transaction that holds the table (see pg_blocking_pids), or try at a quieter time"
                    ) from error
            report(f"a table is busy; attempt {number + 1} of {patience.attempts} follows")
            await asyncio.sleep(patience.pause_after(number, settings.database_lock_timeout))


def run_attempt(
    connection: Connection, attempt: Attempt, metadata: MetaData, directory: Path, work: Callable[[Config], None]
) -> None:
    """Run one attempt on a connection."""
    environment = Environment(metadata, connection.dialect.name, attempt.lock_timeout, connection, attempt.on_apply)
    event.listen(connection, "begin", attempt.on_begin)
    try:
        with naming_failures(directory):
            work(make_config(directory, environment))
        attempt.announce()
    finally:
        event.remove(connection, "begin", attempt.on_begin)


async def switch_foreign_keys_off(connection: AsyncConnection) -> None:
    """Let SQLite rebuild a table that others refer to, for as long as this connection lives.

    A table is rebuilt by copying and dropping it, and with foreign keys on, dropping deletes what refers to it. The
    pragma does nothing inside a transaction, so it is set before the first.
    """
    if connection.dialect.name == "sqlite":
        driver: Any = (await connection.get_raw_connection()).driver_connection
        await driver.execute("PRAGMA foreign_keys=OFF")


def is_lock_conflict(error: BaseException | None) -> bool:
    """Tell whether another transaction was in the way."""
    return isinstance(error, DBAPIError) and sqlstate_of(error) in LOCK_CONFLICTS
