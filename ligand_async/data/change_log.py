"""What a unit of work has changed so far: of several flushes, and without what savepoints took back."""

from collections.abc import Sequence
from typing import Any
from weakref import WeakKeyDictionary

from sqlalchemy import event
from sqlalchemy.orm import Session, SessionTransaction

from ligand_async.changes import Change
from ligand_async.data.sessions import OwnedSession
from ligand_async.data.traces import Trace, merge_all


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
        return changes_of(fresh)

    def kept(self) -> tuple[Change, ...]:
        """Return all that a commit has made last."""
        return changes_of(self._traces)

    def lost(self) -> tuple[Change, ...]:
        """Return all that a rollback of the whole has undone."""
        return changes_of([*self._lost, *self._traces])

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


def changes_of(traces: Sequence[Trace]) -> tuple[Change, ...]:
    """Return what traces come to, one change for each entity."""
    return tuple(trace.change() for trace in merge_all(traces))


LOG = "ligand_change_log"


def keep_log(session: OwnedSession) -> ChangeLog:
    """Keep a log of a session; who watches its flushes adds to it."""
    log = session.info[LOG] = ChangeLog()
    return log


def log_of(session: Session) -> ChangeLog | None:
    """Return the log of a session, if one is kept."""
    log = session.info.get(LOG)
    return log if isinstance(log, ChangeLog) else None


@event.listens_for(OwnedSession, "after_transaction_create")
def begin_transaction(session: Session, transaction: SessionTransaction) -> None:
    """See a savepoint begin."""
    if (log := log_of(session)) is not None:
        log.begin(transaction)


@event.listens_for(OwnedSession, "after_soft_rollback")
def roll_back_transaction(session: Session, previous_transaction: Any) -> None:
    """See a transaction or a savepoint rolled back."""
    if (log := log_of(session)) is not None:
        log.roll_back(previous_transaction)
