"""What Alembic's operations lack: PostgreSQL's enum types, made and dropped as part of a migration."""

from collections.abc import Sequence

from alembic.autogenerate import renderers
from alembic.autogenerate.api import AutogenContext
from alembic.operations import MigrateOperation, Operations
from sqlalchemy.dialects.postgresql import ENUM, CreateEnumType, DropEnumType


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
