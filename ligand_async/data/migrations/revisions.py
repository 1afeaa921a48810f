"""Migrations as files: writing new ones, and reading what there is."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import Script, ScriptDirectory

from ligand_async.data.migrations.explaining import naming_failures
from ligand_async.data.migrations.runner import Migrated, connect, look, make_config
from ligand_async.settings import Settings


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


AT_HEAD = Placement()


async def autogenerate(
    database: Migrated, settings: Settings, directory: Path, message: str, placement: Placement = AT_HEAD
) -> Path | None:
    """Write a migration that makes the database what the models say, to be read before it is run.

    Returns:
        The file, or None where there is nothing to do.

    Raises:
        MigrationError: The database is not at the head.
    """

    def skip_if_empty(_context: MigrationContext, _revision: Any, directives: list[Any]) -> None:
        if directives and directives[0].upgrade_ops.is_empty():
            directives.clear()

    def work(config: Config) -> Path | None:
        return path_of(
            command.revision(
                config,
                message,
                autogenerate=True,
                process_revision_directives=skip_if_empty,
                **options_of(placement),
            )
        )

    async with connect(database, settings) as connection:
        return await look(connection, database, settings, directory, work)


def new_revision(directory: Path, message: str, placement: Placement = AT_HEAD) -> Path | None:
    """Write an empty migration, for what cannot be derived: data, views, extensions."""
    with naming_failures(directory):
        return path_of(command.revision(make_config(directory), message, **options_of(placement)))


def merge(directory: Path, revisions: Sequence[str], message: str, placement: Placement = AT_HEAD) -> Path | None:
    """Write a migration that joins the heads of two branches."""
    with naming_failures(directory):
        script = command.merge(
            make_config(directory), list(revisions), message, placement.branch_label, placement.rev_id
        )
        return path_of(script)


def options_of(placement: Placement) -> dict[str, Any]:
    """Return a placement as Alembic's keyword arguments."""
    return {
        "head": placement.head,
        "splice": placement.splice,
        "branch_label": placement.branch_label,
        "rev_id": placement.rev_id,
        "depends_on": list(placement.depends_on) if placement.depends_on else None,
    }


def path_of(script: Any) -> Path | None:
    """Return the file of what Alembic wrote, if it wrote one."""
    return Path(script.path) if isinstance(script, Script) else None


def scripts(directory: Path, since: str | None = None) -> list[Script]:
    """Return the migrations, the newest first.

    Args:
        directory: As `find_directory` returns it.
        since: Only those after this revision.

    Raises:
        MigrationError: They do not fit together, or there is no such revision.
    """
    with naming_failures(directory):
        script = ScriptDirectory.from_config(make_config(directory))
        return list(script.iterate_revisions("heads", since or "base"))
