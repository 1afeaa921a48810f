"""What of an entity the trail may hold: all of it, or what the columns' marks leave."""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Literal

from sqlalchemy import Column, Table
from sqlalchemy.orm import Mapper

from ligand_async.changes import PRIVATE

MARK = "audit"
"""In the `info` of a column or table: False leaves it out; of a column `"redacted"` hides its values."""

REDACTED = "[redacted]"

Hidden = Literal["private", "left out", "redacted"]


@lru_cache(maxsize=4096)
def hidden_columns(mapper: Mapper[Any]) -> Mapping[str, Hidden]:
    """Return the attributes whose values the trail does not hold, and why.

    Raises:
        ValueError: A mark says something else.
    """
    found: dict[str, Hidden] = {}
    for attribute in mapper.column_attrs:
        column = attribute.columns[0]
        if not isinstance(column, Column):
            continue
        mark = column.info.get(MARK, True)
        if mark not in (True, False, "redacted"):
            raise ValueError(f'{mapper.class_.__name__}.{attribute.key}: info={{"audit": …}} is False or "redacted"')
        if column.info.get(PRIVATE):
            found[attribute.key] = "private"
        elif mark is not True:
            found[attribute.key] = "redacted" if mark == "redacted" else "left out"
    return found


def is_audited(mapper: Mapper[Any]) -> bool:
    """Tell whether the trail is of a class."""
    table = mapper.local_table
    return not isinstance(table, Table) or table.info.get(MARK, True) is not False


def redact(values: Mapping[str, Any], hidden: Mapping[str, Hidden]) -> dict[str, Any]:
    """Return what the trail may hold of some values."""
    shown = {}
    for name, value in values.items():
        match hidden.get(name):
            case None:
                shown[name] = value
            case "redacted":
                shown[name] = None if value is None else REDACTED
    return shown
