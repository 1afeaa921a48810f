"""How models are written into a migration: types, enums, triggers of the audit trail, and the order of tables."""

import re
from collections.abc import Iterator, Sequence
from graphlib import CycleError, TopologicalSorter
from itertools import filterfalse
from typing import Any

from alembic.autogenerate import renderers
from alembic.autogenerate.api import AutogenContext
from alembic.autogenerate.render import _repr_type  # alembic 1.20 has no public way to render a type inside render_item
from alembic.migration import MigrationContext
from alembic.operations import MigrateOperation, Operations, ops
from sqlalchemy import JSON, Column, DefaultClause, Dialect, Enum, MetaData
from sqlalchemy.dialects.postgresql import ENUM, CreateEnumType, DropEnumType
from sqlalchemy.dialects.postgresql.base import PGInspector
from sqlalchemy.sql.elements import False_, TextClause, True_
from sqlalchemy.sql.functions import now
from sqlalchemy.types import TypeDecorator

from ligand_async.data.audit.table import NAME, write_end_of_protection, write_protection
from ligand_async.data.models import utc_now

_UTC_NOW_IMPORT = "from ligand_async.data import utc_now"
_CAST = re.compile(
    r"::\s*(?:\"[^\"]+\"|[\w.]+)(?:\s+(?:varying|precision|with(?:out)?\s+time\s+zone))?(?:\(\d+(?:,\s*\d+)?\))?"
)


def render_item(kind: str, item: Any, context: AutogenContext) -> str | bool:
    """Write what Alembic would write badly; False leaves the rest to it.

    A decorated type is written as the type beneath, for a migration must mean the same when the class has changed; one
    that chooses its column type by dialect has to be imported. An enum type is made by an operation of its own. The
    database's clock is written by its name, which each database has its own SQL for.
    """
    if kind == "type" and isinstance(item, TypeDecorator) and not type(item).__module__.startswith("sqlalchemy."):
        if type(item).load_dialect_impl is TypeDecorator.load_dialect_impl:
            return _repr_type(item.impl_instance, context)
        context.imports.add(f"import {type(item).__module__}")
    if kind == "type" and isinstance(item, Enum) and item.native_enum and item.name:
        return _written_enum(item)
    if kind == "server_default":
        return _written_default(item, context)
    return False


def _written_default(default: Any, context: AutogenContext) -> str | bool:
    """Return a default that each database has its own SQL for, as a migration writes it; False for any other."""
    value = default.arg if isinstance(default, DefaultClause) else default
    if _is_utc_now(value, context):
        context.imports.add(_UTC_NOW_IMPORT)
        return "utc_now()"
    match value:
        case True_():
            return "sa.true()"
        case False_():
            return "sa.false()"
        case now():
            return "sa.func.now()"
        case _:
            return False


def _written_enum(enum: Enum) -> str:
    """Return an enum type as a migration writes it, the same whether the models or the database have it."""
    arguments = [*map(repr, enum.enums), f"name={str(enum.name)!r}", "create_type=False"]
    if enum.create_constraint:  # where it is text
        arguments.append("create_constraint=True")
    return f"sa.Enum({', '.join(arguments)})"


def _is_utc_now(value: Any, context: AutogenContext) -> bool:
    """Return whether a default is the database's clock, as the models or the database write it."""
    if isinstance(value, utc_now):
        return True
    if not isinstance(value, str | TextClause) or context.dialect is None:
        return False
    return _plain(str(value)) == _plain(_written(utc_now(), context.dialect))


def _written(expression: Any, dialect: Dialect) -> str:
    """Return an expression as SQL."""
    return str(expression.compile(dialect=dialect, compile_kwargs={"literal_binds": True}))


