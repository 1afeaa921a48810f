"""Enum types of PostgreSQL in migrations: made, given other labels, dropped. Elsewhere such columns are text."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

from alembic.autogenerate import renderers
from alembic.autogenerate.api import AutogenContext
from alembic.operations import MigrateOperation, Operations, ops
from sqlalchemy import ARRAY, DDL, Column, DefaultClause, Enum, MetaData
from sqlalchemy.dialects import postgresql
from sqlalchemy.dialects.postgresql import ENUM, CreateEnumType, DropEnumType
from sqlalchemy.dialects.postgresql.base import PGInspector
from sqlalchemy.types import TypeDecorator, TypeEngine

_DIALECT = postgresql.dialect()  # type: ignore[no-untyped-call]  # SQLAlchemy leaves its constructor untyped


class _Name(NamedTuple):
    """The name of an enum type, in a schema or in the default one."""

    schema: str | None
    name: str


_Types = dict[_Name, list[str]]  # the labels of each


class _OnEnum(MigrateOperation):
    """Something about an enum type."""

    def __init__(self, name: str, *, schema: str | None = None) -> None:
        self.name = name
        self.schema = schema

    @property
    def options(self) -> str:
        """The last arguments that a migration writes between the parentheses."""
        return "" if self.schema is None else f", schema={str(self.schema)!r}"

    @property
    def quoted(self) -> str:
        """The type's name as SQL."""
        return _quote(_Name(self.schema, self.name))


@Operations.register_operation("create_enum")
class CreateEnumOp(_OnEnum):
    """Make an enum type for columns that come after it, which say `create_type=False`."""

    def __init__(self, name: str, labels: Sequence[str], *, schema: str | None = None) -> None:
        super().__init__(name, schema=schema)
        self.labels = list(labels)

    @classmethod
    def create_enum(
        cls, operations: Operations, name: str, labels: Sequence[str], *, schema: str | None = None
    ) -> None:
        """Make an enum type on PostgreSQL; other databases keep such columns as text."""
        operations.invoke(cls(name, labels, schema=schema))


@Operations.register_operation("drop_enum")
class DropEnumOp(_OnEnum):
    """Drop an enum type that no column uses any more; dropping its last table does not."""

    @classmethod
    def drop_enum(cls, operations: Operations, name: str, *, schema: str | None = None) -> None:
        """Drop an enum type on PostgreSQL; other databases have none."""
        operations.invoke(cls(name, schema=schema))


@Operations.register_operation("add_enum_value")
class AddEnumValueOp(_OnEnum):
    """Add a label to an enum type."""

    def __init__(
        self, name: str, value: str, *, before: str | None = None, after: str | None = None, schema: str | None = None
    ) -> None:
        super().__init__(name, schema=schema)
        self.value = value
        self.before = before
        self.after = after

    @classmethod
    def add_enum_value(
        cls,
        operations: Operations,
        name: str,
        value: str,
        *,
        before: str | None = None,
        after: str | None = None,
        schema: str | None = None,
    ) -> None:
        """Add a label to an enum type on PostgreSQL, unless it is there; other databases have nothing to do.

        PostgreSQL refuses to use the label in the transaction that adds it: store rows with it in the next migration.

        Args:
            operations: Alembic's `op`.
            name: The type.
            value: The new label.
            before: The label that comes after it.
            after: The label that comes before it; without either, the new label is the last.
            schema: The type's schema.
        """
        operations.invoke(cls(name, value, before=before, after=after, schema=schema))


@Operations.register_operation("set_enum_values")
class SetEnumValuesOp(_OnEnum):
    """Give an enum type exactly some labels, by making it anew."""

    def __init__(self, name: str, labels: Sequence[str], *, schema: str | None = None) -> None:
        super().__init__(name, schema=schema)
        self.labels = list(labels)

    @classmethod
    def set_enum_values(
        cls, operations: Operations, name: str, labels: Sequence[str], *, schema: str | None = None
    ) -> None:
        """Give an enum type exactly these labels on PostgreSQL, which cannot drop or move a label.

        A new type takes the place of the old one, and every column of the type is converted, with its default. The
        migration fails if a row has a label that is not among them: give such rows another one first.

        Args:
            operations: Alembic's `op`.
            name: The type.
            labels: All labels, in their order.
            schema: The type's schema.
        """
        operations.invoke(cls(name, labels, schema=schema))


def _is_postgresql(operations: Operations) -> bool:
    return operations.migration_context.dialect.name == "postgresql"


