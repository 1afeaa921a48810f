"""Statements that change audited rows without the trail are refused or logged."""

import logging
import re
from collections.abc import Collection, Iterable
from functools import lru_cache
from typing import Any, Literal
from weakref import WeakKeyDictionary

from sqlalchemy import Connection, event
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.orm import Session, SessionTransaction

from ligand_async.context import current_operation_id
from ligand_async.data.audit.table import NAME
from ligand_async.data.changes import watcher_of
from ligand_async.data.transactions import session_of
from ligand_async.data.unit import OwnedSession

logger = logging.getLogger(__name__)

OnBulk = Literal["ignore", "warn", "error"]

OWN = "ligand_audit"
"""The execution option of the trail's own statements."""

_LONGEST_REMEMBERED = 4096  # characters of a statement whose tables are remembered


class UnrecordedStatement(SQLAlchemyError):
    """A statement would have changed audited rows without an event in the trail."""


class AuditWriteRefused(SQLAlchemyError):
    """A statement wrote to the table of the trail itself."""


class StatementGuard:
    """Checks every statement of an engine that writes.

    It reads the SQL, so that no way to send it makes a difference: the ORM's, Core's, the connection's, or text.

    Args:
        tables: The names of the tables whose rows have a trail.
        on_bulk: How to treat a statement that is not recorded: ignore it, log a warning, or refuse it.
    """

    def __init__(self, tables: Collection[str], on_bulk: OnBulk) -> None:
        self.on_bulk = on_bulk
        self._written = re.compile(_pattern_of({*tables, NAME}), re.IGNORECASE | re.DOTALL)
        self._remembered = lru_cache(maxsize=1024)(self._find_tables)

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
        tables = self.tables_of(statement)
        if not tables or (context is not None and context.execution_options.get(OWN)):
            return
        if NAME in tables:
            raise AuditWriteRefused(f"only the audit trail writes to {NAME}; audit.record() adds an event to it")
        session = session_of(connection)
        if self.on_bulk == "ignore" or (session is not None and _is_in_watched_flush(session)):
            return
        if missing := [table for table in tables if session is None or not _is_recorded(session, table)]:
            self.complain(missing)

    def complain(self, tables: Iterable[str]) -> None:
        """Refuse or log a statement that writes past the trail.

        Raises:
            UnrecordedStatement: `on_bulk` is `"error"`.
        """
        message = (
            f"a statement changes {', '.join(tables)} without the audit trail, which only sees what the session "
            "flushes: call `await audit.record(…)` for it before, in the same transaction"
        )
        if self.on_bulk == "error":
            raise UnrecordedStatement(message)
        logger.warning("%s (%s)", message, current_operation_id() or "outside an operation")

    def tables_of(self, statement: str) -> tuple[str, ...]:
        """Return the tables with a trail that a statement writes to."""
        if len(statement) > _LONGEST_REMEMBERED:
            return self._find_tables(statement)
        return self._remembered(statement)

    def _find_tables(self, statement: str) -> tuple[str, ...]:
        found = (match["name"] or match["truncated"] for match in self._written.finditer(statement))
        return tuple(dict.fromkeys(name.lower() for name in found))


def _pattern_of(tables: Collection[str]) -> str:
    """Return the pattern of a statement, or a part of one, that writes to a table."""
    names = "|".join(re.escape(name) for name in sorted(tables, key=len, reverse=True))
    gap = r"(?:\s|/\*.*?\*/|--[^\n]*\n)+"
    verbs = (
        rf"insert{gap}(?:or{gap}\w+{gap})?into",
        rf"update(?:{gap}or{gap}\w+)?(?:{gap}only)?",
        rf"delete{gap}from(?:{gap}only)?",
        rf"(?:merge|replace){gap}into(?:{gap}only)?",
        "copy",
    )
    end = r"(?![\w$])"
    return (
        rf"\b(?:{'|'.join(verbs)}){gap}(?:[\"`\[]?[\w$]+[\"`\]]?\s*\.\s*)?[\"`\[]?(?P<name>{names}){end}"
        rf"|\btruncate\b(?!{gap}on\b)[^;]*?\b(?P<truncated>{names}){end}"
    )


_recorded: WeakKeyDictionary[SessionTransaction, set[str]] = WeakKeyDictionary()
"""The tables that `audit.record()` was called for, by transaction or savepoint."""


def _is_in_watched_flush(session: Session) -> bool:
    return isinstance(session, OwnedSession) and session.flushing and watcher_of(session) is not None


def note_record(session: Session, tables: Iterable[str]) -> None:
    """Let statements on some tables pass, until the end of the transaction or savepoint."""
    transaction = session.get_nested_transaction() or session.get_transaction()
    if transaction is not None:
        _recorded.setdefault(transaction, set()).update(table.lower() for table in tables)


def _is_recorded(session: Session, table: str) -> bool:
    transaction = session.get_nested_transaction() or session.get_transaction()
    while transaction is not None:
        if table in _recorded.get(transaction, ()):
            return True
        transaction = transaction.parent
    return False
