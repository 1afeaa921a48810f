"""Differences between models and database, in words."""

from collections.abc import Iterator, Sequence

from alembic.operations import MigrateOperation, ops


def describe(operations: Sequence[MigrateOperation]) -> Iterator[str]:
    """Say what the database lacks, has too much, or has otherwise than the models.

    Args:
        operations: What would make the database what the models say.
    """
    for operation in operations:
        if isinstance(operation, ops.OpContainer):
            yield from describe(operation.ops)
        elif isinstance(operation, ops.AlterColumnOp):
            yield from describe_alteration(operation)
        else:
            yield describe_one(operation)


def describe_one(operation: MigrateOperation) -> str:
    """Say what one operation is about."""
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


def describe_alteration(operation: ops.AlterColumnOp) -> Iterator[str]:
    """Say what is different about one column."""
    column = f"column {operation.table_name}.{operation.column_name}"
    if operation.modify_type is not None:
        yield f"{column} has type {operation.existing_type!s}, the models say {operation.modify_type!s}"
    if operation.modify_nullable is not None:
        yield f"{column} {'refuses' if operation.modify_nullable else 'allows'} NULL, the models do not"
    if operation.modify_server_default is not False:
        yield f"{column} has another default than in the models"
    if operation.modify_comment is not False:
        yield f"{column} has another comment than in the models"
