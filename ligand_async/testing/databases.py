"""Databases on a PostgreSQL server, one per test.

What this module needs it imports where it needs it: the pytest plugin imports the module in every test run.
"""

import asyncio
import contextlib
import os
import secrets
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

SERVER_VARIABLE = "LIGAND_TEST_DATABASE_URL"


@dataclass(frozen=True)
class PostgresServer:
    """A PostgreSQL server on which tests make databases of their own.

    Attributes:
        url: The URL of a database to connect to while another one is made or dropped, as a role that may do so.
    """

    url: str

    def create_database(self, template: str = "template1") -> str:
        """Make a database as a copy of `template`, which nobody may be connected to, and return its URL."""
        name = f"ligand_test_{secrets.token_hex(6)}"
        self._run(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
        return self.url_of(name)

    def drop_database(self, url: str) -> None:
        """Drop the database of `url`, along with whoever is still connected to it."""
        from sqlalchemy import make_url

        self._run(f'DROP DATABASE IF EXISTS "{make_url(url).database}" WITH (FORCE)')

    def url_of(self, database: str) -> str:
        """Return the URL of another database of this server."""
        from sqlalchemy import make_url

        return make_url(self.url).set(database=database).render_as_string(hide_password=False)

    def _run(self, statement: str) -> None:
        # In a thread of its own: a fixture may be asked for while a loop runs.
        with ThreadPoolExecutor(1) as threads:
            threads.submit(asyncio.run, _execute(self.url, statement)).result()


@contextlib.contextmanager
def open_server() -> Iterator[PostgresServer]:
    """Yield the server that `LIGAND_TEST_DATABASE_URL` names, else a throw-away one.

    Raises:
        RuntimeError: When the variable names no PostgreSQL server.
        PostgresNotFound: When the variable is not set and no server program is installed.
    """
    given = os.environ.get(SERVER_VARIABLE)
    if given:
        yield PostgresServer(_read_url(given))
        return
    from ligand_async.testing.postgres import ThrowawayPostgres

    with ThrowawayPostgres() as server:
        yield PostgresServer(server.url())


def _read_url(text: str) -> str:
    from ligand_async.data.urls import is_sqlite, parse_database_url

    url = parse_database_url(text)
    if is_sqlite(url):
        raise RuntimeError(f"{SERVER_VARIABLE} names SQLite; give the URL of a PostgreSQL server, or unset it")
    return url.render_as_string(hide_password=False)


async def _execute(url: str, statement: str) -> None:
    from sqlalchemy import NullPool, text
    from sqlalchemy.ext.asyncio import create_async_engine

    engine = create_async_engine(url, isolation_level="AUTOCOMMIT", poolclass=NullPool)
    async with asyncio.timeout(30), engine.connect() as connection:
        await connection.execute(text(statement))
    await engine.dispose()
