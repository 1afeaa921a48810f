"""Migrations beside other migrations, and beside traffic."""

import asyncio
import contextlib
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from sqlalchemy import text

from ligand_async.data.migrations import (
    MigrationError,
    MigrationFailed,
    MigrationLockHeld,
    Patience,
    auto_upgrade,
    create_directory,
    current,
    upgrade,
)
from ligand_async.data.migrations.lock import hold_migration_lock
from tests.data.migration_files import EMPTY, connected, create_table, fetch, settings_for, tables_of, write_migration

pytestmark = pytest.mark.extended  # processes that wait for each other

ROOT = Path(__file__).parents[2]
REPLICAS = 10


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """A directory with one migration, which makes the table `cup`."""
    directory = create_directory(tmp_path / "migrations")
    write_migration(directory, "cups", up=create_table("cup"), down="op.drop_table('cup')")
    return directory


@asynccontextmanager
async def reading(url: str) -> AsyncIterator[None]:
    """Keep a transaction open that has read the table `cup`: nobody may alter the table meanwhile."""
    async with connected(url) as connection, connection.begin():
        await connection.execute(text("SELECT * FROM cup"))
        yield


@pytest.mark.extended
async def test_replicas_start_at_once(directory: Path, database_url: str) -> None:
    """Of ten processes that migrate an empty database at once, all succeed and one applies the migrations."""
    # They take as long as the others need to arrive, and there are two, to be torn apart.
    write_migration(directory, "cups", up=f"{create_table('cup')}\nimport time\ntime.sleep(1)")
    write_migration(directory, "plates", up=f"{create_table('plate')}\nimport time\ntime.sleep(1)", after="cups")
    environment = os.environ | {
        "LIGAND_ENVIRONMENT": "local",
        "LIGAND_DATABASE_URL": database_url,
        "LIGAND_APP": "examples.petstore.app:create_app",
    }
    command = [sys.executable, "-c", "from ligand_async.cli import main; main()", "db", "upgrade", "-d", str(directory)]
    replicas = [
        subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.PIPE, text=True) for _ in range(REPLICAS)
    ]
    errors = await asyncio.gather(*(asyncio.to_thread(replica.communicate) for replica in replicas))

    assert [replica.returncode for replica in replicas] == [0] * REPLICAS, errors
    assert "".join(stderr for _, stderr in errors) == "applied cups Do cups.\napplied plates Do plates.\n"
    assert await tables_of(database_url) == {"cup", "plate"}


async def test_waiting_ends(directory: Path, database_url: str) -> None:
    """A process waits for another's migration as long as it was told, and then says what holds it up."""
    async with connected(database_url) as other, hold_migration_lock(other, wait=1):
        with pytest.raises(MigrationLockHeld, match="another process has been migrating"):
            await upgrade(EMPTY, settings_for(database_url), directory, patience=Patience(wait=0.2))
    assert await tables_of(database_url) == set()


async def test_waiting_is_rewarded(directory: Path, database_url: str) -> None:
    """A process goes on when the other one is done."""
    async with connected(database_url) as other:
        async with hold_migration_lock(other, wait=1):
            waiting = asyncio.create_task(upgrade(EMPTY, settings_for(database_url), directory))
            await asyncio.sleep(0.3)
            assert not waiting.done()
        await waiting
    assert await tables_of(database_url) == {"cup"}


async def test_failure_releases_lock(directory: Path, database_url: str) -> None:
    """A migration that failed keeps nobody out."""
    write_migration(directory, "faults", up="1 / 0", after="cups")
    settings = settings_for(database_url)
    with pytest.raises(MigrationFailed):
        await upgrade(EMPTY, settings, directory)
    await upgrade(EMPTY, settings, directory, "cups", patience=Patience(wait=0.1))


async def test_cancelled_wait_leaves_no_lock(directory: Path, database_url: str) -> None:
    """Cancelling a migration, even in the middle, keeps nobody out."""
    write_migration(directory, "naps", up="import time\ntime.sleep(0.5)", after="cups")
    settings = settings_for(database_url)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(0.3):
            await upgrade(EMPTY, settings, directory)
    await upgrade(EMPTY, settings, directory, patience=Patience(wait=2))
    assert await current(EMPTY, settings, directory) == ("naps",)


