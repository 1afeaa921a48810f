"""Runs Alembic's commands on the app's own engine, patient with locks, outside requests and their timeouts."""

import argparse
import asyncio
import io
import logging
import random
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

from alembic import context
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.runtime.environment import EnvironmentContext
from alembic.runtime.migration import MigrationInfo
from alembic.script import Script, ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Connection, MetaData, event
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from ligand_async.data.audit.table import NAME as AUDIT
from ligand_async.data.errors import sqlstate_of
from ligand_async.data.migrations.autogenerate import compare_type, finish_migration, render_item
from ligand_async.data.migrations.defaults import PLUGIN
from ligand_async.data.migrations.errors import (
    MigrationError,
    MigrationFailed,
    explain_unreachable,
    naming_failures,
    words_of,
)
from ligand_async.data.migrations.lock import hold_migration_lock, process_turn
from ligand_async.settings import Settings

_ATTRIBUTE = "ligand_async"  # under which alembic's Config carries an Environment


@dataclass(frozen=True, slots=True)
class Environment:
    """The objects that one run of `env.py` works on.

    Attributes:
        metadata: The tables of the service, as its models declare them.
        dialect: Name of the dialect to write SQL for.
        lock_timeout: Seconds that a statement of a migration waits for a table.
        connection: What to run on, or None to print SQL only.
        on_apply: Told what was done, before it is committed.
    """

    metadata: MetaData
    dialect: str
    lock_timeout: float
    connection: Connection | None = None
    on_apply: Callable[[MigrationContext, str], None] | None = None


def run_environment(options: Mapping[str, Any] | None = None) -> None:
    """Run what a `ligand db` command asked for; the one call in a service's `env.py`.

    Args:
        options: Keyword arguments of Alembic's `context.configure`, stronger than the framework's.

    Raises:
        CommandError: `env.py` was not run by `ligand db`.
    """
    environment = context.config.attributes.get(_ATTRIBUTE)
    if not isinstance(environment, Environment):
        raise CommandError("these migrations are run with `ligand db` (or `quart db`), which knows the app's database")
    choices = _configuration(environment) | dict(options or {})
    if environment.connection is None:
        context.configure(
            dialect_name=environment.dialect, dialect_opts={"paramstyle": "named"}, literal_binds=True, **choices
        )
        if environment.dialect == "postgresql":
            context.execute(f"SET lock_timeout = '{_milliseconds(environment.lock_timeout)}ms'")
    else:
        context.configure(connection=environment.connection, **choices)
    with context.begin_transaction():
        context.run_migrations()


def _configuration(environment: Environment) -> dict[str, Any]:
    """Return what we ask of Alembic: each migration whole or not at all, and files that suit both databases."""
    schemas = {None, *(table.schema for table in environment.metadata.tables.values())}

    declared = {table.name for table in environment.metadata.tables.values()}

    def include_name(name: str | None, kind: str, _parents: Mapping[str, str | None]) -> bool:
        if kind == "table" and name is not None and name.startswith(f"{AUDIT}_"):
            return name in declared or AUDIT not in declared  # else it is a partition of the trail
        return kind != "schema" or name in schemas

    def on_version_apply(*, ctx: MigrationContext, step: MigrationInfo, **_: Any) -> None:
        if environment.on_apply is not None:
            environment.on_apply(ctx, _describe_step(step))

    return {
        "target_metadata": environment.metadata,
        "transaction_per_migration": True,
        # Alembic distrusts SQLite because Python's driver used to commit before DDL; ours begins by itself.
        "transactional_ddl": True,
        "render_as_batch": True,
        "include_schemas": len(schemas) > 1,
        "include_name": include_name,
        "compare_type": compare_type,
        "compare_server_default": True,
        "autogenerate_plugins": ["alembic.autogenerate.*", PLUGIN],
        "render_item": render_item,
        "process_revision_directives": finish_migration,
        "on_version_apply": on_version_apply,
    }


def _describe_step(step: MigrationInfo) -> str:
    verb = "stamped" if step.is_stamp else "applied" if step.is_upgrade else "undid"
    names = [f"{script.revision} {script.doc}" for script in step.up_revisions if isinstance(script, Script)]
    return f"{verb} {', '.join(names)}"


def _milliseconds(seconds: float) -> int:
    """Return whole milliseconds, and never 0, which PostgreSQL reads as forever."""
    return max(1, round(seconds * 1000))


T = TypeVar("T")

# It narrates; what was done is in our own reports. Whoever wants to hear it sets another level.
logging.getLogger("alembic").setLevel(logging.WARNING)


class Migrated(Protocol):
    """The part of a `Database` that migrations need."""

    @property
    def metadata(self) -> MetaData:
        """The tables of the service."""

    def migration_engine(self, settings: Settings) -> AsyncEngine:
        """Make an engine for migrations."""


