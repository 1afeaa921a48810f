"""Migrating: up, down and how it fails, from inside a running loop."""

import asyncio
from pathlib import Path

import pytest
from sqlalchemy import make_url

from ligand_async import Settings
from ligand_async.data.migrations import (
    MigrationError,
    MigrationFailed,
    auto_upgrade,
    create_directory,
    current,
    downgrade,
    merge,
    scripts,
    stamp,
    upgrade,
)
from tests.data.migration_files import EMPTY, create_table, fetch, settings_for, tables_of, write_migration


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """A directory with two migrations: `cups`, then `plates`."""
    directory = create_directory(tmp_path / "service" / "migrations")
    write_migration(directory, "cups", up=create_table("cup"), down="op.drop_table('cup')")
    write_migration(directory, "plates", up=create_table("plate"), down="op.drop_table('plate')", after="cups")
    return directory


async def test_upgrade_applies_all(directory: Path, database_url: str) -> None:
    """An upgrade applies every migration, oldest first, and reports each."""
    reports: list[str] = []

    await upgrade(EMPTY, settings_for(database_url), directory, report=reports.append)

    assert await tables_of(database_url) == {"cup", "plate"}
    assert reports == ["applied cups Do cups.", "applied plates Do plates."]


async def test_upgrade_stops_at_revision(directory: Path, database_url: str) -> None:
    """An upgrade to a revision goes no further."""
    await upgrade(EMPTY, settings_for(database_url), directory, "cups")
    assert await tables_of(database_url) == {"cup"}


async def test_upgrade_again_does_nothing(directory: Path, database_url: str) -> None:
    """What was applied is not applied again."""
    settings = settings_for(database_url)
    reports: list[str] = []
    await upgrade(EMPTY, settings, directory)

    await upgrade(EMPTY, settings, directory, report=reports.append)

    assert reports == []


async def test_downgrade_undoes_last(directory: Path, database_url: str) -> None:
    """A downgrade undoes the last migration and reports it."""
    settings = settings_for(database_url)
    reports: list[str] = []
    await upgrade(EMPTY, settings, directory)

    await downgrade(EMPTY, settings, directory, report=reports.append)

    assert await tables_of(database_url) == {"cup"}
    assert reports == ["undid plates Do plates."]


async def test_current_is_what_was_applied(directory: Path, database_url: str) -> None:
    """The current revision is none, then the one that was applied last."""
    settings = settings_for(database_url)
    before = await current(EMPTY, settings, directory)
    await upgrade(EMPTY, settings, directory)
    assert (before, await current(EMPTY, settings, directory)) == ((), ("plates",))


async def test_looking_leaves_nothing(directory: Path, database_url: str) -> None:
    """Asking for the current revision makes no table, not even Alembic's."""
    await current(EMPTY, settings_for(database_url), directory)
    with pytest.raises(Exception, match="alembic_version"):
        await fetch(database_url, "SELECT * FROM alembic_version")


async def test_stamp_runs_nothing(directory: Path, database_url: str) -> None:
    """Stamping notes the revision down and runs no migration."""
    settings = settings_for(database_url)
    await stamp(EMPTY, settings, directory)
    assert await current(EMPTY, settings, directory) == ("plates",)
    assert await tables_of(database_url) == set()


async def test_stamp_purges(directory: Path, database_url: str) -> None:
    """A database at a revision that is gone can be stamped anew, if what it says is forgotten first."""
    settings = settings_for(database_url)
    await stamp(EMPTY, settings, directory)
    (directory / "versions" / "plates.py").unlink()

    await stamp(EMPTY, settings, directory, purge=True)

    assert await current(EMPTY, settings, directory) == ("cups",)


async def test_failed_migration_is_rolled_back(directory: Path, database_url: str) -> None:
    """A migration that fails leaves nothing of itself, and what came before it stays."""
    settings = settings_for(database_url)
    write_migration(directory, "bowls", up=f"{create_table('bowl')}\n1 / 0", after="plates")

    with pytest.raises(MigrationFailed):
        await upgrade(EMPTY, settings, directory)

    assert await tables_of(database_url) == {"cup", "plate"}
    assert await current(EMPTY, settings, directory) == ("plates",)


@pytest.mark.parametrize(
    ("fault", "words"),
    [("1 / 0", "ZeroDivisionError: division by zero"), ("op.execute('SELECT * FROM spoon')", "spoon")],
    ids=["python", "sql"],
)
async def test_failure_names_its_line(directory: Path, database_url: str, fault: str, words: str) -> None:
    """The error of a migration names its file, its line and what was wrong, in one line."""
    write_migration(directory, "spoons", up=fault, after="plates")

    with pytest.raises(MigrationFailed) as caught:
        await upgrade(EMPTY, settings_for(database_url), directory)

    message = str(caught.value)
    assert message.startswith("versions/spoons.py, line 11: ")
    assert words in message
    assert "\n" not in message


async def test_values_stay_in_the_database(directory: Path, database_url: str) -> None:
    """The error of a migration that breaks a constraint does not repeat the value that broke it."""
    up = create_table("spoon") + '\nfor _ in range(2):\n    op.execute("INSERT INTO spoon (id) VALUES (7654321)")'
    write_migration(directory, "spoons", up=up, after="plates")

    with pytest.raises(MigrationFailed) as caught:
        await upgrade(EMPTY, settings_for(database_url), directory)

    assert "7654321" not in str(caught.value)


