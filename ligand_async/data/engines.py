"""The engines of one app: their URLs, their event listeners, and what SQLite needs."""

import asyncio
import logging
import os
import sqlite3
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from sqlalchemy import URL, Connection, ExceptionContext, event
from sqlalchemy.dialects.sqlite.aiosqlite import AsyncAdapt_aiosqlite_connection, AsyncAdapt_aiosqlite_cursor
from sqlalchemy.exc import DisconnectionError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool, PoolResetState
from sqlalchemy.util.concurrency import in_greenlet

from ligand_async.context import current_deadline
from ligand_async.data.connections import KEEPS_STATE, keep_clean, keep_pooler_clean, refuse_what_is_not_read
from ligand_async.data.errors import (
    ConnectionLost,
    DatabaseUnreachable,
    StatementTimedOut,
    ValueRefused,
    WriteOnReadSession,
    name_uncounted_key,
    note_written,
)
from ligand_async.data.pools import DeadlinePool
from ligand_async.data.postgresql import PostgresPool, bound_new_connections, check_parameters, postgresql_options
from ligand_async.data.unit import AUTOCOMMITS, STREAM_OPTIONS
from ligand_async.marks import SessionMode
from ligand_async.settings import Settings, SettingsError, read_database_url, sqlite_file

logger = logging.getLogger(__name__)

DISPOSE_TIMEOUT = 3.0  # seconds, for all connections of one engine; Quart waits 5 for requests before, which makes 8


class Engines:
    """The engines of one app. Made in the lifespan: an engine belongs to one event loop and one process.

    `probe` is for readiness alone and has one connection: where all others are in use, the database can still be asked.

    PostgreSQL reads in AUTOCOMMIT on connections that the server itself holds read-only; behind a transaction pooler,
    where a connection keeps no state of ours, each read is a READ ONLY transaction. SQLite writes on one connection,
    because it has one writer anyway and a queue is fairer than its busy handler, and reads on connections that were
    opened read-only.
    """

    def __init__(self, settings: Settings) -> None:
        with naming_setting(settings, "database_url"):
            url = parse_database_url(settings.database_url.get_secret_value())
            self.write = make_engine(url, settings, reads=False)
            self.read = make_engine(url, settings, reads=True)
        with naming_setting(settings, "database_replica_urls"):
            replicas = [parse_database_url(replica.get_secret_value()) for replica in settings.database_replica_urls]
            self.replicas = [make_engine(replica, settings, reads=True) for replica in replicas]
        self._replicas_in_turn: Iterator[AsyncEngine] = cycle(self.replicas or [self.read])
        self.snapshot = self.read.execution_options(**_snapshot_options(url), **{AUTOCOMMITS: False})
        with naming_setting(settings, "database_url"):
            self.probe = make_engine(url, settings, reads=True, size=1)

    def select(self, mode: SessionMode) -> AsyncEngine:
        """Return the engine for a session mode; replicas take turns, and without any the primary serves."""
        match mode:
            case "write":
                return self.write
            case "snapshot":
                return self.snapshot
            case "replica":
                return next(self._replicas_in_turn)
            case _:
                return self.read

    def all(self) -> list[AsyncEngine]:
        """Return every engine that sessions use and that has a pool of its own, the one that writes first."""
        return [self.write, self.read, *self.replicas]

    async def try_to_connect(self) -> None:
        """Connect once to each database: SQLite's writer makes the file, and listeners look at who connects."""
        for engine in self.all():
            try:
                async with engine.connect():
                    pass
            except SQLAlchemyError as error:
                logger.warning("the database could not be reached at the start: %s", type(error).__name__)

    async def dispose(self) -> None:
        """Close all connections at once; those that do not answer are left.

        SQLite's writer is closed last, because only a writer can put its log away.
        """
        if is_sqlite(self.write.url):
            await asyncio.gather(_dispose_engine(self.read), _dispose_engine(self.probe))
        await asyncio.gather(*map(_dispose_engine, [*self.all(), self.probe]))


