"""Changes of entities: snapshots of a row, the difference between two, and the trace of several flushes."""

import copy
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from types import MappingProxyType
from typing import Any, Literal, Protocol

from sqlalchemy import Column
from sqlalchemy.orm import InstanceState, Mapper, Session
from sqlalchemy.sql import ClauseElement
from sqlalchemy.types import TypeEngine

PRIVATE = "private"
"""In the `info` of a column: its values go nowhere but into the database."""

_Action = Literal["insert", "update", "delete"]


@dataclass(frozen=True, slots=True)
class Change:
    """One entity that a flush, or a whole unit of work, has changed.

    Values are those of Python, by the names of the mapped attributes; a relationship shows as its foreign key. Private
    columns (`mapped_column(info={"private": True})`) are left out; an update of nothing else has no values at all.

    Attributes:
        action: What was done.
        entity_type: The name of the mapped class.
        key: The values of the primary key; after the change, where that changed it.
        old: What was there: of an update the changed columns, of a delete all. A value that was not loaded is missing.
        new: What is there: of an update the changed columns, of an insert all. A value that the database made and did
            not tell is missing.
        entity_class: The mapped class.
        table: The table of that class.
    """

    action: _Action
    entity_type: str
    key: tuple[Any, ...]
    old: Mapping[str, Any]
    new: Mapping[str, Any]
    entity_class: type[Any]
    table: str


class FlushObserver(Protocol):
    """What sees every flush of the units of work that write."""

    def observe(self, session: Session, changes: Sequence[Change]) -> None:
        """See what a flush has changed: it is sent to the database, and not committed.

        It is called in the flush itself, in the transaction of the changes and of the savepoint that they are in. It
        may execute Core statements on the session; it must not add entities or flush. What it raises rolls back.

        Args:
            session: The session that flushes, as SQLAlchemy's events have it.
            changes: What this flush did, in order: never none.
        """


Snapshot = dict[str, Any]
"""The values that are known, by the name of the attribute."""

_MUTABLE = (dict, list, set, bytearray)


class _Columns:
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
        self.null = tuple(name for name, column in found.items() if _is_null_unless_set(column))
        self.key = tuple(mapper.get_property_by_column(column).key for column in mapper.primary_key)

    def look(self, state: InstanceState[Any]) -> Snapshot:
        """Return what is known of an entity now."""
        values = state.dict
        return {
            name: _own(values[name])
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
                    known[name] = _own(history.deleted[0])
        return known

    def look_at_new(self, state: InstanceState[Any]) -> Snapshot:
        """Return what is known of an entity that was just stored for the first time."""
        return dict.fromkeys(self.null) | self.look(state)

    def differing(self, before: Mapping[str, Any], after: Mapping[str, Any]) -> frozenset[str]:
        """Return the names of what differs between two snapshots, or is known in one of them only."""
        common = before.keys() & after.keys()
        same = {name for name in common if self.types[name].compare_values(before[name], after[name])}
        return frozenset((before.keys() | after.keys()) - same)


def _is_null_unless_set(column: Column[Any]) -> bool:
    """Tell whether nobody but who makes a row gives a column its value."""
    return bool(column.nullable) and column.default is None and column.server_default is None


@lru_cache(maxsize=4096)
def columns_of(mapper: Mapper[Any]) -> _Columns:
    """Return the columns of a mapped class."""
    return _Columns(mapper)


def _own(value: Any) -> Any:
    """Return a value that nobody changes any more."""
    return copy.deepcopy(value) if isinstance(value, _MUTABLE) else value


_Key = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Trace:
    """What was done to one entity; unlike a `Change` it knows of private columns, so that it can be merged.

    Attributes:
        action: What was done.
        mapper: That of the entity's class.
        found_at: The primary key under which the entity was before.
        key: The one under which it is now.
        old: What was there and is known: of an update the changed columns, of a delete all.
        new: What is there and is known: of an update the changed columns, of an insert all.
        changed: The names of the changed columns.
    """

    action: _Action
    mapper: Mapper[Any]
    found_at: _Key
    key: _Key
    old: Snapshot
    new: Snapshot
    changed: frozenset[str]

    @property
    def columns(self) -> _Columns:
        """The columns of the entity's class."""
        return columns_of(self.mapper)

    def change(self) -> Change:
        """Return what others may see of it."""
        return Change(
            action=self.action,
            entity_type=self.mapper.class_.__name__,
            key=self.key,
            old=self._public(self.old),
            new=self._public(self.new),
            entity_class=self.mapper.class_,
            table=str(getattr(self.mapper.local_table, "name", self.mapper.local_table)),
        )

    def _public(self, values: Snapshot) -> Mapping[str, Any]:
        private = self.columns.private
        return MappingProxyType({name: value for name, value in values.items() if name not in private})


def trace_update(mapper: Mapper[Any], before: Snapshot, after: Snapshot) -> Trace | None:
    """Return the trace of an entity that is stored before and after, or None where nothing of it has changed.

    Args:
        mapper: That of its class.
        before: What was there, as far as it is known.
        after: What is there, as far as it is known; a value that is known on one side only is a change.
    """
    columns = columns_of(mapper)
    changed = columns.differing(before, after)
    if not changed:
        return None
    key = tuple(after.get(name, before.get(name)) for name in columns.key)
    found_at = tuple(before.get(name, after.get(name)) for name in columns.key)
    old, new = (({name: values[name] for name in values if name in changed}) for values in (before, after))
    return Trace("update", mapper, found_at, key, old, new, changed)


def _merge(first: Trace, then: Trace) -> Trace | None:
    """Return what two traces of one entity come to: None where nothing has happened in the end."""
    match first.action, then.action:
        case "insert", "update":
            new = _without(first.new, then.changed) | then.new
            return Trace("insert", then.mapper, then.key, then.key, {}, new, first.changed | then.changed)
        case "insert", "delete":
            return None
        case "update", "update":
            old = _without(then.old, first.changed) | first.old
            new = _without(first.new, then.changed) | then.new
            found = trace_update(then.mapper, old, new)
            return None if found is None else replace(found, found_at=first.found_at, key=then.key)
        case "update", "delete":
            old = _without(then.old, first.changed) | first.old
            return Trace("delete", then.mapper, first.found_at, first.found_at, old, {}, then.changed)
        case "delete", "insert" if first.mapper is then.mapper:
            found = trace_update(then.mapper, first.old, then.new)
            return None if found is None else replace(found, found_at=first.found_at, key=then.key)
        case _:  # a row of another class in its place
            return then


def _without(values: Snapshot, names: frozenset[str]) -> Snapshot:
    """Return a snapshot without some of its values."""
    return {name: value for name, value in values.items() if name not in names}


def merge_all(traces: Iterable[Trace]) -> list[Trace]:
    """Return one trace for each entity, in the order in which the entities were first changed."""
    merged: list[Trace | None] = []
    places: dict[tuple[type[Any], _Key], int] = {}  # of each entity in the list, by where it is now
    for trace in traces:
        kind = trace.mapper.base_mapper.class_
        place = places.pop((kind, trace.found_at), len(merged))
        first = merged[place] if place < len(merged) else None
        found = trace if first is None else _merge(first, trace)
        merged[place : place + 1] = [found]
        places[kind, trace.key if found is None else found.key] = place
    return [trace for trace in merged if trace is not None]