def compare_server_default(
    _context: MigrationContext,
    inspected_column: Column[Any],
    metadata_column: Column[Any],
    inspected_default: str | None,
    _metadata_default: Any,
    rendered_metadata_default: str | None,
) -> bool | None:
    """Return whether a default differs from its column's; None leaves the answer to Alembic.

    PostgreSQL gives a default back with casts, SQLite without its parentheses. What then still differs in writing,
    Alembic lets PostgreSQL compare; but JSON has no equality, and texts with quotes in them Alembic does not escape.
    """
    if inspected_default is None or rendered_metadata_default is None:
        return None
    default = metadata_column.server_default
    text = default.arg if isinstance(default, DefaultClause) else None
    wanted = text if isinstance(text, str) else _plain(rendered_metadata_default)
    if _plain(inspected_default) == wanted:
        return False
    return True if isinstance(inspected_column.type, JSON) or "'" in wanted else None


def _plain(default: str) -> str:
    """Return a default without casts, outer parentheses and quotes, and white space."""
    text = _CAST.sub("", default).strip()
    while text.startswith("(") and text.endswith(")") and _encloses(text):
        text = text[1:-1].strip()
    if len(text) > 1 and text[0] == text[-1] == "'":
        return text[1:-1].replace("''", "'")
    return re.sub(r"\s+", "", text)


def _encloses(text: str) -> bool:
    """Return whether the first parenthesis is closed by the last."""
    depth = 0
    for position, character in enumerate(text):
        depth += (character == "(") - (character == ")")
        if depth == 0:
            return position == len(text) - 1
    return False


def finish_migration(context: MigrationContext, _revision: Any, directives: list[ops.MigrationScript]) -> None:
    """Complete a generated migration."""
    for script in directives:
        _order_dropped_tables(script)
        _add_enum_operations(script, context.opts["target_metadata"])
        _add_audit_operations(script)


@Operations.register_operation("create_enum")
class CreateEnumOp(MigrateOperation):
    """Make an enum type for columns that come after it, which say `create_type=False`."""

    def __init__(self, name: str, labels: Sequence[str]) -> None:
        self.name = name
        self.labels = list(labels)

    @classmethod
    def create_enum(cls, operations: Operations, name: str, labels: Sequence[str]) -> None:
        """Make an enum type on PostgreSQL; other databases keep such columns as text."""
        operations.invoke(cls(name, labels))


@Operations.register_operation("drop_enum")
class DropEnumOp(MigrateOperation):
    """Drop an enum type that no column uses any more; dropping its last table does not."""

    def __init__(self, name: str) -> None:
        self.name = name

    @classmethod
    def drop_enum(cls, operations: Operations, name: str) -> None:
        """Drop an enum type on PostgreSQL; other databases have none."""
        operations.invoke(cls(name))


@Operations.implementation_for(CreateEnumOp)
def create_enum(operations: Operations, operation: CreateEnumOp) -> None:
    """Run `op.create_enum`."""
    if operations.migration_context.dialect.name == "postgresql":
        operations.execute(CreateEnumType(ENUM(*operation.labels, name=operation.name)))


@Operations.implementation_for(DropEnumOp)
def drop_enum(operations: Operations, operation: DropEnumOp) -> None:
    """Run `op.drop_enum`."""
    if operations.migration_context.dialect.name == "postgresql":
        operations.execute(DropEnumType(ENUM(name=operation.name)))


@renderers.dispatch_for(CreateEnumOp)
def render_create_enum(_context: AutogenContext, operation: CreateEnumOp) -> str:
    """Write `op.create_enum` into a migration."""
    return f"op.create_enum({operation.name!r}, {operation.labels!r})"


@renderers.dispatch_for(DropEnumOp)
def render_drop_enum(_context: AutogenContext, operation: DropEnumOp) -> str:
    """Write `op.drop_enum` into a migration."""
    return f"op.drop_enum({operation.name!r})"


_Columns = list[tuple[str, Column[Any]]]  # each with the name of its table
_Types = dict[str, list[str]]  # labels by name


