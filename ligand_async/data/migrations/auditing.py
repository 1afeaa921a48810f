"""The triggers of the audit trail, made and dropped as part of a migration."""

from alembic.autogenerate import renderers
from alembic.autogenerate.api import AutogenContext
from alembic.operations import MigrateOperation, Operations, ops

from ligand_async.data.audit.protection import write_end_of_protection, write_protection
from ligand_async.data.audit.table import NAME


class OnAuditTable(MigrateOperation):
    """Something about the table of the trail."""

    def __init__(self, table_name: str, schema: str | None = None) -> None:
        self.table_name = table_name
        self.schema = schema

    @property
    def arguments(self) -> str:
        """What a migration writes between the parentheses."""
        return repr(self.table_name) if self.schema is None else f"{self.table_name!r}, schema={self.schema!r}"


@Operations.register_operation("protect_audit_table")
class ProtectAuditTableOp(OnAuditTable):
    """Let the database refuse to change or delete events."""

    @classmethod
    def protect_audit_table(cls, operations: Operations, table_name: str, *, schema: str | None = None) -> None:
        """Add the triggers that refuse UPDATE, DELETE and, on PostgreSQL, TRUNCATE."""
        operations.invoke(cls(table_name, schema))

    def reverse(self) -> "UnprotectAuditTableOp":
        """Return what undoes it."""
        return UnprotectAuditTableOp(self.table_name, self.schema)


@Operations.register_operation("unprotect_audit_table")
class UnprotectAuditTableOp(OnAuditTable):
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
    for statement in write_protection(dialect_of(operations), operation.table_name, operation.schema):
        operations.execute(statement)


@Operations.implementation_for(UnprotectAuditTableOp)
def unprotect_audit_table(operations: Operations, operation: UnprotectAuditTableOp) -> None:
    """Run `op.unprotect_audit_table`."""
    for statement in write_end_of_protection(dialect_of(operations), operation.table_name, operation.schema):
        operations.execute(statement)


def dialect_of(operations: Operations) -> str:
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


def add_audit_operations(script: ops.MigrationScript) -> None:
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
