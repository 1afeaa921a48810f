"""Readiness of a database: it answers, on a connection of its own, and has the tables of this release."""

import asyncio
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy import text

from ligand_async.data.migrations import create_directory, downgrade, upgrade
from ligand_async.protocols import CheckFailed, HealthCheck
from tests.data.migration_files import create_table, settings_for, write_migration
from tests.database_proxies import proxied
from tests.services import db, make_app, running


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """A directory with two migrations: `cups`, then `plates`."""
    directory = create_directory(tmp_path / "service" / "migrations")
    write_migration(directory, "cups", up=create_table("cup"), down="op.drop_table('cup')")
    write_migration(directory, "plates", up=create_table("plate"), down="op.drop_table('plate')", after="cups")
    return directory


def schema_check(url: str, root_path: Path) -> HealthCheck:
    """Return the check of the schema for an app with this root path."""
    app: Any = SimpleNamespace(root_path=str(root_path))
    return db.health_checks(app, settings_for(url))[1]


async def fault_of(check: HealthCheck) -> str:
    """Return why a check fails; nothing if it passes."""
    try:
        await check.check()
    except CheckFailed as error:
        return str(error)
    return ""


async def test_database_at_head_is_ready(directory: Path, database_url: str) -> None:
    """A database that lacks a migration is not ready; the reason says at which it is, and what to do."""
    settings = settings_for(database_url)
    check = schema_check(database_url, directory.parent)
    async with running(make_app(database_url), tables=False):
        await upgrade(db, settings, directory, "cups")
        assert await fault_of(check) == (
            "the database is at cups, and this release needs plates: run `ligand db upgrade`"
        )
        await upgrade(db, settings, directory)
        assert await fault_of(check) == ""
        await downgrade(db, settings, directory, "cups")
        assert "needs plates" in await fault_of(check)


async def test_database_of_a_newer_release_is_ready(directory: Path, database_url: str) -> None:
    """A rolling deploy migrates first: the old release stays ready on a database that it does not know."""
    await upgrade(db, settings_for(database_url), directory)
    (directory / "versions" / "plates.py").unlink()
    async with running(make_app(database_url), tables=False):
        assert await fault_of(schema_check(database_url, directory.parent)) == ""


async def test_table_of_versions_may_have_another_name(directory: Path, database_url: str) -> None:
    """Services that share a database have a table of versions each; the check reads the right one."""
    environment = directory / "env.py"
    written = environment.read_text()
    environment.write_text(written.replace("run_environment()", 'run_environment({"version_table": "v"})'))
    await upgrade(db, settings_for(database_url), directory, "cups")
    async with running(make_app(database_url), tables=False):
        assert "the database is at cups" in await fault_of(schema_check(database_url, directory.parent))


@pytest.mark.parametrize("has_migrations", [True, False])
async def test_database_without_tables_is_not_ready(directory: Path, database_url: str, has_migrations: bool) -> None:
    """Without a recorded migration all tables must be there, however they were made."""
    check = schema_check(database_url, directory.parent if has_migrations else directory.parent.parent)
    async with running(make_app(database_url), tables=False):
        assert await fault_of(check) == "the database lacks the table shelf and 1 more: run `ligand db upgrade`"
        await db.create_tables()
        assert await fault_of(check) == ""


@pytest.mark.filterwarnings("ignore:Revision nothing")
async def test_broken_migration_is_not_ready(directory: Path, database_url: str) -> None:
    """Migrations that cannot be read fail the check each time, and not the process."""
    write_migration(directory, "bowls", after="nothing")
    check = schema_check(database_url, directory.parent)
    async with running(make_app(database_url)) as client:
        for _ in range(2):
            with pytest.raises(Exception, match="nothing"):
                await check.check()
        assert (await client.get("/livez")).status_code == 200


async def test_busy_pool_is_ready(database_url: str) -> None:
    """Row 140: with all connections of the pools in use, the service is busy and still ready."""
    app = make_app(database_url, settings={"database_pool_size": 1, "database_pool_timeout": 30.0})
    async with running(app) as client, db.read() as reading, db.transaction() as writing:
        await reading.execute(text("SELECT 1"))
        await writing.execute(text("SELECT 1"))
        assert (await client.get("/readyz")).status_code == 200


async def test_silent_database_is_not_ready_for_long(postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A database that swallows every byte is not ready within a second or so, and ready again right after."""
    monkeypatch.setattr("ligand_async.ops.health.FRESH_SECONDS", 0.0)
    async with proxied(postgres_url) as proxy, running(make_app(proxy.url)) as client:
        assert (await client.get("/readyz")).status_code == 200
        proxy.silent = True
        began = time.monotonic()
        statuses = {(await client.get("/readyz")).status_code for _ in range(2)}
        took = time.monotonic() - began
        proxy.silent = False
        await asyncio.sleep(0.2)
        assert statuses == {503}
        assert took < 3
        assert (await client.get("/readyz")).status_code == 200
