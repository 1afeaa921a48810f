"""The values that a position is made of: read without loss, written as text, compared as they were."""

from base64 import b64decode, b64encode
from collections.abc import Callable
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from typing import Any
from uuid import UUID

from sqlalchemy import Dialect, Double, Float, Interval, Numeric
from sqlalchemy.types import NullType, TypeDecorator, TypeEngine

from ligand_async.web.pages.order import PageNotPossible

MICROSECOND = timedelta(microseconds=1)

# In this order: a datetime is a date, too.
TEXTS: tuple[tuple[str, type, Callable[[Any], Any], Callable[[Any], Any]], ...] = (
    ("u", UUID, lambda value: value.hex, UUID),
    ("t", datetime, datetime.isoformat, datetime.fromisoformat),
    ("d", date, date.isoformat, date.fromisoformat),
    ("c", time, time.isoformat, time.fromisoformat),
    ("i", timedelta, lambda value: value // MICROSECOND, lambda count: count * MICROSECOND),
    ("n", Decimal, str, Decimal),
    ("f", float, repr, float),
    ("b", bytes, lambda value: b64encode(value).decode(), b64decode),
)
BY_TAG = {tag: read for tag, _, _, read in TEXTS}


def comparable(type_: TypeEngine[Any], dialect: Dialect) -> TypeEngine[Any]:
    """Return the type by which values are read and compared for a position, so that they come back as they were.

    On PostgreSQL what is stored, without what a `TypeDecorator` makes of it and without a precision that a value would
    be rounded to. SQLite's own values are texts, numbers and bytes whatever they stand for, and stay that: its decimals
    lose digits on the way to Python.
    """
    if dialect.name == "sqlite":
        return NullType()
    while isinstance(type_, TypeDecorator) and not isinstance(type_, Interval):  # one by name: PostgreSQL has its own
        type_ = type_.load_dialect_impl(dialect)
    if isinstance(type_, Float):
        return Double()
    return Numeric() if isinstance(type_, Numeric) else type_


def write_value(value: Any) -> Any:
    """Return a value as JSON can hold it, with a tag where JSON has no such type.

    Raises:
        PageNotPossible: It has no form that comes back the same.
    """
    if isinstance(value, Enum):
        return ["e", value.name]
    if value is None or isinstance(value, bool | int | str):
        return value
    for tag, kind, write, _ in TEXTS:
        if isinstance(value, kind):
            return [tag, write(value)]
    raise PageNotPossible(f"a cursor cannot hold a {type(value).__name__}; sort by something else")


def read_value(written: Any, type_: TypeEngine[Any]) -> Any:
    """Return what a value was.

    Args:
        written: As `write_value` returned it.
        type_: The type that it was read by, which knows the members of an enumeration.
    """
    if not isinstance(written, list):
        return written
    tag, text = written
    return getattr(type_, "enum_class")[text] if tag == "e" else BY_TAG[tag](text)  # noqa: B009  (of `Enum` alone)
