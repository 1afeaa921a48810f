"""The server that tests make their databases on."""

from pathlib import Path

import pytest

from ligand_async.testing import ThrowawayPostgres
from ligand_async.testing.databases import open_server
from tests.testing.statements import fetch_scalar


async def test_given_server_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """`LIGAND_TEST_DATABASE_URL` comes before any server of our own, in the form that everybody writes."""
    with ThrowawayPostgres() as server:
        monkeypatch.setenv("LIGAND_TEST_DATABASE_URL", server.url().replace("+asyncpg", ""))
        with open_server() as given:
            url = given.create_database()
            assert await fetch_scalar(url, "SHOW unix_socket_directories") == str(server.socket_directory)


def test_given_server_must_be_postgresql(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A SQLite URL in `LIGAND_TEST_DATABASE_URL` is refused by name."""
    monkeypatch.setenv("LIGAND_TEST_DATABASE_URL", f"sqlite:///{tmp_path / 'x.db'}")
    with pytest.raises(RuntimeError, match="LIGAND_TEST_DATABASE_URL names SQLite"), open_server():
        pass


async def test_major_version_is_what_the_server_says() -> None:
    """It decides which statement copies a database, so it is that of the running server."""
    with ThrowawayPostgres() as server:
        number = str(await fetch_scalar(server.url(), "SHOW server_version_num"))

        assert server.major_version == int(number) // 10_000
