"""Filters and sorting, declared on the query model of a list and applied to a statement."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Literal, TypeVar, get_args, get_origin

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError, core_schema
from sqlalchemy import Boolean, Enum, Select, String, func
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.orm import QueryableAttribute
from sqlalchemy.sql import ColumnElement
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.types import TypeDecorator, TypeEngine

from ligand_async.annotations import bare, without_none
from ligand_async.data import is_column
from ligand_async.data.schemas import UnknownColumnType, column_annotation


class _cased(FunctionElement[bool]):  # noqa: N801  (an SQL function, written as one)
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


@compiles(_cased)
def _like(element: _cased, compiler: Any, **options: Any) -> str:
    like, _ = element.clauses
    return f"({compiler.process(like, **options)})"


@compiles(_cased, "sqlite")
def _otherwise(element: _cased, compiler: Any, **options: Any) -> str:
    _, otherwise = element.clauses
    return f"({compiler.process(otherwise, **options)})"


def contains_text(column: Any, value: str) -> ColumnElement[bool]:
    """Return what holds where a text contains another."""
    return _cased(column.contains(value, autoescape=True), func.instr(column, value) > 0)


def starts_with_text(column: Any, value: str) -> ColumnElement[bool]:
    """Return what holds where a text starts with another."""
    return _cased(column.startswith(value, autoescape=True), func.substr(column, 1, len(value)) == value)


_Operator = Literal["eq", "ne", "lt", "le", "gt", "ge", "in", "contains", "icontains", "startswith", "is_null"]

_MAX_CHOICES = 100  # of one `in`

_CONDITIONS: dict[str, Callable[[Any, Any], Any]] = {
    "eq": lambda column, value: column == value,
    "ne": lambda column, value: column.is_distinct_from(value),
    "lt": lambda column, value: column < value,
    "le": lambda column, value: column <= value,
    "gt": lambda column, value: column > value,
    "ge": lambda column, value: column >= value,
    "in": lambda column, values: column.in_(values),
    "contains": contains_text,
    "icontains": lambda column, value: column.icontains(value, autoescape=True),
    "startswith": starts_with_text,
    "is_null": lambda column, is_null: column.is_(None) if is_null else column.is_not(None),
}
_WORDS: dict[str, str] = {
    "eq": "Only what is equal to this.",
    "ne": "Only what is not equal to this.",
    "lt": "Only what is less than this.",
    "le": "Only what is this or less.",
    "gt": "Only what is more than this.",
    "ge": "Only what is this or more.",
    "in": f"Only what is one of these, up to {_MAX_CHOICES}.",
    "contains": "Only what contains this.",
    "icontains": "Only what contains this, in capitals or not.",
    "startswith": "Only what starts with this.",
    "is_null": "Only what has no value, or with `false` only what has one.",
}
_OF_TEXT = frozenset({"contains", "icontains", "startswith"})

Q = TypeVar("Q", bound=Select[*tuple[Any, ...]])


@dataclass(frozen=True, slots=True, eq=False)
class Filter:
    """Let a field of a query model narrow a list: `name: Annotated[str | None, Filter(Pet.name)] = None`.

    A field that is None does nothing. Texts are compared as they are: `%` and `_` stand for themselves.

    Args:
        column: What is compared: an attribute of a model, or any expression of the statement's tables.
        operator: `eq`, `ne` (what has no value is unequal, too), `lt`, `le`, `gt`, `ge`; `in`, for a list, whose
            parameter is repeated; `contains`, `icontains` (in capitals or not), `startswith`; `is_null`, for a bool.

    Raises:
        TypeError: The operator does not suit the column or the field; when the model is defined.
    """

    column: QueryableAttribute[Any] | ColumnElement[Any]
    operator: _Operator = "eq"

    def __post_init__(self) -> None:
        if self.operator not in _CONDITIONS:
            raise TypeError(f"Filter({self.column}): there is no operator {self.operator!r}; {', '.join(_CONDITIONS)}")
        if self.operator in _OF_TEXT and not _is_text(self.column.type):
            raise TypeError(f"Filter({self.column}, {self.operator!r}) compares text, and the column holds none")

    def condition(self, value: Any) -> ColumnElement[bool]:
        """Return what holds for the rows that a value lets through."""
        condition: ColumnElement[bool] = _CONDITIONS[self.operator](self.column, value)
        return condition

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Bound what is compared as its column is bounded."""
        kind, optional = without_none(source)
        kind = self.bounded(kind)
        return handler(kind | None if optional else kind)

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """Add a description, if the field has none."""
        described = handler(schema)
        described.setdefault("description", _WORDS[self.operator])
        return described

    def bounded(self, kind: Any) -> Any:
        """Return a field's type with the bounds of the column.

        Raises:
            TypeError: The type does not suit the operator.
        """
        wanted = {"in": list, "is_null": bool}.get(self.operator)
        if wanted is not None and kind is not wanted and get_origin(kind) is not wanted:
            raise TypeError(f"Filter({self.column}, {self.operator!r}) needs a field annotated {wanted.__name__}")
        if wanted is bool:
            return kind
        if wanted is list:
            (item,) = get_args(kind) or (Any,)
            return Annotated[list[_bounded_by(self.column, item)], Field(max_length=_MAX_CHOICES)]  # type: ignore[misc]  # a value
        return _bounded_by(self.column, kind)


