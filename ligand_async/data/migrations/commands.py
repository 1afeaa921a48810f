"""The commands of `ligand db` as functions for a running loop, and the files that they write."""

import io
import logging
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.resources import files
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import Script, ScriptDirectory
from sqlalchemy.ext.asyncio import AsyncConnection

from ligand_async.data.engines import parse_database_url
from ligand_async.data.migrations.autogenerate import describe_refused_rows
from ligand_async.data.migrations.errors import MigrationsNotFound, naming_failures
from ligand_async.data.migrations.lock import process_turn
from ligand_async.data.migrations.runner import (
    PATIENCE,
    Environment,
    Migrated,
    Patience,
    Report,
    connect,
    look,
    make_config,
    migrate,
    run_in_environment,
)
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
        if _is_behind(config):
            command.upgrade(config, "heads")

    async with connect(database, settings) as connection:
        if await look(connection, database, settings, directory, _is_behind):
            await migrate(connection, database, settings, directory, work, patience=patience, report=logger.info)


def _is_behind(config: Config) -> bool:
    """Return whether the database lacks migrations of this release and has none of a newer one."""
    script = ScriptDirectory.from_config(config)
    there = set(run_in_environment(config, MigrationContext.get_current_heads))
    unknown = there - {known.revision for known in script.walk_revisions()}
    if unknown:
        logger.warning("the database is at %s, which a newer release knows: nothing to migrate", ", ".join(unknown))
    return not unknown and there != set(script.get_heads())


def read_history(directory: Path) -> tuple[frozenset[str], frozenset[str]]:
    """Return the newest revisions of a directory, and all of them; the code at the head of each migration is run.

    Args:
        directory: As `find_directory` returns it.

    Raises:
        MigrationError: A migration cannot be read.
    """
    with naming_failures(directory):
        script = ScriptDirectory.from_config(make_config(directory))
        known = frozenset(revision.revision for revision in script.walk_revisions())
        return frozenset(script.get_heads()), known


async def current(database: Migrated, settings: Settings, directory: Path) -> tuple[str, ...]:
    """Return the revisions that the database is at: none, one, or one for each branch."""
    async with connect(database, settings) as connection:
        return await current_on(connection, database, settings, directory)


async def current_on(
    connection: AsyncConnection, database: Migrated, settings: Settings, directory: Path
) -> tuple[str, ...]:
    """Return what `current` does, on a connection that may be unable to write."""

    def work(config: Config) -> tuple[str, ...]:
        return run_in_environment(config, MigrationContext.get_current_heads)

    return await look(connection, database, settings, directory, work)


@dataclass(frozen=True, slots=True)
class Placement:
    """Where in the history a new migration goes; Alembic's own words and defaults.

    Attributes:
        head: The revision to follow.
        splice: Whether that may be one that others follow already.
        branch_label: A name for the branch that begins here.
        rev_id: The revision's id, instead of a random one.
        depends_on: Revisions of other branches that must come first.
    """

    head: str = "head"
    splice: bool = False
    branch_label: str | None = None
    rev_id: str | None = None
    depends_on: Sequence[str] | None = None


_AT_HEAD = Placement()


async def autogenerate(
    database: Migrated,
    settings: Settings,
    directory: Path,
    message: str,
    placement: Placement = _AT_HEAD,
    *,
    report: Report = logger.warning,
) -> Path | None:
    """Write a migration that makes the database what the models say, to be read before it is run.

    Args:
        database: The service's.
        settings: Where it is.
        directory: As `find_directory` returns it.
        message: What the migration does, in a few words.
        placement: Where in the history it goes.
        report: Told of each column that makes the migration fail on a table with rows, and what to write instead.

    Returns:
        The file, or None where there is nothing to do.

    Raises:
        MigrationError: The database is not at the head.
    """

    def note(_context: MigrationContext, _revision: Any, directives: list[Any]) -> None:
        for script in directives:
            for line in describe_refused_rows(script):
                report(line)

    def work(config: Config) -> Path | None:
        return _path_of(
            command.revision(
                config, message, autogenerate=True, process_revision_directives=note, **_options_of(placement)
            )
        )

    async with connect(database, settings) as connection:
        return await look(connection, database, settings, directory, work)


def new_revision(directory: Path, message: str, placement: Placement = _AT_HEAD) -> Path | None:
    """Write an empty migration, for what cannot be derived: data, views, extensions."""
    with naming_failures(directory):
        return _path_of(command.revision(make_config(directory), message, **_options_of(placement)))


def merge(directory: Path, revisions: Sequence[str], message: str, placement: Placement = _AT_HEAD) -> Path | None:
    """Write a migration that joins the heads of two branches."""
    with naming_failures(directory):
        script = command.merge(
            make_config(directory), list(revisions), message, placement.branch_label, placement.rev_id
        )
        return _path_of(script)


def _options_of(placement: Placement) -> dict[str, Any]:
    """Return a placement as Alembic's keyword arguments."""
    return {
        "head": placement.head,
        "splice": placement.splice,
        "branch_label": placement.branch_label,
        "rev_id": placement.rev_id,
        "depends_on": list(placement.depends_on) if placement.depends_on else None,
    }


def _path_of(script: Any) -> Path | None:
    """Return the file of what Alembic wrote, if it wrote one."""
    return Path(script.path) if isinstance(script, Script) else None


