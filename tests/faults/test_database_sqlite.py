"""FAULTS 112: what SQLite needs to be told."""

from typing import Annotated

from pydantic import BaseModel, Field
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from ligand_async import operation
from tests.services import Item, db, make_service, post, running


class ShortBody(BaseModel):
    """An item with the column's bounds, as a service writes it."""

    name: Annotated[str, Field(min_length=1, max_length=50)]


async def test_sqlite_keeps_references_and_schemas_keep_lengths(sqlite_url: str) -> None:
    """Row 112: SQLite keeps references; the lengths that it ignores are the schema's to check."""

    @operation(status=201)
    async def create(data: ShortBody, session: AsyncSession) -> None:
        """Store an item by a schema that has the column's bounds."""
        session.add(Item(**data.model_dump()))

    async with running(make_service(sqlite_url, ("POST", "/short", create))) as client:
        status, problem = await post(client, "/short", name="x" * 51)
        assert (status, problem["errors"][0]["pointer"]) == (422, "/name")
        status, _ = await post(client, "/items", name="x", shelf_id="00000000-0000-0000-0000-00000000dead")
        assert status == 409


async def test_sqlite_that_stays_locked_is_503(sqlite_url: str) -> None:
    """Row 112: a lock that another process does not give back is a 503 after the busy timeout; then writing goes on."""
    other = make_service(sqlite_url)
    app = make_service(sqlite_url, database_connect_timeout=0.2)
    async with running(app) as client:
        async with other.test_app(), other.app_context(), db.transaction() as session:
            await session.execute(text("DELETE FROM item"))
            status, problem = await post(client, "/items", name="cup")
            assert (status, problem["detail"]) == (503, "what the work needs is locked")
        assert (await post(client, "/items", name="cup"))[0] == 201