async def _dispose_engine(engine: AsyncEngine) -> None:
    try:
        async with asyncio.timeout(DISPOSE_TIMEOUT):
            await engine.dispose()
    except TimeoutError:
        logger.warning("database connections did not close within %s s and were left", DISPOSE_TIMEOUT)
    except (SQLAlchemyError, OSError) as error:
        logger.warning("database connections did not close well: %s", type(error).__name__)


def _snapshot_options(url: URL) -> dict[str, Any]:
    """Return the execution options that make a session see one moment (REPEATABLE READ, READ ONLY)."""
    if is_sqlite(url):
        return {"ligand_begin": True}
    return {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}


def make_engine(
    url: URL, settings: Settings, *, reads: bool, pooled: bool = True, size: int | None = None
) -> AsyncEngine:
    """Make an engine with its timeouts, its rules and its listeners.

    Args:
        url: As `parse_database_url` returns it.
        settings: Pool size, timeouts in seconds, pooler mode.
        reads: Whether the database must refuse every write on it.
        pooled: False for one-off work such as migrations.
        size: The most connections of its pool; None for those of the settings.

    Raises:
        SettingsError: The URL names a file, such as a certificate, that cannot be used.
    """
    options: dict[str, Any] = {"hide_parameters": True}
    if is_sqlite(url):
        # None: the driver begins nothing by itself; the `begin` listener does.
        options["connect_args"] = {"isolation_level": None, "timeout": settings.database_connect_timeout}
        options["skip_autocommit_rollback"] = True  # a rollback goes to the connection's thread and back
    else:
        url, more = postgresql_options(url, settings, reads=reads)
        options |= more
    if pooled:
        if size is None:
            size = 1 if is_sqlite(url) and not reads else settings.database_pool_size
        options |= {"pool_size": size, "max_overflow": 0, "pool_timeout": settings.database_pool_timeout}
        options["poolclass"] = DeadlinePool if is_sqlite(url) else PostgresPool
    else:
        options["poolclass"] = NullPool
    engine = create_async_engine(_read_only(url) if reads and is_sqlite(url) else url, **options)
    if is_sqlite(url):  # first, because the first listener that opens a connection is the last
        _listen_on_sqlite(engine, reads=reads, statement_timeout=settings.database_statement_timeout)
    else:
        bound_new_connections(engine)
        if pooled:
            keep_clean(engine) if settings.database_pooler == "none" else keep_pooler_clean(engine)
    _listen_everywhere(engine)
    if reads:
        event.listen(engine.sync_engine, "handle_error", _name_refused_writes)
        engine.update_execution_options(**{AUTOCOMMITS: is_sqlite(url) or settings.database_pooler == "none"})
    if reads and not is_sqlite(url):
        refuse_what_is_not_read(engine)
        if settings.database_pooler == "none":
            engine.update_execution_options(**{STREAM_OPTIONS: _snapshot_options(url)})
            event.listen(engine.sync_engine, "after_cursor_execute", _give_up_connection_that_writes)
    return engine


_ASYNC_DRIVERS = {
    "postgres": "postgresql+asyncpg",
    "postgresql": "postgresql+asyncpg",
    "postgresql+asyncpg": "postgresql+asyncpg",
    "sqlite": "sqlite+aiosqlite",
    "sqlite+aiosqlite": "sqlite+aiosqlite",
}


def parse_database_url(text: str) -> URL:
    """Turn a database URL into one that SQLAlchemy's asyncio engine takes.

    `postgres://`, `postgresql://` and `sqlite://` get the driver this framework runs on. libpq's parameters stay in the
    URL; `make_engine` translates them.

    Args:
        text: The URL; the text never appears in an error.

    Raises:
        SettingsError: It is not a URL, it names another database or driver, it has a parameter that asyncpg cannot
            follow, or it is an in-memory SQLite database, which every connection would see as its own.
    """
    url = read_database_url(text)
    if url is None:
        raise SettingsError(
            "the database URL cannot be read; write it as postgresql://user:password@host/database "
            "or sqlite:///path/to/file.db"
        )
    driver = _ASYNC_DRIVERS.get(url.drivername)
    if driver is None:
        raise SettingsError(
            f"the database URL names {url.drivername!r}; this framework runs on postgresql+asyncpg and sqlite+aiosqlite"
        )
    url = url.set(drivername=driver)
    if not is_sqlite(url):
        check_parameters(url)
    if is_sqlite(url) and sqlite_file(url) is None:
        raise SettingsError("in-memory SQLite is a database per connection; name a file (in tests, one in tmp_path)")
    return url


