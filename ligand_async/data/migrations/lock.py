"""One migration at a time: between the replicas of a service, and within one process."""

import asyncio
import fcntl
import hashlib
import os
import random
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection

from ligand_async.data.migrations.errors import MigrationError, MigrationLockHeld

# PostgreSQL's advisory locks are numbers, one space per database.
_LOCK_KEY = int.from_bytes(hashlib.blake2b(b"ligand_async migrations", digest_size=8).digest(), signed=True)
_LOCK_SUFFIX = "-migrating"  # beside SQLite's own `-wal` and `-shm`
_SHORTEST_PAUSE, _LONGEST_PAUSE = 0.02, 0.5  # seconds between two looks at a lock

_process_turn = threading.Lock()


@asynccontextmanager
async def hold_migration_lock(connection: AsyncConnection, *, wait: float) -> AsyncIterator[None]:
    """Hold the lock of a database's migrations; whoever dies with it lets it go.

    Args:
        connection: The one to migrate on, not in a transaction.
        wait: Seconds to wait for whoever holds it.

    Raises:
        MigrationLockHeld: It was not free in time.
    """
    locked = (
        _advisory_lock(connection, wait) if connection.dialect.name == "postgresql" else _file_lock(connection, wait)
    )
    async with locked:
        yield


@asynccontextmanager
async def _advisory_lock(connection: AsyncConnection, wait: float) -> AsyncIterator[None]:
    """Hold a session advisory lock of PostgreSQL.

    It is asked for again and again rather than waited for: a session that waits in a statement has a snapshot, and
    CREATE INDEX CONCURRENTLY in the migration that it waits for would wait for that snapshot.
    """

    async def acquire() -> bool:
        acquired = await connection.scalar(select(func.pg_try_advisory_lock(_LOCK_KEY)))
        await connection.commit()
        return bool(acquired)

    await _look_until_free(acquire, wait)
    try:
        yield
    finally:
        if not connection.invalidated:
            try:
                await connection.rollback()
                await connection.scalar(select(func.pg_advisory_unlock(_LOCK_KEY)))
                await connection.commit()
            except (SQLAlchemyError, OSError):
                await connection.invalidate()  # the lock ends with its connection


@asynccontextmanager
async def _file_lock(connection: AsyncConnection, wait: float) -> AsyncIterator[None]:
    """Hold a lock on a file beside a SQLite database, which is there only as long.

    Not SQLite's own lock: each migration is a transaction, and the lock must span them all. Not on the database file:
    closing it would drop the locks that SQLite holds on it in this process.
    """
    driver: Any = (await connection.get_raw_connection()).driver_connection
    (_, _, file), *_ = await driver.execute_fetchall("PRAGMA database_list")
    path = Path(file + _LOCK_SUFFIX)
    descriptors: list[int] = []

    async def acquire() -> bool:
        descriptor = _lock_file(path)
        if descriptor is not None:
            descriptors.append(descriptor)
        return descriptor is not None

    await _look_until_free(acquire, wait)
    try:
        yield
    finally:
        for descriptor in descriptors:
            _unlock_file(path, descriptor)


def _lock_file(path: Path) -> int | None:
    """Lock a file and return its descriptor, or None while another holds it.

    The holder removes the file at the end: whoever locked a removed one must not count it.

    Raises:
        MigrationError: The directory of the database cannot be written to.
    """
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise MigrationError(f"cannot lock {path}: {error.strerror}") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.fstat(descriptor).st_ino == os.stat(path).st_ino:
            return descriptor
    except (BlockingIOError, FileNotFoundError):
        pass
    os.close(descriptor)
    return None


def _unlock_file(path: Path, descriptor: int) -> None:
    """Remove a locked file, then unlock it: in this order no process removes the lock of another."""
    path.unlink(missing_ok=True)
    os.close(descriptor)


async def _look_until_free(acquire: Callable[[], Awaitable[bool]], wait: float) -> None:
    """Call `acquire` until it succeeds, for `wait` seconds at most, less and less often.

    Raises:
        MigrationLockHeld: It did not succeed in time.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + wait
    pause = _SHORTEST_PAUSE
    while not await acquire():
        if loop.time() + pause > deadline:
            raise MigrationLockHeld(
                f"another process has been migrating this database for {wait:g} s; "
                "wait for it to end, or wait longer with --wait"
            )
        await asyncio.sleep(random.uniform(pause / 2, pause))  # noqa: S311  (not a secret)
        pause = min(pause * 2, _LONGEST_PAUSE)


@asynccontextmanager
async def process_turn() -> AsyncIterator[None]:
    """Take Alembic's turn in this process: `alembic.op` and `alembic.context` are globals, one run at a time."""
    while not _process_turn.acquire(blocking=False):  # noqa: ASYNC110  (an asyncio.Event belongs to one loop)
        await asyncio.sleep(_SHORTEST_PAUSE)
    try:
        yield
    finally:
        _process_turn.release()