def _is_text(type_: TypeEngine[Any]) -> bool:
    """Return whether a type holds text; the members of an enumeration are not text."""
    while isinstance(type_, TypeDecorator):
        type_ = type_.impl_instance
    return isinstance(type_, String) and not isinstance(type_, Enum)


def _bounded_by(column: Any, kind: Any) -> Any:
    """Return a type with the bounds of a column, where it is the type of the column's values."""
    try:
        taken = column_annotation(column) if isinstance(column, QueryableAttribute) else None
    except UnknownColumnType:
        return kind
    known, own = bare(taken), bare(kind)
    if known != own and not (known is AwareDatetime and own is datetime):
        return kind
    more = getattr(kind, "__metadata__", ())
    return Annotated[taken, *more] if more else taken


class ListParams(BaseModel):
    """The filters and the sorting of a list: the fields with a `Filter`, and one annotated `Sort[…]`."""

    model_config = ConfigDict(extra="forbid")

    def apply(self, statement: Q) -> Q:
        """Narrow a statement by the filters that were sent, and sort it.

        Raises:
            SortNotPossible: The statement selects nothing of a sort's name.
        """
        for name, field in type(self).model_fields.items():
            value = getattr(self, name)
            for mark in field.metadata:
                if isinstance(mark, Filter) and value is not None:
                    statement = statement.where(mark.condition(value))
                elif isinstance(mark, _Sorted):
                    statement = statement.order_by(*_sort_clauses(statement, value))
        return statement


_DESCENDING = "-"

N = TypeVar("N", bound=str)


class SortNotPossible(TypeError):
    """A statement that cannot be sorted by a declared name; the message names it."""


@dataclass(frozen=True, slots=True)
class _Sorted:
    """Marks the field that a list is sorted by."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Take names apart that come with commas, and refuse to sort by one twice."""
        apart = core_schema.no_info_before_validator_function(_split, handler(source))
        return core_schema.no_info_after_validator_function(_refuse_repeated, apart)

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """Add a description of how names are read, if the field has none."""
        described = handler(schema)
        described.setdefault("description", "What is sorted by, in turn; `-` before a name: the largest come first.")
        return described


Sort = Annotated[tuple[N, ...], _Sorted()]
"""The type of a field that a list is sorted by: the names that may be sent, `-` before those that descend.

Each is an attribute of the entity that the statement selects, or a label of it. The parameter is repeated, or holds
names with commas between them. `sort: Sort[Literal["name", "-name"]] = ("name",)`
"""


def _split(value: Any) -> Any:
    """Take apart what was sent with commas; no name has one."""
    if isinstance(value, str):
        return value.split(",")
    if isinstance(value, list) and all(isinstance(part, str) for part in value):
        return [name for part in value for name in part.split(",")]
    return value


def _refuse_repeated(names: tuple[str, ...]) -> tuple[str, ...]:
    """Refuse a name that comes twice: the second could change nothing."""
    if len({name.removeprefix(_DESCENDING) for name in names}) < len(names):
        raise PydanticCustomError("sort_repeated", "Input should name each column once")
    return names


def _sort_clauses(statement: Select[*tuple[Any, ...]], names: Iterable[str]) -> Iterator[ColumnElement[Any]]:
    """Yield what ORDER BY says for names.

    Raises:
        SortNotPossible: The statement selects nothing of a name.
    """
    for name in names:
        column = _find_column(statement, name.removeprefix(_DESCENDING))
        yield column.desc() if name.startswith(_DESCENDING) else column.asc()


def _find_column(statement: Select[*tuple[Any, ...]], name: str) -> Any:
    """Find what a name means to a statement: a label or column of it, else an attribute of its entity."""
    descriptions = statement.column_descriptions
    for description in descriptions:
        if description["name"] == name and is_column(description["expr"]):
            return description["expr"]
    entity = descriptions[0]["entity"] if descriptions else None
    found = getattr(entity, name, None)
    if found is None or not is_column(found):
        raise SortNotPossible(
            f"sort={name!r} is declared, and the statement selects no such attribute or label; select it, or add it "
            f'with .add_columns(….label("{name}"))'
        )
    return found