def scripts(directory: Path) -> list[Script]:
    """Return the migrations, the newest first.

    Args:
        directory: As `find_directory` returns it.

    Raises:
        MigrationError: They do not fit together.
    """
    with naming_failures(directory):
        script = ScriptDirectory.from_config(make_config(directory))
        return list(script.iterate_revisions("heads", "base"))


async def write_sql(
    database: Migrated,
    settings: Settings,
    directory: Path,
    revision: str,
    *,
    down: bool = False,
) -> str:
    """Return the SQL of an upgrade or downgrade, without connecting.

    Args:
        database: The service's.
        settings: Its URL names the dialect; `database_lock_timeout` is set in the SQL for PostgreSQL.
        directory: As `find_directory` returns it.
        revision: A revision, or `from:to`; a downgrade needs both.
        down: Whether to go down.

    Raises:
        MigrationError: A migration looks at the database, as rebuilding a table on SQLite does.
    """
    dialect = parse_database_url(settings.database_url.get_secret_value()).get_backend_name()
    output = io.StringIO()
    environment = Environment(database.metadata, dialect, settings.database_lock_timeout)
    run = command.downgrade if down else command.upgrade
    async with process_turn():
        with naming_failures(directory):
            run(make_config(directory, environment, output), revision, sql=True)
    return output.getvalue()


_DEFAULT_NAME = "migrations"
_PROJECT_MARKS = ("pyproject.toml", ".git")
_TEMPLATES = {"env.py.template": "env.py", "script.py.mako": "script.py.mako"}


def find_directory(directory: str | os.PathLike[str] | None = None, *, beside: str | Path | None = None) -> Path:
    """Find the migrations directory of a service.

    Without a directory, it is the `migrations` beside the app, or in the nearest directory above it up to the root of
    its project; then the one in the current directory, where an image keeps what is not part of the installed package.

    Args:
        directory: The one to use, relative to the current directory.
        beside: The app's `root_path`.

    Raises:
        MigrationsNotFound: Nothing that `create_directory` writes is there.
    """
    if directory is not None:
        candidates = [Path(directory)]
    else:
        above = [] if beside is None else list(_directories_up_to_project(Path(beside)))
        candidates = [parent / _DEFAULT_NAME for parent in (*above, Path.cwd())]
    for candidate in candidates:
        if _is_ours(candidate):
            return candidate.resolve()
    for candidate in candidates:
        if _is_foreign(candidate):
            raise MigrationsNotFound(
                f"{candidate} has migrations that were run by Flask-Migrate or Alembic: its env.py does not call "
                f"run_environment(). `ligand db init --adopt -d {candidate}` replaces env.py and keeps the migrations"
            )
    looked = f"{candidates[0]}" if directory is not None else f"{candidates[0]} and {candidates[-1]}"
    raise MigrationsNotFound(
        f"no migrations found (looked at {looked}): run `ligand db init`, or name the directory with --directory"
    )


def _directories_up_to_project(start: Path) -> Iterator[Path]:
    """Yield a directory and those above it, up to the one that holds the project."""
    for directory in (start, *start.parents):
        yield directory
        if any((directory / mark).exists() for mark in _PROJECT_MARKS):
            return


def _is_ours(directory: Path) -> bool:
    """Return whether a directory's `env.py` calls this framework: other tools use the name `migrations`, too."""
    environment = directory / "env.py"
    return environment.is_file() and "run_environment" in environment.read_text(encoding="utf-8")


def _is_foreign(directory: Path) -> bool:
    """Return whether a directory has Alembic's migrations and an `env.py` of another tool."""
    return (directory / "env.py").is_file() and (directory / "versions").is_dir() and not _is_ours(directory)


def create_directory(directory: str | os.PathLike[str] = _DEFAULT_NAME) -> Path:
    """Write an empty migrations directory: `env.py`, the template of a migration, and `versions/`.

    Args:
        directory: A directory that does not exist yet, or is empty.

    Raises:
        MigrationsNotFound: There is something in it already.
    """
    target = Path(directory)
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        hint = "use --adopt to keep its migrations" if _is_foreign(target) else "name another with --directory"
        raise MigrationsNotFound(f"{target} exists and is not empty; {hint}")
    (target / "versions").mkdir(parents=True)
    _write_templates(target)
    return target


def adopt_directory(directory: str | os.PathLike[str] = _DEFAULT_NAME) -> Path:
    """Take over a migrations directory of Flask-Migrate or Alembic, whose migrations stay as they are.

    `env.py` and `script.py.mako` are replaced, and kept beside the new ones with the suffix `.old`. An `alembic.ini` is
    not read. The revisions that a database has recorded stay valid.

    Args:
        directory: A directory with `env.py` and `versions/`.

    Raises:
        MigrationsNotFound: It is not such a directory, or it is ours already.
    """
    target = Path(directory)
    if not _is_foreign(target):
        reason = "is in use by `ligand db` already" if _is_ours(target) else "has no env.py and versions/"
        raise MigrationsNotFound(f"{target} {reason}; there is nothing to adopt")
    for name in _TEMPLATES.values():
        if (target / name).exists():
            (target / name).rename(target / f"{name}.old")
    _write_templates(target)
    return target


def _write_templates(target: Path) -> None:
    templates = files(__package__) / "templates"
    for source, name in _TEMPLATES.items():
        (target / name).write_bytes((templates / source).read_bytes())