def _add_enum_operations(script: ops.MigrationScript, metadata: MetaData) -> None:
    """Complete a generated migration with the enum types that come or go with its columns.

    Alembic leaves this to the author. A type is new when the migration adds every column that has it, and gone when the
    models have it no more.
    """
    upgrade, downgrade = script.upgrade_ops, script.downgrade_ops
    if upgrade is None or downgrade is None:
        return
    added = _added_columns(upgrade)
    arriving = {(table, column.name) for table, column in added}
    declared = [(table.name, column) for table in metadata.tables.values() for column in table.columns]
    staying = _types_of([(table, column) for table, column in declared if (table, column.name) not in arriving])
    new = _without(_types_of(added), staying)
    gone = _without(_types_of(_dropped_columns(upgrade)), _types_of(declared))

    upgrade.ops[:0] = [CreateEnumOp(*item) for item in new.items()]
    downgrade.ops += [DropEnumOp(name) for name in new]
    upgrade.ops += [DropEnumOp(name) for name in gone]
    downgrade.ops[:0] = [CreateEnumOp(*item) for item in gone.items()]


def describe_labels(inspector: PGInspector, metadata: MetaData) -> Iterator[str]:
    """Yield the enum types of PostgreSQL whose labels differ from the models; Alembic does not compare them."""
    declared = _types_of([(table.name, column) for table in metadata.tables.values() for column in table.columns])
    for enum in inspector.get_enums():
        wanted = declared.get(enum["name"], enum["labels"])
        if enum["labels"] != wanted:
            yield f"type {enum['name']} has the labels {', '.join(enum['labels'])}, the models say {', '.join(wanted)}"


def _without(types: _Types, others: _Types) -> _Types:
    """Return the types that are not among the others."""
    return {name: labels for name, labels in types.items() if name not in others}


def _types_of(columns: _Columns) -> _Types:
    """Return the enum types that PostgreSQL has for some columns."""
    kinds = (column.type for _, column in columns)
    return {kind.name: list(kind.enums) for kind in kinds if isinstance(kind, Enum) and kind.native_enum and kind.name}


def _flat(operations: Sequence[MigrateOperation]) -> Iterator[MigrateOperation]:
    """Yield operations, those on one table one by one."""
    for operation in operations:
        if isinstance(operation, ops.OpContainer):
            yield from _flat(operation.ops)
        else:
            yield operation


def _added_columns(container: ops.OpContainer) -> _Columns:
    """Return the columns that are added, alone or with their table."""
    columns: _Columns = []
    for operation in _flat(container.ops):
        if isinstance(operation, ops.CreateTableOp):
            columns += [(operation.table_name, column) for column in operation.to_table().columns]
        elif isinstance(operation, ops.AddColumnOp):
            columns.append((operation.table_name, operation.column))
    return columns


def _dropped_columns(container: ops.OpContainer) -> _Columns:
    """Return the columns that are dropped, alone or with their table."""
    columns: _Columns = []
    for operation in _flat(container.ops):
        if isinstance(operation, ops.DropTableOp):
            columns += [(operation.table_name, column) for column in operation.to_table().columns]
        elif isinstance(operation, ops.DropColumnOp):
            columns.append((operation.table_name, operation.to_column()))
    return columns


class _OnAuditTable(MigrateOperation):
    """Something about the table of the trail."""

    def __init__(self, table_name: str, schema: str | None = None) -> None:
        self.table_name = table_name
        self.schema = schema

    @property
    def arguments(self) -> str:
        """The arguments that a migration writes between the parentheses."""
        return repr(self.table_name) if self.schema is None else f"{self.table_name!r}, schema={self.schema!r}"


@Operations.register_operation("protect_audit_table")
class ProtectAuditTableOp(_OnAuditTable):
    """Let the database refuse to change or delete events."""

    @classmethod
    def protect_audit_table(cls, operations: Operations, table_name: str, *, schema: str | None = None) -> None:
        """Add the triggers that refuse UPDATE, DELETE and, on PostgreSQL, TRUNCATE."""
        operations.invoke(cls(table_name, schema))

    def reverse(self) -> "UnprotectAuditTableOp":
        """Return what undoes it."""
        return UnprotectAuditTableOp(self.table_name, self.schema)


