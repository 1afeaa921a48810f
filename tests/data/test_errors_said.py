"""Constraints that say their field and message, and mistakes that say what to write."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from pydantic import BaseModel, ConfigDict
from quart import Quart
from quart.typing import TestClientProtocol as Client
from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Index, Integer, SmallInteger, UniqueConstraint, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

from ligand_async import Database, Model, NotFound, Problem, get_or_404, operation
from ligand_async.data import KeyNotCounted, SessionMisused, first_or_404, one_or_404
from tests.services import make_app, routes


class Base(Model, DeclarativeBase):
    """The tables of a calendar."""


class Event(Base):
    __tablename__ = "event"
    __table_args__ = (
        CheckConstraint("starts < ends", name="order", info={"field": "ends", "message": "must be after the start"}),
        CheckConstraint("seats + extra <= 100", name="room", info={"field": ["seats", "extra"]}),
        CheckConstraint("starts <> 13", name="luck", info={"message": "no event starts at 13"}),
        CheckConstraint("seats >= 0", name="seats"),
        UniqueConstraint("title", "starts", info={"field": "title", "message": "is on the programme at that time"}),
        Index("one_place", "place", unique=True, info={"message": "is taken"}),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    title: Mapped[str]
    place: Mapped[str]
    starts: Mapped[int] = mapped_column(default=1)
    ends: Mapped[int] = mapped_column(default=2)
    seats: Mapped[int] = mapped_column(default=1)
    extra: Mapped[int] = mapped_column(default=0)
    guests: Mapped[list["Guest"]] = relationship()


class Guest(Base):
    __tablename__ = "guest"

    id: Mapped[int] = mapped_column(primary_key=True)
    event_id: Mapped[int] = mapped_column(ForeignKey("event.id"))


class Big(Base):
    __tablename__ = "big"

    id: Mapped[int] = mapped_column(BigInteger, primary_key=True)


class Small(Base):
    __tablename__ = "small"

    id: Mapped[int] = mapped_column(SmallInteger, primary_key=True)


class Mended(Base):
    __tablename__ = "mended"

    id: Mapped[int] = mapped_column(BigInteger().with_variant(Integer, "sqlite"), primary_key=True)


class EventIn(BaseModel):
    title: str = "a"
    place: str = "here"
    starts: int = 1
    ends: int = 2
    seats: int = 1
    extra: int = 0


class Plain(BaseModel):
    title: str


class GuestRead(BaseModel):
    id: int


class WithGuests(BaseModel):
    model_config = ConfigDict(from_attributes=True)

    guests: list[GuestRead]


db = Database(Base)


@operation
async def add_event(data: EventIn, session: AsyncSession) -> None:
    session.add(Event(**data.model_dump()))


@operation
async def return_entity(session: AsyncSession) -> Plain:
    return await get_or_404(session, Event, 1)  # type: ignore[arg-type]  # the mistake


@operation
async def return_entities(session: AsyncSession) -> list[Plain]:
    return list(await session.scalars(select(Event)))


@operation
async def validate_entity(session: AsyncSession) -> Plain:
    return Plain.model_validate(await get_or_404(session, Event, 1))


@operation
async def return_unloaded(session: AsyncSession) -> WithGuests:
    return await get_or_404(session, Event, 1)  # type: ignore[arg-type]  # the mistake


@operation
async def validate_unloaded(session: AsyncSession) -> WithGuests:
    return WithGuests.model_validate(await get_or_404(session, Event, 1))


@operation
async def read_unloaded(session: AsyncSession) -> int:
    return len((await get_or_404(session, Event, 1)).guests)


VIEWS: dict[str, Any] = {
    "/entity": return_entity,
    "/entities": return_entities,
    "/validated": validate_entity,
    "/unloaded": return_unloaded,
    "/validated-unloaded": validate_unloaded,
    "/read": read_unloaded,
}


@pytest.fixture
def app(database_url: str) -> Quart:
    """A service of a calendar."""
    views = [("GET", path, view) for path, view in VIEWS.items()]
    return make_app(database_url, routes(("POST", "/events", add_event), *views), database=db)


@pytest.fixture
async def client(app: Quart) -> AsyncIterator[Client]:
    """A client of a calendar with one event."""
    async with app.test_app(), app.app_context():
        await db.create_tables()
        async with db.transaction() as session:
            session.add(Event(id=1000, title="first", place="hall"))
            session.add(Event(id=1, title="second", place="garden"))
        yield app.test_client()


BROKEN: dict[str, tuple[dict[str, Any], int, list[dict[str, str]]]] = {
    "a check with field and message": (
        {"starts": 3},
        422,
        [{"detail": "must be after the start", "pointer": "/ends", "code": "check"}],
    ),
    "a check of two fields": (
        {"seats": 60, "extra": 60},
        422,
        [{"detail": "not allowed", "pointer": f"/{field}", "code": "check"} for field in ("seats", "extra")],
    ),
    "a check with a message alone": (
        {"starts": 13, "ends": 14},
        422,
        [{"detail": "no event starts at 13", "code": "check"}],
    ),
    "a check that says nothing": (
        {"seats": -1},
        422,
        [{"detail": "not allowed", "pointer": "/seats", "code": "check"}],
    ),
    "a unique constraint": (
        {"title": "first"},
        409,
        [{"detail": "is on the programme at that time", "pointer": "/title", "code": "unique"}],
    ),
    "a unique index": ({"place": "hall"}, 409, [{"detail": "is taken", "pointer": "/place", "code": "unique"}]),
}


async def test_constraints_say_their_field_and_message(client: Client) -> None:
    """`info` of any constraint names them, alike on both databases; without it the columns are the fields."""
    for case, (data, status, errors) in BROKEN.items():
        response = await client.post("/events", json=EventIn().model_dump() | data)
        assert (response.status_code, (await response.get_json())["errors"]) == (status, errors), case


MISTAKES = {
    "/entity": "Plain does not read the attributes of an entity such as Event; derive it from ReadSchema",
    "/entities": "/0: Plain does not read the attributes of an entity such as Event",
    "/validated": "Plain does not read the attributes of an entity such as Event",
    "/unloaded": "/guests: Event.guests was not loaded, .* load it with the query, .options.selectinload.Event.guests",
    "/validated-unloaded": "Event.guests was not loaded",
    "/read": "Event.guests was not loaded",
}


@pytest.mark.ligand_database("sqlite")
async def test_mistakes_with_entities_say_what_to_write(app: Quart, client: Client) -> None:
    """The exception names model, entity and attribute, and holds no value; the client gets a 500 without them."""
    for path, reason in MISTAKES.items():
        with pytest.raises(Exception, match=reason) as caught:
            await app.test_client(raise_unhandled=True).get(path)
        assert "second" not in str(caught.value)
        assert set(await (await client.get(path)).get_json()) == {"type", "title", "status", "instance", "request_id"}


@pytest.mark.ligand_database("sqlite")
@pytest.mark.parametrize("model", [Big, Small])
async def test_a_key_that_sqlite_does_not_count_up(client: Client, model: Any) -> None:
    """The error names the column and its type, and says what to write instead."""
    kind = type(model.__table__.c.id.type).__name__
    with pytest.raises(KeyNotCounted, match=f"{model.__tablename__}.id has no value: .* this one is {kind}. Write map"):
        async with db.transaction() as session:
            session.add(model())


async def test_a_key_that_is_counted_up(client: Client) -> None:
    """What the error says to write works, on both databases."""
    async with db.transaction() as session:
        session.add(Mended())
    async with db.read() as session:
        assert await session.scalar(select(Mended.id)) == 1


async def test_another_event_loop_is_refused(app: Quart, client: Client) -> None:
    """Connections belong to the loop that opened them; the error says so before the driver fails in its own words."""

    async def read() -> None:
        async with app.app_context(), db.read() as session:
            await session.scalar(select(Event.id))

    with pytest.raises(RuntimeError, match=r"was opened in another event loop, .* Start the app in the loop that uses"):
        await asyncio.to_thread(asyncio.run, read())
    await read()


@pytest.mark.ligand_database("sqlite")
async def test_a_second_transaction_on_sqlite_says_what_to_do(client: Client) -> None:
    """It would wait for itself."""
    async with db.transaction() as session:
        await session.scalar(select(Event.id))
        with pytest.raises(SessionMisused, match=r"SQLite has one writer, .* Use the session of that one"):
            async with db.transaction() as other:
                other.add(Event(title="b", place="b"))
                await other.flush()


async def test_a_404_says_what_the_handler_says(client: Client) -> None:
    """`detail` replaces the sentence; without it the kind is named."""
    async with db.read() as session:
        nothing = select(Event).where(Event.id == 5)
        calls: dict[str, Callable[..., Awaitable[Any]]] = {
            "get": lambda **more: get_or_404(session, Event, 5, **more),
            "get into": lambda **more: get_or_404(session, Event, 5, into=WithGuests, **more),
            "first": lambda **more: first_or_404(session, nothing, **more),
            "first into": lambda **more: first_or_404(session, nothing, into=WithGuests, **more),
            "one": lambda **more: one_or_404(session, nothing, **more),
            "one into": lambda **more: one_or_404(session, nothing, into=WithGuests, **more),
        }
        for name, call in calls.items():
            details = []
            for options in ({}, {"detail": "it was cancelled"}):
                with pytest.raises(NotFound) as caught:
                    await call(**options)
                details.append(caught.value.detail)
            assert details == ["no such event", "it was cancelled"], name


def test_problems_have_titles() -> None:
    """Their own, else the phrase of the status."""
    assert (Problem("x").title, NotFound().title) == ("Internal Server Error", "Not Found")