def check_database_urls(settings: Settings) -> None:
    """Check every database URL, those that are used later or by migrations only, too.

    Raises:
        SettingsError: With the variable of the URL, what is wrong, and what to do.
    """
    for key in ("database_url", "database_direct_url", "database_replica_urls"):
        value = getattr(settings, key, None)  # the environment `cli` does without
        for url in value if isinstance(value, tuple) else (value,):
            if url is not None:
                with naming_setting(settings, key):
                    parse_database_url(url.get_secret_value())


@contextmanager
def naming_setting(settings: Settings, key: str) -> Iterator[None]:
    """Begin the error of a block with the variable of the setting that it is about.

    Raises:
        SettingsError: What the block raised.
    """
    try:
        yield
    except SettingsError as error:
        raise SettingsError(f"{settings.vocabulary().variable(key)}: {error}") from None


def is_sqlite(url: URL) -> bool:
    """Return whether a URL names SQLite."""
    return url.get_backend_name() == "sqlite"


def _listen_everywhere(engine: AsyncEngine) -> None:
    """Name broken connections and timeouts, and hand out no connection that is already closed."""
    sync_engine = engine.sync_engine
    event.listen(sync_engine, "handle_error", _name_bare_errors)
    event.listen(sync_engine, "checkout", _refuse_closed_connection)


class _SQLiteCursor(AsyncAdapt_aiosqlite_cursor):
    """A cursor that goes to the connection's thread and back once for each statement.

    SQLAlchemy 2.1 goes there for the cursor, the statement, its rows and the end of the cursor. Each way takes as long
    as a short statement.
    """

    __slots__ = ()

    def _make_new_cursor(self, connection: Any) -> Any:  # noqa: ARG002  (SQLAlchemy's signature)
        return None  # the driver's own is made where the statement runs

    def _aenter_cursor(self, cursor: Any) -> Any:
        return cursor

    async def _execute_async(self, operation: Any, parameters: Any) -> None:
        await self._run(lambda cursor: cursor.execute(operation, parameters or ()))

    async def _executemany_async(self, operation: Any, seq_of_parameters: Any) -> None:
        await self._run(lambda cursor: cursor.executemany(operation, seq_of_parameters))

    async def _run(self, send: Callable[[sqlite3.Cursor], object]) -> None:
        driver: Any = self._connection

        def run() -> tuple[sqlite3.Cursor, list[Any]]:
            cursor: sqlite3.Cursor = driver._conn.cursor()
            with closing(cursor):  # its description and counts stay
                send(cursor)
                return cursor, cursor.fetchall() if cursor.description else []

        async with self._adapt_connection._execute_mutex:
            ended, rows = await driver._execute(run)
        self._cursor, self._rows = ended, deque(rows)

    async def _async_soft_close(self) -> None:
        pass

    def close(self) -> None:
        self._rows.clear()


class _SQLiteConnection(AsyncAdapt_aiosqlite_connection):
    __slots__ = ()

    _cursor_cls = _SQLiteCursor


def _connect(dialect: Any, arguments: Any, options: Any) -> _SQLiteConnection:
    opened = dialect.connect(*arguments, **options)
    return _SQLiteConnection(opened.dbapi, opened._connection)


def _open_or_name_the_failure(dialect: Any, _record: Any, arguments: Any, options: Any) -> Any:
    try:
        return _connect(dialect, arguments, options)
    except OSError as error:
        raise DatabaseUnreachable(f"no connection to the sqlite database: {type(error).__name__}") from error


