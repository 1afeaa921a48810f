"""Sequences and identities of PostgreSQL in migrations; SQLite counts integer primary keys only, by itself."""

from collections.abc import Iterator
from typing import Any

from alembic.autogenerate import renderers
from alembic.autogenerate.api import AutogenContext
from alembic.operations import MigrateOperation, Operations, ops
from sqlalchemy import Connection, Identity, MetaData, Sequence, func, select
from sqlalchemy.dialects.postgresql.base import PGInspector
from sqlalchemy.schema import CreateSequence, DropSequence

_OPTIONS = ("start", "increment", "minvalue", "maxvalue", "cycle", "cache")


class _OnSequence(MigrateOperation):
    """Something about a sequence."""

    def __init__(self, sequence: Sequence) -> None:
        self.sequence = sequence

    def written(self, *options: str) -> str:
        """Return the arguments that a migration writes between the parentheses."""
        values = {name: getattr(self.sequence, name) for name in (*options, "schema")}
        named = (f", {name}={value!r}" for name, value in values.items() if value is not None)
        return repr(str(self.sequence.name)) + "".join(named)


@Operations.register_operation("create_sequence")
class CreateSequenceOp(_OnSequence):
    """Make a sequence, before the tables that count with it."""

    @classmethod
    def create_sequence(
        cls, operations: Operations, name: str, *, schema: str | None = None, **options: int | bool
    ) -> None:
        """Make a sequence on PostgreSQL; SQLite has none.

        Args:
            operations: Alembic's `op`.
            name: The sequence.
            schema: Its schema.
            options: Those of `sqlalchemy.Sequence`: `start`, `increment`, `minvalue`, `maxvalue`, `cycle`, `cache`.
        """
        settings: Any = options
        operations.invoke(cls(Sequence(name, schema=schema, **settings)))


@Operations.register_operation("drop_sequence")
class DropSequenceOp(_OnSequence):
    """Drop a sequence that nothing counts with any more."""

    @classmethod
    def drop_sequence(cls, operations: Operations, name: str, *, schema: str | None = None) -> None:
        """Drop a sequence on PostgreSQL; SQLite has none."""
        operations.invoke(cls(Sequence(name, schema=schema)))


@Operations.implementation_for(CreateSequenceOp)
def create_sequence(operations: Operations, operation: CreateSequenceOp) -> None:
    """Run `op.create_sequence`."""
    if operations.migration_context.dialect.supports_sequences:
        operations.execute(CreateSequence(operation.sequence))


@Operations.implementation_for(DropSequenceOp)
def drop_sequence(operations: Operations, operation: DropSequenceOp) -> None:
    """Run `op.drop_sequence`."""
    if operations.migration_context.dialect.supports_sequences:
        operations.execute(DropSequence(operation.sequence))


@renderers.dispatch_for(CreateSequenceOp)
def render_create_sequence(_context: AutogenContext, operation: CreateSequenceOp) -> str:
    """Write `op.create_sequence` into a migration."""
    return f"op.create_sequence({operation.written(*_OPTIONS)})"


@renderers.dispatch_for(DropSequenceOp)
def render_drop_sequence(_context: AutogenContext, operation: DropSequenceOp) -> str:
    """Write `op.drop_sequence` into a migration."""
    return f"op.drop_sequence({operation.written()})"


class _OnColumn(MigrateOperation):
    """Something about how a column of PostgreSQL counts."""

    def __init__(self, table_name: str, column_name: str, *, schema: str | None = None) -> None:
        self.table_name = table_name
        self.column_name = column_name
        self.schema = schema

    def written(self, **options: Any) -> str:
        """Return the arguments that a migration writes between the parentheses."""
        named = (
            f", {name}={value!r}" for name, value in (options | {"schema": self.schema}).items() if value is not None
        )
        return f"{str(self.table_name)!r}, {str(self.column_name)!r}" + "".join(named)

    def execute(self, operations: Operations, *statements: str) -> None:
        """Run statements on PostgreSQL, with the names of the table and the column put in."""
        if operations.migration_context.dialect.name != "postgresql":
            return
        preparer = operations.migration_context.dialect.identifier_preparer
        schema = "" if self.schema is None else f"{preparer.quote_schema(self.schema)}."
        table, column = schema + preparer.quote(self.table_name), preparer.quote(self.column_name)
        counter = "pg_get_serial_sequence('{}', '{}')".format(
            *(n.replace("'", "''") for n in (table, self.column_name))
        )
        for statement in statements:
            operations.execute(
                statement.replace("<table>", table).replace("<column>", column).replace("<counter>", counter)
            )


