"""Reading one row or 404, and `into=`: only the columns and relationships of a schema are read."""

from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import pytest
from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel
from quart import Quart
from sqlalchemy import Select, func, select
from sqlalchemy.exc import MultipleResultsFound
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import DeclarativeBase, Mapped, aliased, mapped_column

from ligand_async import Database, Identified, Model, NotFound, get_or_404
from ligand_async.data import LazyLoadRefused, first_or_404, one_or_404
from ligand_async.data.reading import IntoNotPossible, project
from tests.data.statements import captured, columns_of
from tests.services import Item, Shelf, db, make_app, running


class ItemName(BaseModel):
    """One column of an item."""

    name: str


class ShelfLabel(BaseModel):
    """One column of a shelf."""

    label: str


class ShelfFull(BaseModel):
    """A shelf and the names of what stands on it."""

    label: str
    items: list[ItemName]


class ItemPlace(BaseModel):
    """An item, and the shelf it stands on, if any."""

    name: str
    shelf: ShelfLabel | None


class ShelfDeep(BaseModel):
    """A shelf, its items, and their shelf again."""

    items: list[ItemPlace]


class Camel(BaseModel):
    """A schema whose JSON is written otherwise than the columns."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True)

    created_at: Any


class Renamed(BaseModel):
    """A field that is read from an attribute of another name."""

    title: str = Field(validation_alias="name")


class Stranger(BaseModel):
    """A schema of something else."""

    name: str
    wings: int


class Base(Model, DeclarativeBase):
    """A service that names columns otherwise than attributes."""


class Car(Identified, Base):
    """A car."""

    __tablename__ = "car"

    name: Mapped[str] = mapped_column("nm")


@pytest.fixture
async def app(database_url: str) -> AsyncIterator[Quart]:
    """A started app with two items on a shelf and one on none, in whose context the test runs."""
    app = make_app(database_url)
    async with running(app):
        async with db.transaction() as session:
            shelf = Shelf(label="top", items=[Item(name="cup", price=3), Item(name="pot", price=9)])
            session.add_all([shelf, Item(name="jug")])
        yield app


async def test_nested_schemas_load_their_columns_only(app: Quart) -> None:
    """A nested schema is one more query, for its columns and the keys that join it."""
    async with db.read() as session:
        with captured(session) as sent:
            shelf = await first_or_404(session, select(Shelf), into=ShelfFull)

    assert shelf == ShelfFull(label="top", items=[ItemName(name="cup"), ItemName(name="pot")])
    assert [columns_of(statement) for statement in sent] == [{"id", "label"}, {"id", "shelf_id", "name"}]


async def test_nested_schemas_may_be_absent(app: Quart) -> None:
    """An optional nested schema is None where the relationship is."""
    async with db.read() as session:
        place = await first_or_404(session, select(Item).where(Item.name == "jug"), into=ItemPlace)

    assert place == ItemPlace(name="jug", shelf=None)


async def test_nesting_goes_as_deep_as_the_schema(app: Quart) -> None:
    """Each level is loaded, none lazily."""
    async with db.read() as session:
        shelf = await first_or_404(session, select(Shelf), into=ShelfDeep)

    assert [(item.name, item.shelf) for item in shelf.items] == [
        ("cup", ShelfLabel(label="top")),
        ("pot", ShelfLabel(label="top")),
    ]


async def test_an_entity_at_hand_is_completed(app: Quart) -> None:
    """An entity that the session has without its relationship gets it by `into=`."""
    async with db.read() as session:
        await first_or_404(session, select(Shelf))
        shelf = await first_or_404(session, select(Shelf), into=ShelfFull)

    assert len(shelf.items) == 2


async def test_what_into_left_out_says_so_later(app: Quart) -> None:
    """An entity that `into=` loaded in part names the missing attribute and the remedy."""
    async with db.read() as session:
        item = await one_or_404(session, project(select(Item).where(Item.name == "cup"), ItemPlace).statement)
        with pytest.raises(LazyLoadRefused, match=r"Item\.price.*session\.refresh"):
            _ = item.price


async def test_aliases_that_only_json_has(app: Quart) -> None:
    """A camel-case schema that takes field names, too, reads attributes by field name."""
    async with db.read() as session:
        item = await first_or_404(session, select(Item), into=Camel)

    assert item.created_at is not None


async def test_validation_alias_names_the_attribute(app: Quart) -> None:
    """A field's `validation_alias` is where it is read from."""
    async with db.read() as session:
        item = await first_or_404(session, select(Item).where(Item.name == "cup"), into=Renamed)

    assert item.title == "cup"


async def test_attributes_are_not_columns(database_url: str) -> None:
    """The schema follows attributes; columns may have other names."""
    cars = Database(Base)
    app = make_app(database_url, database=cars)
    async with app.test_app(), app.app_context():
        await cars.create_tables()
        async with cars.transaction() as session:
            car = Car(name="Beetle")
            session.add(car)
        async with cars.read() as session:
            assert await get_or_404(session, Car, car.id, into=ItemName) == ItemName(name="Beetle")


async def test_criteria_and_joins_stay(app: Quart) -> None:
    """What the statement joins, filters and sorts by stays when its columns are narrowed."""
    statement = select(Item).join(Item.shelf).where(Shelf.label == "top").order_by(Item.price.desc())
    async with db.read() as session:
        assert (await first_or_404(session, statement, into=ItemName)).name == "pot"