def _name_bare_errors(context: ExceptionContext) -> BaseException | None:
    """Turn the plain Python errors of the drivers into ours, and give up the connection that they made useless."""
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
        case _ if getattr(error, "sqlstate", None) in _DISAGREEMENTS:
            context.is_disconnect = True
            context.invalidate_pool_on_disconnect = False
            return None
        case _:
            return None


# The driver and the server disagree about transactions, cursors or statements, and will on the next use, too: asyncpg
# 0.32 takes every later BEGIN of such a connection for a savepoint.
_DISAGREEMENTS = {"25001", "25P01", "26000", "34000"}


# The last one is what SQLite says of VACUUM and BEGIN before it asks the authorizer.
_SQLITE_REFUSALS = ("not authorized", "authorization denied", "is prohibited", "within a transaction")


def _name_refused_writes(context: ExceptionContext) -> BaseException | None:
    error = context.original_exception
    is_refused = isinstance(error, sqlite3.Error) and any(words in str(error) for words in _SQLITE_REFUSALS)
    if is_refused or getattr(error, "sqlstate", None) == "25006":
        return WriteOnReadSession(
            'a session that reads cannot write: declare @operation(session="write"), or use db.transaction()'
        )
    return None


def _refuse_closed_connection(dbapi_connection: Any, _record: Any, _proxy: Any) -> None:
    """Let the pool replace a connection that its peer has closed: no I/O, unlike a ping."""
    is_closed = getattr(dbapi_connection.driver_connection, "is_closed", None)
    if is_closed is not None and is_closed():
        raise DisconnectionError("the connection was closed while it was idle")


def _give_up_connection_that_writes(connection: Connection, *_rest: Any) -> None:
    # Catches a hidden change of default_transaction_read_only: the server reports the setting with each answer.
    driver: Any = connection.connection.dbapi_connection.driver_connection  # type: ignore[union-attr]  # checked out, so there is one
    if getattr(driver.get_settings(), "default_transaction_read_only", "on") != "on":
        connection.invalidate()
        raise WriteOnReadSession(
            "a statement made a read session writable; its connection was given up. Use db.transaction() to write"
        )


_DEADLINE = "ligand_deadline"
_INSTRUCTIONS_BETWEEN_LOOKS = 10_000  # of SQLite's machine, well under a millisecond


def _listen_on_sqlite(engine: AsyncEngine, *, reads: bool, statement_timeout: float) -> None:
    """Set the pragmas of new connections, begin transactions as writers or readers do, bound the time of statements.

    Args:
        engine: An engine of SQLite.
        reads: Whether SQLite must refuse every write on it.
        statement_timeout: Seconds; 0 for none.
    """
    sync_engine = engine.sync_engine
    # Of a connection without the driver's own transactions, SQLAlchemy 2.1 believes that it never is in one.
    sync_engine.dialect.detect_autocommit_setting = _is_in_no_transaction  # type: ignore[assignment,method-assign]  # this engine's
    event.listen(sync_engine, "invalidate", _stop_and_roll_back)
    if reads:
        event.listen(sync_engine, "do_connect", _open_reader)
        event.listen(sync_engine, "connect", _allow_reads_only)
        event.listen(sync_engine, "begin", _begin_snapshot)
        event.listen(sync_engine, "commit", _allow_end)
        event.listen(sync_engine, "rollback", _allow_end)
    else:
        event.listen(sync_engine, "connect", _open_writer)
        event.listen(sync_engine, "begin", _begin_immediate)
        event.listen(sync_engine, "reset", _roll_back_failed_commit)
        event.listen(sync_engine, "reset", _close_changed_connection)
        event.listen(sync_engine, "handle_error", note_written)
        event.listen(sync_engine, "handle_error", name_uncounted_key)
    event.listen(sync_engine, "do_connect", _open_or_name_the_failure)
    if statement_timeout:
        _listen_on_time(engine, statement_timeout)


def _is_in_no_transaction(dbapi_connection: Any) -> bool:
    try:
        driver = dbapi_connection.driver_connection
        return driver is not None and not driver.in_transaction  # None while SQLAlchemy looks at a new database
    except ValueError:  # it is closed
        return True


