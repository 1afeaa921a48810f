"""Sessions: a lazy load is an error that names the attribute and the remedy."""

from collections.abc import AsyncIterator

import pytest
from quart import Quart
from sqlalchemy import inspect, select
from sqlalchemy.orm import defer, joinedload, selectinload
from sqlalchemy.orm.exc import DetachedInstanceError

from ligand_async.data import LazyLoadRefused
from tests.services import Item, Shelf, db, make_app, running


@pytest.fixture
async def app(database_url: str) -> AsyncIterator[Quart]:
    """A started app with a cup on a shelf, in whose context the test runs."""
    app = make_app(database_url)
    async with running(app):
        async with db.transaction() as session:
            session.add(Shelf(label="top", items=[Item(name="cup", price=3)]))
        yield app


async def test_collection_that_was_not_loaded(app: Quart) -> None:
    """The error names the relationship, `selectinload` with it, and `refresh`."""
    async with db.read() as session:
        shelf = (await session.scalars(select(Shelf))).one()
        with pytest.raises(
            LazyLoadRefused, match=r"^Shelf\.items was not loaded.*selectinload\(Shelf\.items\).*refresh"
        ):
            _ = shelf.items


async def test_reference_that_was_not_loaded(app: Quart) -> None:
    """A many-to-one is loaded by key, and refused the same."""
    async with db.read() as session:
        item = (await session.scalars(select(Item))).one()
        with pytest.raises(LazyLoadRefused, match=r"^Item\.shelf was not loaded"):
            _ = item.shelf


async def test_expired_column(app: Quart) -> None:
    """The error of an expired attribute names it and `refresh`."""
    async with db.read() as session:
        item = (await session.scalars(select(Item))).one()
        session.expire(item, ["price", "name"])
        with pytest.raises(LazyLoadRefused, match=r"^Item\.name, Item\.price is expired.*session\.refresh\(entity\)"):
            _ = item.price


async def test_deferred_column(app: Quart) -> None:
    """The error of a deferred column names it and `undefer`."""
    async with db.read() as session:
        item = (await session.scalars(select(Item).options(defer(Item.price)))).one()
        with pytest.raises(LazyLoadRefused, match=r"^Item\.price is expired or deferred.*undefer\(Item\.price\)"):
            _ = item.price


async def test_remedies_work(app: Quart) -> None:
    """What the errors recommend does load."""
    async with db.read() as session:
        shelf = (await session.scalars(select(Shelf).options(selectinload(Shelf.items)))).one()
        assert [item.name for item in shelf.items] == ["cup"]
        item = shelf.items[0]
        session.expire(item)
        await session.refresh(item)
        assert item.price == 3
        await session.refresh(item, [Item.shelf.key])
        assert item.shelf is shelf


async def test_loading_where_one_may_await_is_allowed(app: Quart) -> None:
    """`run_sync` and eager options load as in any SQLAlchemy."""
    async with db.read() as session:
        shelf = (await session.scalars(select(Shelf))).one()
        assert await session.run_sync(lambda _: [item.name for item in shelf.items]) == ["cup"]
    async with db.read() as session:
        item = (await session.scalars(select(Item).options(joinedload(Item.shelf)))).one()
        assert item.shelf is not None


async def test_nothing_expires_with_the_commit(app: Quart) -> None:
    """What was written can be read after its transaction: ids, defaults, moments, version."""
    async with db.transaction() as session:
        item = Item(name="pot")
        session.add(item)

    assert (item.price, item.version, item.shelf_id) == (0, 1, None)
    assert item.created_at == item.updated_at
    assert inspect(item).expired_attributes == set()


async def test_lazy_load_after_the_session_names_the_attribute(app: Quart) -> None:
    """After its session, an entity's relationship cannot load: SQLAlchemy's own error names it."""
    async with db.read() as session:
        item = (await session.scalars(select(Item))).one()

    with pytest.raises(DetachedInstanceError, match="attribute 'shelf'"):
        _ = item.shelf


async def test_detached_entity_in_a_unit_comes_with_a_note(app: Quart) -> None:
    """Where that error leaves a unit of work, a note adds the remedy."""
    async with db.read() as session:
        item = (await session.scalars(select(Item))).one()

    with pytest.raises(DetachedInstanceError) as caught:
        async with db.transaction():
            _ = item.shelf
    assert "selectinload" in caught.value.__notes__[0]
