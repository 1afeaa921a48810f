"""How models are written into a migration: types, enums, triggers of the audit trail, and the order of tables."""

from collections.abc import Iterator
from copy import copy
from graphlib import CycleError, TopologicalSorter
from itertools import filterfalse
from typing import Any

from alembic.autogenerate import renderers
from alembic.autogenerate.api import AutogenContext
from alembic.autogenerate.render import _repr_type  # alembic 1.20 has no public way to render a type inside render_item
from alembic.migration import MigrationContext
from alembic.operations import MigrateOperation, Operations, ops
from sqlalchemy import Column, Computed, DefaultClause, Enum, ForeignKeyConstraint, MetaData, String, inspect
from sqlalchemy.sql.elements import False_, TextClause, True_
from sqlalchemy.sql.functions import now
from sqlalchemy.types import TypeDecorator, TypeEngine
from sqlalchemy.util import immutabledict

from ligand_async.data.audit.table import NAME, write_end_of_protection, write_protection
from ligand_async.data.migrations.defaults import plain, written
from ligand_async.data.migrations.enums import add_enum_operations
from ligand_async.data.migrations.sequences import add_identity_operations, add_sequence_operations
from ligand_async.data.models import utc_now

_UTC_NOW_IMPORT = "from ligand_async.data import utc_now"


def render_item(kind: str, item: Any, context: AutogenContext) -> str | bool:
    """Write what Alembic would write badly; False leaves the rest to it.

    A decorated type is written as the type beneath, for a migration must mean the same when the class has changed; one
    that chooses its column type by dialect has to be imported. An enum type is made by an operation of its own. The
    database's clock is written by its name, which each database has its own SQL for.
    """
    if kind == "type" and isinstance(item, TypeEngine):
        return _written_type(item, context)
    if kind == "server_default":
        return _written_default(item, context)
    return False


def _written_type(type_: TypeEngine[Any], context: AutogenContext) -> str | bool:
    """Return a type as a migration writes it; False leaves it to Alembic."""
    if type_._variant_mapping:  # SQLAlchemy 2.1 has no public way to read variants
        type_ = _on_text(type_)
        plain_type = copy(type_)
        plain_type._variant_mapping = immutabledict()
        variants = sorted(type_._variant_mapping.items())
        texts = (f".with_variant({_repr_type(variant, context)}, {dialect!r})" for dialect, variant in variants)
        return _repr_type(plain_type, context) + "".join(texts)
    if isinstance(type_, Enum) and type_.native_enum and type_.name:
        return _written_enum(type_)
    module = type(type_).__module__
    if isinstance(type_, TypeDecorator) and not module.startswith("sqlalchemy.") and not _chooses_by_dialect(type_):
        return _repr_type(type_.impl_instance, context)
    if module.startswith("sqlalchemy.dialects.postgresql"):
        # Alembic writes the types inside another one as Python shows them, unless PostgreSQL is what it compares with.
        context.imports.add("from sqlalchemy.dialects import postgresql")
        return _POSTGRESQL.impl.render_type(type_, context)
    if not module.startswith("sqlalchemy."):
        context.imports.add(f"import {module}")
    return False


def _chooses_by_dialect(type_: TypeDecorator[Any]) -> bool:
    return type(type_).load_dialect_impl is not TypeDecorator.load_dialect_impl


def _on_text(type_: TypeEngine[Any]) -> TypeEngine[Any]:
    """Return an enum with variants as a text with a variant; SQLAlchemy 2.1 loses an enum's when it copies a column."""
    if not isinstance(type_, Enum):
        return type_
    enum = copy(type_)
    enum._variant_mapping = immutabledict()
    text = type_._variant_mapping.get("sqlite", String(type_.length))
    return text.with_variant(type_._variant_mapping.get("postgresql", enum), "postgresql")


def _keep_variants(script: ops.MigrationScript) -> None:
    """Keep the variants of enum types in the tables that a migration makes: Alembic copies their columns."""
    parts = [] if script.upgrade_ops is None else script.upgrade_ops.ops
    for creation in [operation for operation in parts if isinstance(operation, ops.CreateTableOp)]:
        for place, item in enumerate(creation.columns):
            if isinstance(item, Column) and isinstance(item.type, Enum) and item.type._variant_mapping:
                column = item._copy()
                column.type = _on_text(item.type)
                creation.columns = [*creation.columns[:place], column, *creation.columns[place + 1 :]]


_POSTGRESQL = MigrationContext.configure(dialect_name="postgresql")


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
    if enum.schema is not None:
        arguments.append(f"schema={str(enum.schema)!r}")
    if enum.create_constraint:  # where it is text
        arguments.append("create_constraint=True")
    return f"sa.Enum({', '.join(arguments)})"


def _is_utc_now(value: Any, context: AutogenContext) -> bool:
    """Return whether a default is the database's clock, as the models or the database write it."""
    if isinstance(value, utc_now):
        return True
    if not isinstance(value, str | TextClause) or context.dialect is None:
        return False
    return plain(str(value)) == plain(written(utc_now(), context.dialect))


def compare_type(
    context: MigrationContext,
    _inspected_column: Column[Any],
    _metadata_column: Column[Any],
    inspected: TypeEngine[Any],
    declared: TypeEngine[Any],
) -> bool | None:
    """Return False where a database without enum types keeps an enum as text, of whatever length; None asks Alembic.

    Such a database does not enforce the length, and a label that is added for PostgreSQL may be longer than the others.
    """
    stored = declared._variant_mapping.get(context.dialect.name, declared)
    is_text = isinstance(stored, Enum) and stored.native_enum and isinstance(inspected, String)
    return False if is_text and not context.dialect.supports_native_enum else None


