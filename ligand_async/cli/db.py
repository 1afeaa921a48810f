"""`ligand db`: migrations, and the first data."""

import importlib
import inspect
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import click
from alembic.script import Script
from quart import Quart
from quart.cli import ScriptInfo, pass_script_info
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncSession

from ligand_async.cli.output import one_message
from ligand_async.cli.service import load_app, open_database, run, service_with_database
from ligand_async.data import Database, migrations
from ligand_async.data.migrations import (
    MigrationError,
    MigrationsNotFound,
    Patience,
    Placement,
    find_directory,
    words_of,
)
from ligand_async.settings import Settings

Command = TypeVar("Command", bound=Callable[..., Any])

_directory_option = click.option(
    "-d", "--directory", type=click.Path(path_type=Path), help="The migrations; by default found beside the app."
)
_message_option = click.option("-m", "--message", required=True, help="What the migration does, in a few words.")
_sql_option = click.option("--sql", is_flag=True, help="Print the SQL and do not connect.")


def _patience_options(command: Command) -> Command:
    command = click.option(
        "--wait", default=60.0, show_default=True, help="Seconds to wait while another process migrates."
    )(command)
    return click.option(
        "--attempts", default=10, show_default=True, type=click.IntRange(1), help="Attempts when a table is busy."
    )(command)


def _placement_options(command: Command) -> Command:
    for option in (
        click.option("--depends-on", multiple=True, help="A revision of another branch that must come first."),
        click.option("--rev-id", help="The revision's id, instead of a random one."),
        click.option("--branch-label", help="A name for the branch that begins here."),
        click.option("--splice", is_flag=True, help="Allow a --head that others follow already."),
        click.option("--head", default="head", show_default=True, help="The revision to follow."),
    ):
        command = option(command)
    return command


@click.group("db")
def db() -> None:
    """Migrate the service's database."""


@db.command("init")
@click.option("-d", "--directory", type=click.Path(path_type=Path), default="migrations", show_default=True)
@click.option("--adopt", is_flag=True, help="Take over a directory of Flask-Migrate or Alembic: its migrations stay.")
def init(directory: Path, adopt: bool) -> None:
    """Write an empty migrations directory."""
    with _migration_errors():
        if adopt:
            click.echo(f"adopted {migrations.adopt_directory(directory)}")
        else:
            click.echo(f"wrote {migrations.create_directory(directory)}")


@db.command("revision")
@_message_option
@_placement_options
@_directory_option
@pass_script_info
def revision(info: ScriptInfo, /, message: str, directory: Path | None, **placement: Any) -> None:
    """Write an empty migration."""
    with _migration_errors():
        target = _find_target(load_app(info), directory)
        click.echo(f"wrote {migrations.new_revision(target.directory, message, Placement(**placement))}")


@db.command("migrate")
@_message_option
@_placement_options
@_directory_option
@pass_script_info
def migrate(info: ScriptInfo, /, message: str, directory: Path | None, **placement: Any) -> None:
    """Write a migration that makes the database match the models. Read it before you run it."""
    with _migration_errors():
        target = _find_target(load_app(info), directory)
        path = run(lambda: migrations.autogenerate(*target, message, Placement(**placement), report=_show_progress))
        click.echo(f"wrote {path}" if path else "nothing to write: the database matches the models")


@db.command("upgrade")
@click.argument("revision", default="head")
@_sql_option
@_patience_options
@_directory_option
@pass_script_info
def upgrade(info: ScriptInfo, revision: str, sql: bool, wait: float, attempts: int, directory: Path | None) -> None:
    """Apply the migrations up to REVISION, by default all of them. Replicas may do it at once."""
    with _migration_errors():
        target = _find_target(load_app(info), directory)
        if sql:
            click.echo(run(lambda: migrations.write_sql(*target, revision)), nl=False)
            return
        patience = Patience(wait, attempts)
        run(lambda: migrations.upgrade(*target, revision, patience=patience, report=_show_progress))


@db.command("downgrade", context_settings={"ignore_unknown_options": True})  # so that -1 is an argument
@click.argument("revision", default="-1")
@_sql_option
@_patience_options
@_directory_option
@pass_script_info
def downgrade(info: ScriptInfo, revision: str, sql: bool, wait: float, attempts: int, directory: Path | None) -> None:
    """Undo the migrations down to REVISION, by default the last one; `base` undoes all. --sql takes FROM:TO."""
    with _migration_errors():
        target = _find_target(load_app(info), directory)
        if sql:
            click.echo(run(lambda: migrations.write_sql(*target, revision, down=True)), nl=False)
            return
        patience = Patience(wait, attempts)
        run(lambda: migrations.downgrade(*target, revision, patience=patience, report=_show_progress))


@db.command("current")
@_directory_option
@pass_script_info
def current(info: ScriptInfo, directory: Path | None) -> None:
    """Print the revision that the database is at."""
    with _migration_errors():
        target = _find_target(load_app(info), directory)
        known = {script.revision: script for script in migrations.scripts(target.directory)}
        revisions = run(lambda: migrations.current(*target))
    for one in revisions:
        click.echo(_describe(known[one]) if one in known else f"{one} (not in {target.directory})")
    if not revisions:
        click.echo("no migration has been applied", err=True)


