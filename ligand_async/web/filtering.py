"""What a list is narrowed by and sorted by: declared on the query model, applied to a statement."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Literal, TypeVar, get_args, get_origin

from pydantic import (
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema
from sqlalchemy import Enum, Select, String
from sqlalchemy.orm import QueryableAttribute
from sqlalchemy.sql import ColumnElement
from sqlalchemy.types import TypeDecorator, TypeEngine

from ligand_async.data.matching import contains_text, starts_with_text
from ligand_async.data.schemas import UnknownColumnType, column_annotation
from ligand_async.web.hints import without_none
from ligand_async.web.sorting import Sorted, sort_clauses

Operator = Literal["eq", "ne", "lt", "le", "gt", "ge", "in", "contains", "icontains", "startswith", "is_null"]

MAX_CHOICES = 100  # of one `in`

CONDITIONS: dict[str, Callable[[Any, Any], Any]] = {
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
WORDS: dict[str, str] = {
    "eq": "Only what is equal to this.",
    "ne": "Only what is not equal to this.",
    "lt": "Only what is less than this.",
    "le": "Only what is this or less.",
    "gt": "Only what is more than this.",
    "ge": "Only what is this or more.",
    "in": f"Only what is one of these, up to {MAX_CHOICES}.",
    "contains": "Only what contains this.",
    "icontains": "Only what contains this, in capitals or not.",
    "startswith": "Only what starts with this.",
    "is_null": "Only what has no value, or with `false` only what has one.",
}
OF_TEXT = frozenset({"contains", "icontains", "startswith"})

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
    operator: Operator = "eq"

    def __post_init__(self) -> None:
        if self.operator not in CONDITIONS:
            raise TypeError(f"Filter({self.column}): there is no operator {self.operator!r}; {', '.join(CONDITIONS)}")
        if self.operator in OF_TEXT and not is_text(self.column.type):
            raise TypeError(f"Filter({self.column}, {self.operator!r}) compares text, and the column holds none")

    def condition(self, value: Any) -> ColumnElement[bool]:
        """Return what holds for the rows that a value lets through."""
        condition: ColumnElement[bool] = CONDITIONS[self.operator](self.column, value)
        return condition

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Bound what is compared as its column is bounded."""
        kind, optional = without_none(source)
        kind = self.bounded(kind)
        return handler(kind | None if optional else kind)

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """Say what is compared, where the field does not."""
        described = handler(schema)
        described.setdefault("description", WORDS[self.operator])
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
            return Annotated[list[bounded_by(self.column, item)], Field(max_length=MAX_CHOICES)]  # type: ignore[misc]  # a value
        return bounded_by(self.column, kind)


def is_text(type_: TypeEngine[Any]) -> bool:
    """Tell whether a type holds text; an enumeration's members are none."""
    while isinstance(type_, TypeDecorator):
        type_ = type_.impl_instance
    return isinstance(type_, String) and not isinstance(type_, Enum)


def bounded_by(column: Any, kind: Any) -> Any:
    """Return a type with the bounds of a column, where it is the type of the column's values."""
    try:
        taken = column_annotation(column) if isinstance(column, QueryableAttribute) else None
    except UnknownColumnType:
        return kind
    bare, own = bare_type(taken), bare_type(kind)
    if bare != own and not (bare is AwareDatetime and own is datetime):
        return kind
    more = getattr(kind, "__metadata__", ())
    return Annotated[taken, *more] if more else taken


def bare_type(annotation: Any) -> Any:
    """Return an annotation's type without what is noted on it."""
    return get_args(annotation)[0] if get_origin(annotation) is Annotated else annotation


class ListParams(BaseModel):
    """What a list is narrowed and sorted by: the fields with a `Filter`, and one annotated `Sort[…]`."""

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
                elif isinstance(mark, Sorted):
                    statement = statement.order_by(*sort_clauses(statement, value))
        return statement