async def test_lock_file_goes(directory: Path, sqlite_url: str, tmp_path: Path) -> None:
    """The lock beside a SQLite database is there during a migration only."""
    seen = tmp_path / "seen"
    look = f"pathlib.Path({str(tmp_path)!r}).glob('*-migrating')"
    up = f"import pathlib\npathlib.Path({str(seen)!r}).write_text(str(*{look}))"
    write_migration(directory, "looks", up=up, after="cups")
    await upgrade(EMPTY, settings_for(sqlite_url), directory)
    assert seen.read_text() == str(tmp_path / "test.db-migrating")
    assert not list(tmp_path.glob("*-migrating"))


async def test_unwritable_lock_is_told(directory: Path, sqlite_url: str, tmp_path: Path) -> None:
    """Where the lock cannot be made, the error names it."""
    (tmp_path / "test.db-migrating").mkdir()
    with pytest.raises(MigrationError, match=r"cannot lock .*test\.db-migrating: Is a directory"):
        await upgrade(EMPTY, settings_for(sqlite_url), directory)


async def test_lost_connection_releases_lock(directory: Path, postgres_url: str) -> None:
    """A migration whose connection dies is one error, and keeps nobody out."""
    up = "op.execute('SELECT pg_terminate_backend(pg_backend_pid())')"
    write_migration(directory, "faults", up=up, after="cups")
    settings = settings_for(postgres_url)
    with pytest.raises(MigrationFailed, match="line 11"):
        await upgrade(EMPTY, settings, directory)
    await upgrade(EMPTY, settings, directory, "cups", patience=Patience(wait=1))


async def test_replicas_that_upgrade_at_start(directory: Path, database_url: str, tmp_path: Path) -> None:
    """Replicas that migrate when they start, all at once, find the work done by one of them."""
    async with asyncio.TaskGroup() as tasks:
        for _ in range(4):
            tasks.create_task(auto_upgrade(EMPTY, settings_for(database_url), root_path=tmp_path))
    assert await tables_of(database_url) == {"cup"}


async def test_old_replica_that_waited(directory: Path, database_url: str, tmp_path: Path) -> None:
    """A replica that waited while a newer release migrated further has nothing to do, and starts."""
    async with connected(database_url) as other, hold_migration_lock(other, wait=1):
        starting = asyncio.create_task(auto_upgrade(EMPTY, settings_for(database_url), root_path=tmp_path))
        await asyncio.sleep(0.3)
        await fetch(database_url, "CREATE TABLE alembic_version (version_num VARCHAR(32) PRIMARY KEY)")
        await fetch(database_url, "INSERT INTO alembic_version VALUES ('plates')")
    await starting
    assert await tables_of(database_url) == set()


@pytest.mark.extended
async def test_traffic_goes_on(directory: Path, postgres_url: str) -> None:
    """A migration that waits for a busy table keeps a query behind it waiting no longer than the lock timeout."""
    settings = settings_for(postgres_url, database_lock_timeout=0.4)
    await upgrade(EMPTY, settings, directory)
    write_migration(directory, "sizes", up="op.add_column('cup', sa.Column('size', sa.Integer))", after="cups")

    async with reading(postgres_url):
        migrating = asyncio.create_task(upgrade(EMPTY, settings, directory))
        delays = await query_until(postgres_url, time.monotonic() + 2)
        assert not migrating.done()
    await migrating

    assert await current(EMPTY, settings, directory) == ("sizes",)
    assert 0.1 < max(delays) < 0.4 + 0.3  # some did wait: the migration was in their way


async def query_until(url: str, end: float) -> list[float]:
    """Query the table `cup` again and again, and return how long each query took, in seconds."""
    delays = []
    async with connected(url) as connection:
        while time.monotonic() < end:
            begin = time.monotonic()
            await connection.execute(text("SELECT * FROM cup"))
            await connection.rollback()
            delays.append(time.monotonic() - begin)
            await asyncio.sleep(0.01)
    return delays


