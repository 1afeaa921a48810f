"""Pages by number, or of either kind."""

from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Annotated, Any
from uuid import UUID

import pytest
from pydantic import BaseModel, Field
from quart.typing import TestClientProtocol as Client
from sqlalchemy import event, select
from sqlalchemy.engine import Engine
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased

from ligand_async import CursorParams, OffsetParams, Page, PageParams, operation, paginate
from ligand_async.data import IntoNotPossible
from tests.services import Item, Shelf, db, make_app, routes, running


class ItemRead(BaseModel):
    id: UUID
    name: str
    price: int


class ShelfRead(BaseModel):
    label: str
    items: list[ItemRead]


class ItemQuery(OffsetParams):
    cheaper_than: Annotated[int, Field(ge=0)] = 1000


@operation
async def list_items(query_args: ItemQuery, session: AsyncSession) -> Page[ItemRead]:
    statement = select(Item).where(Item.price < query_args.cheaper_than).order_by(Item.price)
    return await paginate(session, statement, query_args, into=ItemRead)


@operation
async def list_either(query_args: PageParams, session: AsyncSession) -> Page[ItemRead]:
    return await paginate(session, select(Item).order_by(Item.price), query_args, into=ItemRead)


@operation
async def list_shelves(query_args: OffsetParams, session: AsyncSession) -> Page[ShelfRead]:
    return await paginate(session, select(Shelf).order_by(Shelf.label), query_args, into=ShelfRead)


@operation
async def list_items_on_shelves(query_args: OffsetParams, session: AsyncSession) -> Page[ItemRead]:
    statement = select(Item).join(Item.shelf).where(Shelf.label == "a").order_by(Shelf.label)
    return await paginate(session, statement, query_args, into=ItemRead)


@pytest.fixture
async def client(database_url: str) -> AsyncIterator[Client]:
    """A client of a shop with 25 items of three prices on two shelves."""
    app = make_app(
        database_url,
        routes(
            ("GET", "/items", list_items),
            ("GET", "/shelves", list_shelves),
            ("GET", "/on", list_items_on_shelves),
            ("GET", "/either", list_either),
        ),
    )
    async with running(app) as client:
        async with db.transaction() as session:
            shelves = [Shelf(label="a"), Shelf(label="b")]
            items = [Item(name=f"item {n:02}", price=n % 3, shelf=shelves[n % 2]) for n in range(25)]
            session.add_all([*shelves, *items])
        yield client


@contextmanager
def statements() -> Iterator[list[str]]:
    """Collect the statements that any engine sends meanwhile."""
    sent: list[str] = []

    def remember(connection: Any, cursor: Any, statement: str, *_: Any) -> None:
        sent.append(statement)

    event.listen(Engine, "before_cursor_execute", remember)
    try:
        yield sent
    finally:
        event.remove(Engine, "before_cursor_execute", remember)


async def get(client: Client, path: str) -> Any:
    response = await client.get(path)
    assert response.status_code == 200
    return await response.get_json()


async def test_a_page_has_its_items_and_the_total(client: Client) -> None:
    """Ten by default, the total is of all pages."""
    page = await get(client, "/items")

    assert (len(page["items"]), page["total"]) == (10, 25)
    assert page["items"][0].keys() == {"id", "name", "price"}


