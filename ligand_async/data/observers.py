"""Who sees the flushes of an app's units of work."""

from collections.abc import Iterable, Sequence

from quart import Quart
from sqlalchemy.orm import Session

from ligand_async.changes import FlushObserver
from ligand_async.data.change_log import ChangeLog, keep_log
from ligand_async.data.collecting import watch_flushes
from ligand_async.data.sessions import OwnedSession
from ligand_async.data.traces import Trace

EXTENSION = "ligand_flush_observers"


def observe_flushes(app: Quart, observer: FlushObserver) -> None:
    """Let somebody see every flush of an app's units of work that write, from the next unit on."""
    app.extensions.setdefault(EXTENSION, []).append(observer)


def observers_of(app: Quart) -> tuple[FlushObserver, ...]:
    """Return who sees the flushes of an app."""
    return tuple(app.extensions.get(EXTENSION, ()))


def watch_session(session: OwnedSession, observers: Sequence[FlushObserver], *, logs: bool) -> ChangeLog | None:
    """Watch the flushes of a session where anybody wants to know; nothing is collected otherwise.

    Args:
        session: That of a unit of work, or another whose flushes count.
        observers: Told in each flush, in this order.
        logs: Whether all of its changes are wanted in the end.

    Returns:
        The log, if one is kept.
    """
    log = keep_log(session) if logs else None

    def tell(session: Session, traces: Iterable[Trace]) -> None:
        if log is not None:
            log.add([*traces])
        if observers:
            changes = tuple(trace.change() for trace in traces)
            for observer in observers:
                observer.observe(session, changes)

    if observers or log is not None:
        watch_flushes(session, tell)
    return log
