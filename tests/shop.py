"""A small service for tests: items on shelves, with every kind of constraint, and how to run it."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

from quart import Blueprint, Quart
from quart.typing import TestClientProtocol as Client
from sqlalchemy import CheckConstraint, ForeignKey, String
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

import ligand_async
from ligand_async import Database, Identified, Model, Settings, Timestamped, Versioned, public


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
) -> Quart:
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
