"""Which enum types a generated migration has to make and to drop, so that going down leaves nothing behind."""

from collections.abc import Iterator, Sequence
from typing import Any

from alembic.operations import MigrateOperation, ops
from sqlalchemy import Column, Enum, MetaData
from sqlalchemy.dialects.postgresql.base import PGInspector

from ligand_async.data.migrations.operations import CreateEnumOp, DropEnumOp

Columns = list[tuple[str, Column[Any]]]  # each with the name of its table
Types = dict[str, list[str]]  # labels by name


def add_enum_operations(script: ops.MigrationScript, metadata: MetaData) -> None:
    """Complete a generated migration with the enum types that come or go with its columns.

    Alembic leaves this to the author. A type is new when the migration adds every column that has it, and gone when the
    models have it no more.
    """
    upgrade, downgrade = script.upgrade_ops, script.downgrade_ops
    if upgrade is None or downgrade is None:
        return
    added = added_columns(upgrade)
    arriving = {(table, column.name) for table, column in added}
    declared = [(table.name, column) for table in metadata.tables.values() for column in table.columns]
    staying = types_of([(table, column) for table, column in declared if (table, column.name) not in arriving])
    new = without(types_of(added), staying)
    gone = without(types_of(dropped_columns(upgrade)), types_of(declared))

    upgrade.ops[:0] = [CreateEnumOp(*item) for item in new.items()]
    downgrade.ops += [DropEnumOp(name) for name in new]
    upgrade.ops += [DropEnumOp(name) for name in gone]
    downgrade.ops[:0] = [CreateEnumOp(*item) for item in gone.items()]


def describe_labels(inspector: PGInspector, metadata: MetaData) -> Iterator[str]:
    """Say which enum types of PostgreSQL have other labels than in the models; Alembic does not compare them."""
    declared = types_of([(table.name, column) for table in metadata.tables.values() for column in table.columns])
    for enum in inspector.get_enums():
        wanted = declared.get(enum["name"], enum["labels"])
        if enum["labels"] != wanted:
            yield f"type {enum['name']} has the labels {', '.join(enum['labels'])}, the models say {', '.join(wanted)}"


def without(types: Types, others: Types) -> Types:
    """Return the types that are not among the others."""
    return {name: labels for name, labels in types.items() if name not in others}


def types_of(columns: Columns) -> Types:
    """Return the enum types that PostgreSQL has for some columns."""
    kinds = (column.type for _, column in columns)
    return {kind.name: list(kind.enums) for kind in kinds if isinstance(kind, Enum) and kind.native_enum and kind.name}


def flat(operations: Sequence[MigrateOperation]) -> Iterator[MigrateOperation]:
    """Yield operations, those on one table one by one."""
    for operation in operations:
        if isinstance(operation, ops.OpContainer):
            yield from flat(operation.ops)
        else:
            yield operation


def added_columns(container: ops.OpContainer) -> Columns:
    """Return the columns that are added, alone or with their table."""
    columns: Columns = []
    for operation in flat(container.ops):
        if isinstance(operation, ops.CreateTableOp):
            columns += [(operation.table_name, column) for column in operation.to_table().columns]
        elif isinstance(operation, ops.AddColumnOp):
            columns.append((operation.table_name, operation.column))
    return columns


def dropped_columns(container: ops.OpContainer) -> Columns:
    """Return the columns that are dropped, alone or with their table."""
    columns: Columns = []
    for operation in flat(container.ops):
        if isinstance(operation, ops.DropTableOp):
            columns += [(operation.table_name, column) for column in operation.to_table().columns]
        elif isinstance(operation, ops.DropColumnOp):
            columns.append((operation.table_name, operation.to_column()))
    return columns
