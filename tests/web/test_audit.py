"""The audit trail over HTTP: `GET /audit/` of the petstore."""

from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import quote

import pytest
from quart.typing import TestClientProtocol as Client

from examples.petstore.app import create_app
from examples.petstore.models import db
from ligand_async.testing import authorization


@pytest.fixture
async def client(database_url: str) -> AsyncIterator[Client]:
    """A client of a petstore in which Ada has stored Rex and Tom, Bob has renamed Rex, and Ada has taken it away."""
    app = create_app("testing", database_url=database_url)
    async with app.test_app(), app.app_context():
        await db.create_tables()
        client = app.test_client()
        ada = authorization(app, subject="ada", roles=["user", "admin"])
        bob = authorization(app, subject="bob", roles=["user"])
        rex = (await client.post("/pets/", json={"name": "Rex"}, headers=ada)).headers["Location"]
        await client.post("/pets/", json={"name": "Tom"}, headers=ada)
        await client.patch(rex, json={"name": "King"}, headers=bob | ANY)
        await client.delete(rex, headers=ada | ANY)
        yield client


ANY = {"If-Match": "*"}


async def read(client: Client, query: str = "") -> Any:
    headers = authorization(client.app, subject="eve", roles=["admin"])
    response = await client.get(f"/audit/{query}", headers=headers)
    assert response.status_code == 200
    return await response.get_json()


def told(page: Any) -> list[tuple[str, ...]]:
    return [(item["subject"], item["action"], item["operation_id"]) for item in page["items"]]


async def test_who_did_what_is_read(client: Client) -> None:
    """Two people create, change and delete a pet: the page says who did what, the newest first, and what changed."""
    page = await read(client, "?page=1")

    assert page["total"] == 4
    assert told(page) == [
        ("ada", "delete", "delete_pet"),
        ("bob", "update", "update_pet"),
        ("ada", "insert", "create_pet"),
        ("ada", "insert", "create_pet"),
    ]
    update = page["items"][1]
    assert (update["old"]["name"], update["new"]["name"]) == ("Rex", "King")
    assert "description" not in update["new"]
    assert all(item["request_id"] and item["client_address"] for item in page["items"])


async def test_events_are_narrowed(client: Client) -> None:
    """By entity, key, principal, action and time, alone and together."""
    everything = (await read(client))["items"]
    key, middle = everything[0]["key"], quote(everything[1]["at"])

    assert len((await read(client, f"?entity=Pet&key={key}"))["items"]) == 3
    assert told(await read(client, "?principal=bob")) == [("bob", "update", "update_pet")]
    assert (await read(client, "?action=insert&page=1"))["total"] == 2
    assert (await read(client, "?entity=Owner&page=1"))["total"] == 0
    assert told(await read(client, f"?since={middle}&key={key}"))[0] == ("ada", "delete", "delete_pet")
    assert ("bob", "update", "update_pet") not in told(await read(client, f"?until={middle}"))


async def test_pages_follow_each_other(client: Client) -> None:
    """Pages of the list hold each event once."""
    pages = [await read(client, f"?page={number}&page_size=3") for number in (1, 2, 3)]

    assert [len(page["items"]) for page in pages] == [3, 1, 0]
    assert len({item["id"] for page in pages for item in page["items"]}) == 4
    assert {page["total"] for page in pages} == {4}


@pytest.mark.parametrize(
    "query",
    ["since=yesterday", "since=2026-01-01T00:00:00", "until=0001-01-01T00:00:00%2B14:00", "who=ada", "page_size=101"],
)
async def test_wrong_queries_are_refused(client: Client, query: str) -> None:
    """A moment without an offset, or beyond the calendar, and unknown parameters are a 422."""
    assert (await client.get(f"/audit/?{query}", headers=authorization(client.app, roles=["admin"]))).status_code == 422


@pytest.mark.parametrize("query", ["key=%00", "entity=%F0%9F%90%B6", "since=0001-01-01T00:00:00Z", "key=" + "x" * 1000])
async def test_odd_queries_are_no_fault(client: Client, query: str) -> None:
    """Whatever is asked for, the database is asked for something that it understands."""
    assert (await client.get(f"/audit/?{query}", headers=authorization(client.app, roles=["admin"]))).status_code in {
        200,
        400,
        422,
    }


async def test_trail_cannot_be_written_over_http(client: Client) -> None:
    """There is one operation, and it reads."""
    answers = [await send("/audit/") for send in (client.post, client.put, client.patch, client.delete)]

    assert {answer.status_code for answer in answers} == {405}
    assert (await read(client, "?page=1"))["total"] == 4


async def test_the_trail_is_for_administrators(client: Client) -> None:
    """Nobody else reads who did what, not even those who did it."""
    user = authorization(client.app, subject="bob", roles=["user"])

    assert (await client.get("/audit/")).status_code == 401
    assert (await client.get("/audit/", headers=user)).status_code == 403


async def test_the_trail_is_read_by_cursor(client: Client) -> None:
    """Also while events are added: each is seen once."""
    seen, cursor = [], ""
    while cursor is not None:
        page = await read(client, f"?limit=3{cursor and '&cursor=' + cursor}")
        seen += [item["id"] for item in page["items"]]
        cursor = page["next_cursor"]

    assert len(seen) == len(set(seen)) == 4