def finish_migration(context: MigrationContext, _revision: Any, directives: list[ops.MigrationScript]) -> None:
    """Complete a generated migration; one without anything to do is not written."""
    metadata = context.opts["target_metadata"]
    for script in directives:
        _keep_variants(script)
        _replace_computed_columns(script, metadata)
        add_identity_operations(script, metadata, context.connection)
        _order_dropped_tables(script)
        _separate_foreign_keys(script)
        add_enum_operations(script, metadata, inspect(context.connection))
        add_sequence_operations(script, metadata, inspect(context.connection))
        _add_audit_operations(script)
    directives[:] = [script for script in directives if script.upgrade_ops is None or not script.upgrade_ops.is_empty()]


def describe_refused_rows(script: ops.MigrationScript) -> Iterator[str]:
    """Yield a warning, with what to write instead, for each column that refuses the rows that a table may have."""
    parts = [] if script.upgrade_ops is None else script.upgrade_ops.ops
    for operation in [op for part in parts if isinstance(part, ops.ModifyTableOps) for op in part.ops]:
        match operation:
            case ops.AddColumnOp(column=Column(nullable=False, server_default=None) as column, table_name=table):
                yield (
                    f"{table}.{column.name} is NOT NULL without a default, so the migration fails if {table} has rows. "
                    "Give the column a server_default; or add it with nullable=True in the migration, fill it with "
                    f"op.execute, and then call batch_op.alter_column({str(column.name)!r}, nullable=False)"
                )
            case ops.AlterColumnOp(modify_nullable=False, column_name=name, table_name=table):
                yield (
                    f"{table}.{name} becomes NOT NULL, so the migration fails if a row of {table} has NULL there. "
                    "Fill such rows with op.execute first"
                )


def _replace_computed_columns(script: ops.MigrationScript, metadata: MetaData) -> None:
    """Drop and add a column that is computed in another way, or no longer: no database can change that everywhere."""
    for container in (script.upgrade_ops, script.downgrade_ops):
        for part in () if container is None else container.ops:
            if isinstance(part, ops.ModifyTableOps):
                part.ops[:] = [new for old in part.ops for new in _without_computed_changes(old, metadata)]


def _without_computed_changes(operation: MigrateOperation, metadata: MetaData) -> list[MigrateOperation]:
    """Return operations to take the place of one that changes how a column is computed, else the operation itself."""
    if not isinstance(operation, ops.AlterColumnOp) or operation.modify_server_default is False:
        return [operation]
    before, after = operation.existing_server_default, operation.modify_server_default
    if not isinstance(before, Computed) and not isinstance(after, Computed):
        return [operation]
    names = (operation.table_name, operation.column_name)
    nullable, type_ = operation.existing_nullable, operation.existing_type
    old = Column(names[1], type_, *_positional(before), nullable=nullable)
    if operation.modify_type is not None:
        type_ = operation.modify_type
    if operation.modify_nullable is not None:
        nullable = operation.modify_nullable
    new = Column(names[1], type_, *_positional(after), nullable=nullable)
    addition = ops.AddColumnOp(names[0], new, schema=operation.schema)
    drop = ops.AddColumnOp(names[0], old, schema=operation.schema).reverse()
    table = next((t for t in metadata.tables.values() if (t.schema, t.name) == (operation.schema, names[0])), None)
    indexes = [] if table is None else [index for index in table.indexes if names[1] in index.columns]
    return [  # an index goes with its column
        *(ops.DropIndexOp.from_index(index) for index in indexes),
        drop,
        addition,
        *(ops.CreateIndexOp.from_index(index) for index in indexes),
    ]


def _positional(default: Any) -> list[Any]:
    """Return a server default as an argument of a column of its own."""
    if default is None or default is False:
        return []
    if isinstance(default, Computed):
        return [Computed(default.sqltext, persisted=default.persisted)]
    return [DefaultClause(default.arg) if isinstance(default, DefaultClause) else default]


def _separate_foreign_keys(script: ops.MigrationScript) -> None:
    """Make foreign keys between tables that refer to each other after the tables, and drop them before the tables.

    So `use_alter` needs no help from the database. A key without a name, as only SQLite has it, stays with its table.
    """
    upgrade, downgrade = script.upgrade_ops, script.downgrade_ops
    if upgrade is None or downgrade is None:
        return
    for made, dropped in ((upgrade, downgrade), (downgrade, upgrade)):
        creations = [operation for operation in made.ops if isinstance(operation, ops.CreateTableOp)]
        later = {_key_of(creation) for creation in creations}
        for creation in creations:
            later.discard(_key_of(creation))
            for constraint in [item for item in creation.columns if isinstance(item, ForeignKeyConstraint)]:
                if constraint.name and constraint.referred_table.key in later:
                    _separate(constraint, creation, made, dropped)
                constraint.use_alter = False


def _separate(
    constraint: ForeignKeyConstraint, creation: ops.CreateTableOp, made: ops.OpContainer, dropped: ops.OpContainer
) -> None:
    """Take a foreign key out of the table that it is created with, into operations of its own."""
    creation.columns = [item for item in creation.columns if item is not constraint]
    addition = ops.CreateForeignKeyOp.from_constraint(constraint)
    addition.kw.pop("use_alter", None)
    removal = ops.DropConstraintOp.from_constraint(constraint)
    place = (creation.table_name, creation.schema)
    made.ops.append(ops.ModifyTableOps(place[0], [addition], schema=place[1]))
    dropped.ops.insert(0, ops.ModifyTableOps(place[0], [removal], schema=place[1]))


def _key_of(creation: ops.CreateTableOp) -> str:
    """Return the key that a table has in its metadata."""
    return creation.table_name if creation.schema is None else f"{creation.schema}.{creation.table_name}"


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
