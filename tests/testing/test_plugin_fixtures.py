"""The fixtures of the pytest plugin."""

import pytest
from sqlalchemy import make_url

from ligand_async.testing import PostgresServer
from tests.testing.statements import execute, fetch_scalar

VERSIONS = {"sqlite": "SELECT sqlite_version()", "postgresql": "SELECT version()"}


async def test_database_url_names_the_database_of_the_variant(
    database_url: str, request: pytest.FixtureRequest
) -> None:
    """The variant that a test's id names is the database that it runs on."""
    backend = make_url(database_url).get_backend_name()
    assert request.node.name.endswith(f"[{backend}]")
    assert await fetch_scalar(database_url, VERSIONS[backend])


@pytest.mark.parametrize("repetition", [1, 2])
async def test_each_test_has_an_empty_database(database_url: str, repetition: int) -> None:
    """What one test leaves behind, the next does not find."""
    await execute(database_url, "CREATE TABLE left_behind (id INTEGER)")
    assert await fetch_scalar(database_url, "SELECT count(*) FROM left_behind") == 0


@pytest.mark.ligand_database("sqlite")
async def test_marker_leaves_out_the_other_database(database_url: str) -> None:
    """A test marked for one database runs on no other."""
    assert make_url(database_url).get_backend_name() == "sqlite"


async def test_fixture_can_be_asked_for_inside_a_running_loop(request: pytest.FixtureRequest) -> None:
    """A database is made whether or not a loop runs in this thread."""
    url: str = request.getfixturevalue("postgres_url")
    assert await fetch_scalar(url, "SELECT 1") == 1


async def test_database_is_a_copy_of_its_template(postgres_server: PostgresServer) -> None:
    """A table of the template is in the copy, and a change in the copy is not in the template."""
    template = postgres_server.create_database()
    await execute(template, "CREATE TABLE pet AS SELECT 'Rex' AS name")
    copy = postgres_server.create_database(make_url(template).database or "")
    await execute(copy, "DELETE FROM pet")
    assert await fetch_scalar(template, "SELECT name FROM pet") == "Rex"
    postgres_server.drop_database(copy)
    postgres_server.drop_database(template)


async def test_dropping_a_database_disconnects_its_clients(postgres_server: PostgresServer) -> None:
    """A database goes although somebody is still connected to it."""
    from sqlalchemy.ext.asyncio import create_async_engine

    url = postgres_server.create_database()
    engine = create_async_engine(url)
    connection = await engine.connect()
    postgres_server.drop_database(url)
    name = make_url(url).database
    assert await fetch_scalar(postgres_server.url, f"SELECT count(*) FROM pg_database WHERE datname = '{name}'") == 0
    await connection.invalidate()
    await connection.close()
    await engine.dispose()