_GO_ON = "SELECT setval(<counter>, max(<column>)) FROM <table> HAVING max(<column>) >= {start}"


@Operations.register_operation("add_identity")
class AddIdentityOp(_OnColumn):
    """Make a column that has rows an identity."""

    def __init__(self, table_name: str, column_name: str, identity: Identity, *, schema: str | None = None) -> None:
        super().__init__(table_name, column_name, schema=schema)
        self.identity = identity

    @classmethod
    def add_identity(
        cls,
        operations: Operations,
        table_name: str,
        column_name: str,
        *,
        schema: str | None = None,
        **options: int | bool,
    ) -> None:
        """Make a column an identity on PostgreSQL, instead of a serial, that goes on after the rows that are there.

        Args:
            operations: Alembic's `op`.
            table_name: The table.
            column_name: The column.
            schema: The table's schema.
            options: Those of `sqlalchemy.Identity`: `always`, `start`, `increment`, `minvalue`, `maxvalue`, `cycle`,
                `cache`.
        """
        settings: Any = options
        operations.invoke(cls(table_name, column_name, Identity(**settings), schema=schema))


@Operations.register_operation("drop_identity")
class DropIdentityOp(_OnColumn):
    """Let a column be an identity no longer."""

    def __init__(self, table_name: str, column_name: str, *, serial: bool = False, schema: str | None = None) -> None:
        super().__init__(table_name, column_name, schema=schema)
        self.serial = serial

    @classmethod
    def drop_identity(
        cls,
        operations: Operations,
        table_name: str,
        column_name: str,
        *,
        serial: bool = False,
        schema: str | None = None,
    ) -> None:
        """Let a column of PostgreSQL be an identity no longer.

        Args:
            operations: Alembic's `op`.
            table_name: The table.
            column_name: The column.
            serial: Whether it goes on counting as a `serial`, with a sequence as its default.
            schema: The table's schema.
        """
        operations.invoke(cls(table_name, column_name, serial=serial, schema=schema))


@Operations.implementation_for(AddIdentityOp)
def add_identity(operations: Operations, operation: AddIdentityOp) -> None:
    """Run `op.add_identity`."""
    identity = operation.identity
    dialect = operations.migration_context.dialect
    compiler: Any = dialect.ddl_compiler(dialect, CreateSequence(Sequence(operation.table_name)))
    operation.execute(
        operations,
        "ALTER TABLE <table> ALTER <column> DROP DEFAULT",
        "DO $$ BEGIN EXECUTE coalesce('DROP SEQUENCE ' || <counter>, 'SELECT 1'); END $$",
        f"ALTER TABLE <table> ALTER <column> ADD {compiler.visit_identity_column(identity)}",
        _GO_ON.format(start=identity.start or 1),
    )


@Operations.implementation_for(DropIdentityOp)
def drop_identity(operations: Operations, operation: DropIdentityOp) -> None:
    """Run `op.drop_identity`."""
    operation.execute(operations, "ALTER TABLE <table> ALTER <column> DROP IDENTITY")
    if operation.serial:
        preparer = operations.migration_context.dialect.identifier_preparer
        schema = "" if operation.schema is None else f"{preparer.quote_schema(operation.schema)}."
        name = schema + preparer.quote(f"{operation.table_name}_{operation.column_name}_seq")
        text = name.replace("'", "''")
        operation.execute(
            operations,
            f"CREATE SEQUENCE {name} OWNED BY <table>.<column>",
            f"ALTER TABLE <table> ALTER <column> SET DEFAULT nextval('{text}')",
            _GO_ON.format(start=1),
        )


@renderers.dispatch_for(AddIdentityOp)
def render_add_identity(_context: AutogenContext, operation: AddIdentityOp) -> str:
    """Write `op.add_identity` into a migration."""
    options = {name: getattr(operation.identity, name) for name in ("always", *_OPTIONS)}
    return f"op.add_identity({operation.written(**options)})"