async def test_migrations_take_their_time(directory: Path, postgres_url: str) -> None:
    """The timeouts of requests do not end a migration."""
    settings = settings_for(postgres_url, database_statement_timeout=0.2, database_command_timeout=0.3)
    write_migration(directory, "slow", up="op.execute('SELECT pg_sleep(0.8)')", after="plates")

    await upgrade(EMPTY, settings, directory)

    assert await current(EMPTY, settings, directory) == ("slow",)


async def test_branches_are_merged(directory: Path, database_url: str) -> None:
    """Two heads are an error until a merge joins them."""
    settings = settings_for(database_url)
    write_migration(directory, "forks", up=create_table("fork"), after="cups")
    with pytest.raises(MigrationError, match="heads"):
        await upgrade(EMPTY, settings, directory)

    merge(directory, ["forks", "plates"], "join")

    await upgrade(EMPTY, settings, directory)
    assert await tables_of(database_url) == {"cup", "plate", "fork"}
    assert [script.doc for script in scripts(directory) if script.is_head] == ["join"]


async def test_pooler_needs_a_direct_url(directory: Path, postgres_url: str) -> None:
    """Behind a transaction pooler migrations are refused, unless the database can be reached past it."""
    pooled = {"database_pooler": "transaction"}
    with pytest.raises(MigrationError, match="LIGAND_DATABASE_DIRECT_URL"):
        await upgrade(EMPTY, settings_for(postgres_url, **pooled), directory)

    class ShopSettings(Settings, prefix="SHOP_"):
        pass

    own = ShopSettings.load("testing", database_url=postgres_url, database_pooler="transaction")
    with pytest.raises(MigrationError, match="set SHOP_DATABASE_DIRECT_URL"):
        await upgrade(EMPTY, own, directory)

    await upgrade(EMPTY, settings_for(postgres_url, database_direct_url=postgres_url, **pooled), directory)

    assert await tables_of(postgres_url) == {"cup", "plate"}


async def test_unreachable_database_is_named(directory: Path) -> None:
    """A database that cannot be reached is named in one line, without user and password."""
    settings = settings_for("postgresql://wren:s3cret@127.0.0.1:1/shop")

    with pytest.raises(MigrationError) as caught:
        await upgrade(EMPTY, settings, directory)

    message = str(caught.value)
    assert message == "cannot reach the database postgresql://127.0.0.1:1/shop: Connection refused"


async def test_unopenable_file_is_named(directory: Path, tmp_path: Path) -> None:
    """A SQLite file that cannot be opened is named."""
    with pytest.raises(MigrationError, match=r"cannot reach the database sqlite:///.*/nowhere/x\.db: unable to open"):
        await upgrade(EMPTY, settings_for(f"sqlite:///{tmp_path}/nowhere/x.db"), directory)
    await asyncio.sleep(0.1)  # after a failed connect, the thread of aiosqlite 0.22 has a last word for the loop


async def test_missing_database_is_named(directory: Path, postgres_url: str) -> None:
    """The server's own words are in the message when it answers and refuses."""
    nowhere = make_url(postgres_url).set(database="nowhere").render_as_string(hide_password=False)
    with pytest.raises(MigrationError, match=r'cannot reach .*database "nowhere" does not exist'):
        await upgrade(EMPTY, settings_for(nowhere), directory)


async def test_two_apps_at_once(directory: Path, tmp_path: Path, database_url: str) -> None:
    """Two databases are migrated at once in one process, each by its own migrations."""
    other = create_directory(tmp_path / "other" / "migrations")
    write_migration(other, "cats", up=create_table("cat"))
    other_url = f"sqlite:///{tmp_path / 'other.db'}"

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(upgrade(EMPTY, settings_for(database_url), directory))
        tasks.create_task(upgrade(EMPTY, settings_for(other_url), other))

    assert await tables_of(database_url) == {"cup", "plate"}
    assert await tables_of(other_url) == {"cat"}


async def test_auto_upgrade_migrates(directory: Path, database_url: str) -> None:
    """An app that migrates at start finds its migrations beside it."""
    await auto_upgrade(EMPTY, settings_for(database_url), root_path=directory.parent)
    assert await tables_of(database_url) == {"cup", "plate"}


async def test_old_replica_starts_beside_new(
    directory: Path, database_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A release whose database was migrated by a newer one starts, and says so."""
    settings = settings_for(database_url)
    await upgrade(EMPTY, settings, directory)
    (directory / "versions" / "plates.py").unlink()

    await auto_upgrade(EMPTY, settings, root_path=directory.parent)

    assert "plates, which a newer release knows" in caplog.text


async def test_auto_upgrade_fails_the_start(directory: Path, database_url: str) -> None:
    """An app whose database cannot be migrated must not start."""
    write_migration(directory, "bowls", up="1 / 0", after="plates")
    with pytest.raises(MigrationFailed):
        await auto_upgrade(EMPTY, settings_for(database_url), root_path=directory.parent)