async def test_attempts_are_bounded(directory: Path, postgres_url: str) -> None:
    """A migration whose table stays busy gives up, says so, and leaves nothing."""
    settings = settings_for(postgres_url, database_lock_timeout=0.1)
    await upgrade(EMPTY, settings, directory)
    up = create_table("plate") + "\nop.add_column('cup', sa.Column('size', sa.Integer))"
    write_migration(directory, "sizes", up=up, after="cups")
    reports: list[str] = []

    async with reading(postgres_url):
        with pytest.raises(MigrationFailed, match=r"Gave up after 3 attempts of 0.1 s each.*pg_blocking_pids"):
            await upgrade(EMPTY, settings, directory, patience=Patience(attempts=3), report=reports.append)

    assert await tables_of(postgres_url) == {"cup"}
    assert reports == ["a table is busy; attempt 2 of 3 follows", "a table is busy; attempt 3 of 3 follows"]


async def test_index_is_built_beside_traffic(directory: Path, postgres_url: str) -> None:
    """An index that is built outside a transaction waits for others as long as they take."""
    settings = settings_for(postgres_url, database_lock_timeout=0.2)
    await upgrade(EMPTY, settings, directory)
    write_migration(directory, "index", up=BUILD_INDEX, after="cups")

    async with reading(postgres_url):
        migrating = asyncio.create_task(upgrade(EMPTY, settings, directory))
        await asyncio.sleep(1)
        assert not migrating.done()
    await migrating

    assert await fetch(postgres_url, "SELECT indisvalid FROM pg_index WHERE indexrelid = 'ix_cup_id'::regclass") == [
        (True,)
    ]


async def test_index_is_built_beside_waiting_replicas(directory: Path, postgres_url: str) -> None:
    """A replica that waits for its turn is not in the way of an index built outside a transaction."""
    settings = settings_for(postgres_url)
    write_migration(directory, "index", up=BUILD_INDEX + "\nop.execute('SELECT pg_sleep(0.5)')", after="cups")
    async with asyncio.TaskGroup() as tasks:
        for _ in range(3):
            tasks.create_task(upgrade(EMPTY, settings, directory))
    assert await current(EMPTY, settings, directory) == ("index",)


async def test_half_done_is_not_repeated(directory: Path, postgres_url: str) -> None:
    """A migration that did something outside its transaction is not tried again: it would meet what it left."""
    settings = settings_for(postgres_url, database_lock_timeout=0.2)
    write_migration(directory, "gates", up=create_table("gate"), after="cups")
    await upgrade(EMPTY, settings, directory)
    up = BUILD_INDEX + "\nop.add_column('gate', sa.Column('size', sa.Integer))"
    write_migration(directory, "sizes", up=up, after="gates")

    async with connected(postgres_url) as other, other.begin():
        await other.execute(text("LOCK TABLE gate"))
        with pytest.raises(MigrationFailed, match="not tried again"):
            await upgrade(EMPTY, settings, directory)


async def test_outside_a_transaction_on_both(directory: Path, database_url: str) -> None:
    """One migration file builds its index concurrently where the database can, and plainly where it cannot."""
    write_migration(directory, "index", up=BUILD_INDEX, after="cups")
    write_migration(directory, "plates", up=create_table("plate"), after="index")
    await upgrade(EMPTY, settings_for(database_url), directory)
    assert await tables_of(database_url) == {"cup", "plate"}


async def test_busy_sqlite_is_waited_for(directory: Path, sqlite_url: str) -> None:
    """A migration waits for another's write transaction and then goes on."""
    settings = settings_for(sqlite_url, database_connect_timeout=0.2)
    async with connected(sqlite_url) as other, other.begin():
        migrating = asyncio.create_task(upgrade(EMPTY, settings, directory))
        await asyncio.sleep(0.6)
        assert not migrating.done()
    await migrating
    assert await tables_of(sqlite_url) == {"cup"}


BUILD_INDEX = """
with op.get_context().autocommit_block():
    op.create_index('ix_cup_id', 'cup', ['id'], postgresql_concurrently=True)
"""
