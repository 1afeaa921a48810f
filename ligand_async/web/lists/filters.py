"""Filters and sorting, declared on the query model of a list and applied to a statement."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from math import inf
from typing import Annotated, Any, Literal, TypeVar, get_args, get_origin

from annotated_types import MaxLen
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError, core_schema
from sqlalchemy import Boolean, Enum, Select, String, and_, func, or_
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.orm import QueryableAttribute, RelationshipProperty
from sqlalchemy.sql import ColumnElement, FromClause
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.types import TypeDecorator, TypeEngine

from ligand_async.annotations import bare, metadata_of, without_none
from ligand_async.data import is_column
from ligand_async.data.schemas import UnknownColumnType, column_annotation
from ligand_async.web.lists.order import find_unread


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
# Of a single column of the list's own, and of columns that are named.
_WORDS: dict[str, tuple[str, str]] = {
    "eq": ("is equal to this", "has this in {names}"),
    "ne": ("is not equal to this", "does not have this in {names}"),
    "lt": ("is less than this", "has less than this in {names}"),
    "le": ("is this or less", "has this or less in {names}"),
    "gt": ("is more than this", "has more than this in {names}"),
    "ge": ("is this or more", "has this or more in {names}"),
    "in": (f"is one of these, up to {_MAX_CHOICES}", f"has one of these, up to {_MAX_CHOICES}, in {{names}}"),
    "contains": ("contains this", "contains this in {names}"),
    "icontains": ("contains this, in capitals or not", "contains this, in capitals or not, in {names}"),
    "startswith": ("starts with this", "starts with this in {names}"),
    "is_null": (
        "has no value, or with `false` only what has one",
        "has no value in {names}, or with `false` only what has one",
    ),
}
_OF_TEXT = frozenset({"contains", "icontains", "startswith"})

_Column = QueryableAttribute[Any] | ColumnElement[Any]
_Relationship = QueryableAttribute[Any]
Q = TypeVar("Q", bound=Select[*tuple[Any, ...]])


class FilterNotPossible(TypeError):
    """A filter that its statement or its relationships do not allow; the message names it and what to write."""


@dataclass(frozen=True, slots=True, eq=False)
class Filter:
    """Let a field of a query model narrow a list: `name: Annotated[str | None, Filter(Pet.name)] = None`.

    A field that is None does nothing. Texts are compared as they are: `%` and `_` stand for themselves.

    Of several columns, and of several related rows, one that fits is enough. `ne` and `is_null` are the opposite of
    `eq` and of having a value: they keep a row if no column and no related row fits, so also if there is none. Two
    filters along the same relationship may be met by different related rows.

    `one | other` keeps the rows that either keeps.

    Args:
        column: What is compared: an attribute of a model, any expression of the statement's tables, or several of
            them whose values have the same type.
        operator: `eq`, `ne` (what has no value is unequal, too), `lt`, `le`, `gt`, `ge`; `in`, for a list, whose
            parameter is repeated; `contains`, `icontains` (in capitals or not), `startswith`; `is_null`, for a bool.
        via: The relationship that leads from the list's entity to the columns, or several, one after the other:
            `Filter(Tag.name, via=Post.tags)`. It becomes EXISTS, so no row is repeated.

    Raises:
        TypeError: The operator does not suit a column or the field, the values of the columns have different types, or
            `via` is not a relationship; when the model is defined.
    """

    column: _Column | Sequence[_Column]
    operator: _Operator = "eq"
    via: _Relationship | Sequence[_Relationship] = field(default=(), kw_only=True)

    def __post_init__(self) -> None:
        if self.operator not in _CONDITIONS:
            raise TypeError(f"{self}: there is no operator {self.operator!r}; {', '.join(_CONDITIONS)}")
        if not self.columns:
            raise TypeError("Filter([]) compares nothing; name a column")
        for step in self.steps:
            if not _is_relationship(step):
                raise TypeError(f"{self}: via={step} is not a relationship; write it as via=Post.tags")
        for column in self.columns:
            if not is_column(column) or _is_relationship(column):
                raise TypeError(f"{self}: {column} is not a column; name one, and the way to it by via=")
            if self.operator in _OF_TEXT and not _is_text(column.type):
                raise TypeError(f"{self} compares text, and {column} holds none")

    def __str__(self) -> str:
        names = [str(column) for column in self.columns]
        written = [f"[{', '.join(names)}]" if len(names) > 1 else "".join(names)]
        written += [] if self.operator == "eq" else [repr(self.operator)]
        steps = [str(step) for step in self.steps]
        written += [f"via={steps[0]}" if len(steps) == 1 else f"via=({', '.join(steps)})"] if steps else []
        return f"Filter({', '.join(written)})"

    def __or__(self, other: "Filter | _EitherFilter") -> "_EitherFilter":
        """Keep the rows that either filter keeps."""
        return _EitherFilter((self, *(other.filters if isinstance(other, _EitherFilter) else (other,))))

    @property
    def columns(self) -> tuple[_Column, ...]:
        """The columns, one at least."""
        return _as_tuple(self.column)

    @property
    def steps(self) -> tuple[_Relationship, ...]:
        """The relationships on the way to the columns, none if they are the statement's own."""
        return _as_tuple(self.via)

    @property
    def filters(self) -> "tuple[Filter, ...]":
        """The filter itself, as `one | other` has several."""
        return (self,)

    def condition(self, value: Any) -> ColumnElement[bool]:
        """Return what holds for the rows that a value lets through."""
        operator, is_opposite = self.operator, False
        if self.steps and operator == "ne":
            operator, is_opposite = "eq", True
        elif self.steps and operator == "is_null":
            value, is_opposite = False, value
        compare = _CONDITIONS[operator]
        each = [compare(column, value) for column in self.columns]
        is_of_all = operator == "ne" or (operator == "is_null" and value)
        found: ColumnElement[bool] = each[0] if len(each) == 1 else (and_ if is_of_all else or_)(*each)
        for step in reversed(self.steps):
            found = step.any(found) if step.property.uselist else step.has(found)
        return ~found if is_opposite else found

    def check_way(self) -> None:
        """Refuse relationships that do not lead to the columns. The models must be complete.

        Raises:
            FilterNotPossible: They do not.
        """
        target: Any = None
        for step in self.steps:
            if target is not None and not _is_attribute_of(step, target):
                raise FilterNotPossible(f"{self}: {step} does not begin at {_name_of(target)}, as it must here")
            target = step.entity
        for column in self.columns if self.steps else ():
            if not _is_attribute_of(column, target):
                raise FilterNotPossible(f"{self}: {column} is not an attribute of {_name_of(target)}, where via= ends")

    def check_statement(self, statement: Select[Any], name: str) -> None:
        """Refuse a statement that does not select from what is compared: it would repeat all of its rows.

        Args:
            statement: The statement.
            name: The field, for the message.

        Raises:
            FilterNotPossible: It does not.
        """
        self.check_way()
        if self.steps:
            compared = _tables_at(self.steps[0])
        else:
            compared = [table for column in self.columns for table in column._from_objects]
        missing = find_unread(statement, compared)
        if missing is None:
            return
        if self.steps:
            remedy = f"select from {_name_of(self.steps[0].parent)}"
        else:
            remedy = "join it, or name the relationship to it, as in Filter(Tag.name, via=Post.tags)"
        raise FilterNotPossible(f"{name}: {self} needs {missing}, which the statement does not select from; {remedy}")

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Bound what is compared as its column is bounded."""
        return _bound_schema(self, source, handler)

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """Add a description, if the field has none."""
        return _describe_schema(self, schema, handler)


@dataclass(frozen=True, slots=True, eq=False)
class _EitherFilter:
    """Filters of which one is enough, as `Filter(…) | Filter(…)` makes them."""

    filters: tuple[Filter, ...]

    def __post_init__(self) -> None:
        if len({_SHAPES.get(one.operator) for one in self.filters}) > 1:
            raise TypeError(f"{self}: the operators take values of different forms, such as one and a list")

    def __str__(self) -> str:
        return " | ".join(map(str, self.filters))

    def __or__(self, other: "Filter | _EitherFilter") -> "_EitherFilter":
        return _EitherFilter((*self.filters, *other.filters))

    def condition(self, value: Any) -> ColumnElement[bool]:
        """Return what holds for the rows that a value lets through."""
        return or_(*(one.condition(value) for one in self.filters))

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return _bound_schema(self, source, handler)

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return _describe_schema(self, schema, handler)


def _as_tuple(named: Any) -> tuple[Any, ...]:
    return tuple(named) if isinstance(named, list | tuple) else (named,)


def _tables_at(step: _Relationship) -> list[FromClause]:
    """Return the tables that a relationship begins at."""
    if step.parent.is_aliased_class:
        return [step.parent.selectable]
    return [column.table for column in step.property.local_columns]


def _is_relationship(attribute: Any) -> bool:
    # By `prop`: `property` would complete the models, of which some may not have been defined yet.
    return isinstance(attribute, QueryableAttribute) and isinstance(attribute.prop, RelationshipProperty)


def _is_attribute_of(attribute: Any, target: Any) -> bool:
    """Return whether an attribute, or an expression, is of an entity: its class, one of its parents, or its alias."""
    if not isinstance(attribute, QueryableAttribute):
        tables = {hash(table) for table in target.selectable._from_objects}
        return all(hash(table) in tables for table in attribute._from_objects)
    parent = attribute.parent
    return parent is target or (target.is_mapper and parent.is_mapper and target.isa(parent))


def _name_of(entity: Any) -> str:
    return str(entity.mapper.class_.__name__)


_SHAPES: dict[str, type] = {"in": list, "is_null": bool}  # of a field, where it is not that of the column


def _bound_schema(mark: "Filter | _EitherFilter", source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
    kind, optional = without_none(source)
    kind = _bounded(mark, kind)
    return handler(kind | None if optional else kind)


def _bounded(mark: "Filter | _EitherFilter", kind: Any) -> Any:
    """Return a field's type with the bounds of the columns.

    Raises:
        TypeError: The type does not suit the operator.
    """
    shape = _SHAPES.get(mark.filters[0].operator)
    if shape is not None and kind is not shape and get_origin(kind) is not shape:
        raise TypeError(f"{mark} needs a field annotated {shape.__name__}")
    if shape is bool:
        return kind
    columns = [column for one in mark.filters for column in one.columns]
    if shape is list:
        (item,) = get_args(kind) or (Any,)
        return Annotated[list[_bounded_by(mark, columns, item)], Field(max_length=_MAX_CHOICES)]  # type: ignore[misc]  # a value
    return _bounded_by(mark, columns, kind)


def _describe_schema(
    mark: "Filter | _EitherFilter", schema: CoreSchema, handler: GetJsonSchemaHandler
) -> JsonSchemaValue:
    """Add a description, if the field has none."""
    described = handler(schema)
    described.setdefault("description", f"Only {', or '.join(_words_of(mark.filters))}.")
    return described


def _words_of(filters: Sequence[Filter]) -> Iterator[str]:
    """Yield what filters keep, in words, with the names of columns if there are several or a way to them."""
    is_single = len(filters) == 1 and not filters[0].steps and len(filters[0].columns) == 1
    for operator in dict.fromkeys(one.operator for one in filters):
        own, named = _WORDS[operator]
        columns = [(one.steps, column) for one in filters if one.operator == operator for column in one.columns]
        if is_single or not all(isinstance(column, QueryableAttribute) for _, column in columns):
            yield f"what {own}"
        else:
            names = ["`" + ".".join(str(step.key) for step in (*steps, column)) + "`" for steps, column in columns]
            yield f"what {named.format(names=' or '.join(names))}"


def _is_text(type_: TypeEngine[Any]) -> bool:
    """Return whether a type holds text; the members of an enumeration are not text."""
    while isinstance(type_, TypeDecorator):
        type_ = type_.impl_instance
    return isinstance(type_, String) and not isinstance(type_, Enum)


def _bounded_by(mark: Any, columns: Sequence[_Column], kind: Any) -> Any:
    """Return a type with the bounds of columns, where it is the type of their values.

    Raises:
        TypeError: The values of the columns have different types, or different bounds.
    """
    known = [_known_type(column) for column in columns]
    first = known[0]
    if len(columns) > 1 and all(_is_text(column.type) for column in columns):
        # A longer text than one column can hold is not an error: another column may hold it.
        first = max(known, key=_length_of)
    elif any(other != first for other in known):
        raise TypeError(
            f"{mark} compares one value with columns of different types or sizes; declare a field for each of them"
        )
    return kind if first is None else _narrowed(first, kind)


def _known_type(column: _Column) -> Any:
    """Return the annotated type of a column's values, or None if it is not known."""
    try:
        return column_annotation(column) if isinstance(column, QueryableAttribute) else None
    except UnknownColumnType:
        return None


