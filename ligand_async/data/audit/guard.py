"""Statements that change audited rows without the trail are refused or logged."""

import logging
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, Literal
from weakref import WeakKeyDictionary

from sqlalchemy import DDL, Connection, Table, TextClause, event
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.orm import Mapper, Session, SessionTransaction
from sqlalchemy.sql.ddl import _CreateBase
from sqlalchemy.sql.dml import UpdateBase
from sqlalchemy.sql.selectable import AliasedReturnsRows, TableClause, TextualSelect
from sqlalchemy.sql.visitors import iterate

from ligand_async.context import current_operation_id
from ligand_async.data.aggregates import OWN as AGGREGATES_OWN
from ligand_async.data.audit.table import NAME
from ligand_async.data.changes import watcher_of
from ligand_async.data.connections import KEEPS_STATE
from ligand_async.data.transactions import session_of
from ligand_async.data.unit import OwnedSession

logger = logging.getLogger(__name__)

OnBulk = Literal["ignore", "warn", "error"]

OWN = "ligand_audit"
"""The execution option of the trail's own statements."""


class UnrecordedStatement(SQLAlchemyError):
    """A statement would have changed audited rows without an event in the trail."""


class AuditWriteRefused(SQLAlchemyError):
    """A statement wrote to the table of the trail itself."""


class StatementGuard:
    """Checks every statement of an engine that writes.

    A statement of Core or the ORM is known by the tables of its tree, whoever made it. Text, DDL in text and SQL for
    the driver may change anything, and are not read.

    Args:
        tables: The names of the tables whose rows have a trail.
        on_bulk: How to treat a statement that is not recorded: ignore it, log a warning, or refuse it.
        mappers: Returns the mappers of the service.
    """

    def __init__(self, tables: Collection[str], on_bulk: OnBulk, mappers: Callable[[], Iterable[Mapper[Any]]]) -> None:
        self.on_bulk = on_bulk
        self._tables = frozenset(table.lower() for table in tables)
        self._warned: set[str] = set()
        self._mappers = mappers
        self._caches: set[int] = set()

    def listen(self, engine: AsyncEngine) -> None:
        """Check an engine's statements from now on."""
        event.listen(engine.sync_engine, "before_cursor_execute", self.check)

    def check(
        self, connection: Connection, _cursor: Any, statement: str, _parameters: Any, context: Any, _many: bool
    ) -> None:
        """Check one statement.

        Raises:
            AuditWriteRefused: It writes to the trail itself.
            UnrecordedStatement: It writes past the trail.
        """
        written = None if context is None else _written_by(context)
        if written is not None and written.isdisjoint(self._tables) and NAME not in written:
            return
        if context is not None and _is_own(context.execution_options):
            return
        if written is not None and NAME in written:
            raise AuditWriteRefused(f"only the audit trail writes to {NAME}; audit.record() adds an event to it")
        session = session_of(connection)
        if self.on_bulk == "ignore" or (context is not None and self._is_of_flush(session, context.execution_options)):
            return
        if written is None:
            if session is None or not _has_record(session):
                self._complain_of_text(statement)
        elif missing := sorted(
            table for table in written & self._tables if session is None or not _is_recorded(session, table)
        ):
            self._complain(
                f"a statement changes {', '.join(missing)} without the audit trail, which only sees what the session "
                "flushes: call `await audit.record(…)` for it before, in the same transaction"
            )

    def _is_of_flush(self, session: Session | None, options: Mapping[str, Any]) -> bool:
        """Return whether a statement is one of a flush that the trail observes, not one that a listener of it sends.

        SQLAlchemy keeps the statements of flushes in caches of their own, one for each hierarchy of classes.
        """
        if not (isinstance(session, OwnedSession) and session.flushing and watcher_of(session) is not None):
            return False
        cache = options.get("compiled_cache")
        if cache is None:
            return False
        if id(cache) not in self._caches:
            self._caches = {id(mapper.base_mapper._compiled_cache) for mapper in self._mappers()}
        return id(cache) in self._caches

    def _complain_of_text(self, statement: str) -> None:
        if self.on_bulk == "warn":
            if statement in self._warned:
                return
            if len(self._warned) < _MOST_WARNED:
                self._warned.add(statement)
        self._complain(
            "SQL text, or SQL for the driver, may change audited rows without the audit trail: call "
            "`await audit.record(…)` before it, in the same transaction; read by text in `db.read()`, or write the "
            "statement with SQLAlchemy's select(), insert(), update() and delete()"
        )

    def _complain(self, message: str) -> None:
        """Refuse or log a statement that writes past the trail.

        Raises:
            UnrecordedStatement: `on_bulk` is `"error"`.
        """
        if self.on_bulk == "error":
            raise UnrecordedStatement(message)
        logger.warning("%s (%s)", message, current_operation_id() or "outside an operation")


_MOST_WARNED = 1000  # texts

_known: WeakKeyDictionary[Any, frozenset[str] | None] = WeakKeyDictionary()
"""The tables that a compiled statement writes to: SQLAlchemy compiles a statement once and keeps it."""


def _written_by(context: Any) -> frozenset[str] | None:
    """Return the names of the tables that a statement writes to, in lower case; None if only its text says that."""
    compiled = context.compiled
    if compiled is None:
        return None
    if compiled not in _known:
        _known[compiled] = _read_ddl(compiled.statement) if context.isddl else _read_tree(compiled)
    return _known[compiled]


def _read_ddl(statement: Any) -> frozenset[str] | None:
    if isinstance(statement, DDL):
        return None
    is_harmless = isinstance(statement, _CreateBase) or not isinstance(getattr(statement, "element", None), Table)
    return frozenset() if is_harmless else frozenset({statement.element.name.lower()})


def _read_tree(compiled: Any) -> frozenset[str] | None:
    if isinstance(compiled.statement, TextClause):
        return None
    found = set()
    for element in iterate(compiled.statement):
        if isinstance(element, TextualSelect):
            return None
        if isinstance(element, UpdateBase):
            table: Any = element.table
            while isinstance(table, AliasedReturnsRows):
                table = table.element
            if not isinstance(table, TableClause):
                return None
            found.add(table.name.lower())
    return frozenset(found)


def _is_own(options: Mapping[str, Any]) -> bool:
    return any(options.get(name) for name in (OWN, AGGREGATES_OWN, KEEPS_STATE))


_recorded: WeakKeyDictionary[SessionTransaction, set[str]] = WeakKeyDictionary()
"""The tables that `audit.record()` was called for, by transaction or savepoint."""


def note_record(session: Session, tables: Iterable[str]) -> None:
    """Let statements on some tables pass, until the end of the transaction or savepoint."""
    transaction = session.get_nested_transaction() or session.get_transaction()
    if transaction is not None:
        _recorded.setdefault(transaction, set()).update(table.lower() for table in tables)


def _has_record(session: Session) -> bool:
    transaction = session.get_nested_transaction() or session.get_transaction()
    while transaction is not None:
        if _recorded.get(transaction):
            return True
        transaction = transaction.parent
    return False


def _is_recorded(session: Session, table: str) -> bool:
    transaction = session.get_nested_transaction() or session.get_transaction()
    while transaction is not None:
        if table in _recorded.get(transaction, ()):
            return True
        transaction = transaction.parent
    return False