@Operations.register_operation("unprotect_audit_table")
class UnprotectAuditTableOp(_OnAuditTable):
    """Let events be changed."""

    @classmethod
    def unprotect_audit_table(cls, operations: Operations, table_name: str, *, schema: str | None = None) -> None:
        """Drop the triggers, before the table is dropped or rebuilt."""
        operations.invoke(cls(table_name, schema))

    def reverse(self) -> ProtectAuditTableOp:
        """Return what undoes it."""
        return ProtectAuditTableOp(self.table_name, self.schema)


@Operations.implementation_for(ProtectAuditTableOp)
def protect_audit_table(operations: Operations, operation: ProtectAuditTableOp) -> None:
    """Run `op.protect_audit_table`."""
    for statement in write_protection(_dialect_of(operations), operation.table_name, operation.schema):
        operations.execute(statement)


@Operations.implementation_for(UnprotectAuditTableOp)
def unprotect_audit_table(operations: Operations, operation: UnprotectAuditTableOp) -> None:
    """Run `op.unprotect_audit_table`."""
    for statement in write_end_of_protection(_dialect_of(operations), operation.table_name, operation.schema):
        operations.execute(statement)


def _dialect_of(operations: Operations) -> str:
    """Return what a migration runs on, or writes SQL for."""
    return operations.migration_context.dialect.name


@renderers.dispatch_for(ProtectAuditTableOp)
def render_protect(_context: AutogenContext, operation: ProtectAuditTableOp) -> str:
    """Write `op.protect_audit_table` into a migration."""
    return f"op.protect_audit_table({operation.arguments})"


@renderers.dispatch_for(UnprotectAuditTableOp)
def render_unprotect(_context: AutogenContext, operation: UnprotectAuditTableOp) -> str:
    """Write `op.unprotect_audit_table` into a migration."""
    return f"op.unprotect_audit_table({operation.arguments})"


def _add_audit_operations(script: ops.MigrationScript) -> None:
    """Complete a generated migration that makes or drops the table of the trail."""
    upgrade, downgrade = script.upgrade_ops, script.downgrade_ops
    if upgrade is None or downgrade is None:
        return
    for container in (upgrade, downgrade):
        for operation in list(container.ops):
            match operation:
                case ops.CreateTableOp(table_name=name, schema=schema) if name == NAME:
                    container.ops.append(ProtectAuditTableOp(name, schema))
                case ops.DropTableOp(table_name=name, schema=schema) if name == NAME:
                    container.ops.insert(0, UnprotectAuditTableOp(name, schema))


def _order_dropped_tables(script: ops.MigrationScript) -> None:
    """Put the dropping of tables last, and in an order that PostgreSQL accepts; Alembic takes them as they come.

    Tables that refer to each other in a circle are left as they are: their author has to drop a constraint first.
    """
    upgrade, downgrade = script.upgrade_ops, script.downgrade_ops
    if upgrade is None or downgrade is None:
        return
    drops = {operation.table_name: operation for operation in upgrade.ops if isinstance(operation, ops.DropTableOp)}
    try:
        order = list(TopologicalSorter({name: _referred_by(drop) for name, drop in drops.items()}).static_order())
    except CycleError:
        return
    referred_first = [name for name in order if name in drops]
    places = {name: place for place, name in enumerate(referred_first)}

    def is_dropped(operation: MigrateOperation) -> bool:
        return isinstance(operation, ops.DropTableOp | ops.CreateTableOp) and operation.table_name in places

    def place(operation: Any) -> int:
        return places[operation.table_name]

    last = sorted(filter(is_dropped, upgrade.ops), key=place, reverse=True)
    upgrade.ops[:] = [*filterfalse(is_dropped, upgrade.ops), *last]
    first = sorted(filter(is_dropped, downgrade.ops), key=place)
    downgrade.ops[:] = [*first, *filterfalse(is_dropped, downgrade.ops)]


def _referred_by(drop: ops.DropTableOp) -> set[str]:
    """Return the names of the other tables that a dropped table refers to."""
    constraints = drop.to_table().foreign_key_constraints
    targets = {element.target_fullname.split(".")[-2] for constraint in constraints for element in constraint.elements}
    return targets - {drop.table_name}