def make_config(directory: Path, environment: Environment | None = None, output: io.StringIO | None = None) -> Config:
    """Make Alembic's configuration, which no file holds.

    Args:
        directory: The migrations directory.
        environment: For `env.py`, if it is to run.
        output: Takes the SQL in offline mode.
    """
    config = Config(output_buffer=output, cmd_opts=argparse.Namespace(quiet=True), attributes={_ATTRIBUTE: environment})
    for option, value in {
        "script_location": str(directory),
        "path_separator": "newline",
        "file_template": "%(year)d_%(month).2d_%(day).2d_%(rev)s_%(slug)s",
        "timezone": "UTC",
    }.items():
        config.set_main_option(option, value.replace("%", "%%"))
    return config


def run_in_environment(config: Config, work: Callable[[MigrationContext], T]) -> T:
    """Run `env.py` for something that migrates nothing, and return what it found."""
    found: list[T] = []

    def look(_revision: Any, context: MigrationContext) -> list[Any]:
        found.append(work(context))
        return []

    script = ScriptDirectory.from_config(config)
    with EnvironmentContext(config, script, fn=look, dont_mutate=True):
        script.run_env()
    environment: Environment = config.attributes[_ATTRIBUTE]
    if environment.connection is not None:
        environment.connection.rollback()  # what comes next on this connection begins and commits its own transactions
    return found[0]


@asynccontextmanager
async def connect(database: Migrated, settings: Settings) -> AsyncIterator[AsyncConnection]:
    """Open the connection of one command, without the timeouts of requests: a migration takes what it takes.

    Raises:
        MigrationError: The database cannot be reached, or only through a pooler, which cannot keep a session's lock;
            or the connection broke.
    """
    if settings.database_pooler == "transaction" and settings.database_direct_url is None:
        variable = settings.vocabulary().variable("database_direct_url")
        raise MigrationError(
            f"migrations cannot go through a transaction pooler: set {variable} to the database itself"
        )
    unbounded = {"database_statement_timeout": 0.0, "database_command_timeout": None}
    engine = database.migration_engine(settings.model_copy(update=unbounded))
    try:
        try:
            connection = await engine.connect()
        except Exception as error:
            raise MigrationError(explain_unreachable(engine.url, error)) from error
        try:
            yield connection
        except SQLAlchemyError as error:
            raise MigrationError(words_of(error)) from error
        finally:
            await connection.close()
    finally:
        await engine.dispose()


async def look(
    connection: AsyncConnection, database: Migrated, settings: Settings, directory: Path, work: Callable[[Config], T]
) -> T:
    """Run something that changes nothing in the database."""

    def run(sync_connection: Connection) -> T:
        environment = Environment(
            database.metadata, sync_connection.dialect.name, settings.database_lock_timeout, sync_connection
        )
        with naming_failures(directory):
            return work(make_config(directory, environment))

    async with process_turn():
        result = await connection.run_sync(run)
    await connection.rollback()
    return result


_LOCK_CONFLICTS = {"55P03", "40P01"}  # lock_not_available, deadlock_detected

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
class _Attempt:
    """One try to migrate, and whether it may be tried again.

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

        Only there: a statement outside a transaction, such as CREATE INDEX CONCURRENTLY, blocks no other work while it
        waits, and leaves an invalid index behind when it is interrupted.
        """
        self.announce()
        if connection.get_execution_options().get("isolation_level") == "AUTOCOMMIT":
            self.left_behind = True
        elif connection.dialect.name == "postgresql":
            connection.exec_driver_sql(f"SET LOCAL lock_timeout = '{_milliseconds(self.lock_timeout)}ms'")

    def on_apply(self, context: MigrationContext, label: str) -> None:
        """Check the foreign keys that SQLite did not check during the migration.

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
        await _switch_foreign_keys_off(connection)
        for number in range(1, patience.attempts + 1):
            attempt = _Attempt(settings.database_lock_timeout, report)
            try:
                async with process_turn():
                    await connection.run_sync(_run_attempt, attempt, database.metadata, directory, work)
                return
            except MigrationFailed as error:
                await connection.rollback()
                if not _is_lock_conflict(error.__cause__):
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


def _run_attempt(
    connection: Connection, attempt: _Attempt, metadata: MetaData, directory: Path, work: Callable[[Config], None]
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


async def _switch_foreign_keys_off(connection: AsyncConnection) -> None:
    """Let SQLite rebuild a table that others refer to, for as long as this connection lives.

    A table is rebuilt by copying and dropping it, and with foreign keys on, dropping deletes what refers to it. The
    pragma does nothing inside a transaction, so it is set before the first.
    """
    if connection.dialect.name == "sqlite":
        driver: Any = (await connection.get_raw_connection()).driver_connection
        await driver.execute("PRAGMA foreign_keys=OFF")


def _is_lock_conflict(error: BaseException | None) -> bool:
    """Return whether another transaction held a lock that the migration needs."""
    return isinstance(error, DBAPIError) and sqlstate_of(error) in _LOCK_CONFLICTS