@Operations.implementation_for(CreateEnumOp)
def create_enum(operations: Operations, operation: CreateEnumOp) -> None:
    """Run `op.create_enum`."""
    if _is_postgresql(operations):
        operations.execute(CreateEnumType(ENUM(*operation.labels, name=operation.name, schema=operation.schema)))


@Operations.implementation_for(DropEnumOp)
def drop_enum(operations: Operations, operation: DropEnumOp) -> None:
    """Run `op.drop_enum`."""
    if _is_postgresql(operations):
        operations.execute(DropEnumType(ENUM(name=operation.name, schema=operation.schema)))


@Operations.implementation_for(AddEnumValueOp)
def add_enum_value(operations: Operations, operation: AddEnumValueOp) -> None:
    """Run `op.add_enum_value`."""
    if not _is_postgresql(operations):
        return
    place = ""
    if operation.before is not None:
        place = f" BEFORE {_literal(operation.before)}"
    elif operation.after is not None:
        place = f" AFTER {_literal(operation.after)}"
    _execute(operations, f"ALTER TYPE {operation.quoted} ADD VALUE IF NOT EXISTS {_literal(operation.value)}{place}")


@Operations.implementation_for(SetEnumValuesOp)
def set_enum_values(operations: Operations, operation: SetEnumValuesOp) -> None:
    """Run `op.set_enum_values`."""
    if not _is_postgresql(operations):
        return
    labels = ", ".join(map(_literal, operation.labels))
    old = _quote(_Name(operation.schema, _OLD))
    in_text = operation.quoted.replace("'", "''")
    _execute(operations, _REPLACEMENT.format(type=operation.quoted, in_text=in_text, old=old, labels=labels))


_OLD = "ligand_old_labels"
# The columns are found when it runs, so that it is right whatever has happened since it was written, and as SQL too.
# Columns of partitions and children follow their parent's.
_REPLACEMENT = """
DO $ligand$
DECLARE
    found jsonb;
    item record;
BEGIN
    SELECT jsonb_agg(jsonb_build_object(
        'relation', a.attrelid::regclass::text, 'name', quote_ident(a.attname),
        'dimensions', CASE WHEN a.atttypid = t.typarray THEN '[]' ELSE '' END,
        'value', pg_get_expr(d.adbin, d.adrelid)))
    INTO found
    FROM pg_type t
    JOIN pg_attribute a ON a.atttypid IN (t.oid, t.typarray) AND NOT a.attisdropped AND a.attinhcount = 0
    JOIN pg_class c ON c.oid = a.attrelid AND c.relkind IN ('r', 'p')
    LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
    WHERE t.oid = '{in_text}'::regtype;
    ALTER TYPE {type} RENAME TO ligand_old_labels;
    CREATE TYPE {type} AS ENUM ({labels});
    FOR item IN SELECT * FROM jsonb_to_recordset(coalesce(found, '[]'))
        AS x(relation text, name text, dimensions text, value text)
    LOOP
        IF item.value IS NOT NULL THEN
            EXECUTE 'ALTER TABLE ' || item.relation || ' ALTER ' || item.name || ' DROP DEFAULT';
        END IF;
        EXECUTE 'ALTER TABLE ' || item.relation || ' ALTER ' || item.name || ' TYPE {in_text}' || item.dimensions
            || ' USING ' || item.name || '::text' || item.dimensions || '::{in_text}' || item.dimensions;
        IF item.value IS NOT NULL THEN
            EXECUTE 'ALTER TABLE ' || item.relation || ' ALTER ' || item.name || ' SET DEFAULT ' || item.value;
        END IF;
    END LOOP;
    DROP TYPE {old};
END
$ligand$
"""


def _execute(operations: Operations, sql: str) -> None:
    """Run SQL as it stands: colons and percent signs in labels are not parameters."""
    operations.execute(DDL(sql.replace("%", "%%")))  # type: ignore[no-untyped-call]  # SQLAlchemy leaves it untyped


def _literal(text: str) -> str:
    """Return a text as an SQL literal."""
    return "'" + text.replace("'", "''") + "'"


def _quote(type_: _Name) -> str:
    """Return the name of a type as SQL."""
    preparer = _DIALECT.identifier_preparer
    name = preparer.quote(str(type_.name))
    return name if type_.schema is None else f"{preparer.quote_schema(str(type_.schema))}.{name}"


@renderers.dispatch_for(CreateEnumOp)
def render_create_enum(_context: AutogenContext, operation: CreateEnumOp) -> str:
    """Write `op.create_enum` into a migration."""
    return f"op.create_enum({str(operation.name)!r}, {operation.labels!r}{operation.options})"


