"""Databases on a PostgreSQL server, one per test.

Its imports stand inside functions, because the pytest plugin imports this module in every test run.
"""

import asyncio
import contextlib
import os
import secrets
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Self

_TIMEOUT = 30.0  # seconds, for each database that is made or dropped
_FIRST_WITH_STRATEGIES = 15  # PostgreSQL's documentation: CREATE DATABASE
_SERVER_VARIABLE = "LIGAND_TEST_DATABASE_URL"


class PostgresServer:
    """A PostgreSQL server on which tests make databases of their own.

    It keeps one connection, in a thread of its own: a fixture may be asked for while a loop runs. `with` closes it.
    A forked process needs its own.

    Args:
        url: The URL of a database to connect to while another one is made or dropped, as a role that may do so.
        strategy: How PostgreSQL 15 and newer copies a template, "FILE_COPY" or "WAL_LOG"; None leaves it the choice.
    """

    def __init__(self, url: str, *, strategy: str | None = None) -> None:
        self.url = url
        self._strategy = "" if strategy is None else f" STRATEGY {strategy}"
        self._cleanup = contextlib.ExitStack()
        self._execute: Callable[[str], None] | None = None
        self._connecting = threading.Lock()

    def __enter__(self) -> Self:
        """Do nothing yet: it connects when the first database is made."""
        return self

    def __exit__(self, *raised: object) -> None:
        """Close the connection."""
        self._execute = None
        self._cleanup.close()

    def create_database(self, template: str = "template1") -> str:
        """Make a database as a copy of `template`, which must have no connections, and return its URL."""
        name = f"ligand_test_{secrets.token_hex(6)}"
        self._run(f'CREATE DATABASE "{name}" TEMPLATE "{template}"{self._strategy}')
        return self.url_of(name)

    def drop_database(self, url: str) -> None:
        """Drop the database of `url`, and close the connections that it still has."""
        from sqlalchemy import make_url

        self._run(f'DROP DATABASE IF EXISTS "{make_url(url).database}" WITH (FORCE)')

    def url_of(self, database: str) -> str:
        """Return the URL of another database of this server."""
        from sqlalchemy import make_url

        return make_url(self.url).set(database=database).render_as_string(hide_password=False)

    def _run(self, statement: str) -> None:
        with self._connecting:
            if self._execute is None:
                self._execute = self._cleanup.enter_context(_connected(self.url))
            execute = self._execute
        execute(statement)


@contextlib.contextmanager
def open_server() -> Iterator[PostgresServer]:
    """Yield the server that `LIGAND_TEST_DATABASE_URL` names, else a throw-away one.

    Raises:
        RuntimeError: The variable does not name a PostgreSQL server.
        PostgresNotFound: The variable is not set and no server program is installed.
    """
    given = os.environ.get(_SERVER_VARIABLE)
    if given:
        with PostgresServer(_read_url(given)) as named:
            yield named
        return
    from ligand_async.testing.postgres import ThrowawayPostgres

    with ThrowawayPostgres() as server:
        # Its checkpoints wait for no disk, so copying files takes half of what writing each block to the log takes.
        strategy = "FILE_COPY" if server.major_version >= _FIRST_WITH_STRATEGIES else None
        with PostgresServer(server.url(), strategy=strategy) as own:
            yield own


def _read_url(text: str) -> str:
    from ligand_async.data import is_sqlite, parse_database_url

    url = parse_database_url(text)
    if is_sqlite(url):
        raise RuntimeError(f"{_SERVER_VARIABLE} names SQLite; give the URL of a PostgreSQL server, or unset it")
    return url.render_as_string(hide_password=False)


@contextlib.contextmanager
def _connected(url: str) -> Iterator[Callable[[str], None]]:
    """Yield a function that executes a statement on one connection, which is reopened when it is lost."""
    from sqlalchemy import text
    from sqlalchemy.ext.asyncio import create_async_engine

    engine = create_async_engine(url, isolation_level="AUTOCOMMIT", pool_size=1, max_overflow=0, pool_pre_ping=True)

    async def execute(statement: str) -> None:
        async with asyncio.timeout(_TIMEOUT), engine.connect() as connection:
            await connection.execute(text(statement))

    with ThreadPoolExecutor(1) as thread:
        runner = thread.submit(asyncio.Runner().__enter__).result()
        try:
            yield lambda statement: thread.submit(runner.run, execute(statement)).result()
        finally:
            thread.submit(runner.run, engine.dispose()).result()
            thread.submit(runner.close).result()
