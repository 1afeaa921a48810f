"""Where other pages are."""

import json
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urljoin

import pytest
from quart import Blueprint
from quart.typing import TestClientProtocol as Client
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from ligand_async import CursorParams, Page, PageParams, operation, paginate, public
from tests.services import routes
from tests.web.things import Thing, ThingRead, db, linked, make_things_app, query_of, running, store

plain = public(Blueprint("plain", __name__))


@operation
async def list_things(query_args: PageParams, session: AsyncSession, tag: tuple[str, ...] = ()) -> Page[ThingRead]:
    return await paginate(session, select(Thing).where(Thing.rank >= 0), query_args, into=ThingRead)


@operation
async def list_in(name: str, query_args: PageParams, session: AsyncSession) -> Page[ThingRead]:
    return await paginate(session, select(Thing), query_args, into=ThingRead)


@operation
async def list_with_headers(
    query_args: CursorParams, session: AsyncSession
) -> tuple[Page[ThingRead], int, dict[str, str]]:
    page = await paginate(session, select(Thing), query_args, into=ThingRead)
    return page, 200, {"Link": "</elsewhere>; rel=up", "X-Own": "yes"}


@plain.get("/plain")
async def list_plainly() -> Any:
    async with db.read() as session:
        page = await paginate(session, select(Thing), CursorParams(limit=2), into=ThingRead)
    return page.model_dump(mode="json"), 200, dict(page.headers)


@pytest.fixture
async def client(sqlite_url: str) -> AsyncIterator[Client]:
    """A client of five things."""
    views = routes(("GET", "/things", list_things), ("GET", "/in/<name>", list_in), ("GET", "/own", list_with_headers))
    async with running(make_things_app(sqlite_url, views, plain)) as client:
        await store(*[Thing(rank=number) for number in range(5)])
        yield client


async def pages(client: Client, path: str, relation: str) -> list[int]:
    """Follow links of one relation, and return how many items each page has."""
    sizes = []
    while path:
        response = await client.get(path)
        assert response.status_code == 200
        sizes.append(len((await response.get_json())["items"]))
        path = linked(response.headers).get(relation, "")
    return sizes


@pytest.mark.parametrize("start", ["limit=2", "page=1&page_size=2"])
async def test_links_lead_through_the_whole_list(client: Client, start: str) -> None:
    """By cursor and by number: `next` from the first page to the last, and `prev` from `last` back."""
    last = linked((await client.get(f"/things?{start}")).headers)["last"]
    backward = await pages(client, last, "prev")

    assert await pages(client, f"/things?{start}", "next") == [2, 2, 1]
    assert sum(backward) == 5
    assert len(backward) == 3


@pytest.mark.parametrize(
    ("query", "relations"),
    [
        ("limit=2", {"first", "next", "last"}),
        ("limit=5", {"first", "last"}),
        ("page=1&page_size=2", {"first", "next", "last"}),
        ("page=2&page_size=2", {"first", "prev", "next", "last"}),
        ("page=3&page_size=2", {"first", "prev", "last"}),
        ("page=1", {"first", "last"}),
        ("page=9&page_size=2", {"first", "prev", "last"}),
    ],
)
async def test_there_is_a_link_where_there_is_a_page(client: Client, query: str, relations: set[str]) -> None:
    """No `prev` before the first, no `next` behind the last."""
    assert linked((await client.get(f"/things?{query}")).headers).keys() == relations


async def test_past_the_end_links_back_to_the_last_page(client: Client) -> None:
    """`prev` is a page that there is."""
    links = linked((await client.get("/things?page=99&page_size=2")).headers)

    assert query_of(links["prev"]) == {"page": ["3"], "page_size": ["2"]}


async def test_the_next_link_has_the_next_cursor(client: Client) -> None:
    """The one in the body."""
    response = await client.get("/things?limit=2")

    assert query_of(linked(response.headers)["next"])["cursor"] == [(await response.get_json())["next_cursor"]]


