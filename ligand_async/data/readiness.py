"""Whether a database serves, and has the tables of this release: the checks that `/readyz` runs."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from sqlalchemy import Connection, MetaData, inspect, select
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from ligand_async.protocols import CheckFailed
from ligand_async.settings import Settings

_REMEDY = "run `ligand db upgrade`"
_DATABASE_TIMEOUT = 1.0  # seconds


class _Migrated(Protocol):
    @property
    def metadata(self) -> MetaData: ...

    def migration_engine(self, settings: Settings) -> AsyncEngine: ...


@dataclass(frozen=True, slots=True)
class History:
    """The migrations of one release.

    Attributes:
        directory: Where they are.
        heads: The revisions that a database of this release is at.
        known: All of its revisions.
    """

    directory: Path
    heads: frozenset[str]
    known: frozenset[str]

    def find_fault(self, recorded: frozenset[str]) -> str | None:
        """Return in words what a database lacks; None if it is at this release, or a newer one has migrated it.

        Args:
            recorded: The revisions that it is at.
        """
        if recorded == self.heads or recorded - self.known:
            return None
        at, needed = (", ".join(sorted(revisions)) for revisions in (recorded, self.heads))
        return f"the database is at {at}, and this release needs {needed}"


class DatabaseCheck:
    """Passes while the database answers.

    Args:
        probe: Returns the engine of the checks, which is nobody else's: where all connections of the pool are in use,
            the service is busy, but ready.
    """

    name = "database"

    def __init__(self, probe: Callable[[], AsyncEngine]) -> None:
        self._probe = probe

    async def check(self) -> None:
        """Run `SELECT 1`.

        Raises:
            SQLAlchemyError: The database does not answer.
        """
        async with self._probe().connect() as connection:
            await connection.execute(select(1))


class SchemaCheck:
    """Passes while the database has the migrations of this release, or those of a newer one.

    A rolling deploy migrates first, so that for a while the old release runs on the database of the new one. A database
    that has recorded no migration, because its tables were made in another way, must have all tables.

    Args:
        probe: As of `DatabaseCheck`.
        database: The service's.
        settings: The app's.
        root_path: The app's, to find its migrations.
    """

    name = "migrations"
    timeout = 10.0  # seconds, because the first look imports Alembic and reads the migrations

    def __init__(
        self, probe: Callable[[], AsyncEngine], database: _Migrated, settings: Settings, root_path: str
    ) -> None:
        self._probe = probe
        self._database = database
        self._settings = settings
        self._root_path = root_path
        self._reading: asyncio.Task[History | None] | None = None
        self._has_tables = False

    async def check(self) -> None:
        """Compare the database with this release.

        Raises:
            CheckFailed: Migrations or tables are missing.
            MigrationError: The migrations cannot be read.
            SQLAlchemyError: The database does not answer.
            TimeoutError: It does not answer within a second.
        """
        history = await self._read_history()
        async with asyncio.timeout(_DATABASE_TIMEOUT), self._probe().connect() as connection:
            fault = await self._find_fault(connection, history)
        if fault is not None:
            raise CheckFailed(f"{fault}: {_REMEDY}")

    async def _read_history(self) -> History | None:
        # Once, in a thread; a look that has not the time to wait for it leaves it to the next.
        task = self._reading
        if task is None or (task.done() and (task.cancelled() or task.exception() is not None)):
            task = self._reading = asyncio.ensure_future(asyncio.to_thread(_read_history, self._root_path))
        return await asyncio.shield(task)

    async def _find_fault(self, connection: AsyncConnection, history: History | None) -> str | None:
        if history is not None:
            from ligand_async.data.migrations import current_on

            recorded = frozenset(await current_on(connection, self._database, self._settings, history.directory))
            if recorded:
                return history.find_fault(recorded)
        if not self._has_tables:
            missing = await connection.run_sync(self._find_missing_tables)
            if missing:
                more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
                return f"the database lacks the table {missing[0]}{more}"
            self._has_tables = True
        return None

    def _find_missing_tables(self, connection: Connection) -> list[str]:
        inspector = inspect(connection)
        tables = self._database.metadata.sorted_tables
        return [table.fullname for table in tables if not inspector.has_table(table.name, schema=table.schema)]


def _read_history(root_path: str) -> History | None:
    # Alembic is slow to import, and services without migrations do without.
    from ligand_async.data.migrations import MigrationsNotFound, find_directory, read_history

    try:
        directory = find_directory(beside=root_path)
    except MigrationsNotFound:
        return None
    return History(directory, *read_history(directory))
