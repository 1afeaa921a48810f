"""The invoicing service, on the tables that its own migrations make; on PostgreSQL behind its policies."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, cast

import pytest
from sqlalchemy import make_url, text
from sqlalchemy.ext.asyncio import create_async_engine

from examples.invoices.app import create_app
from ligand_async.web import LigandQuart
from tests.examples.invoices.callers import Caller
from tests.services import backend
from tests.upstream.service import Upstream

ROLE = "invoices_app"


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SQLite file that this service has migrated."""
    path = tmp_path_factory.mktemp("invoices") / "template.db"
    asyncio.run(_migrate(database_url=f"sqlite+aiosqlite:///{path}"))
    return path


@pytest.fixture(scope="session")
def postgres_template(postgres_server: Any) -> str:
    """The name of a database that this service has migrated as its owner, and that a role of its own may use."""
    url: str = postgres_server.create_database()
    asyncio.run(_make_role(url))
    asyncio.run(_migrate(database_url=_as_role(url), database_direct_url=url))
    name = make_url(url).database
    assert name is not None
    return name


async def _migrate(**settings: str) -> None:
    async with create_app("testing", database_auto_upgrade=True, **settings).test_app():
        pass


async def _make_role(url: str) -> None:
    engine = create_async_engine(url)
    async with engine.begin() as connection:
        await connection.execute(
            text(
                f"DO $$ BEGIN CREATE ROLE {ROLE} LOGIN PASSWORD 'wren'; EXCEPTION "
                "WHEN duplicate_object OR unique_violation THEN NULL; END $$"
            )
        )
        await connection.execute(text(f"ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT ALL ON TABLES TO {ROLE}"))
    await engine.dispose()


def _as_role(url: str) -> str:
    if backend(url) == "sqlite":
        return url
    return make_url(url).set(username=ROLE, password="wren").render_as_string(hide_password=False)


@pytest.fixture
def rates() -> Any:
    """The exchange rate service."""
    with Upstream() as upstream:
        yield upstream


@pytest.fixture
async def app(database_url: str, rates: Upstream) -> AsyncIterator[LigandQuart]:
    """The service, started."""
    made = create_app("testing", database_url=_as_role(database_url), rates_url=rates.url)
    async with made.test_app(), made.app_context():
        yield cast("LigandQuart", made)


@pytest.fixture
def ann(app: LigandQuart) -> Caller:
    """A clerk of acme."""
    return Caller(app, "ann")


@pytest.fixture
def eve(app: LigandQuart) -> Caller:
    """An accountant of acme."""
    return Caller(app, "eve", "acme", "accountant")
