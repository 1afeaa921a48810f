"""Finding one thing, or answering 404."""

from collections.abc import AsyncIterator
from uuid import uuid4

import pytest
from pydantic import BaseModel
from quart import Quart
from sqlalchemy import func, select
from sqlalchemy.exc import MultipleResultsFound
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from ligand_async import Database, Model, NotFound, get_or_404
from ligand_async.data import first_or_404, one_or_404
from tests.data.statements import captured, columns_of
from tests.services import Item, Shelf, db, make_app, running

OF_THE_TAG = {"id", "version", "created_at", "updated_at"}


class ItemLine(BaseModel):
    """Two columns of an item."""

    name: str
    price: int


class Base(Model, DeclarativeBase):
    """A service whose keys have two columns."""


class Seat(Base):
    """A seat, by row and number."""

    __tablename__ = "seat"

    row: Mapped[int] = mapped_column(primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    price: Mapped[int]


class SeatPrice(BaseModel):
    """What a seat costs."""

    price: int


@pytest.fixture
async def app(database_url: str) -> AsyncIterator[Quart]:
    """A started app with a cup and a pot, in whose context the test runs."""
    app = make_app(database_url)
    async with running(app):
        async with db.transaction() as session:
            session.add_all([Item(name="cup", price=3), Item(name="pot", price=9)])
        yield app


async def test_get_finds_by_key(app: Quart) -> None:
    """The primary key finds the entity."""
    async with db.read() as session:
        cup = await one_or_404(session, select(Item).where(Item.name == "cup"))
        assert await get_or_404(session, Item, cup.id) is cup


async def test_get_into_reads_the_columns_of_the_schema(app: Quart) -> None:
    """`into=` selects what the schema has and what its entity tag is made of, and nothing else."""
    async with db.read() as session:
        key = await session.scalar(select(Item.id).where(Item.name == "cup"))
        with captured(session) as sent:
            line = await get_or_404(session, Item, key, into=ItemLine)

    assert line == ItemLine(name="cup", price=3)
    assert [columns_of(statement) for statement in sent] == [{"name", "price"} | OF_THE_TAG]


async def test_first_into_reads_the_columns_of_the_schema(app: Quart) -> None:
    """The first of an order, narrowed to the schema."""
    async with db.read() as session:
        with captured(session) as sent:
            line = await first_or_404(session, select(Item).order_by(Item.price.desc()), into=ItemLine)

    assert line == ItemLine(name="pot", price=9)
    assert [columns_of(statement) for statement in sent] == [{"name", "price"} | OF_THE_TAG]


async def test_one_into_reads_the_columns_of_the_schema(app: Quart) -> None:
    """The only one, narrowed to the schema."""
    async with db.read() as session:
        with captured(session) as sent:
            line = await one_or_404(session, select(Item).where(Item.price > 5), into=ItemLine)

    assert line == ItemLine(name="pot", price=9)
    assert [columns_of(statement) for statement in sent] == [{"name", "price"} | OF_THE_TAG]


async def test_what_is_not_there_is_404(app: Quart) -> None:
    """Each lookup, with and without a schema, names the kind of thing and never the key."""
    key, none = uuid4(), select(Item).where(Item.price > 100)
    async with db.read() as session:
        for lookup in (
            get_or_404(session, Item, key),
            get_or_404(session, Item, key, into=ItemLine),
            first_or_404(session, none),
            first_or_404(session, none, into=ItemLine),
            one_or_404(session, none),
            one_or_404(session, none, into=ItemLine),
        ):
            with pytest.raises(NotFound) as caught:
                await lookup
            assert caught.value.detail == "no such item"


async def test_one_of_several_is_a_fault_of_the_statement(app: Quart) -> None:
    """`one_or_404` does not pick, and reads no more than it takes to know."""
    async with db.read() as session:
        with captured(session) as sent, pytest.raises(MultipleResultsFound, match=r"first_or_404\(\)"):
            await one_or_404(session, select(Item))
        with pytest.raises(MultipleResultsFound):
            await one_or_404(session, select(Item), into=ItemLine)
    assert "LIMIT" in sent[0]


async def test_a_value_is_found_too(app: Quart) -> None:
    """A statement may select a column or a figure instead of an entity."""
    async with db.read() as session:
        assert await one_or_404(session, select(func.count()).select_from(Item)) == 2
        assert await first_or_404(session, select(Item.name).order_by(Item.name)) == "cup"
        with pytest.raises(NotFound, match="no such shelf"):
            await first_or_404(session, select(Shelf.label))


async def test_keys_of_several_columns(database_url: str) -> None:
    """A tuple is a key of several columns."""
    seats = Database(Base)
    app = make_app(database_url, database=seats)
    async with app.test_app(), app.app_context():
        await seats.create_tables()
        async with seats.transaction() as session:
            session.add(Seat(row=3, number=7, price=20))
        async with seats.read() as session:
            assert (await get_or_404(session, Seat, (3, 7))).price == 20
            assert await get_or_404(session, Seat, (3, 7), into=SeatPrice) == SeatPrice(price=20)
            with pytest.raises(NotFound):
                await get_or_404(session, Seat, (7, 3), into=SeatPrice)
