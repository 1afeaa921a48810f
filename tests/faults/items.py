"""A service that stores items and counts them, for tests of what a database does to it."""

import json
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID

from pydantic import BaseModel
from quart import Quart
from quart.typing import TestClientProtocol as Client
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from ligand_async import operation
from tests.shop import Item, db, make_app, routes

View = tuple[str, str, Callable[..., Awaitable[Any]]]


class ItemBody(BaseModel):
    """What a client sends, with no bounds: the database's own are the subject."""

    name: str
    price: int = 0
    shelf_id: UUID | None = None


@operation(status=201)
async def create_item(data: ItemBody, session: AsyncSession) -> None:
    """Store an item."""
    session.add(Item(**data.model_dump()))


@operation
async def count(session: AsyncSession) -> int:
    """Count the items."""
    return await session.scalar(select(func.count()).select_from(Item)) or 0


def make_service(url: str, *views: View, **settings: Any) -> Quart:
    """Make a service with `POST /items`, `GET /items` and more views, each as (method, rule, view)."""
    return make_app(url, routes(("POST", "/items", create_item), ("GET", "/items", count), *views), settings=settings)


async def post(client: Client, path: str, **body: Any) -> tuple[int, Any]:
    """Post JSON; return the status and the document of the answer."""
    response = await client.post(path, json=body)
    data = await response.get_data()
    return response.status_code, json.loads(data) if data else None


async def count_items() -> int:
    """Count what is stored, in a session of its own."""
    async with db.read() as session:
        return await session.scalar(select(func.count()).select_from(Item)) or 0


def count_checked_out() -> int:
    """Count the connections that are not in their pool."""
    engines = db.engines()
    return sum(engine.pool.checkedout() for engine in (engines.write, engines.read))  # type: ignore[attr-defined]  # both are QueuePools


def backend(url: str) -> str:
    """Return `sqlite` or `postgresql`."""
    return url.partition(":")[0].partition("+")[0]