@renderers.dispatch_for(DropIdentityOp)
def render_drop_identity(_context: AutogenContext, operation: DropIdentityOp) -> str:
    """Write `op.drop_identity` into a migration."""
    return f"op.drop_identity({operation.written(serial=operation.serial or None)})"


def add_identity_operations(script: ops.MigrationScript, metadata: MetaData, connection: Connection | None) -> None:
    """Write the change of a column to an identity and back by operations that keep it counting."""
    upgrade, downgrade = script.upgrade_ops, script.downgrade_ops
    if upgrade is None or downgrade is None or connection is None:
        return
    for container, other in ((upgrade, downgrade), (downgrade, upgrade)):
        for part in list(container.ops):
            for change in [op for op in getattr(part, "ops", ()) if isinstance(op, ops.AlterColumnOp)]:
                if not isinstance(change.modify_server_default, Identity):
                    continue
                place, identity = (change.table_name, change.column_name), change.modify_server_default
                change.modify_server_default = False
                addition = AddIdentityOp(*place, identity, schema=change.schema)
                if isinstance(change.existing_server_default, Identity):  # with other options
                    container.ops += [DropIdentityOp(*place, schema=change.schema), addition]
                    continue
                is_serial = (
                    _is_serial(connection, change) if container is upgrade else _is_autoincrement(change, metadata)
                )
                container.ops.append(addition)
                other.ops.insert(0, DropIdentityOp(*place, serial=is_serial, schema=change.schema))
        for part in container.ops:
            if isinstance(part, ops.ModifyTableOps):
                part.ops[:] = [op for op in part.ops if not _is_settled(op)]
        container.ops[:] = [op for op in container.ops if not isinstance(op, ops.ModifyTableOps) or op.ops]


def _is_settled(operation: MigrateOperation) -> bool:
    """Return whether an alteration only had to do with an identity; forget that part of it."""
    if not isinstance(operation, ops.AlterColumnOp):
        return False
    if isinstance(operation.existing_server_default, Identity) and operation.modify_server_default is None:
        operation.modify_server_default = False
    return not operation.has_changes()


def _is_serial(connection: Connection, change: ops.AlterColumnOp) -> bool:
    """Return whether a column in the database counts with a sequence of its own."""
    preparer = connection.dialect.identifier_preparer
    schema = "" if change.schema is None else f"{preparer.quote_schema(change.schema)}."
    found = func.pg_get_serial_sequence(schema + preparer.quote(change.table_name), change.column_name)
    return connection.scalar(select(found)) is not None


def _is_autoincrement(change: ops.AlterColumnOp, metadata: MetaData) -> bool:
    """Return whether the model's table would be made with a column that counts."""
    key = change.table_name if change.schema is None else f"{change.schema}.{change.table_name}"
    column = metadata.tables[key].autoincrement_column
    return column is not None and column.name == change.column_name


def add_sequence_operations(script: ops.MigrationScript, metadata: MetaData, inspector: Any) -> None:
    """Complete a generated migration with the sequences that the models name and the database lacks.

    One that the models no longer name stays: nothing tells whether it belongs to somebody else.
    """
    upgrade, downgrade = script.upgrade_ops, script.downgrade_ops
    if upgrade is None or downgrade is None or not isinstance(inspector, PGInspector):
        return
    missing = list(_missing(inspector, metadata))
    upgrade.ops[:0] = [CreateSequenceOp(sequence) for sequence in missing]
    downgrade.ops += [DropSequenceOp(sequence) for sequence in missing]


def describe_sequences(inspector: PGInspector, metadata: MetaData) -> Iterator[str]:
    """Yield the sequences of the models that a database lacks."""
    for sequence in _missing(inspector, metadata):
        name = ".".join(part for part in (sequence.schema, sequence.name) if part)
        yield f"sequence {name} is missing"


def _missing(inspector: PGInspector, metadata: MetaData) -> Iterator[Sequence]:
    declared = metadata._sequences.values()  # SQLAlchemy 2.1 has no public way to list them
    for schema in {sequence.schema for sequence in declared}:
        there = set(inspector.get_sequence_names(schema))
        yield from (sequence for sequence in declared if sequence.schema == schema and sequence.name not in there)
