"""What a statement selects for a schema: an entity, an entity with labels beside it, or columns."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from pydantic import BaseModel
from sqlalchemy import Row, Select
from sqlalchemy.orm import QueryableAttribute
from sqlalchemy.orm.strategy_options import _AbstractLoad  # what Load.options() takes; it has no public name
from sqlalchemy.sql import ColumnElement

from ligand_async.data.into import IntoNotPossible, build, check_shape, names_read, project

S = TypeVar("S", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Selection(Generic[S]):
    """A statement that selects what a schema needs and no more.

    Attributes:
        rows: The statement as it was, without what it says about loading.
        statement: What is to be read; columns may be added to it.
        named: What the statement selected by name, before it was narrowed.
        entities: Whether its first column is an entity.
        build: Makes the schema of a row.
    """

    rows: Select[Any]
    statement: Select[Any]
    named: dict[str, Any]
    entities: bool
    build: Callable[[Row[Any]], S]


class Labelled:
    """An entity, and what was selected beside it."""

    def __init__(self, entity: Any, row: Row[Any], labels: frozenset[str]) -> None:
        self._entity = entity
        self._row = row
        self._labels = labels

    def __getattr__(self, name: str) -> Any:
        return getattr(self._row if name in self._labels else self._entity, name)


def select_into(statement: Select[Any], schema: type[S]) -> Selection[S]:
    """Narrow any select to the fields of a schema.

    Raises:
        IntoNotPossible: The statement has DISTINCT or GROUP BY, selects two entities or an alias, or lacks a field.
    """
    check_shape(statement, schema)
    statement = without_loading(statement)
    first, *others = statement.column_descriptions
    if is_column(first["expr"]):
        return select_columns(statement, schema)
    if not all(is_column(other["expr"]) for other in others):
        raise IntoNotPossible(f"into={schema.__name__} needs a select() of exactly one entity, and of named columns")
    named = {other["name"]: other["expr"] for other in others}
    alone = statement.with_only_columns(first["expr"], maintain_column_froms=True) if others else statement
    projection = project(alone, schema, besides=named.keys())
    read, _ = names_read(named, schema)
    narrowed = projection.statement.add_columns(*(named[name] for name in read))
    labels = frozenset(read)

    def build_row(row: Row[Any]) -> S:
        if not projection.entities:
            return build(schema, row)
        return build(schema, Labelled(row[0], row, labels) if labels else row[0])

    return Selection(statement, narrowed, named, projection.entities, build_row)


def select_columns(statement: Select[Any], schema: type[S]) -> Selection[S]:
    """Narrow a select of columns.

    Raises:
        IntoNotPossible: It lacks a field.
    """
    named = {column["name"]: column["expr"] for column in statement.column_descriptions}
    read, missing = names_read(named, schema)
    if missing:
        raise IntoNotPossible(
            f"{schema.__name__} has fields that the statement does not select: {', '.join(sorted(missing))}; "
            'select them, by .label("…") where they are called otherwise'
        )
    narrowed = statement.with_only_columns(*(named[name] for name in read), maintain_column_froms=True)
    return Selection(statement, narrowed, named, False, lambda row: build(schema, row))


def without_loading(statement: Select[Any]) -> Select[Any]:
    """Drop what a statement says about loading attributes: the schema says it, and rows of columns have none."""
    # SQLAlchemy 2.1 has no public way to take an option back. Others, such as with_loader_criteria(), stay.
    kept = tuple(option for option in statement._with_options if not isinstance(option, _AbstractLoad))
    if len(kept) == len(statement._with_options):
        return statement
    copy = statement.options()
    copy._with_options = kept
    return copy


def is_column(selected: Any) -> bool:
    """Tell whether what is selected is a value of each row, and no entity."""
    return isinstance(selected, ColumnElement | QueryableAttribute)
