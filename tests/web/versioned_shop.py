"""A shop whose items are changed only by those who have seen them."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID, uuid4

from pydantic import BaseModel
from quart import Response
from quart.typing import TestClientProtocol as Client
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from ligand_async import check_preconditions, conditional, get_or_404, operation
from tests.services import Item, Shelf, db, make_app, routes, running

ITEM = UUID(int=1)
PATH = f"/items/{ITEM}"
NEVER = "Thu, 01 Jan 1970 00:00:00 GMT"
SOON = "Fri, 01 Jan 2100 00:00:00 GMT"


class ItemBody(BaseModel):
    name: str
    price: int = 0


class ItemRead(BaseModel):
    id: UUID
    name: str
    price: int


@operation
async def read_item(item_id: UUID, session: AsyncSession) -> ItemRead:
    return await get_or_404(session, Item, item_id, into=ItemRead)


@operation
async def list_items(session: AsyncSession) -> list[str]:
    return list(await session.scalars(select(Item.name).order_by(Item.name)))


@conditional
@operation
async def put_item(item_id: UUID, data: ItemBody, session: AsyncSession) -> ItemRead:
    item = await session.get(Item, item_id)
    check_preconditions(item)
    if item is None:
        item = Item(id=item_id)
        session.add(item)
    item.name, item.price = data.name, data.price
    await session.flush()
    return ItemRead.model_validate(item, from_attributes=True)


@operation
@conditional
async def patch_item(item_id: UUID, data: dict[str, int], session: AsyncSession) -> None:
    item = await get_or_404(session, Item, item_id)
    check_preconditions(item)
    item.price += data["price"]


@conditional
@operation
async def delete_item(item_id: UUID, session: AsyncSession) -> ItemRead:
    item = await get_or_404(session, Item, item_id)
    check_preconditions(item)
    gone = ItemRead.model_validate(item, from_attributes=True)
    await session.delete(item)
    return gone


VIEWS = (
    ("GET", "/items/<uuid:item_id>", read_item),
    ("PUT", "/items/<uuid:item_id>", put_item),
    ("PATCH", "/items/<uuid:item_id>", patch_item),
    ("DELETE", "/items/<uuid:item_id>", delete_item),
    ("GET", "/items", list_items),
)


@asynccontextmanager
async def shop(database_url: str, *views: tuple[str, str, Any], **settings: Any) -> AsyncIterator[Client]:
    """Serve the views above and more, with one item in stock, at `PATH`."""
    app = make_app(database_url, routes(*VIEWS, *views), settings=settings)
    async with running(app) as client:
        async with db.transaction() as session:
            session.add(Shelf(id=uuid4(), label="top", items=[Item(id=ITEM, name="cup", price=3)]))
        yield client


async def send(client: Client, method: str, headers: Mapping[str, str] | None = None, path: str = PATH) -> Response:
    """Send one request, with a body where the method has one."""
    bodies = {"PUT": {"name": "pot"}, "PATCH": {"price": 6}}
    response = await client.open(path, method=method, headers=dict(headers or {}), json=bodies.get(method))
    assert isinstance(response, Response)
    return response


async def tag_of(client: Client, path: str = PATH) -> str:
    """Return the entity tag that a read is answered with."""
    return (await client.get(path)).headers["ETag"]