@renderers.dispatch_for(DropEnumOp)
def render_drop_enum(_context: AutogenContext, operation: DropEnumOp) -> str:
    """Write `op.drop_enum` into a migration."""
    return f"op.drop_enum({str(operation.name)!r}{operation.options})"


@renderers.dispatch_for(AddEnumValueOp)
def render_add_enum_value(_context: AutogenContext, operation: AddEnumValueOp) -> str:
    """Write `op.add_enum_value` into a migration."""
    place = f", before={operation.before!r}" if operation.before is not None else ""
    place += f", after={operation.after!r}" if operation.after is not None else ""
    return f"op.add_enum_value({str(operation.name)!r}, {operation.value!r}{place}{operation.options})"


@renderers.dispatch_for(SetEnumValuesOp)
def render_set_enum_values(_context: AutogenContext, operation: SetEnumValuesOp) -> str:
    """Write `op.set_enum_values` into a migration."""
    return f"op.set_enum_values({str(operation.name)!r}, {operation.labels!r}{operation.options})"


def add_enum_operations(script: ops.MigrationScript, metadata: MetaData, inspector: Any) -> None:
    """Complete a generated migration with the enum types that come, change or go with its columns.

    Alembic leaves this to the author. A type is new when the migration adds every column that has it, and gone when the
    models have it no more.
    """
    upgrade, downgrade = script.upgrade_ops, script.downgrade_ops
    if upgrade is None or downgrade is None:
        return
    added = _added_columns(upgrade)
    arriving = {(table, column.name) for table, column in added}
    declared = [(table.key, column) for table in metadata.tables.values() for column in table.columns]
    staying = _types_of(column for table, column in declared if (table, column.name) not in arriving)
    new = _without(_types_of(column for _, column in added), staying)
    gone = _without(_types_of(_dropped_columns(upgrade)), _types_of(column for _, column in declared))
    changed = list(_changed_labels(inspector, metadata)) if isinstance(inspector, PGInspector) else []

    upgrade.ops[:0] = [CreateEnumOp(type_.name, labels, schema=type_.schema) for type_, labels in new.items()]
    downgrade.ops += [DropEnumOp(type_.name, schema=type_.schema) for type_ in new]
    for change in changed:
        _add_changed_labels(upgrade, downgrade, *change, [column for _, column in declared])
    upgrade.ops += [DropEnumOp(type_.name, schema=type_.schema) for type_ in gone]
    downgrade.ops[:0] = [CreateEnumOp(type_.name, labels, schema=type_.schema) for type_, labels in gone.items()]


def _add_changed_labels(
    upgrade: ops.OpContainer,
    downgrade: ops.OpContainer,
    type_: _Name,
    there: list[str],
    wanted: list[str],
    declared: list[Column[Any]],
) -> None:
    """Complete a generated migration with the operations that give a type the labels of its model.

    Labels come before everything else, and go after it: a column's default may change from one to another.
    """
    added = [label for label in wanted if label not in there]
    removed = [label for label in there if label not in wanted]
    columns = [column for column in declared if type_ in _types_of([column])]

    def exactly(labels: list[str]) -> SetEnumValuesOp:
        return SetEnumValuesOp(type_.name, labels, schema=type_.schema)

    is_addition = [label for label in wanted if label in there] == there
    if is_addition and not any(_is_default(label, column) for label in added for column in columns):
        upgrade.ops[:0] = _additions(type_, there, wanted)
    elif added or not removed:
        # PostgreSQL refuses to use a label in the transaction that adds it to a type, but not that of a new type.
        upgrade.ops.insert(0, exactly(wanted + removed))
    if removed:
        upgrade.ops.append(exactly(wanted))
        downgrade.ops.insert(0, exactly(there + added))
    if added or not removed:
        downgrade.ops.append(exactly(there))
    for column in columns:
        if _checks_text(column.type):
            upgrade.ops.append(_changed_check(column, there, wanted))
            downgrade.ops.insert(0, _changed_check(column, wanted, there))


def _is_default(label: str, column: Column[Any]) -> bool:
    """Return whether a column's default in the database is a label, as far as that can be seen."""
    default = column.server_default
    return isinstance(default, DefaultClause) and label in str(default.arg)


