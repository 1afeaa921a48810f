"""What our engines do at connect, at checkout and on errors, and what read sessions refuse."""

import re
from typing import Any

from sqlalchemy import Connection, ExceptionContext, event
from sqlalchemy.exc import DisconnectionError
from sqlalchemy.ext.asyncio import AsyncEngine

from ligand_async.data.faults import (
    ConnectionLost,
    DatabaseUnreachable,
    StatementTimedOut,
    ValueRefused,
    WriteOnReadSession,
)

# A read session reads: these would change what it is, for itself and for whoever gets the connection next. The pragmas
# left alone are those that SQLAlchemy reflects a schema with.
CHANGES_THE_SESSION = re.compile(
    r"(?:\s|--[^\n]*\n|/\*.*?\*/)*"
    r"(?:set|reset|discard|begin|start|commit|end|rollback|do|call|copy|prepare|listen|unlisten"
    r"|pragma(?!\s+[\w.\"]*(?:table|index|foreign_key)_\w+\()|attach|detach|vacuum|load)\b",
    re.IGNORECASE | re.DOTALL,
)


def listen_everywhere(engine: AsyncEngine) -> None:
    """Name connection failures and timeouts, and hand out no connection that is already closed."""
    sync_engine = engine.sync_engine
    event.listen(sync_engine, "do_connect", connect_or_name_the_failure)
    event.listen(sync_engine, "handle_error", name_bare_errors)
    event.listen(sync_engine, "checkout", refuse_closed_connection)


def listen_on_reads(engine: AsyncEngine) -> None:
    """Refuse what would turn a read session into another, and name the mistake when the database refuses a write."""
    event.listen(engine.sync_engine, "before_cursor_execute", refuse_session_changes)
    event.listen(engine.sync_engine, "handle_error", name_refused_writes)


def connect_or_name_the_failure(dialect: Any, _record: Any, arguments: Any, options: Any) -> Any:
    """Connect; a bare `OSError` of the driver becomes `DatabaseUnreachable`."""
    try:
        return dialect.connect(*arguments, **options)
    except OSError as error:  # TimeoutError and socket.gaierror are OSErrors
        raise DatabaseUnreachable(f"no connection to the {dialect.name} database: {type(error).__name__}") from error


def name_bare_errors(context: ExceptionContext) -> BaseException | None:
    """Name what the drivers raise as Python's own errors, and give up the connection that it made useless."""
    error = context.original_exception
    match error:
        case TimeoutError():  # before OSError, which it is
            context.is_disconnect = True
            context.invalidate_pool_on_disconnect = False
            return StatementTimedOut("the database did not answer a statement in time")
        case OSError():
            context.is_disconnect = True
            return ConnectionLost(f"the connection to the database broke: {type(error).__name__}")
        case OverflowError() | UnicodeEncodeError():  # SQLite's driver, before any SQL
            return ValueRefused(f"the database driver cannot send a value: {type(error).__name__}")
        case _:
            return None


def name_refused_writes(context: ExceptionContext) -> BaseException | None:
    """Say what the handler did, where the database only says that it is read-only."""
    error = context.original_exception
    if getattr(error, "sqlstate", None) == "25006" or "readonly database" in str(error):
        return WriteOnReadSession(
            'a session that reads cannot write: declare @operation(session="write"), or use db.transaction()'
        )
    return None


def refuse_closed_connection(dbapi_connection: Any, _record: Any, _proxy: Any) -> None:
    """Let the pool replace a connection that its peer has closed: no I/O, unlike a ping."""
    is_closed = getattr(dbapi_connection.driver_connection, "is_closed", None)
    if is_closed is not None and is_closed():
        raise DisconnectionError("the connection was closed while it was idle")


def refuse_session_changes(_connection: Connection, _cursor: Any, statement: str, *_rest: Any) -> None:
    """Keep a read session a read session."""
    if CHANGES_THE_SESSION.match(statement) or "set_config" in statement:
        raise WriteOnReadSession(
            "a read session cannot change its own state or transaction; ask for another with "
            '@operation(session="write") or db.transaction()'
        )


def give_up_connection_that_writes(connection: Connection, *_rest: Any) -> None:
    """Catch what hid a change of `default_transaction_read_only`: the server reports it without being asked."""
    driver: Any = connection.connection.driver_connection
    if getattr(driver.get_settings(), "default_transaction_read_only", "on") != "on":
        connection.invalidate()
        raise WriteOnReadSession(
            "a statement made a read session writable; its connection was given up. Use db.transaction() to write"
        )
