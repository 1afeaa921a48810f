"""State of a transaction: its session and its listeners, lists that a rollback takes back, and what is inserted."""

from collections.abc import Callable, Iterator
from functools import cache
from itertools import chain
from typing import Any, TypeVar
from weakref import WeakKeyDictionary, WeakSet

from sqlalchemy import Column, ColumnElement, Connection, Table, event
from sqlalchemy.orm import InstanceState, Mapper, Session, SessionTransaction
from sqlalchemy.orm.attributes import instance_state

T = TypeVar("T")

_CONNECTED = "ligand_connected"
_UNDO_LISTS = "ligand_undo_lists"
_INSERTED = "ligand_inserted"
_REFERRED = "ligand_referred"
_WHEN_INSERTED = "_ligand_when_inserted"  # on an entity

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
        # Savepoints that are open already began when there was nothing in the list.
        self._lengths: dict[SessionTransaction, int] = dict.fromkeys(_savepoints_of(session), 0)
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


def _savepoints_of(session: Session) -> Iterator[SessionTransaction]:
    savepoint = session.get_nested_transaction()
    while savepoint is not None and savepoint.nested:
        yield savepoint
        savepoint = savepoint.parent


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


def is_inserted(session: Session, state: InstanceState[Any]) -> bool:
    """Return whether a session has inserted an entity."""
    return state in session.info.get(_INSERTED, ())


def is_referred_to(session: Session, columns: tuple[ColumnElement[Any], ...], key: tuple[Any, ...]) -> bool:
    """Return whether a session has inserted a row with a foreign key, whose columns are sorted by their keys."""
    return (columns, key) in session.info.get(_REFERRED, ())


def call_when_inserted(entity: Any, callback: Callable[[Session], None]) -> None:
    """Call a function with the session that inserts an entity, which has none yet."""
    entity.__dict__[_WHEN_INSERTED] = callback


@event.listens_for(Session, "pending_to_persistent")
def _note_inserted(session: Session, entity: Any) -> None:
    state = instance_state(entity)
    inserted: WeakSet[InstanceState[Any]] | None = session.info.get(_INSERTED)
    if inserted is None:
        inserted = session.info[_INSERTED] = WeakSet()
    inserted.add(state)
    for columns, names in _foreign_keys_of(state.mapper):
        session.info.setdefault(_REFERRED, set()).add((columns, tuple(state.dict.get(name) for name in names)))
    callback = state.dict.pop(_WHEN_INSERTED, None)
    if callback is not None:
        callback(session)


@cache
def _foreign_keys_of(mapper: Mapper[Any]) -> tuple[tuple[tuple[Column[Any], ...], tuple[str, ...]], ...]:
    """Return the foreign keys of the rows of a mapper: their columns, and the attributes of these."""
    found = []
    for table in mapper.tables:
        for constraint in table.foreign_key_constraints if isinstance(table, Table) else ():
            columns = tuple(sorted(constraint.columns, key=lambda column: column.key))
            if all(mapper.columns.contains_column(column) for column in columns):
                found.append((columns, tuple(mapper.get_property_by_column(column).key for column in columns)))
    return tuple(found)


# The events of sessions that a select of columns causes, and the transaction around it.
_READ_EVENTS = (
    "do_orm_execute",
    "after_begin",
    "after_transaction_create",
    "after_transaction_end",
    "before_commit",
    "after_commit",
    "after_rollback",
    "after_soft_rollback",
)
_OURS = __name__.partition(".")[0]


class ReadListeners:
    """The listeners to those events of the sessions of a class that a read causes.

    Args:
        session: A session of that class, which nobody else uses.
    """

    def __init__(self, session: Session) -> None:
        # Live collections, for which SQLAlchemy 2.1 has no public name; test_unit_direct_reads.py fails if they move.
        self._collections = [getattr(session.dispatch, name).parent_listeners for name in _READ_EVENTS]
        self._lengths: list[int] = []
        self._has_others = False

    def has_others(self) -> bool:
        """Return whether one of them is not the framework's own: a service may filter, set or count with it."""
        lengths = [*map(len, self._collections)]
        if lengths != self._lengths:
            listeners = chain.from_iterable(self._collections)
            self._has_others = any(listener.__module__.partition(".")[0] != _OURS for listener in listeners)
            self._lengths = lengths
        return self._has_others