async def test_other_parameters_are_kept(client: Client) -> None:
    """Each as often as it was sent, escaped again; the first page needs no cursor."""
    sent = "tag=%26a%3Db&tag=%3E%22%0D%0A%C3%A9&limit=2"
    links = linked((await client.get(f"/things?{sent}")).headers)

    assert links["first"] == "/things?tag=%26a%3Db&tag=%3E%22%0D%0A%C3%A9&limit=2"
    assert query_of(links["next"]).keys() == {"tag", "limit", "cursor"}
    assert query_of(links["next"])["tag"] == ["&a=b", '>"\r\né']


async def test_links_are_paths_under_the_root(client: Client) -> None:
    """Of this host, whatever its name outside; with the path that a server or proxy has put before the app."""
    response = await client.get(
        "/base/in/a%20%3Cb%3E%C3%A9?page=1", scope_base={"root_path": "/base"}, root_path="/base"
    )
    links = linked(response.headers)

    assert links["first"] == "/base/in/a%20%3Cb%3E%C3%A9?page=1"
    assert urljoin("https://api.example.org/base/x", links["first"]).startswith("https://api.example.org/base/in/")


async def test_links_are_no_longer_than_proxies_take(client: Client) -> None:
    """Those that can be done without are left out; the body and `X-Pagination` say the same."""
    long = "&".join(f"tag={'x' * 100}" for _ in range(15))
    links = linked((await client.get(f"/things?page=2&page_size=2&{long}")).headers)
    longer = await client.get(f"/things?page=2&page_size=2&{long}&{long}&{long}")

    assert list(links) == ["prev", "next"]
    assert list(linked(longer.headers)) == ["next"]
    assert "X-Pagination" in longer.headers


@pytest.mark.parametrize(
    ("query", "facts"),
    [
        (
            "page=1&page_size=2",
            {"total": 5, "total_pages": 3, "first_page": 1, "last_page": 3, "page": 1, "next_page": 2},
        ),
        (
            "page=2&page_size=2",
            {
                "total": 5,
                "total_pages": 3,
                "first_page": 1,
                "last_page": 3,
                "page": 2,
                "previous_page": 1,
                "next_page": 3,
            },
        ),
        (
            "page=3&page_size=2",
            {"total": 5, "total_pages": 3, "first_page": 1, "last_page": 3, "page": 3, "previous_page": 2},
        ),
        ("page=1", {"total": 5, "total_pages": 1, "first_page": 1, "last_page": 1, "page": 1}),
        ("page=4&page_size=2", {"total": 5, "total_pages": 3, "first_page": 1, "last_page": 3}),
    ],
)
async def test_numbered_pages_have_x_pagination(client: Client, query: str, facts: dict[str, int]) -> None:
    """With the members that flask-ligand's clients read; what there is none of is left out."""
    assert json.loads((await client.get(f"/things?{query}")).headers["X-Pagination"]) == facts


async def test_no_items_have_no_pages(sqlite_url: str) -> None:
    """None of them is first or last."""
    async with running(make_things_app(sqlite_url, routes(("GET", "/things", list_things)))) as client:
        response = await client.get("/things?page=1")

    assert json.loads(response.headers["X-Pagination"]) == {"total": 0, "total_pages": 0}
    assert "Link" not in response.headers


async def test_pages_by_cursor_have_no_x_pagination(client: Client) -> None:
    """Nobody has counted."""
    assert "X-Pagination" not in (await client.get("/things")).headers


async def test_headers_of_a_handler_go_first(client: Client) -> None:
    """What it returns with the page stays as it is."""
    response = await client.get("/own")

    assert (response.headers.getlist("Link"), response.headers["X-Own"]) == (["</elsewhere>; rel=up"], "yes")


async def test_a_plain_view_returns_them_with_the_page(client: Client) -> None:
    """`page.headers` is what an operation sends."""
    response = await client.get("/plain?a=1")

    assert linked(response.headers).keys() == {"first", "next", "last"}
    assert linked(response.headers)["first"] == "/plain?a=1"


async def test_outside_a_request_there_are_cursors_and_no_links(client: Client) -> None:
    """A script has no address."""
    async with db.read() as session:
        page = await paginate(session, select(Thing), CursorParams(limit=2), into=ThingRead)
        following = await paginate(
            session, select(Thing), CursorParams(limit=3, cursor=page.next_cursor), into=ThingRead
        )

    assert (dict(page.headers), len(following.items), following.next_cursor) == ({}, 3, None)
