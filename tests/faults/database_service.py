"""The shop, with views whose statements last, for tests that run it in a process of its own."""

import os

from quart import Quart
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from ligand_async import operation
from tests.services import db, make_service

PATH = "tests.faults.database_service:create_slow_app"


@operation
async def sleep_in_database(session: AsyncSession, seconds: float) -> str:
    """Wait in a statement."""
    await session.execute(text("SELECT pg_sleep(:seconds)"), {"seconds": seconds})
    return "rested"


@operation
async def show_timeout(session: AsyncSession) -> str:
    """Return the server's limit of a statement."""
    return str(await session.scalar(text("SELECT current_setting('statement_timeout')")))


VIEWS = (
    ("GET", "/sleep/<float:seconds>", sleep_in_database),
    ("POST", "/sleep/<float:seconds>", sleep_in_database),
    ("GET", "/timeout", show_timeout),
    ("POST", "/timeout", show_timeout),
)


def create_slow_app() -> Quart:
    """Make it, with the settings that variables give."""
    app = make_service(
        os.environ["DATABASE_URL"],
        *VIEWS,
        request_timeout=float(os.environ["REQUEST_TIMEOUT"]),
        grace_period=float(os.environ["GRACE_PERIOD"]),
        drain_delay=float(os.environ.get("DRAIN_DELAY", "0")),
        database_pool_size=2,
    )
    app.before_serving(db.create_tables)
    return app
