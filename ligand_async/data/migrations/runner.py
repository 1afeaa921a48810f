"""Runs Alembic's commands on the app's own engine, outside requests and their timeouts."""

import argparse
import io
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Protocol, TypeVar

from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.runtime.environment import EnvironmentContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, MetaData
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from ligand_async.data.migrations.environment import ATTRIBUTE, Environment
from ligand_async.data.migrations.errors import MigrationError
from ligand_async.data.migrations.explaining import explain_unreachable, naming_failures, words_of
from ligand_async.data.migrations.lock import process_turn
from ligand_async.settings import Settings

T = TypeVar("T")

# It narrates; what was done is in our own reports. Whoever wants to hear it sets another level.
logging.getLogger("alembic").setLevel(logging.WARNING)


class Migrated(Protocol):
    """What migrations need of a `Database`."""

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
    config = Config(output_buffer=output, cmd_opts=argparse.Namespace(quiet=True), attributes={ATTRIBUTE: environment})
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
    environment: Environment = config.attributes[ATTRIBUTE]
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
        raise MigrationError(
            "migrations cannot go through a transaction pooler: set LIGAND_DATABASE_DIRECT_URL to the database itself"
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
