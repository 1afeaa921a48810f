"""State of a transaction: the session that works on a connection, and lists that a rollback takes back."""

from collections.abc import Callable, Iterator
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

from sqlalchemy import Connection, event
from sqlalchemy.orm import Session, SessionTransaction

T = TypeVar("T")

_CONNECTED = "ligand_connected"
_UNDO_LISTS = "ligand_undo_lists"

_sessions: WeakKeyDictionary[Connection, Session] = WeakKeyDictionary()


def session_of(connection: Connection) -> Session | None:
    """Return the session that works on a connection, if one does."""
    return _sessions.get(connection)


def connected_sessions() -> Iterator[Session]:
    """Yield the sessions of this process that hold a connection."""
    for session in list(_sessions.values()):
        if is_connected(session):
            yield session


def is_connected(session: Session) -> bool:
    """Return whether a session holds a connection."""
    return _CONNECTED in session.info


class UndoList(list[T]):
    """A list that belongs to a session: a savepoint that is rolled back takes back what was added since it began.

    Args:
        session: The session.
        undo: Called with each item that is taken back, the last one first.
    """

    def __init__(self, session: Session, undo: Callable[[T], None] | None = None) -> None:
        super().__init__()
        self._undo = undo
        self._lengths: dict[SessionTransaction, int] = {}
        session.info.setdefault(_UNDO_LISTS, []).append(self)

    def begin(self, savepoint: SessionTransaction) -> None:
        """Remember where a savepoint begins."""
        self._lengths[savepoint] = len(self)

    def roll_back(self, transaction: SessionTransaction) -> None:
        """Take back what was added since a savepoint, or the transaction itself, began."""
        length = self._lengths.pop(transaction, len(self)) if transaction.nested else 0
        while len(self) > length:
            item = self.pop()
            if self._undo is not None:
                self._undo(item)


@event.listens_for(Session, "after_begin")
def _remember_session(session: Session, _transaction: SessionTransaction, connection: Connection) -> None:
    _sessions[connection] = session
    session.info[_CONNECTED] = True


@event.listens_for(Session, "after_transaction_end")
def _forget_connection(session: Session, transaction: SessionTransaction) -> None:
    if transaction.parent is None:
        session.info.pop(_CONNECTED, None)


@event.listens_for(Session, "after_transaction_create")
def _begin_savepoint(session: Session, transaction: SessionTransaction) -> None:
    if transaction.nested:
        for undo_list in session.info.get(_UNDO_LISTS, ()):
            undo_list.begin(transaction)


@event.listens_for(Session, "after_soft_rollback")
def _roll_back(session: Session, previous_transaction: Any) -> None:
    if previous_transaction.nested or previous_transaction.parent is None:
        for undo_list in session.info.get(_UNDO_LISTS, ()):
            undo_list.roll_back(previous_transaction)
