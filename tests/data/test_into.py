"""`into=`: only the columns and relationships that a schema has."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel
from quart import Quart
from sqlalchemy import Select, func, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import DeclarativeBase, Mapped, aliased, mapped_column

from ligand_async import Database, Identified, Model, get_or_404
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
