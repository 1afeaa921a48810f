"""Differences between the models and a database, in words."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from alembic.autogenerate import produce_migrations
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.operations import MigrateOperation, ops
from alembic.script import Script, ScriptDirectory
from sqlalchemy import MetaData, inspect
from sqlalchemy.dialects.postgresql.base import PGInspector

from ligand_async.data.migrations.enums import describe_labels
from ligand_async.data.migrations.runner import Migrated, connect, look, run_in_environment
from ligand_async.data.migrations.sequences import describe_sequences
from ligand_async.settings import Settings


@dataclass(frozen=True, slots=True)
class Findings:
    """The result of `check`.

    Attributes:
        pending: Migrations that the database lacks, the oldest first.
        drift: Differences between models and database, in words; empty where migrations are pending: those come first.
    """

    pending: tuple[Script, ...]
    drift: tuple[str, ...]


async def check(database: Migrated, settings: Settings, directory: Path) -> Findings:
    """Compare the database with the migrations and with the models.

    Raises:
        MigrationError: The database cannot be reached, or is at a revision that is not in the directory.
    """
    async with connect(database, settings) as connection:
        return await look(connection, database, settings, directory, _compare)


def _compare(config: Config) -> Findings:
    script = ScriptDirectory.from_config(config)

    def work(context: MigrationContext) -> Findings:
        there = context.get_current_heads()
        pending = tuple(script.iterate_revisions("heads", there or "base"))
        if pending or set(there) != set(script.get_heads()):
            return Findings(pending[::-1], ())
        return Findings((), tuple(_differences(context, context.opts["target_metadata"])))

    return run_in_environment(config, work)


def _differences(context: MigrationContext, metadata: MetaData) -> Iterator[str]:
    wanted = produce_migrations(context, metadata).upgrade_ops
    if wanted is not None:
        yield from _describe(wanted.ops)
    inspector = inspect(context.connection)
    if isinstance(inspector, PGInspector):
        yield from describe_labels(inspector, metadata)
        yield from describe_sequences(inspector, metadata)


def _describe(operations: Sequence[MigrateOperation]) -> Iterator[str]:
    """Describe the differences of the database from the models.

    Args:
        operations: The operations that would bring the database in line with the models.
    """
    for operation in operations:
        if isinstance(operation, ops.OpContainer):
            yield from _describe(operation.ops)
        elif isinstance(operation, ops.AlterColumnOp):
            yield from _describe_alteration(operation)
        else:
            yield _describe_one(operation)


def _describe_one(operation: MigrateOperation) -> str:
    match operation:
        case ops.CreateTableOp():
            return f"table {operation.table_name} is missing"
        case ops.DropTableOp():
            return f"table {operation.table_name} is not in the models"
        case ops.AddColumnOp():
            return f"column {operation.table_name}.{operation.column.name} is missing"
        case ops.DropColumnOp():
            return f"column {operation.table_name}.{operation.column_name} is not in the models"
        case ops.CreateIndexOp():
            return f"index {operation.index_name} on {operation.table_name} is missing"
        case ops.DropIndexOp():
            return f"index {operation.index_name} on {operation.table_name} is not in the models"
        case ops.CreateForeignKeyOp():
            return f"constraint {operation.constraint_name} on {operation.source_table} is missing"
        case ops.CreateUniqueConstraintOp():
            return f"constraint {operation.constraint_name} on {operation.table_name} is missing"
        case ops.DropConstraintOp():
            return f"constraint {operation.constraint_name} on {operation.table_name} is not in the models"
        case ops.CreateTableCommentOp() | ops.DropTableCommentOp():
            return f"the comment of table {operation.table_name} differs"
        case _:  # an operation of a plugin
            return f"something differs: {type(operation).__name__}"


def _describe_alteration(operation: ops.AlterColumnOp) -> Iterator[str]:
    column = f"column {operation.table_name}.{operation.column_name}"
    if operation.modify_type is not None:
        yield f"{column} has type {operation.existing_type!s}, the models say {operation.modify_type!s}"
    if operation.modify_nullable is not None:
        yield f"{column} {'refuses' if operation.modify_nullable else 'allows'} NULL, the models do not"
    if operation.modify_server_default is not False:
        yield f"{column} has another default than in the models"
    if operation.modify_comment is not False:
        yield f"{column} has another comment than in the models"
