"""Flushes: their changes are collected where somebody observes them, and logged by unit of work."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any
from weakref import WeakKeyDictionary

from quart import Quart
from sqlalchemy import event
from sqlalchemy.orm import InstanceState, Mapper, Session, SessionTransaction

from ligand_async.context import state_of
from ligand_async.data.changes import Change, FlushObserver, Snapshot, Trace, columns_of, merge_all, trace_update
from ligand_async.data.sessions import OwnedSession


class _FlushWatcher:
    """Watches the flushes of one session.

    Of a flush it sees what the ORM does with entities. Statements, and what the database does by itself (`ON DELETE
    CASCADE`, triggers), are not seen; neither are the rows of a `secondary` table, which belong to no entity.

    Args:
        tell: Called at the end of each flush that changed something, in the flush.
    """

    def __init__(self, tell: Callable[[Session, Sequence[Trace]], None]) -> None:
        self._tell = tell
        self._begun: dict[InstanceState[Any], Snapshot | None] = {}  # a new row has nothing before
        self._deleted: list[InstanceState[Any]] = []

    def begin(self) -> None:
        """Begin a flush with nothing seen: the last one may have failed."""
        self._begun.clear()
        self._deleted.clear()

    def begin_insert(self, state: InstanceState[Any]) -> None:
        """See that an entity is about to be stored for the first time."""
        self._begun[state] = None

    def begin_update(self, state: InstanceState[Any]) -> None:
        """See that an entity may be about to change, and remember what it was: versions are counted without a trace."""
        if state not in self._begun:
            self._begun[state] = columns_of(state.mapper).look_back(state)

    def see_delete(self, state: InstanceState[Any]) -> None:
        """See that an entity was deleted."""
        self._deleted.append(state)

    def end(self, session: Session) -> None:
        """See the end of a flush: all of its statements were sent."""
        traces = list(self._traces())
        self.begin()
        if traces:
            self._tell(session, traces)

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
    """Return what watches a session, if anybody does."""
    watcher = session.info.get(_WATCHER) if isinstance(session, OwnedSession) else None
    return watcher if isinstance(watcher, _FlushWatcher) else None


def _watch_flushes(session: OwnedSession, tell: Callable[[Session, Sequence[Trace]], None]) -> None:
    """Tell of what each flush of a session changes."""
    session.info[_WATCHER] = _FlushWatcher(tell)


_WATCHER = "ligand_flush_watcher"


@event.listens_for(OwnedSession, "before_flush")
def begin_flush(session: Session, *_rest: Any) -> None:
    """Begin to watch."""
    if (watcher := watcher_of(session)) is not None:
        watcher.begin()


@event.listens_for(OwnedSession, "after_flush")
def end_flush(session: Session, _context: Any) -> None:
    """Tell what was seen."""
    if (watcher := watcher_of(session)) is not None:
        watcher.end(session)


@event.listens_for(Mapper, "before_insert", raw=True)
def begin_insert(_mapper: Any, _connection: Any, state: InstanceState[Any]) -> None:
    """See an insert."""
    if (watcher := watcher_of(state.session)) is not None:
        watcher.begin_insert(state)


@event.listens_for(Mapper, "before_update", raw=True)
def begin_update(_mapper: Any, _connection: Any, state: InstanceState[Any]) -> None:
    """See an update, which may turn out to be none."""
    if (watcher := watcher_of(state.session)) is not None:
        watcher.begin_update(state)


@event.listens_for(Mapper, "after_delete", raw=True)
def see_delete(_mapper: Any, _connection: Any, state: InstanceState[Any]) -> None:
    """See a delete."""
    if (watcher := watcher_of(state.session)) is not None:
        watcher.see_delete(state)


class ChangeLog:
    """The traces that the flushes of one session left."""

    def __init__(self) -> None:
        self._traces: list[Trace] = []
        self._lost: list[Trace] = []
        self._shown = 0
        self._savepoints: WeakKeyDictionary[SessionTransaction, int] = WeakKeyDictionary()

    @property
    def is_fresh(self) -> bool:
        """Whether there is something that `take_fresh` did not return yet."""
        return len(self._traces) > self._shown

    def add(self, traces: Sequence[Trace]) -> None:
        """Add what one flush did."""
        self._traces += traces

    def take_fresh(self) -> tuple[Change, ...]:
        """Return what has changed since the last time."""
        fresh, self._shown = self._traces[self._shown :], len(self._traces)
        return _changes_of(fresh)

    def kept(self) -> tuple[Change, ...]:
        """Return all that a commit has made last."""
        return _changes_of(self._traces)

    def lost(self) -> tuple[Change, ...]:
        """Return all that a rollback of the whole has undone."""
        return _changes_of([*self._lost, *self._traces])

    def begin(self, transaction: SessionTransaction) -> None:
        """Remember where a savepoint began."""
        if transaction.nested:
            self._savepoints[transaction] = len(self._traces)

    def roll_back(self, transaction: SessionTransaction) -> None:
        """Drop what a savepoint took back; keep apart what the transaction itself did."""
        if transaction.nested:
            del self._traces[self._savepoints.pop(transaction) :]
        elif transaction.parent is None:
            self._lost += self._traces
            self._traces.clear()
        self._shown = min(self._shown, len(self._traces))


def _changes_of(traces: Sequence[Trace]) -> tuple[Change, ...]:
    """Return what traces come to, one change for each entity."""
    return tuple(trace.change() for trace in merge_all(traces))


_LOG = "ligand_change_log"


def _keep_log(session: OwnedSession) -> ChangeLog:
    """Keep a log of a session; who watches its flushes adds to it."""
    log = session.info[_LOG] = ChangeLog()
    return log


def _log_of(session: Session) -> ChangeLog | None:
    """Return the log of a session, if one is kept."""
    log = session.info.get(_LOG)
    return log if isinstance(log, ChangeLog) else None


@event.listens_for(OwnedSession, "after_transaction_create")
def begin_transaction(session: Session, transaction: SessionTransaction) -> None:
    """See a savepoint begin."""
    if (log := _log_of(session)) is not None:
        log.begin(transaction)


@event.listens_for(OwnedSession, "after_soft_rollback")
def roll_back_transaction(session: Session, previous_transaction: Any) -> None:
    """See a transaction or a savepoint rolled back."""
    if (log := _log_of(session)) is not None:
        log.roll_back(previous_transaction)


class _Observers(list[FlushObserver]):
    """The observers of one app."""


def observe_flushes(app: Quart, observer: FlushObserver) -> None:
    """Let somebody see every flush of an app's units of work that write, from the next unit on."""
    state_of(app).get_or_make(_Observers).append(observer)


def observers_of(app: Quart) -> tuple[FlushObserver, ...]:
    """Return who sees the flushes of an app."""
    return tuple(state_of(app).find(_Observers) or ())


def watch_session(session: OwnedSession, observers: Sequence[FlushObserver], *, logs: bool) -> ChangeLog | None:
    """Watch the flushes of a session where anybody wants to know; nothing is collected otherwise.

    Args:
        session: That of a unit of work, or another whose flushes count.
        observers: Told in each flush, in this order.
        logs: Whether all of its changes are wanted in the end.

    Returns:
        The log, if one is kept.
    """
    log = _keep_log(session) if logs else None

    def tell(session: Session, traces: Iterable[Trace]) -> None:
        if log is not None:
            log.add([*traces])
        if observers:
            changes = tuple(trace.change() for trace in traces)
            for observer in observers:
                observer.observe(session, changes)

    if observers or log is not None:
        _watch_flushes(session, tell)
    return log
