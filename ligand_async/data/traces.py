"""The trace that a flush leaves of an entity, and how the traces of several flushes become one."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

from sqlalchemy.orm import Mapper

from ligand_async.changes import Action, Change
from ligand_async.data.snapshots import Columns, Snapshot, columns_of

Key = tuple[Any, ...]


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

    action: Action
    mapper: Mapper[Any]
    found_at: Key
    key: Key
    old: Snapshot
    new: Snapshot
    changed: frozenset[str]

    @property
    def columns(self) -> Columns:
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


def merge(first: Trace, then: Trace) -> Trace | None:
    """Return what two traces of one entity come to: None where nothing has happened in the end."""
    match first.action, then.action:
        case "insert", "update":
            new = without(first.new, then.changed) | then.new
            return Trace("insert", then.mapper, then.key, then.key, {}, new, first.changed | then.changed)
        case "insert", "delete":
            return None
        case "update", "update":
            old = without(then.old, first.changed) | first.old
            new = without(first.new, then.changed) | then.new
            found = trace_update(then.mapper, old, new)
            return None if found is None else replace(found, found_at=first.found_at, key=then.key)
        case "update", "delete":
            old = without(then.old, first.changed) | first.old
            return Trace("delete", then.mapper, first.found_at, first.found_at, old, {}, then.changed)
        case "delete", "insert" if first.mapper is then.mapper:
            found = trace_update(then.mapper, first.old, then.new)
            return None if found is None else replace(found, found_at=first.found_at, key=then.key)
        case _:  # a row of another class in its place
            return then


def without(values: Snapshot, names: frozenset[str]) -> Snapshot:
    """Return a snapshot without some of its values."""
    return {name: value for name, value in values.items() if name not in names}


def merge_all(traces: Iterable[Trace]) -> list[Trace]:
    """Return one trace for each entity, in the order in which the entities were first changed."""
    merged: list[Trace | None] = []
    places: dict[tuple[type[Any], Key], int] = {}  # of each entity in the list, by where it is now
    for trace in traces:
        kind = trace.mapper.base_mapper.class_
        place = places.pop((kind, trace.found_at), len(merged))
        first = merged[place] if place < len(merged) else None
        found = trace if first is None else merge(first, trace)
        merged[place : place + 1] = [found]
        places[kind, trace.key if found is None else found.key] = place
    return [trace for trace in merged if trace is not None]