REFUSED: dict[str, tuple[Any, str]] = {
    "distinct": (select(Item).distinct(), "DISTINCT and GROUP BY"),
    "group by": (select(Item).group_by(Item.id), "DISTINCT and GROUP BY"),
    "from_statement": (select(Item).from_statement(select(Item)), r"from_statement\(\) has columns of its own"),
    "columns": (select(Item.name), "exactly one entity"),
    "two entities": (select(Item, Shelf), "exactly one entity"),
    "function": (select(func.count()), "exactly one entity"),
    "alias": (select(aliased(Item)), "not aliased"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_narrowed_is_refused(case: str) -> None:
    """A statement whose meaning its columns are part of is refused, with the reason and the schema's name."""
    statement, reason = REFUSED[case]
    with pytest.raises(IntoNotPossible, match=f"into=ItemName.*{reason}"):
        project(statement, ItemName)


def test_fields_that_the_entity_lacks_are_named() -> None:
    """The error names schema, entity and field, and what to do."""
    with pytest.raises(IntoNotPossible, match="Stranger has fields that Item lacks: wings; read the entity"):
        project(select(Item), Stranger)


async def test_refusal_comes_before_any_statement(app: Quart) -> None:
    """Nothing is sent for what is refused."""

    async def look(session: AsyncSession, statement: Select[Any]) -> None:
        await first_or_404(session, statement, into=ItemName)

    async with db.read() as session:
        with captured(session) as sent, pytest.raises(IntoNotPossible):
            await look(session, select(Item).distinct())
    assert sent == []


OF_THE_TAG = {"id", "version", "created_at", "updated_at"}


class ItemLine(BaseModel):
    """Two columns of an item."""

    name: str
    price: int


class WideBase(Model, DeclarativeBase):
    """A service whose keys have two columns."""


class Seat(WideBase):
    """A seat, by row and number."""

    __tablename__ = "seat"

    row: Mapped[int] = mapped_column(primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    price: Mapped[int]


class SeatPrice(BaseModel):
    """What a seat costs."""

    price: int


@pytest.fixture
async def pantry(database_url: str) -> AsyncIterator[Quart]:
    """A started app with a cup and a pot, in whose context the test runs."""
    app = make_app(database_url)
    async with running(app):
        async with db.transaction() as session:
            session.add_all([Item(name="cup", price=3), Item(name="pot", price=9)])
        yield app


async def test_get_finds_by_key(pantry: Quart) -> None:
    """The primary key finds the entity."""
    async with db.read() as session:
        cup = await one_or_404(session, select(Item).where(Item.name == "cup"))
        assert await get_or_404(session, Item, cup.id) is cup


async def test_get_into_reads_the_columns_of_the_schema(pantry: Quart) -> None:
    """`into=` selects what the schema has and what its entity tag is made of, and nothing else."""
    async with db.read() as session:
        key = await session.scalar(select(Item.id).where(Item.name == "cup"))
        with captured(session) as sent:
            line = await get_or_404(session, Item, key, into=ItemLine)

    assert line == ItemLine(name="cup", price=3)
    assert [columns_of(statement) for statement in sent] == [{"name", "price"} | OF_THE_TAG]


async def test_first_into_reads_the_columns_of_the_schema(pantry: Quart) -> None:
    """The first of an order, narrowed to the schema."""
    async with db.read() as session:
        with captured(session) as sent:
            line = await first_or_404(session, select(Item).order_by(Item.price.desc()), into=ItemLine)

    assert line == ItemLine(name="pot", price=9)
    assert [columns_of(statement) for statement in sent] == [{"name", "price"} | OF_THE_TAG]


async def test_one_into_reads_the_columns_of_the_schema(pantry: Quart) -> None:
    """The only one, narrowed to the schema."""
    async with db.read() as session:
        with captured(session) as sent:
            line = await one_or_404(session, select(Item).where(Item.price > 5), into=ItemLine)

    assert line == ItemLine(name="pot", price=9)
    assert [columns_of(statement) for statement in sent] == [{"name", "price"} | OF_THE_TAG]


async def test_what_is_not_there_is_404(pantry: Quart) -> None:
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


async def test_one_of_several_is_a_fault_of_the_statement(pantry: Quart) -> None:
    """`one_or_404` does not pick, and reads no more than it takes to know."""
    async with db.read() as session:
        with captured(session) as sent, pytest.raises(MultipleResultsFound, match=r"first_or_404\(\)"):
            await one_or_404(session, select(Item))
        with pytest.raises(MultipleResultsFound):
            await one_or_404(session, select(Item), into=ItemLine)
    assert "LIMIT" in sent[0]


async def test_a_value_is_found_too(pantry: Quart) -> None:
    """A statement may select a column or a figure instead of an entity."""
    async with db.read() as session:
        assert await one_or_404(session, select(func.count()).select_from(Item)) == 2
        assert await first_or_404(session, select(Item.name).order_by(Item.name)) == "cup"
        with pytest.raises(NotFound, match="no such shelf"):
            await first_or_404(session, select(Shelf.label))


async def test_keys_of_several_columns(database_url: str) -> None:
    """A tuple is a key of several columns."""
    seats = Database(WideBase)
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
