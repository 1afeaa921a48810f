"""What a flush has changed, found out where somebody watches it, and told in the flush itself."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from sqlalchemy import event
from sqlalchemy.orm import InstanceState, Mapper, Session

from ligand_async.data.sessions import OwnedSession
from ligand_async.data.snapshots import Snapshot, columns_of
from ligand_async.data.traces import Trace, trace_update


class FlushWatcher:
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


def watcher_of(session: Session | None) -> FlushWatcher | None:
    """Return what watches a session, if anybody does."""
    watcher = session.info.get(WATCHER) if isinstance(session, OwnedSession) else None
    return watcher if isinstance(watcher, FlushWatcher) else None


def watch_flushes(session: OwnedSession, tell: Callable[[Session, Sequence[Trace]], None]) -> None:
    """Tell of what each flush of a session changes."""
    session.info[WATCHER] = FlushWatcher(tell)


WATCHER = "ligand_flush_watcher"


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
