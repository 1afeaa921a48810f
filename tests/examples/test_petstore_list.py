"""The petstore's list, as flask-ligand's users know it and by cursor."""

import json
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import quote

import pytest
from quart.typing import TestClientProtocol as Client

from examples.petstore.app import create_app
from ligand_async.testing import authorization
from tests.web.things import linked

NAMES = ("Rex", "rexa", "Max", "100%", "Ännchen")


@pytest.fixture
async def client(database_url: str) -> AsyncIterator[Client]:
    """A client of a petstore with five pets, registered in this order."""
    app = create_app("testing", database_url=database_url, database_auto_upgrade=True)
    async with app.test_app():
        client, keeper = app.test_client(), authorization(app, roles=["user"])
        for name in NAMES:
            response = await client.post("/pets/", json={"name": name, "description": name.upper()}, headers=keeper)
            assert response.status_code == 201
        yield client


async def get(client: Client, query: str) -> Any:
    response = await client.get(f"/pets/?{query}")
    assert response.status_code == 200
    return await response.get_json()


async def names(client: Client, query: str) -> list[str]:
    return [pet["name"] for pet in (await get(client, query))["items"]]


async def test_pets_are_found(client: Client) -> None:
    """By name, description, a part of the name and the time of registration; oldest first, or as is asked."""
    times = [pet["created_at"] for pet in (await get(client, ""))["items"]]
    found = {
        "": list(NAMES),
        "name=Rex": ["Rex"],
        "name=rex": [],
        "description=MAX": ["Max"],
        "name_contains=REX": ["Rex", "rexa"],
        "name_contains=%25": ["100%"],
        f"created_after={quote(times[2])}": ["100%", "Ännchen"],
        "name_contains=e&sort=-created_at": ["Ännchen", "rexa", "Rex"],
        "sort=-created_at&limit=1": ["Ännchen"],
        "sort=name&name_contains=x": sorted(["Rex", "rexa", "Max"], key=str.lower),
    }

    by_name = found.pop("sort=name&name_contains=x")
    assert {query: await names(client, query) for query in found} == found
    assert sorted(await names(client, "sort=name&name_contains=x"), key=str.lower) == by_name


async def test_pets_come_page_by_page(client: Client) -> None:
    """By cursor without a total, by number with one and `X-Pagination`; `Link` leads through either."""
    for start, total in (("limit=2&sort=-name", None), ("page=1&page_size=2&sort=-name", 5)):
        path, found = f"/pets/?{start}", list[str]()
        while path:
            response = await client.get(path)
            page = await response.get_json()
            assert (page["total"], "X-Pagination" in response.headers) == (total, total is not None)
            found += [pet["name"] for pet in page["items"]]
            path = linked(response.headers).get("next", "")
        assert found == await names(client, "sort=-name")

    assert json.loads((await client.get("/pets/?page=2&page_size=2")).headers["X-Pagination"]) == {
        "total": 5,
        "total_pages": 3,
        "first_page": 1,
        "last_page": 3,
        "page": 2,
        "previous_page": 1,
        "next_page": 3,
    }


@pytest.mark.ligand_database("sqlite")
@pytest.mark.parametrize(
    ("query", "parameter"),
    [
        ("colour=red", "colour"),
        ("sort=description", "sort"),
        ("created_after=yesterday", "created_after"),
        ("created_after=2026-01-01T00:00:00", "created_after"),
        ("page=0", "page"),
        ("page_size=101", "page_size"),
        ("limit=101", "limit"),
        ("cursor=forged", "cursor"),
        (f"name={'x' * 256}", "name"),
    ],
)
async def test_what_a_list_does_not_know_is_422(client: Client, query: str, parameter: str) -> None:
    """With the parameter's name."""
    response = await client.get(f"/pets/?{query}")

    assert response.status_code == 422
    assert [part["parameter"] for part in (await response.get_json())["errors"]] == [parameter]