@pytest.mark.parametrize("size", [1, 4, 7, 25, 100])
async def test_pages_neither_overlap_nor_leave_gaps(client: Client, size: int) -> None:
    """Equal prices have one order too: the primary key's."""
    found: list[str] = []
    for number in range(1, 25 // size + 2):
        page = await get(client, f"/items?page={number}&page_size={size}")
        found += [item["name"] for item in page["items"]]

    assert len(found) == 25
    assert set(found) == {f"item {n:02}" for n in range(25)}


async def test_the_total_counts_what_is_selected(client: Client) -> None:
    """Filters and joins of the statement count."""
    assert (await get(client, "/items?cheaper_than=1"))["total"] == 9
    assert (await get(client, "/on"))["total"] == 13


async def test_past_the_end_is_an_empty_page(client: Client) -> None:
    """With the total, so that a client finds back."""
    assert await get(client, "/items?page=99") == {"items": [], "next_cursor": None, "total": 25}
    assert await get(client, "/items?cheaper_than=0") == {"items": [], "next_cursor": None, "total": 0}


async def test_nested_schemas_are_loaded_and_counted_once(client: Client) -> None:
    """A shelf with its items is one item of the page."""
    page = await get(client, "/shelves?page_size=1")

    assert (page["total"], page["items"][0]["label"], len(page["items"][0]["items"])) == (2, "a", 13)


@pytest.mark.parametrize(
    ("query", "errors"),
    [
        ("page=0", [("page", "greater_than_equal")]),
        ("page=-1", [("page", "greater_than_equal")]),
        ("page=1000001", [("page", "less_than_equal")]),
        ("page=x", [("page", "int_parsing")]),
        ("page_size=0", [("page_size", "greater_than_equal")]),
        ("page_size=101", [("page_size", "less_than_equal")]),
        ("page=99999999999999999999", [("page", "less_than_equal")]),
        ("cheaper_than=-1&page=0", [("cheaper_than", "greater_than_equal"), ("page", "greater_than_equal")]),
        ("pagesize=5", [("pagesize", "extra_forbidden")]),
    ],
)
async def test_bounds_are_422(client: Client, query: str, errors: list[tuple[str, str]]) -> None:
    """By the parameter's name."""
    response = await client.get(f"/items?{query}")
    found = [(part["parameter"], part["code"]) for part in (await response.get_json())["errors"]]

    assert (response.status_code, sorted(found)) == (422, errors)


async def test_a_page_is_one_round_trip(client: Client) -> None:
    """Items and total in one statement of the columns that are needed, and no window that counts row by row."""
    with statements() as sent:
        await get(client, "/items?page=2")

    (statement,) = sent
    assert "count(*)" in statement
    assert "over (" not in statement.lower()
    assert "created_at" not in statement


async def test_past_the_end_takes_two(client: Client) -> None:
    """No row, no total in it."""
    with statements() as sent:
        await get(client, "/items?page=99")

    assert len(sent) == 2


async def test_an_alias_is_no_entity(database_url: str) -> None:
    """What cannot be paged says so, rather than to join every row with every other."""
    async with running(make_app(database_url)), db.read() as session:
        for statement in (select(aliased(Item)), select(Item.name)):
            with pytest.raises(IntoNotPossible):
                await paginate(session, statement, OffsetParams(), into=ItemRead)


@pytest.mark.ligand_database("sqlite")
@pytest.mark.parametrize(
    ("query", "items", "total"),
    [
        ("", 10, None),
        ("limit=3", 3, None),
        ("page=1", 10, 25),
        ("page=3", 5, 25),
        ("page_size=4", 4, 25),
        ("page=2&page_size=20", 5, 25),
    ],
)
async def test_either_kind_of_page(client: Client, query: str, items: int, total: int | None) -> None:
    """By cursor, unless the client gives a number or the size of numbered pages."""
    page = await get(client, f"/either?{query}")

    assert (len(page["items"]), page["total"]) == (items, total)
    assert (page["next_cursor"] is None) == (total is not None)


@pytest.mark.ligand_database("sqlite")
@pytest.mark.parametrize("query", ["page=1&limit=10", "page_size=5&limit=5", "page=1&cursor=x", "page_size=1&cursor=x"])
async def test_both_kinds_at_once_are_422(client: Client, query: str) -> None:
    """Each of the parameters is named."""
    response = await client.get(f"/either?{query}")
    found = [(part["parameter"], part["code"]) for part in (await response.get_json())["errors"]]

    assert response.status_code == 422
    assert sorted(found) == sorted((part.partition("=")[0], "page_and_cursor") for part in query.split("&"))


@pytest.mark.ligand_database("sqlite")
@pytest.mark.parametrize(
    ("query", "errors"),
    [
        ("page=0", [("page", "greater_than_equal")]),
        ("page=", [("page", "int_parsing")]),
        ("page_size=101", [("page_size", "less_than_equal")]),
        ("limit=0", [("limit", "greater_than_equal")]),
    ],
)
async def test_bounds_hold_for_either_kind(client: Client, query: str, errors: list[tuple[str, str]]) -> None:
    """As they do for each alone."""
    response = await client.get(f"/either?{query}")

    assert [(part["parameter"], part["code"]) for part in (await response.get_json())["errors"]] == errors


async def test_unknown_totals_are_refused(client: Client) -> None:
    """A total is exact or none; anything else is an error by name and not silently none."""
    async with db.read() as session:
        with pytest.raises(ValueError, match="total='estimate' is not known"):
            await paginate(session, select(Item), CursorParams(), into=ItemRead, total="estimate")  # type: ignore[arg-type]  # the mistake
