"""Things of every kind of value, to be sorted by it, and how to walk over them page by page."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from enum import Enum
from typing import Any
from urllib.parse import parse_qs, urlsplit
from uuid import UUID

from pydantic import BaseModel
from quart import Quart, current_app
from quart.typing import TestClientProtocol as Client
from sqlalchemy import ForeignKey, Numeric, Select, String, func
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

from ligand_async import CursorParams, Database, Identified, Model, Page, Timestamped, paginate
from tests.services import make_app


class Base(Model, DeclarativeBase):
    """The tables of things."""


class Mood(Enum):
    """In an order of its own: neither that of the names nor that of the values."""

    GOOD = "b"
    BAD = "c"
    AWFUL = "a"


class Box(Base):
    """What things are in."""

    __tablename__ = "box"

    id: Mapped[int] = mapped_column(primary_key=True)
    label: Mapped[str] = mapped_column(String(20), unique=True)
    things: Mapped[list["Thing"]] = relationship(back_populates="box")


class Thing(Identified, Timestamped, Base):
    """One value of each kind, most of which may be absent."""

    __tablename__ = "thing"

    rank: Mapped[int] = mapped_column(default=0)
    word: Mapped[str | None]
    number: Mapped[int | None]
    price: Mapped[Decimal | None] = mapped_column(Numeric(24, 12))
    ratio: Mapped[float | None]
    flag: Mapped[bool | None]
    day: Mapped[date | None]
    moment: Mapped[datetime | None]
    span: Mapped[timedelta | None]
    key: Mapped[UUID | None]
    blob: Mapped[bytes | None]
    mood: Mapped[Mood | None]
    box_id: Mapped[int | None] = mapped_column(ForeignKey("box.id"))
    box: Mapped[Box | None] = relationship(back_populates="things")


class ThingRead(BaseModel):
    """What is read of a thing."""

    id: UUID


db = Database(Base)


def make_things_app(database_url: str, *blueprints: Any, **more: Any) -> Quart:
    """Make a service of things."""
    return make_app(database_url, *blueprints, database=db, **more)


@asynccontextmanager
async def running(app: Quart) -> AsyncIterator[Client]:
    """Start an app with its tables made, and yield a client."""
    async with app.test_app(), app.app_context():
        await db.create_tables()
        yield app.test_client()


async def store(*things: Any) -> None:
    """Store some things."""
    async with db.transaction() as session:
        session.add_all(things)


async def nothing() -> None:
    """Happen between two pages."""


@dataclass
class Walk:
    """A list, walked by cursors.

    Attributes:
        session: What reads.
        statement: What is listed.
        limit: How many items a page has.
        into: What is made of each.
        meanwhile: What happens between two pages.
        unique: The columns that tell rows apart, if not the primary key.
    """

    session: AsyncSession
    statement: Select[*tuple[Any, ...]]
    limit: int = 10
    into: type[BaseModel] = ThingRead
    meanwhile: Callable[[], Awaitable[None]] = nothing
    unique: Sequence[Any] = ()

    async def page(self, cursor: str | None = None, **more: Any) -> Page[Any]:
        """Read one page."""
        params = CursorParams(limit=self.limit, cursor=cursor)
        async with current_app.test_request_context("/"):
            return await paginate(self.session, self.statement, params, into=self.into, unique=self.unique, **more)

    def links(self, page: Page[Any]) -> dict[str, str | None]:
        """Return the cursors that a page links to, by relation."""
        return {name: query_of(address).get("cursor", [None])[0] for name, address in linked(page.headers).items()}

    async def read(self) -> list[Any]:
        """Read the items of all pages, from the first on."""
        page = await self.page()
        found = list(page.items)
        while page.next_cursor is not None:
            await self.meanwhile()
            page = await self.page(page.next_cursor)
            found += page.items
        return found

    async def forward(self) -> list[UUID]:
        """Read the ids on all pages, from the first on."""
        return [item.id for item in await self.read()]

    async def backward(self) -> list[UUID]:
        """Read the ids on all pages, from the last on, each page from its end."""
        cursor = self.links(await self.page())["last"]
        found = []
        while cursor is not None:
            await self.meanwhile()
            page = await self.page(cursor)
            found += [item.id for item in reversed(page.items)]
            cursor = self.links(page).get("prev")
        return found


def linked(headers: Any) -> dict[str, str]:
    """Return the addresses in a `Link` header by relation."""
    links = {}
    for link in headers.get("Link", "").split(", "):
        if link:
            address, relation = link.split("; ")
            links[relation.removeprefix('rel="').rstrip('"')] = address.strip("<>")
    return links


def query_of(address: str) -> dict[str, list[str]]:
    """Return the query of an address."""
    return parse_qs(urlsplit(address).query, keep_blank_values=True)


def directions(column: Any) -> list[Callable[[], Any]]:
    """Return every way to sort by a column."""
    return [
        column.asc,
        column.desc,
        lambda: column.asc().nulls_first(),
        lambda: column.asc().nulls_last(),
        lambda: column.desc().nulls_first(),
        lambda: column.desc().nulls_last(),
    ]


SORTABLE: Sequence[Any] = (
    Thing.rank,
    Thing.word,
    Thing.number,
    Thing.price,
    Thing.ratio,
    Thing.flag,
    Thing.day,
    Thing.moment,
    Thing.span,
    Thing.key,
    Thing.blob,
    Thing.mood,
    Thing.created_at,
    func.length(Thing.word),
)
