"""The engines of one app: one that writes, one that reads, and those of the replicas."""

import asyncio
import logging
from collections.abc import Iterator
from itertools import cycle
from typing import Any
from uuid import uuid4

from sqlalchemy import URL, event
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool

from ligand_async.data.listeners import give_up_connection_that_writes, listen_everywhere, listen_on_reads
from ligand_async.data.sqlite import listen_on_sqlite
from ligand_async.data.urls import is_sqlite, parse_database_url
from ligand_async.marks import SessionMode
from ligand_async.settings import Settings

logger = logging.getLogger(__name__)

DISPOSE_TIMEOUT = 3.0  # seconds, for all connections of one engine; Quart waits 5 for requests before, which makes 8


class Engines:
    """The engines of one app. Made in the lifespan: an engine belongs to one event loop and one process.

    PostgreSQL reads in AUTOCOMMIT on connections that the server itself holds read-only; behind a transaction pooler,
    where a connection keeps no state of ours, each read is a READ ONLY transaction. SQLite writes on one connection,
    because it has one writer anyway and a queue is fairer than its busy handler, and reads on connections with
    `query_only` set.
    """

    def __init__(self, settings: Settings) -> None:
        url = parse_database_url(settings.database_url.get_secret_value())
        replicas = [parse_database_url(replica.get_secret_value()) for replica in settings.database_replica_urls]
        self.write = make_engine(url, settings, reads=False)
        self.read = make_engine(url, settings, reads=True)
        self.replicas = [make_engine(replica, settings, reads=True) for replica in replicas]
        self._replicas_in_turn: Iterator[AsyncEngine] = cycle(self.replicas or [self.read])
        self.snapshot = self.read.execution_options(**snapshot_options(url))

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

    async def dispose(self) -> None:
        """Close all connections at once, those that do not answer by force of leaving."""
        await asyncio.gather(*(dispose_engine(engine) for engine in (self.write, self.read, *self.replicas)))


async def dispose_engine(engine: AsyncEngine) -> None:
    """Close an engine's connections within `DISPOSE_TIMEOUT`."""
    try:
        async with asyncio.timeout(DISPOSE_TIMEOUT):
            await engine.dispose()
    except TimeoutError:
        logger.warning("database connections did not close within %s s and were left", DISPOSE_TIMEOUT)
    except (SQLAlchemyError, OSError) as error:
        logger.warning("database connections did not close well: %s", type(error).__name__)


def snapshot_options(url: URL) -> dict[str, Any]:
    """Return the execution options that make a session see one moment (REPEATABLE READ, READ ONLY)."""
    if is_sqlite(url):
        return {"ligand_begin": "BEGIN"}
    return {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}


def make_engine(url: URL, settings: Settings, *, reads: bool, pooled: bool = True) -> AsyncEngine:
    """Make an engine with its timeouts, its rules and its listeners.

    Args:
        url: As `parse_database_url` returns it.
        settings: Pool size, timeouts in seconds, pooler mode.
        reads: Whether the database must refuse every write on it.
        pooled: False for one-off work such as migrations.
    """
    options: dict[str, Any] = {"hide_parameters": True}
    if is_sqlite(url):
        # None: the driver begins nothing by itself; the `begin` listener does.
        options["connect_args"] = {"isolation_level": None, "timeout": settings.database_connect_timeout}
    else:
        options |= postgresql_options(settings, reads=reads)
    if pooled:
        size = 1 if is_sqlite(url) and not reads else settings.database_pool_size
        options |= {"pool_size": size, "max_overflow": 0, "pool_timeout": settings.database_pool_timeout}
    else:
        options["poolclass"] = NullPool
    engine = create_async_engine(url, **options)
    listen_everywhere(engine)
    if is_sqlite(url):
        listen_on_sqlite(engine, reads=reads, statement_timeout=settings.database_statement_timeout)
    if reads:
        listen_on_reads(engine)
        if not is_sqlite(url) and settings.database_pooler == "none":
            event.listen(engine.sync_engine, "after_cursor_execute", give_up_connection_that_writes)
    return engine


def postgresql_options(settings: Settings, *, reads: bool) -> dict[str, Any]:
    """Return engine options for asyncpg, with or without a transaction pooler in between."""
    connect_args: dict[str, Any] = {
        "timeout": settings.database_connect_timeout,
        "command_timeout": settings.database_command_timeout,
    }
    if settings.database_pooler == "transaction":
        # The pooler hands each transaction any server connection: no state, no prepared statement survives between two.
        connect_args |= {
            "server_settings": {"application_name": "ligand_async"},
            "statement_cache_size": 0,
            "prepared_statement_cache_size": 0,
            "prepared_statement_name_func": lambda: f"__ligand_{uuid4().hex}__",
        }
        return {
            "connect_args": connect_args,
            "execution_options": {"postgresql_readonly": True} if reads else {},
        }
    connect_args["server_settings"] = {
        "application_name": "ligand_async",
        "timezone": "UTC",
        "statement_timeout": str(round(settings.database_statement_timeout * 1000)),
        "default_transaction_read_only": "on" if reads else "off",
    }
    return {"connect_args": connect_args, **({"isolation_level": "AUTOCOMMIT"} if reads else {})}
