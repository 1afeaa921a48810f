"""What the commands of `ligand db` share: which database and directory they are about, and how they fail."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import click
from alembic.script import Script
from quart import Quart

from ligand_async.cli.running import service_with_database
from ligand_async.cli.service import ServiceError
from ligand_async.data.database import Database
from ligand_async.data.migrations import MigrationError, MigrationsNotFound, find_directory
from ligand_async.settings import Settings


class Target(NamedTuple):
    """What a command is about."""

    database: Database
    settings: Settings
    directory: Path


def find_target(app: Quart, directory: Path | None) -> Target:
    """Return the database and the migrations of an app.

    Args:
        app: The service.
        directory: Where its migrations are, if the caller says so.

    Raises:
        ServiceError: The app has no database.
        MigrationsNotFound: It has no migrations.
    """
    service, database = service_with_database(app)
    return Target(database, service.settings, find_directory(directory, beside=app.root_path))


@contextmanager
def migration_errors() -> Iterator[None]:
    """Turn errors into one message without a traceback: exit code 2 for a wrong call, 1 for the rest."""
    try:
        yield
    except MigrationsNotFound as error:
        raise ServiceError(str(error)) from error
    except MigrationError as error:
        raise click.ClickException(str(error)) from error


def show_progress(line: str) -> None:
    """Print what was done, beside the command's output proper."""
    click.echo(line, err=True)


def describe(script: Script) -> str:
    """Return a migration as one line."""
    marks = [*(["head"] if script.is_head else []), *sorted(script.branch_labels)]
    return f"{script.revision} {script.doc}" + (f" ({', '.join(marks)})" if marks else "")
