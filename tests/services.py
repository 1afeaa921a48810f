"""Small services that tests share: items on shelves, with every kind of constraint; and how to call them."""

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from pydantic import BaseModel
from quart import Blueprint, Quart
from quart.typing import TestClientProtocol as Client
from sqlalchemy import CheckConstraint, ForeignKey, String, func, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship
from werkzeug.datastructures import Headers

import ligand_async
from ligand_async import Database, Identified, Model, Settings, Timestamped, Versioned, operation, public
from ligand_async.web import LigandQuart


class Base(Model, DeclarativeBase):
    """The shop's tables."""


class Shelf(Identified, Base):
    """Where items stand."""

    __tablename__ = "shelf"

    label: Mapped[str] = mapped_column(String(20), unique=True)
    items: Mapped[list["Item"]] = relationship(back_populates="shelf", order_by="Item.name")


class Item(Identified, Timestamped, Versioned, Base):
    """What is sold."""

    __tablename__ = "item"
    __table_args__ = (CheckConstraint("price >= 0", name="price"),)

    name: Mapped[str] = mapped_column(String(50), unique=True)
    price: Mapped[int] = mapped_column(default=0)
    shelf_id: Mapped[UUID | None] = mapped_column(ForeignKey("shelf.id"), default=None)
    shelf: Mapped[Shelf | None] = relationship(back_populates="items")


db = Database(Base)


def make_app(
    database_url: str,
    *blueprints: Blueprint,
    database: Database | None = db,
    settings: dict[str, Any] | None = None,
    environment: str = "testing",
    **more: Any,
) -> LigandQuart:
    """Make a service on a database."""
    return ligand_async.create_app(
        __name__,
        title="Shop",
        version="1.0.0",
        settings=Settings.load(environment, database_url=database_url, **(settings or {})),
        database=database,
        blueprints=blueprints,
        **more,
    )


@asynccontextmanager
async def running(app: Quart, *, tables: bool = True) -> AsyncIterator[Client]:
    """Start an app with its tables made, and yield a client."""
    async with app.test_app(), app.app_context():
        if tables:
            await db.create_tables()
        yield app.test_client()


def routes(*views: tuple[str, str, Callable[..., Awaitable[Any]]]) -> Blueprint:
    """Make a blueprint of (method, rule, view), open to anyone."""
    blueprint = public(Blueprint("shop", __name__))
    for method, rule, view in views:
        blueprint.add_url_rule(rule, f"{view.__name__}_{method.lower()}", view, methods=[method])
    return blueprint


def names(rows: Iterable[Item]) -> set[str]:
    """Return the names of items."""
    return {row.name for row in rows}


NEVER_OPENED = "sqlite+aiosqlite:///never-opened.db"

View = Callable[..., Awaitable[Any]]


@dataclass(frozen=True)
class Answer:
    """What came back."""

    status: int
    headers: Headers
    raw: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.raw)

    @property
    def errors(self) -> list[tuple[str, str]]:
        """What was refused and why: (place, code)."""
        places = ("pointer", "parameter", "header", "cookie")
        return [(next(part[place] for place in places if place in part), part["code"]) for part in self.json["errors"]]


def app_of(*views: tuple[str, str, View], **more: Any) -> LigandQuart:
    """Make an app of (method, rule, view), without a database."""
    return make_app(NEVER_OPENED, routes(*views), database=None, **more)


async def send(app: Quart, method: str, path: str, **request: Any) -> Answer:
    """Start an app, send one request to it, and stop it."""
    async with running(app, tables=False) as client:
        response = await client.open(path, method=method, **request)
        raw = await response.get_data(as_text=False)
        return Answer(response.status_code, response.headers, raw if isinstance(raw, bytes) else raw.encode())


async def ask(view: View, path: str = "/", *, rule: str | None = None, method: str = "GET", **request: Any) -> Answer:
    """Send one request to one view."""
    return await send(app_of((method, rule or path.partition("?")[0], view)), method, path, **request)


async def post_json(view: View, raw: bytes | str, content_type: str | None = "application/json", **more: str) -> Answer:
    """Post a body to one view."""
    headers = {"Content-Type": content_type, **more} if content_type else more
    return await ask(view, method="POST", data=raw, headers=headers)


Rule = tuple[str, str, Callable[..., Awaitable[Any]]]


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


def make_service(url: str, *views: Rule, **settings: Any) -> Quart:
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
