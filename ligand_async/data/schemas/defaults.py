"""What a column holds where no value is given for it."""

import dataclasses
from functools import cache
from typing import Any

from pydantic import TypeAdapter, ValidationError
from pydantic_core import PydanticSerializationError
from sqlalchemy import Column, FetchedValue

from ligand_async.data.schemas.columns import MappedColumn
from ligand_async.data.schemas.constants import Constant, constant_of
from ligand_async.data.schemas.types import is_json, wire_of


def default_of(column: MappedColumn) -> Any:
    """Make the value that a new row would have: the default, a server's too where it is a constant, else null.

    Raises:
        TypeError: There is none, or it cannot be read.
    """
    if column.init is not None and column.init.default_factory is not dataclasses.MISSING:
        return column.init.default_factory()
    for item in column.columns:
        default: Any = item.default
        if default is not None and default.is_callable:
            return default.arg(None)  # SQLAlchemy wraps it to take a context, of which there is none
    constant = constant_default(column)
    if constant is not None:
        return constant.value
    if column.is_nullable:
        return None
    raise TypeError(f"{column.model.__name__}.{column.name} has no default that could be put in its place")


def constant_default(column: MappedColumn) -> Constant | None:
    """Return a default that is always the same, as the attribute has it, or None where there is no such.

    Raises:
        TypeError: It is written in SQL and cannot be read.
    """
    for item in column.columns:
        default: Any = item.default
        if default is not None and default.is_scalar:
            return Constant(default.arg)
        written = server_constant(item)
        if written is not None and isinstance(written.value, str):
            return Constant(read_sql(written.value, column))
        if written is not None:
            return written
    return None


def server_constant(column: Column[Any]) -> Constant | None:
    """Return a server default that is a constant."""
    server_default = column.server_default
    return constant_of(server_default) if isinstance(server_default, FetchedValue) else None


def read_sql(text: str, column: MappedColumn) -> Any:
    """Read a constant of SQL as a value of its column.

    Raises:
        TypeError: It is none.
    """
    adapter = adapter_of(column)
    read = adapter.validate_json if is_json(column.type) else adapter.validate_python
    try:
        return read(text)
    except ValidationError:
        name = f"{column.model.__name__}.{column.name}"
        raise TypeError(f"the server_default of {name} cannot be read; give the column a default=, too") from None


@cache
def adapter_of(column: MappedColumn) -> TypeAdapter[Any]:
    """Return what reads and writes the values of a column."""
    return TypeAdapter(wire_of(column.type, column.name).taken)


def documented_default(column: MappedColumn) -> Any:
    """Return the default as JSON has it, or None where there is none to show."""
    adapter = adapter_of(column)
    try:
        constant = constant_default(column)
        return None if constant is None else adapter.dump_python(constant.value, mode="json", warnings="error")
    except (TypeError, PydanticSerializationError):
        return None
