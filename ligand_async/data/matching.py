"""Text that contains or starts with another, with nothing in it that stands for something else, alike everywhere."""

from typing import Any

from sqlalchemy import Boolean, func
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql import ColumnElement
from sqlalchemy.sql.functions import FunctionElement


class cased(FunctionElement[bool]):  # noqa: N801  (an SQL function, written as one)
    """A comparison that minds capitals: LIKE on PostgreSQL, which an index can serve; SQLite's LIKE does not mind them.

    Args:
        like: For PostgreSQL.
        otherwise: For SQLite.
    """

    type = Boolean()
    inherit_cache = True
    name = "cased"

    def __init__(self, like: ColumnElement[bool], otherwise: ColumnElement[bool]) -> None:
        super().__init__(like, otherwise)


@compiles(cased)
def _like(element: cased, compiler: Any, **options: Any) -> str:
    like, _ = element.clauses
    return f"({compiler.process(like, **options)})"


@compiles(cased, "sqlite")
def _otherwise(element: cased, compiler: Any, **options: Any) -> str:
    _, otherwise = element.clauses
    return f"({compiler.process(otherwise, **options)})"


def contains_text(column: Any, value: str) -> ColumnElement[bool]:
    """Return what holds where a text contains another."""
    return cased(column.contains(value, autoescape=True), func.instr(column, value) > 0)


def starts_with_text(column: Any, value: str) -> ColumnElement[bool]:
    """Return what holds where a text starts with another."""
    return cased(column.startswith(value, autoescape=True), func.substr(column, 1, len(value)) == value)
