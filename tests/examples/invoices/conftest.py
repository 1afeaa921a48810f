"""The invoicing service, on the tables that its own migrations make; on PostgreSQL behind its policies."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, cast

import pytest
from sqlalchemy import make_url

from examples.invoices.app import create_app
from ligand_async.web import LigandQuart
from tests.examples.invoices.callers import Caller
from tests.examples.invoices.roles import as_role, make_role
from tests.upstream.service import Upstream


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
    asyncio.run(make_role(url))
    asyncio.run(_migrate(database_url=as_role(url), database_direct_url=url))
    name = make_url(url).database
    assert name is not None
    return name


async def _migrate(**settings: str) -> None:
    async with create_app("testing", database_auto_upgrade=True, **settings).test_app():
        pass


@pytest.fixture
def rates() -> Any:
    """The exchange rate service."""
    with Upstream() as upstream:
        yield upstream


@pytest.fixture
async def app(database_url: str, rates: Upstream) -> AsyncIterator[LigandQuart]:
    """The service, started."""
    made = create_app("testing", database_url=as_role(database_url), rates_url=rates.url)
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
