"""Changes of entities: what the flushes of a session do, collected for observers and by unit of work.

A flush leaves a `Trace` for each entity; the traces of one entity are merged; a `Change` is the part of a trace that
others may see.
"""

import copy
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from types import MappingProxyType
from typing import Any, Literal, Protocol
from weakref import WeakKeyDictionary

from quart import Quart
from sqlalchemy import Column, event
from sqlalchemy.orm import InstanceState, Mapper, Session, SessionTransaction
from sqlalchemy.sql import ClauseElement
from sqlalchemy.types import TypeEngine

from ligand_async.context import state_of

PRIVATE = "private"
"""In the `info` of a column: its values are in no `Change`, no signal and no audit event."""

_Action = Literal["insert", "update", "delete"]


@dataclass(frozen=True, slots=True)
class Change:
    """One entity that a flush, or a whole unit of work, has changed.

    Values are those of Python, by the names of the mapped attributes; a relationship shows as its foreign key. Private
    columns (`mapped_column(info={"private": True})`) are left out; an update of nothing else has no values at all.

    Attributes:
        action: `insert`, `update` or `delete`.
        entity_type: The name of the mapped class.
        key: The values of the primary key; after the change, where that changed it.
        old: The values before: of an update the changed columns, of a delete all. A value that was not loaded is
            missing.
        new: The values after: of an update the changed columns, of an insert all. A value that the database made and
            that was not read back is missing.
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
    """Observes every flush of the units of work that write."""

    def observe(self, session: Session, changes: Sequence[Change]) -> None:
        """Observe the changes of one flush, which are sent to the database and not yet committed.

        It is called in the flush itself, in the transaction of the changes and of the savepoint that they are in. It
        may execute Core statements on the session; it must not add entities or flush. What it raises rolls back.

        Args:
            session: The session that flushes, as SQLAlchemy's events have it.
            changes: The changes of this flush, in order; at least one.
        """


_WATCHER = "ligand_flush_watcher"  # in the `info` of a session
_LOG = "ligand_change_log"  # the same


class _Observers(list[FlushObserver]):
    """The observers of one app."""


def observe_flushes(app: Quart, observer: FlushObserver) -> None:
    """Call an observer in every flush of the units of work that write, from the next unit on."""
    state_of(app).get_or_make(_Observers).append(observer)


def observers_of(app: Quart) -> tuple[FlushObserver, ...]:
    """Return the observers of the flushes of an app."""
    return tuple(state_of(app).find(_Observers) or ())


def watch_session(session: Session, observers: Sequence[FlushObserver], *, logs: bool) -> "ChangeLog | None":
    """Watch the flushes of a session, if there are observers or a log is wanted; collect nothing otherwise.

    Args:
        session: The session of a unit of work, or another whose flushes count.
        observers: Called in each flush, in this order.
        logs: Whether to keep a log of all changes.

    Returns:
        The log, if one is kept.
    """
    log = None
    if logs:
        log = session.info[_LOG] = ChangeLog()

    def report(session: Session, traces: Sequence[Trace]) -> None:
        if log is not None:
            log.add(traces)
        if observers:
            changes = tuple(trace.change() for trace in traces)
            for observer in observers:
                observer.observe(session, changes)

    if observers or log is not None:
        session.info[_WATCHER] = _FlushWatcher(report)
    return log


Snapshot = dict[str, Any]
"""The known values of a row, by the name of the attribute."""

_MUTABLE = (dict, list, set, bytearray)


class _Columns:
    """The columns of a mapped class, by the names of their attributes.

    Attributes:
        names: All of them.
        null: The columns in which a new row has NULL unless a value is set.
        private: The private columns.
        key: The columns of the primary key, in its order.
    """

    def __init__(self, mapper: Mapper[Any]) -> None:
        found = {
            one.key: one.columns[0] for one in mapper.column_attrs if isinstance(one.columns[0], Column)
        }  # a column_property of SQL is not stored
        self.names = tuple(found)
        self.types: dict[str, TypeEngine[Any]] = {name: column.type for name, column in found.items()}
        self.private = frozenset(name for name, column in found.items() if column.info.get(PRIVATE))
        self.null = tuple(name for name, column in found.items() if _is_null_unless_set(column))
        self.key = tuple(mapper.get_property_by_column(column).key for column in mapper.primary_key)

    def look(self, state: InstanceState[Any]) -> Snapshot:
        """Return the values of an entity now, as far as they are known."""
        values = state.dict
        return {
            name: _own(values[name])
            for name in self.names
            if name in values and not isinstance(values[name], ClauseElement)
        }

    def look_back(self, state: InstanceState[Any]) -> Snapshot:
        """Return the stored values of an entity, as far as they are known, whatever was set since."""
        known = self.look(state)
        for name in set(self.names) - state.unmodified_intersection(self.names):
            history = state.attrs[name].history
            if not history.unchanged:
                known.pop(name, None)
                if history.deleted:
                    known[name] = _own(history.deleted[0])
        return known

    def look_at_new(self, state: InstanceState[Any]) -> Snapshot:
        """Return the values of an entity that was just inserted, as far as they are known."""
        return dict.fromkeys(self.null) | self.look(state)

    def differing(self, before: Mapping[str, Any], after: Mapping[str, Any]) -> frozenset[str]:
        """Return the names of the values that differ between two snapshots, or are known in one of them only."""
        common = before.keys() & after.keys()
        same = {name for name in common if self.types[name].compare_values(before[name], after[name])}
        return frozenset((before.keys() | after.keys()) - same)


def _is_null_unless_set(column: Column[Any]) -> bool:
    return bool(column.nullable) and column.default is None and column.server_default is None


@lru_cache(maxsize=4096)
def columns_of(mapper: Mapper[Any]) -> _Columns:
    """Return the columns of a mapped class."""
    return _Columns(mapper)


def _own(value: Any) -> Any:
    return copy.deepcopy(value) if isinstance(value, _MUTABLE) else value


_Key = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Trace:
    """One flush's change of one entity, with private columns, so that traces can be merged.

    Attributes:
        action: `insert`, `update` or `delete`.
        mapper: The mapper of the entity's class.
        found_at: The primary key before.
        key: The primary key after.
        old: The known values before: of an update the changed columns, of a delete all.
        new: The known values after: of an update the changed columns, of an insert all.
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
        """Return the part that others may see."""
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
    """Return the trace of an entity that is stored before and after, or None if nothing of it has changed.

    Args:
        mapper: The mapper of its class.
        before: The known values before.
        after: The known values after; a value that is known on one side only is a change.
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
    # None if the second undoes the first.
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


class ChangeLog:
    """The traces that the flushes of one session left."""

    def __init__(self) -> None:
        self._traces: list[Trace] = []
        self._lost: list[Trace] = []
        self._shown = 0
        self._savepoints: WeakKeyDictionary[SessionTransaction, int] = WeakKeyDictionary()

    @property
    def is_fresh(self) -> bool:
        """Whether there are changes that `take_fresh` has not returned yet."""
        return len(self._traces) > self._shown

    def add(self, traces: Sequence[Trace]) -> None:
        """Add the traces of one flush."""
        self._traces += traces

    def take_fresh(self) -> tuple[Change, ...]:
        """Return the changes since the last call."""
        fresh, self._shown = self._traces[self._shown :], len(self._traces)
        return _changes_of(fresh)

    def kept(self) -> tuple[Change, ...]:
        """Return the changes that the last commit has made durable."""
        return _changes_of(self._traces)

    def lost(self) -> tuple[Change, ...]:
        """Return the changes that a rollback of the whole transaction has undone."""
        return _changes_of([*self._lost, *self._traces])

    def begin(self, transaction: SessionTransaction) -> None:
        """Remember the place in the log where a savepoint begins."""
        if transaction.nested:
            self._savepoints[transaction] = len(self._traces)

    def roll_back(self, transaction: SessionTransaction) -> None:
        """Drop the traces that a savepoint has undone; set those of the transaction itself aside as lost."""
        if transaction.nested:
            del self._traces[self._savepoints.pop(transaction) :]
        elif transaction.parent is None:
            self._lost += self._traces
            self._traces.clear()
        self._shown = min(self._shown, len(self._traces))


class _FlushWatcher:
    """Watches the flushes of one session.

    It sees what the ORM does with entities. It does not see statements, work of the database itself (`ON DELETE
    CASCADE`, triggers), or the rows of a `secondary` table, which belong to no entity.

    Args:
        report: Called at the end of each flush that changed something, in the flush.
    """

    def __init__(self, report: Callable[[Session, Sequence[Trace]], None]) -> None:
        self._report = report
        self._begun: dict[InstanceState[Any], Snapshot | None] = {}  # a new row has nothing before
        self._deleted: list[InstanceState[Any]] = []

    def begin(self) -> None:
        # The last flush may have failed half way.
        self._begun.clear()
        self._deleted.clear()

    def begin_insert(self, state: InstanceState[Any]) -> None:
        self._begun[state] = None

    def begin_update(self, state: InstanceState[Any]) -> None:
        # Now, and not after the flush: counting the version leaves no history on the entity.
        if state not in self._begun:
            self._begun[state] = columns_of(state.mapper).look_back(state)

    def see_delete(self, state: InstanceState[Any]) -> None:
        self._deleted.append(state)

    def end(self, session: Session) -> None:
        traces = list(self._traces())
        self.begin()
        if traces:
            self._report(session, traces)

    def _traces(self) -> Iterator[Trace]:
        for state, before in self._begun.items():
            columns = columns_of(state.mapper)
            if before is None:
                new = columns.look_at_new(state)
                key = tuple(new[name] for name in columns.key)
                yield Trace("insert", state.mapper, key, key, {}, new, frozenset(new))
            elif (trace := trace_update(state.mapper, before, columns.look(state))) is not None:
                yield trace
        for state in self._deleted:
            old = columns_of(state.mapper).look_back(state)
            key = tuple(state.identity or ())
            yield Trace("delete", state.mapper, key, key, old, {}, frozenset(old))


def watcher_of(session: Session | None) -> _FlushWatcher | None:
    """Return the watcher of a session, or None if its flushes are not watched."""
    watcher = session.info.get(_WATCHER) if session is not None else None
    return watcher if isinstance(watcher, _FlushWatcher) else None


@event.listens_for(Session, "before_flush")
def _begin_flush(session: Session, *_rest: Any) -> None:
    if (watcher := watcher_of(session)) is not None:
        watcher.begin()


@event.listens_for(Session, "after_flush")
def _end_flush(session: Session, _context: Any) -> None:
    if (watcher := watcher_of(session)) is not None:
        watcher.end(session)


@event.listens_for(Mapper, "before_insert", raw=True)
def _begin_insert(_mapper: Any, _connection: Any, state: InstanceState[Any]) -> None:
    if (watcher := watcher_of(state.session)) is not None:
        watcher.begin_insert(state)


@event.listens_for(Mapper, "before_update", raw=True)
def _begin_update(_mapper: Any, _connection: Any, state: InstanceState[Any]) -> None:
    if (watcher := watcher_of(state.session)) is not None:
        watcher.begin_update(state)


@event.listens_for(Mapper, "after_delete", raw=True)
def _see_delete(_mapper: Any, _connection: Any, state: InstanceState[Any]) -> None:
    if (watcher := watcher_of(state.session)) is not None:
        watcher.see_delete(state)


def _changes_of(traces: Sequence[Trace]) -> tuple[Change, ...]:
    return tuple(trace.change() for trace in merge_all(traces))


def _log_of(session: Session) -> ChangeLog | None:
    log = session.info.get(_LOG)
    return log if isinstance(log, ChangeLog) else None


@event.listens_for(Session, "after_transaction_create")
def _begin_transaction(session: Session, transaction: SessionTransaction) -> None:
    if (log := _log_of(session)) is not None:
        log.begin(transaction)


@event.listens_for(Session, "after_soft_rollback")
def _roll_back_transaction(session: Session, previous_transaction: Any) -> None:
    if (log := _log_of(session)) is not None:
        log.roll_back(previous_transaction)
