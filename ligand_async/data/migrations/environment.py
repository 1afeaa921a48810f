"""What happens inside `env.py`: Alembic gets the service's tables, our choices and a connection."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from alembic import context
from alembic.migration import MigrationContext
from alembic.runtime.migration import MigrationInfo
from alembic.script import Script
from alembic.util import CommandError
from sqlalchemy import Connection, MetaData

from ligand_async.data.audit.table import NAME as AUDIT
from ligand_async.data.migrations.rendering import compare_server_default, finish_migration, render_item

ATTRIBUTE = "ligand_async"  # under which alembic's Config carries an Environment


@dataclass(frozen=True, slots=True)
class Environment:
    """What one run of `env.py` works on.

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
    environment = context.config.attributes.get(ATTRIBUTE)
    if not isinstance(environment, Environment):
        raise CommandError("these migrations are run with `ligand db` (or `quart db`), which knows the app's database")
    choices = configuration(environment) | dict(options or {})
    if environment.connection is None:
        context.configure(
            dialect_name=environment.dialect, dialect_opts={"paramstyle": "named"}, literal_binds=True, **choices
        )
        if environment.dialect == "postgresql":
            context.execute(f"SET lock_timeout = '{milliseconds(environment.lock_timeout)}ms'")
    else:
        context.configure(connection=environment.connection, **choices)
    with context.begin_transaction():
        context.run_migrations()


def configuration(environment: Environment) -> dict[str, Any]:
    """Return what we ask of Alembic: each migration whole or not at all, and files that suit both databases."""
    schemas = {None, *(table.schema for table in environment.metadata.tables.values())}

    declared = {table.name for table in environment.metadata.tables.values()}

    def include_name(name: str | None, kind: str, _parents: Mapping[str, str | None]) -> bool:
        if kind == "table" and name is not None and name.startswith(f"{AUDIT}_"):
            return name in declared or AUDIT not in declared  # else it is a partition of the trail
        return kind != "schema" or name in schemas

    def on_version_apply(*, ctx: MigrationContext, step: MigrationInfo, **_: Any) -> None:
        if environment.on_apply is not None:
            environment.on_apply(ctx, describe_step(step))

    return {
        "target_metadata": environment.metadata,
        "transaction_per_migration": True,
        # Alembic distrusts SQLite because Python's driver used to commit before DDL; ours begins by itself.
        "transactional_ddl": True,
        "render_as_batch": True,
        "include_schemas": len(schemas) > 1,
        "include_name": include_name,
        "compare_type": True,
        "compare_server_default": compare_server_default,
        "render_item": render_item,
        "process_revision_directives": finish_migration,
        "on_version_apply": on_version_apply,
    }


def describe_step(step: MigrationInfo) -> str:
    """Say what one step did to which migration."""
    verb = "stamped" if step.is_stamp else "applied" if step.is_upgrade else "undid"
    names = [f"{script.revision} {script.doc}" for script in step.up_revisions if isinstance(script, Script)]
    return f"{verb} {', '.join(names)}"


def milliseconds(seconds: float) -> int:
    """Return whole milliseconds, and never 0, which PostgreSQL reads as forever."""
    return max(1, round(seconds * 1000))