def _length_of(known: Any) -> float:
    """Return how long the texts of a column may be."""
    bounds = (getattr(bound, "metadata", ()) for bound in metadata_of(known))
    lengths = [one.max_length for bound in bounds for one in bound if isinstance(one, MaxLen)]
    return min(lengths, default=inf)


def _narrowed(taken: Any, kind: Any) -> Any:
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
            FilterNotPossible: The statement does not select from what a filter that was sent compares.
            SortNotPossible: The statement selects nothing of a sort's name, or does not select from its table.
        """
        narrowed = statement
        for name, declared in type(self).model_fields.items():
            value = getattr(self, name)
            for mark in declared.metadata:
                if isinstance(mark, Filter | _EitherFilter) and value is not None:
                    for one in mark.filters:
                        one.check_statement(statement, f"{type(self).__name__}.{name}")
                    narrowed = narrowed.where(mark.condition(value))
                elif isinstance(mark, _Sorted):
                    narrowed = narrowed.order_by(*_sort_clauses(statement, value))
        return narrowed


def find_filter_mistakes(model: type[BaseModel]) -> Iterator[str]:
    """Yield the mistakes of a query model that show once all entities are defined: a `via` that does not lead on."""
    for name, declared in model.model_fields.items():
        for mark in declared.metadata:
            for one in mark.filters if isinstance(mark, Filter | _EitherFilter) else ():
                try:
                    one.check_way()
                except FilterNotPossible as error:
                    yield f"{model.__name__}.{name}: {error}"


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
        SortNotPossible: The statement selects nothing of a name, or does not select from its table.
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
    missing = find_unread(statement, found._from_objects)
    if missing is not None:
        raise SortNotPossible(
            f"sort={name!r} is a column of {missing}, which the statement does not select from; join it"
        )
    return found
