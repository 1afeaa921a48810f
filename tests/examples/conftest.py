"""Databases that the petstore has migrated: each test gets a copy, which takes a fraction of migrating."""

import asyncio
import shutil
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import make_url

from examples.petstore.app import create_app


async def _migrate(url: str) -> None:
    async with create_app("testing", database_url=url, database_auto_upgrade=True).test_app():
        pass


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SQLite file that the petstore has migrated."""
    path = tmp_path_factory.mktemp("petstore") / "template.db"
    asyncio.run(_migrate(f"sqlite+aiosqlite:///{path}"))
    return path


@pytest.fixture
def sqlite_url(sqlite_template: Path, tmp_path: Path) -> str:
    """The URL of a copy of the migrated file."""
    copy = shutil.copy(sqlite_template, tmp_path / "test.db")
    return f"sqlite+aiosqlite:///{copy}"


@pytest.fixture(scope="session")
def postgres_template(postgres_server: Any) -> str:
    """The name of a PostgreSQL database that the petstore has migrated."""
    url: str = postgres_server.create_database()
    asyncio.run(_migrate(url))
    name = make_url(url).database
    assert name is not None
    return name
