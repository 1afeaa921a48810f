"""What an entity looks like, column by column, and what is different between two looks at it."""

import copy
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from sqlalchemy import Column
from sqlalchemy.orm import InstanceState, Mapper
from sqlalchemy.sql import ClauseElement
from sqlalchemy.types import TypeEngine

from ligand_async.changes import PRIVATE

Snapshot = dict[str, Any]
"""The values that are known, by the name of the attribute."""

MUTABLE = (dict, list, set, bytearray)


class Columns:
    """The columns of a mapped class, by the names of their attributes.

    Attributes:
        names: All of them.
        null: Those in which a new row has NULL where nothing was set.
        private: Those whose values go nowhere.
        key: Those of the primary key, in its order.
    """

    def __init__(self, mapper: Mapper[Any]) -> None:
        found = {
            one.key: one.columns[0] for one in mapper.column_attrs if isinstance(one.columns[0], Column)
        }  # a column_property of SQL is nothing that is stored
        self.names = tuple(found)
        self.types: dict[str, TypeEngine[Any]] = {name: column.type for name, column in found.items()}
        self.private = frozenset(name for name, column in found.items() if column.info.get(PRIVATE))
        self.null = tuple(name for name, column in found.items() if is_null_unless_set(column))
        self.key = tuple(mapper.get_property_by_column(column).key for column in mapper.primary_key)

    def look(self, state: InstanceState[Any]) -> Snapshot:
        """Return what is known of an entity now."""
        values = state.dict
        return {
            name: own(values[name])
            for name in self.names
            if name in values and not isinstance(values[name], ClauseElement)
        }

    def look_back(self, state: InstanceState[Any]) -> Snapshot:
        """Return what is known of what is stored of an entity, whatever was set since."""
        known = self.look(state)
        for name in set(self.names) - state.unmodified_intersection(self.names):
            history = state.attrs[name].history
            if not history.unchanged:
                known.pop(name, None)
                if history.deleted:
                    known[name] = own(history.deleted[0])
        return known

    def look_at_new(self, state: InstanceState[Any]) -> Snapshot:
        """Return what is known of an entity that was just stored for the first time."""
        return dict.fromkeys(self.null) | self.look(state)

    def differing(self, before: Mapping[str, Any], after: Mapping[str, Any]) -> frozenset[str]:
        """Return the names of what differs between two snapshots, or is known in one of them only."""
        common = before.keys() & after.keys()
        same = {name for name in common if self.types[name].compare_values(before[name], after[name])}
        return frozenset((before.keys() | after.keys()) - same)


def is_null_unless_set(column: Column[Any]) -> bool:
    """Tell whether nobody but who makes a row gives a column its value."""
    return bool(column.nullable) and column.default is None and column.server_default is None


@lru_cache(maxsize=4096)
def columns_of(mapper: Mapper[Any]) -> Columns:
    """Return the columns of a mapped class."""
    return Columns(mapper)


def own(value: Any) -> Any:
    """Return a value that nobody changes any more."""
    return copy.deepcopy(value) if isinstance(value, MUTABLE) else value
