"""What SQLite needs to be told: pragmas, when to begin, and when to stop."""

import time
from typing import Any

from sqlalchemy import Connection, event
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.util.concurrency import in_greenlet

DEADLINE = "ligand_deadline"
INSTRUCTIONS_BETWEEN_LOOKS = 10_000  # of SQLite's machine, well under a millisecond


def listen_on_sqlite(engine: AsyncEngine, *, reads: bool, statement_timeout: float) -> None:
    """Set the pragmas of new connections, begin transactions as writers or readers do, bound the time of statements.

    Args:
        engine: An engine of SQLite.
        reads: Whether SQLite must refuse every write on it.
        statement_timeout: Seconds; 0 for none.
    """
    sync_engine = engine.sync_engine
    event.listen(sync_engine, "connect", set_read_pragmas if reads else set_pragmas)
    event.listen(sync_engine, "begin", begin_snapshot if reads else begin_immediate)
    event.listen(sync_engine, "invalidate", stop_and_roll_back)
    if statement_timeout:
        listen_on_time(engine, statement_timeout)


def set_pragmas(dbapi_connection: Any, _record: Any) -> None:
    """Make SQLite keep its promises: foreign keys, and readers beside the writer."""
    cursor = dbapi_connection.cursor()
    for pragma in ("journal_mode=WAL", "foreign_keys=ON"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def set_read_pragmas(dbapi_connection: Any, record: Any) -> None:
    """Set the same, and let SQLite itself refuse every write."""
    set_pragmas(dbapi_connection, record)
    cursor = dbapi_connection.cursor()
    cursor.execute("PRAGMA query_only=ON")
    cursor.close()


def begin_immediate(connection: Connection) -> None:
    """Take SQLite's write lock at once: a lock taken later fails with SQLITE_BUSY in the middle of the work."""
    connection.exec_driver_sql("BEGIN IMMEDIATE")


def begin_snapshot(connection: Connection) -> None:
    """Begin where one moment was asked for; other reads are one statement each."""
    statement = connection.get_execution_options().get("ligand_begin")
    if statement is not None:
        connection.connection.dbapi_connection.cursor().execute(statement)  # type: ignore[union-attr]  # checked out, so there is one


def stop_and_roll_back(dbapi_connection: Any, *_rest: Any) -> None:
    """End what a cancelled task left running in the connection's thread: SQLite's own close would leave it its lock."""
    if in_greenlet():
        dbapi_connection.run_async(lambda driver: driver.interrupt())
        dbapi_connection.run_async(lambda driver: driver.rollback())


def listen_on_time(engine: AsyncEngine, statement_timeout: float) -> None:
    """Interrupt statements that run longer, in seconds: SQLite has no `statement_timeout` of its own."""

    def look_at_the_clock(dbapi_connection: Any, record: Any) -> None:
        def is_late() -> bool:
            deadline: float = record.info.get(DEADLINE, float("inf"))
            return time.monotonic() > deadline

        dbapi_connection.run_async(lambda driver: driver.set_progress_handler(is_late, INSTRUCTIONS_BETWEEN_LOOKS))

    def set_deadline(connection: Connection, *_rest: Any) -> None:
        connection.info[DEADLINE] = time.monotonic() + statement_timeout

    event.listen(engine.sync_engine, "connect", look_at_the_clock)
    event.listen(engine.sync_engine, "before_cursor_execute", set_deadline)
