"""A shop that takes each order once, however often it is sent."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any
from uuid import UUID, uuid4

from pydantic import BaseModel
from quart import request
from quart.typing import TestClientProtocol as Client
from sqlalchemy import String, func, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

import ligand_async
from ligand_async import (
    Conflict,
    Database,
    Form,
    Identified,
    Model,
    Principal,
    Settings,
    Versioned,
    check_preconditions,
    conditional,
    get_or_404,
    idempotent,
    operation,
)
from ligand_async.context import request_state
from tests.services import routes


class Base(Model, DeclarativeBase): ...


class Order(Identified, Versioned, Base):
    __tablename__ = "order"

    item: Mapped[str] = mapped_column(String(50))


orders = Database(Base, idempotency=True)
assert orders.idempotency_key is not None
TABLE = orders.idempotency_key


class OrderBody(BaseModel):
    item: str


class OrderRead(BaseModel):
    id: UUID
    item: str


async def add(session: AsyncSession, item: str) -> OrderRead:
    order = Order(item=item)
    session.add(order)
    await session.flush()
    return OrderRead.model_validate(order, from_attributes=True)


@idempotent
@operation(status=201)
async def place(data: OrderBody, session: AsyncSession, gift: bool = False) -> tuple[OrderRead, int, dict[str, str]]:
    """Place an order; one of nothing is refused after the row was written."""
    order = await add(session, data.item)
    if data.item == "nothing":
        raise Conflict("nobody orders nothing")
    return order, 201, {"X-Order": str(order.id), "Set-Cookie": "seen=1"}


@operation(status=201)
@idempotent(required=True)
async def place_form(data: Annotated[OrderBody, Form()], session: AsyncSession) -> OrderRead:
    return await add(session, data.item)


@conditional
@idempotent
@operation
async def rename(order_id: UUID, data: OrderBody, session: AsyncSession) -> None:
    order = await get_or_404(session, Order, order_id)
    check_preconditions(order)
    order.item = data.item


VIEWS = (("POST", "/orders", place), ("POST", "/forms", place_form), ("PATCH", "/orders/<uuid:order_id>", rename))


def make_shop(database_url: str, *views: tuple[str, str, Any]) -> Any:
    """Make the service; `X-Subject` says who is calling."""
    settings = Settings.load("testing", database_url=database_url)
    app = ligand_async.create_app(
        __name__,
        title="Orders",
        version="1",
        settings=settings,
        database=orders,
        blueprints=[routes(*VIEWS, *views)],
    )

    @app.before_request
    async def authenticate() -> None:
        if "X-Subject" in request.headers:
            request_state().principal = Principal(subject=request.headers["X-Subject"], issuer="us")

    return app


@asynccontextmanager
async def shop(database_url: str, *views: tuple[str, str, Any]) -> AsyncIterator[Client]:
    """Serve the views above and more."""
    app = make_shop(database_url, *views)
    async with app.test_app(), app.app_context():
        await orders.create_tables()
        yield app.test_client()


def new_key() -> dict[str, str]:
    """Return a header with a key of its own."""
    return {"Idempotency-Key": f'"{uuid4()}"'}


async def count(what: Any = Order) -> int:
    """Count orders, or kept replies."""
    async with orders.read() as session:
        return await session.scalar(select(func.count()).select_from(what)) or 0
