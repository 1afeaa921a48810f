"""The fields of what a client may write: shared by creating and patching."""

from typing import Any

from pydantic import MISSING, Field
from pydantic.fields import FieldInfo

from ligand_async.data.schemas.columns import MappedColumn
from ligand_async.data.schemas.derived import or_missing, wire_of_column


def described(column: MappedColumn, **options: Any) -> FieldInfo:
    """Make a field with a column's description; a private column is never read back.

    Args:
        column: The column.
        **options: Of pydantic's `Field`.
    """
    extra = {**options.pop("json_schema_extra", {}), **({"writeOnly": True} if column.is_private else {})}
    field: FieldInfo = Field(description=column.description, json_schema_extra=extra or None, **options)
    return field


def absent_allowed(column: MappedColumn, **options: Any) -> tuple[Any, FieldInfo]:
    """Make a field that may be absent, which is not null.

    Args:
        column: The column.
        **options: Of pydantic's `Field`.
    """
    return or_missing(wire_of_column(column).taken), described(column, default=MISSING, **options)