@db.command("history")
@_directory_option
@pass_script_info
def history(info: ScriptInfo, directory: Path | None) -> None:
    """Print all migrations, the newest first."""
    with _migration_errors():
        for script in migrations.scripts(_find_target(load_app(info), directory).directory):
            click.echo(_describe(script))


@db.command("heads")
@_directory_option
@pass_script_info
def heads(info: ScriptInfo, directory: Path | None) -> None:
    """Print the migrations that no other one follows; two or more need a merge."""
    with _migration_errors():
        for script in migrations.scripts(_find_target(load_app(info), directory).directory):
            if script.is_head:
                click.echo(_describe(script))


@db.command("check")
@_directory_option
@pass_script_info
def check(info: ScriptInfo, directory: Path | None) -> None:
    """Compare the database with the migrations and with the models."""
    with _migration_errors():
        target = _find_target(load_app(info), directory)
        findings = run(lambda: migrations.check(*target))
    for script in findings.pending:
        click.echo(f"not applied: {_describe(script)}")
    for difference in findings.drift:
        click.echo(difference)
    if findings.pending:
        raise click.ClickException("the database is behind: run `ligand db upgrade`")
    if findings.drift:
        raise click.ClickException("the database does not match the models: `ligand db migrate` writes a migration")
    click.echo("the database matches the models")


@db.command("stamp")
@click.argument("revision", default="head")
@click.option("--purge", is_flag=True, help="Delete the recorded revisions first.")
@_directory_option
@pass_script_info
def stamp(info: ScriptInfo, revision: str, purge: bool, directory: Path | None) -> None:
    """Record that the database is at REVISION, without running a migration."""
    with _migration_errors():
        target = _find_target(load_app(info), directory)
        run(lambda: migrations.stamp(*target, revision, purge=purge))


@db.command("merge")
@click.argument("revisions", nargs=-1)
@_message_option
@click.option("--branch-label", help="A name for the branch that begins here.")
@click.option("--rev-id", help="The revision's id, instead of a random one.")
@_directory_option
@pass_script_info
def merge(
    info: ScriptInfo,
    revisions: tuple[str, ...],
    message: str,
    branch_label: str | None,
    rev_id: str | None,
    directory: Path | None,
) -> None:
    """Write a migration that joins REVISIONS, by default all heads."""
    with _migration_errors():
        target = _find_target(load_app(info), directory)
        placement = Placement(branch_label=branch_label, rev_id=rev_id)
        click.echo(f"wrote {migrations.merge(target.directory, revisions or ['heads'], message, placement)}")


@db.command("seed")
@click.argument("function", metavar="MODULE:FUNCTION")
@pass_script_info
def seed(info: ScriptInfo, function: str) -> None:
    """Run an async function with a session in one transaction, to store the first data."""
    app = load_app(info)
    with _migration_errors():
        run(lambda: _run_seed(app, _load_seed(function)))


class Target(NamedTuple):
    """The database, settings and migrations that a command works on."""

    database: Database
    settings: Settings
    directory: Path


def _find_target(app: Quart, directory: Path | None) -> Target:
    """Return the database and the migrations of an app.

    Args:
        app: The service.
        directory: The directory of its migrations; by default it is searched beside the app.

    Raises:
        ServiceError: The app has no database.
        MigrationsNotFound: It has no migrations.
    """
    service, database = service_with_database(app)
    return Target(database, service.settings, find_directory(directory, beside=app.root_path))


def _migration_errors() -> AbstractContextManager[None]:
    return one_message(misuse=(MigrationsNotFound,), failure=(MigrationError,))


def _show_progress(line: str) -> None:
    click.echo(line, err=True)


def _describe(script: Script) -> str:
    """Return a migration as one line."""
    marks = [*(["head"] if script.is_head else []), *sorted(script.branch_labels)]
    return f"{script.revision} {script.doc}" + (f" ({', '.join(marks)})" if marks else "")


_Seed = Callable[[AsyncSession], Awaitable[None]]


def _load_seed(path: str) -> _Seed:
    """Import a seed function.

    Args:
        path: `module:function`.

    Raises:
        UsageError: The function does not exist, or is not async.
    """
    module_name, _, name = path.partition(":")
    if not name:
        raise click.UsageError(f"{path!r} is not a function; write it as module:function")
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module_name}.".startswith(f"{error.name}."):
            raise  # something that the module itself imports
        raise click.UsageError(f"there is no module {module_name!r}") from error
    function = getattr(module, name, None)
    if not inspect.iscoroutinefunction(function):
        raise click.UsageError(f"{module_name!r} has no async function {name!r}; it takes a session")
    seed: _Seed = function
    return seed


async def _run_seed(app: Quart, seed: _Seed) -> None:
    """Run a seed function in one transaction: all of it is kept, or nothing.

    Raises:
        ClickException: The database refused a statement.
    """
    async with open_database(app) as database:
        try:
            async with database.transaction() as session:
                await seed(session)
        except SQLAlchemyError as error:
            raise click.ClickException(f"nothing was stored: {words_of(error)}") from error
