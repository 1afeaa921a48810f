"""What an entity's values look like as JSON, and what they were before."""

import json
import math
import types
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from pydantic import ConfigDict, PydanticSchemaGenerationError, TypeAdapter, ValidationError
from pydantic_core import to_jsonable_python
from sqlalchemy import ARRAY, JSON
from sqlalchemy.types import TypeDecorator, TypeEngine

BASE64 = ConfigDict(val_json_bytes="base64", ser_json_bytes="base64", arbitrary_types_allowed=True)


def write_values(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return values as JSON holds them: moments in ISO 8601, decimals as text, bytes in base64, members by value."""
    return {name: write_value(value) for name, value in values.items()}


def write_value(value: Any) -> Any:
    """Return one value as JSON holds it."""
    if value is None or type(value) in {str, int, bool}:  # most are
        return value
    written = to_jsonable_python(value, bytes_mode="base64", fallback=str)
    return name_not_finite(written)


def name_not_finite(written: Any) -> Any:
    """Name what is no number, which JSON has no word for and PostgreSQL refuses."""
    match written:
        case float() if not math.isfinite(written):
            return "NaN" if math.isnan(written) else "Infinity" if written > 0 else "-Infinity"
        case list():
            return [name_not_finite(item) for item in written]
        case dict():
            return {name: name_not_finite(item) for name, item in written.items()}
        case _:
            return written


def write_key(key: Any) -> str:
    """Return a primary key as text: of one column its value, of several a JSON array."""
    values = [write_value(value) for value in key] if isinstance(key, tuple) else [write_value(key)]
    if len(values) > 1:
        return json.dumps(values, ensure_ascii=False, separators=(",", ":"))
    return values[0] if isinstance(values[0], str) else json.dumps(values[0], ensure_ascii=False)


def read_value(written: Any, type_: TypeEngine[Any]) -> Any:
    """Return what a value was.

    Args:
        written: As `write_value` returned it.
        type_: That of its column. What it does not know, as after a change of the column, stays as it was written.
    """
    if written is None or isinstance(type_, JSON):
        return written
    try:
        adapter = adapter_of(python_type(type_))
        return written if adapter is None else adapter.validate_json(json.dumps(written))
    except (NotImplementedError, ValidationError):
        return written


def python_type(type_: TypeEngine[Any]) -> Any:
    """Return the Python type of a column's values.

    Raises:
        NotImplementedError: The column's type does not say.
    """
    if isinstance(type_, ARRAY):
        return types.GenericAlias(list, (type_.item_type.python_type,))
    if isinstance(type_, TypeDecorator) and type_.python_type is object:  # its author did not say
        return python_type(type_.impl_instance)
    return type_.python_type


@lru_cache(maxsize=256)
def adapter_of(kind: Any) -> TypeAdapter[Any] | None:
    """Return what reads a type from JSON, or None where nothing does."""
    try:
        # An enumeration and the like bring a config of their own.
        return TypeAdapter(kind, config=BASE64)
    except (PydanticSchemaGenerationError, TypeError):
        return None