def _read_only(url: URL) -> URL:
    """Return the URL by which SQLite opens a database for reading; the file must exist."""
    if url.database is not None and url.database.startswith("file:"):
        return url.update_query_dict({"mode": "ro", "uri": "true"})
    return url.set(database=Path(url.database or "").absolute().as_uri()).update_query_dict(
        {"mode": "ro", "uri": "true"}
    )


_STATE = "ligand_sqlite_state"


@dataclass(slots=True)
class _SQLiteState:
    """The authorizer of one connection of SQLite, which is asked when a statement is prepared.

    Attributes:
        ends: Whether COMMIT and ROLLBACK come from SQLAlchemy.
        begins: Whether BEGIN comes from us.
        is_changed: Whether a statement changed what the connection is.
    """

    ends: bool = True
    begins: bool = False
    is_changed: bool = False

    def authorize_read(self, action: int, first: str | None, second: str | None, *_rest: str | None) -> int:
        """Allow what reads: nothing else could be undone, and `mode=ro` alone lets ATTACH write."""
        match action:
            case sqlite3.SQLITE_SELECT | sqlite3.SQLITE_READ | sqlite3.SQLITE_FUNCTION | sqlite3.SQLITE_RECURSIVE:
                allowed = True
            case sqlite3.SQLITE_SAVEPOINT:
                allowed = True
            case sqlite3.SQLITE_UPDATE:
                # SQLite itself, when it declares a virtual table such as json_each; it lets nobody else write there.
                allowed = first == "sqlite_master"
            case sqlite3.SQLITE_TRANSACTION:
                allowed = self.begins if first == "BEGIN" else self.ends
            case sqlite3.SQLITE_PRAGMA:
                allowed = first in _PRAGMAS_OF_SCHEMA or (second is None and first in _PRAGMAS_THAT_ASK)
            case _:
                allowed = False
        return sqlite3.SQLITE_OK if allowed else sqlite3.SQLITE_DENY

    def note_change(self, action: int, _first: str | None, second: str | None, *_rest: str | None) -> int:
        """Note what outlives a transaction: pragmas, attached databases, temporary tables and triggers."""
        if action in _CHANGES_A_CONNECTION or (action == sqlite3.SQLITE_PRAGMA and second is not None):
            self.is_changed = True
        return sqlite3.SQLITE_OK


# With an argument: SQLAlchemy reflects a schema with them.
_PRAGMAS_OF_SCHEMA = frozenset(
    ("table_info", "table_xinfo", "table_list", "index_list", "index_info", "index_xinfo", "foreign_key_list")
)
_ASKING = """
    application_id busy_timeout collation_list compile_options data_version database_list encoding foreign_keys
    freelist_count function_list journal_mode page_count page_size query_only read_uncommitted schema_version
    user_version
"""
_PRAGMAS_THAT_ASK = frozenset(_ASKING.split())  # without an argument
_CHANGES_A_CONNECTION = frozenset(
    (
        sqlite3.SQLITE_ATTACH,
        sqlite3.SQLITE_DETACH,
        sqlite3.SQLITE_CREATE_TEMP_INDEX,
        sqlite3.SQLITE_CREATE_TEMP_TABLE,
        sqlite3.SQLITE_CREATE_TEMP_TRIGGER,
        sqlite3.SQLITE_CREATE_TEMP_VIEW,
    )
)


def _execute_pragmas(dbapi_connection: Any, *pragmas: str) -> None:
    cursor = dbapi_connection.cursor()
    for pragma in pragmas:
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _open_reader(dialect: Any, _record: Any, arguments: Any, options: Any) -> Any:
    """Open a database for reading, also one that nobody can write to.

    To read a file with a write-ahead log, SQLite makes files beside it. Where it cannot, and there is no log that it
    would have to read, the file is opened as one that does not change.
    """
    connection = _connect(dialect, arguments, options)
    file = Path(unquote(urlsplit(arguments[0]).path))
    if os.access(file.parent, os.W_OK) or _has_content(file.with_name(f"{file.name}-wal")):
        return connection
    try:
        connection.cursor().execute("SELECT 1 FROM sqlite_master LIMIT 1")
    except dialect.dbapi.Error as error:
        if getattr(error, "sqlite_errorcode", 0) & 0xFF not in {sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN}:
            return connection
        connection.close()
        return _connect(dialect, [f"{arguments[0]}&immutable=1", *arguments[1:]], options)
    return connection


