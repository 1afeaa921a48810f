"""The role of PostgreSQL by which the invoicing service connects: it owns no table, so policies hold it."""

from sqlalchemy import make_url, text
from sqlalchemy.ext.asyncio import create_async_engine

from tests.services import backend

ROLE = "invoices_app"


async def make_role(url: str) -> None:
    """Make the role of the service, which may use the tables that the owner will make."""
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


def as_role(url: str) -> str:
    """Return the URL by which the service connects: on PostgreSQL as a role that policies hold."""
    if backend(url) == "sqlite":
        return url
    return make_url(url).set(username=ROLE, password="wren").render_as_string(hide_password=False)
