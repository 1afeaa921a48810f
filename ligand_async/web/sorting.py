"""What a list may be sorted by: `Sort[Literal["name", "-name"]]`."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError, core_schema
from sqlalchemy import Select
from sqlalchemy.sql import ColumnElement

from ligand_async.data.reading import is_column

DESCENDING = "-"

N = TypeVar("N", bound=str)


class SortNotPossible(TypeError):
    """A statement that cannot be sorted by a declared name; the message names it."""


@dataclass(frozen=True, slots=True)
class Sorted:
    """Marks the field that a list is sorted by."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Take names apart that come with commas, and refuse to sort by one twice."""
        apart = core_schema.no_info_before_validator_function(split, handler(source))
        return core_schema.no_info_after_validator_function(refuse_repeated, apart)

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """Say how names are read, where the field does not say it otherwise."""
        described = handler(schema)
        described.setdefault("description", "What is sorted by, in turn; `-` before a name: the largest come first.")
        return described


Sort = Annotated[tuple[N, ...], Sorted()]
"""The type of a field that a list is sorted by: the names that may be sent, `-` before those that descend.

Each is an attribute of the entity that the statement selects, or a label of it. The parameter is repeated, or holds
names with commas between them. `sort: Sort[Literal["name", "-name"]] = ("name",)`
"""


def split(value: Any) -> Any:
    """Take apart what was sent with commas; no name has one."""
    if isinstance(value, str):
        return value.split(",")
    if isinstance(value, list) and all(isinstance(part, str) for part in value):
        return [name for part in value for name in part.split(",")]
    return value


def refuse_repeated(names: tuple[str, ...]) -> tuple[str, ...]:
    """Refuse a name that comes twice: the second could change nothing."""
    if len({name.removeprefix(DESCENDING) for name in names}) < len(names):
        raise PydanticCustomError("sort_repeated", "Input should name each column once")
    return names


def sort_clauses(statement: Select[*tuple[Any, ...]], names: Iterable[str]) -> Iterator[ColumnElement[Any]]:
    """Yield what ORDER BY says for names.

    Raises:
        SortNotPossible: The statement selects nothing of a name.
    """
    for name in names:
        column = find_column(statement, name.removeprefix(DESCENDING))
        yield column.desc() if name.startswith(DESCENDING) else column.asc()


def find_column(statement: Select[*tuple[Any, ...]], name: str) -> Any:
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