def _has_content(file: Path) -> bool:
    try:
        return file.stat().st_size > 0
    except OSError:
        return False


def _open_writer(dbapi_connection: Any, record: Any) -> None:
    _execute_pragmas(dbapi_connection, "journal_mode=WAL", "foreign_keys=ON")
    state = record.info[_STATE] = _SQLiteState()
    dbapi_connection.run_async(lambda driver: driver.set_authorizer(state.note_change))


def _allow_reads_only(dbapi_connection: Any, record: Any) -> None:
    _execute_pragmas(dbapi_connection, "foreign_keys=ON", "query_only=ON")
    state = record.info[_STATE] = _SQLiteState()
    dbapi_connection.run_async(lambda driver: driver.set_authorizer(state.authorize_read))


def _allow_end(connection: Connection) -> None:
    if not connection.invalidated:  # of one that has been given up, there is nothing to end
        connection.info[_STATE].ends = True


def _close_changed_connection(_dbapi_connection: Any, record: Any, state: PoolResetState) -> None:
    if not state.terminate_only and record.info[_STATE].is_changed:
        record.invalidate()


_OWN = {KEEPS_STATE: True}


def _begin_immediate(connection: Connection) -> None:
    """Take SQLite's write lock at once: a lock taken later fails with SQLITE_BUSY in the middle of the work."""
    connection.exec_driver_sql("BEGIN IMMEDIATE", execution_options=_OWN)


def _begin_snapshot(connection: Connection) -> None:
    # Only a snapshot has a transaction; other reads are one statement each.
    state: _SQLiteState = connection.info[_STATE]
    if connection.get_execution_options().get("ligand_begin"):
        state.begins = True
        connection.connection.dbapi_connection.cursor().execute("BEGIN DEFERRED")  # type: ignore[union-attr]  # checked out, so there is one
    state.begins = state.ends = False


def _roll_back_failed_commit(dbapi_connection: Any, _record: Any, state: PoolResetState) -> None:
    """Roll back what a failed COMMIT left open, which SQLite does where a deferred constraint fails.

    SQLAlchemy takes the transaction for ended. The next one would fail to begin, and until then no writer could write.
    """
    if not state.terminate_only and dbapi_connection.driver_connection.in_transaction:
        dbapi_connection.rollback()


def _stop_and_roll_back(dbapi_connection: Any, *_rest: Any) -> None:
    """Interrupt the statement of a cancelled task: closing the connection would leave its thread holding the lock."""
    if in_greenlet():
        dbapi_connection.run_async(lambda driver: driver.interrupt())
        dbapi_connection.run_async(lambda driver: driver.rollback())


def _listen_on_time(engine: AsyncEngine, statement_timeout: float) -> None:
    """Interrupt statements that run longer, in seconds: SQLite has no `statement_timeout` of its own."""

    def look_at_the_clock(dbapi_connection: Any, record: Any) -> None:
        def is_late() -> bool:
            deadline: float = record.info.get(_DEADLINE, float("inf"))
            return time.monotonic() > deadline

        dbapi_connection.run_async(lambda driver: driver.set_progress_handler(is_late, _INSTRUCTIONS_BETWEEN_LOOKS))

    def set_deadline(connection: Connection, *_rest: Any) -> None:
        left = current_deadline().seconds_left
        seconds = statement_timeout if left is None else min(statement_timeout, left)
        connection.info[_DEADLINE] = time.monotonic() + seconds

    event.listen(engine.sync_engine, "connect", look_at_the_clock)
    event.listen(engine.sync_engine, "before_cursor_execute", set_deadline)