def _additions(type_: _Name, there: list[str], wanted: list[str]) -> list[MigrateOperation]:
    """Return the operations that add labels to a type, each beside one that is there by then."""
    leading = wanted[: wanted.index(there[0])] if there else []
    operations: list[MigrateOperation] = [
        AddEnumValueOp(type_.name, label, before=there[0], schema=type_.schema) for label in leading
    ]
    operations += [
        AddEnumValueOp(type_.name, label, after=previous, schema=type_.schema)
        for previous, label in pairwise(wanted)
        if label not in there and label not in leading
    ]
    return operations


def _checks_text(type_: TypeEngine[Any]) -> bool:
    """Return whether a column has a CHECK constraint with the labels where it is text."""
    return isinstance(type_, Enum) and type_.create_constraint


def _changed_check(column: Column[Any], old: list[str], new: list[str]) -> MigrateOperation:
    """Return the operation that gives SQLite's CHECK constraint the new labels."""
    type_: Any = column.type
    old_type, new_type = (
        Enum(*labels, name=type_.name, schema=type_.schema, create_constraint=True) for labels in (old, new)
    )
    alteration = ops.AlterColumnOp(
        column.table.name,
        column.name,
        schema=column.table.schema,
        existing_type=old_type,
        existing_nullable=column.nullable,
        modify_type=new_type,
    )
    return ops.ModifyTableOps(column.table.name, [alteration], schema=column.table.schema)


def describe_labels(inspector: PGInspector, metadata: MetaData) -> Iterator[str]:
    """Yield the enum types of PostgreSQL whose labels differ from the models; Alembic does not compare them."""
    for type_, there, wanted in _changed_labels(inspector, metadata):
        name = ".".join(part for part in type_ if part)
        yield f"type {name} has the labels {', '.join(there)}, the models say {', '.join(wanted)}"


def _changed_labels(inspector: PGInspector, metadata: MetaData) -> Iterator[tuple[_Name, list[str], list[str]]]:
    """Yield the types that are in a database and in the models with different labels: those there, and those wanted."""
    declared = _types_of(column for table in metadata.tables.values() for column in table.columns)
    for schema in {type_.schema for type_ in declared}:
        for enum in inspector.get_enums(schema):
            type_, there = _Name(schema, enum["name"]), enum["labels"]
            wanted = declared.get(type_, there)
            if there != wanted:
                yield type_, there, wanted


def _without(types: _Types, others: _Types) -> _Types:
    """Return the types that are not among the others."""
    return {name: labels for name, labels in types.items() if name not in others}


def _types_of(columns: Iterable[Column[Any]]) -> _Types:
    """Return the enum types that PostgreSQL has for some columns."""
    enums = [enum for column in columns for enum in _enums_in(column.type)]
    return {_Name(enum.schema, str(enum.name)): list(enum.enums) for enum in enums}


def _enums_in(type_: TypeEngine[Any]) -> Iterator[Enum]:
    """Yield the enum types in what PostgreSQL stores for a type: a variant, an array, a decorator, or itself."""
    stored = type_._variant_mapping.get("postgresql", type_)  # SQLAlchemy 2.1 has no public way to read variants
    if isinstance(stored, TypeDecorator):
        yield from _enums_in(stored.load_dialect_impl(_DIALECT))
    elif isinstance(stored, ARRAY):
        yield from _enums_in(stored.item_type)
    elif isinstance(stored, Enum) and stored.native_enum and stored.name:
        yield stored


def _flat(operations: Sequence[MigrateOperation]) -> Iterator[MigrateOperation]:
    """Yield operations, those on one table one by one."""
    for operation in operations:
        if isinstance(operation, ops.OpContainer):
            yield from _flat(operation.ops)
        else:
            yield operation


def _added_columns(container: ops.OpContainer) -> list[tuple[str, Column[Any]]]:
    """Return the columns that are added, alone or with their table, each with the key of its table."""
    columns: list[tuple[str, Column[Any]]] = []
    for operation in _flat(container.ops):
        if isinstance(operation, ops.CreateTableOp):
            table = operation.to_table()
            columns += [(table.key, column) for column in table.columns]
        elif isinstance(operation, ops.AddColumnOp):
            key = operation.table_name if operation.schema is None else f"{operation.schema}.{operation.table_name}"
            columns.append((key, operation.column))
    return columns


def _dropped_columns(container: ops.OpContainer) -> list[Column[Any]]:
    """Return the columns that are dropped, alone or with their table."""
    columns: list[Column[Any]] = []
    for operation in _flat(container.ops):
        if isinstance(operation, ops.DropTableOp):
            columns += operation.to_table().columns
        elif isinstance(operation, ops.DropColumnOp):
            columns.append(operation.to_column())
    return columns
