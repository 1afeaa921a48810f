"""A service whose database keeps an audit trail, and how tests read that."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from contextvars import ContextVar
from datetime import datetime, timedelta
from decimal import Decimal
from enum import Enum
from typing import Any

from quart import Blueprint, Quart
from quart.typing import TestClientProtocol as Client
from quart.wrappers.base import BaseRequestWebsocket
from sqlalchemy import JSON, ForeignKey, Interval, LargeBinary, Numeric, String
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

from ligand_async import AuditTrail, Database, Identified, Model, Principal, Timestamped, Versioned
from ligand_async.context import RequestState, request_state_var
from ligand_async.data.audit import AuditEvent, EventFilter
from tests.services import make_app


class Base(Model, DeclarativeBase):
    """The tables of a bank."""


class Kind(Enum):
    """Of an account."""

    SAVING = "saving"
    CURRENT = "current"


class Account(Identified, Timestamped, Versioned, Base):
    """One column of every sort."""

    __tablename__ = "account"

    name: Mapped[str] = mapped_column(String(50))
    kind: Mapped[Kind] = mapped_column(default=Kind.SAVING)
    balance: Mapped[Decimal] = mapped_column(Numeric(12, 2), default=Decimal("0.00"))
    rate: Mapped[float] = mapped_column(default=0.5)
    opened_at: Mapped[datetime | None] = mapped_column(default=None)
    notice: Mapped[timedelta | None] = mapped_column(Interval, default=None)
    seal: Mapped[bytes | None] = mapped_column(LargeBinary, default=None)
    tags: Mapped[Any] = mapped_column(JSON, default=list)
    pin: Mapped[str | None] = mapped_column(info={"private": True}, default=None)
    holder: Mapped[str | None] = mapped_column(info={"audit": "redacted"}, default=None)
    seats: Mapped[list["Seat"]] = relationship(cascade="all, delete-orphan", passive_deletes=False)


class Seat(Base):
    """A row of two keys and no version."""

    __tablename__ = "seat"

    row: Mapped[str] = mapped_column(String(2), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    account_id: Mapped[Any] = mapped_column(ForeignKey("account.id"), default=None, nullable=True)
    visits: Mapped[int] = mapped_column(info={"audit": False}, default=0)


class Key(Base):
    """A secret and its name."""

    __tablename__ = "key"

    code: Mapped[str] = mapped_column(String(10), primary_key=True)
    secret: Mapped[str] = mapped_column(info={"private": True})


class Scratch(Identified, Base):
    """A table without a trail."""

    __tablename__ = "scratch"
    __table_args__ = {"info": {"audit": False}}  # noqa: RUF012  (SQLAlchemy's own idiom)

    text: Mapped[str] = mapped_column(default="")


audit = AuditTrail(attempts=True)
db = Database(Base, audit=audit)

ADA = Principal("ada", "https://issuer.example", client_id="bank-app")
BOB = Principal("bob", "https://issuer.example")


actor_var: ContextVar[Principal | None] = ContextVar("actor", default=None)


class Acting:
    """Authenticates whoever acts, without credentials."""

    challenge = None

    async def authenticate(self, connection: BaseRequestWebsocket) -> Principal | None:
        return actor_var.get() if connection.path else None


def make_bank(url: str, *blueprints: Blueprint, **settings: Any) -> Quart:
    """Make the service."""
    return make_app(url, *blueprints, database=db, settings=settings, authenticators=[Acting()])


@asynccontextmanager
async def running_bank(app: Quart) -> AsyncIterator[Client]:
    """Start a service with its tables made, and yield a client."""
    async with app.test_app(), app.app_context():
        await db.create_tables()
        yield app.test_client()


@contextmanager
def acting(principal: Principal) -> Iterator[None]:
    """Do what is inside as somebody, in requests and outside of them."""
    token, acting = request_state_var.set(RequestState(principal=principal)), actor_var.set(principal)
    try:
        yield
    finally:
        actor_var.reset(acting)
        request_state_var.reset(token)


async def events(**asked: Any) -> list[AuditEvent]:
    """Return what is in the trail, the oldest event first."""
    async with db.read() as session:
        found = await session.execute(audit.select(EventFilter(**asked), newest=False))
        return [AuditEvent.of(row) for row in found]


async def told(**asked: Any) -> list[tuple[str, str | None]]:
    """Return the actions and entities in the trail."""
    return [(event.action, event.entity) for event in await events(**asked)]
