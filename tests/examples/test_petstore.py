"""The reference service, on the tables that its own migrations make."""

from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import pytest
from quart.typing import TestClientProtocol as Client

from examples.petstore.app import create_app
from ligand_async.context import service_of
from ligand_async.testing import authorization

ANY = {"If-Match": "*"}  # whatever state it is in
REX = {"name": "Rex", "description": "A good dog."}
NOWHERE = f"/pets/{UUID(int=1)}"
CALLERS: dict[str, dict[str, Any]] = {
    "anybody": {},
    "user": {"roles": ["user"]},
    "admin": {"roles": ["admin"]},
    "writer": {"scopes": ["pets:write"]},
}


@pytest.fixture
async def client(database_url: str) -> AsyncIterator[Client]:
    """A client of a petstore that migrated its empty database when it started."""
    app = create_app("testing", database_url=database_url, database_auto_upgrade=True)
    async with app.test_app():
        yield app.test_client()


@pytest.fixture
def keeper(client: Client) -> dict[str, str]:
    """The headers of somebody who may do everything."""
    return authorization(client.app, roles=["user", "admin"])


async def register(client: Client, keeper: dict[str, str], **pet: Any) -> dict[str, Any]:
    """Register a pet and return it."""
    response = await client.post("/pets/", json=REX | pet, headers=keeper)
    assert response.status_code == 201
    found: dict[str, Any] = await response.get_json()
    return found


async def test_life_of_a_pet(client: Client, keeper: dict[str, str]) -> None:
    """A pet is registered, listed, read, replaced, changed and deleted."""
    created = await client.post("/pets/", json=REX, headers=keeper)
    pet = await created.get_json()
    where = created.headers["Location"]

    assert where == f"/pets/{pet['id']}"
    assert UUID(pet["id"]).version == 7
    assert pet["created_at"].endswith("Z")
    assert await (await client.get("/pets/")).get_json() == {
        "items": [pet],
        "next_cursor": None,
        "total": None,
    }
    assert await (await client.get(where)).get_json() == pet

    replaced = await (await client.put(where, json={"name": "Max"}, headers=keeper | ANY)).get_json()
    assert (replaced["name"], replaced["description"]) == ("Max", "")
    assert replaced["created_at"] == pet["created_at"]

    changed = await (await client.patch(where, json={"description": "Loud."}, headers=keeper | ANY)).get_json()
    assert (changed["name"], changed["description"]) == ("Max", "Loud.")

    assert (await client.delete(where, headers=keeper | ANY)).status_code == 204
    assert (await client.get(where)).status_code == 404
    assert (await client.delete(where, headers=keeper | ANY)).status_code == 404


async def test_list_has_pages(client: Client, keeper: dict[str, str]) -> None:
    """Pages are of the size asked for, do not overlap, and know the total; the default is ten."""
    names = [f"pet {number:02}" for number in range(12)]
    for name in names:
        await register(client, keeper, name=name)

    first = await (await client.get("/pets/?page=1")).get_json()
    second = await (await client.get("/pets/?page=2")).get_json()
    past = await (await client.get("/pets/?page=3&page_size=10")).get_json()

    assert [pet["name"] for pet in first["items"] + second["items"]] == names
    assert (first["total"], second["total"], past) == (12, 12, {"items": [], "next_cursor": None, "total": 12})


@pytest.mark.parametrize(
    ("body", "status", "pointer"),
    [
        ({}, 422, "/name"),
        ({"name": ""}, 422, "/name"),
        ({"name": "x" * 256}, 422, "/name"),
        ({"name": "x", "description": "y" * 4097}, 422, "/description"),
        ({"name": "x", "colour": "red"}, 422, "/colour"),
        ({"name": "x", "description": "I hate cats"}, 400, None),
        ([], 422, ""),
    ],
)
async def test_wrong_pets_are_refused(
    client: Client, keeper: dict[str, str], body: Any, status: int, pointer: str | None
) -> None:
    """What is no pet is a problem that points at the mistake, and leaves nothing."""
    response = await client.post("/pets/", json=body, headers=keeper)
    problem = await response.get_json(force=True)

    assert (response.status_code, response.mimetype) == (status, "application/problem+json")
    assert [part["pointer"] for part in problem.get("errors", [])] == ([] if pointer is None else [pointer])
    assert (await (await client.get("/pets/?page=1")).get_json())["total"] == 0


async def test_limits_are_inclusive(client: Client, keeper: dict[str, str]) -> None:
    """The longest name and description are stored and come back whole."""
    pet = await register(client, keeper, name="ü" * 255, description="y" * 4096)

    assert (pet["name"], pet["description"]) == ("ü" * 255, "y" * 4096)


async def test_null_is_no_name(client: Client, keeper: dict[str, str]) -> None:
    """A patch cannot take a pet's name away."""
    pet = await register(client, keeper)
    response = await client.patch(f"/pets/{pet['id']}", json={"name": None}, headers=keeper)

    assert response.status_code == 422
    assert (await (await client.get(f"/pets/{pet['id']}")).get_json())["name"] == "Rex"


async def test_updated_at_moves(client: Client, keeper: dict[str, str]) -> None:
    """A change moves `updated_at` and leaves `created_at`."""
    pet = await register(client, keeper)
    changed = await (await client.patch(f"/pets/{pet['id']}", json={"name": "Max"}, headers=keeper | ANY)).get_json()

    assert changed["created_at"] == pet["created_at"]
    assert changed["updated_at"] >= pet["updated_at"]
    assert await (await client.get(f"/pets/{pet['id']}")).get_json() == changed


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", "/pets/", {"anybody", "user", "admin", "writer"}),
        ("GET", NOWHERE, {"anybody", "user", "admin", "writer"}),
        ("POST", "/pets/", {"user", "writer"}),
        ("PUT", NOWHERE, {"user"}),
        ("PATCH", NOWHERE, {"user"}),
        ("DELETE", NOWHERE, {"admin"}),
        ("GET", "/me", {"user", "admin", "writer"}),
    ],
)
@pytest.mark.ligand_database("sqlite")
async def test_who_may_do_what(client: Client, method: str, path: str, allowed: set[str]) -> None:
    """Each operation is for whom the table of operations says: others are refused before their body is read."""
    statuses = {}
    for name, caller in CALLERS.items():
        headers = authorization(client.app, **caller) if caller else {}
        send = getattr(client, method.lower())
        response = await send(path, headers={**headers, "Content-Type": "application/json"}, data=b"{")
        statuses[name] = response.status_code

    refused = {name for name, status in statuses.items() if status in {401, 403}}
    assert refused == set(CALLERS) - allowed, statuses
    assert all(status == (401 if name == "anybody" else 403) for name, status in statuses.items() if name in refused)


@pytest.mark.ligand_database("sqlite")
async def test_callers_are_told_who_they_are(client: Client) -> None:
    """`/me` answers with the caller's own subject, roles and scopes."""
    headers = authorization(client.app, subject="grace", roles=["user", "admin"], scopes=["pets:write"])
    response = await client.get("/me", headers=headers)

    assert await response.get_json() == {"subject": "grace", "roles": ["admin", "user"], "scopes": ["pets:write"]}


@pytest.mark.ligand_database("sqlite")
async def test_a_token_that_has_ended_opens_nothing(client: Client) -> None:
    """Not even what is open to anybody, since a bad token is a mistake that its sender should hear of."""
    headers = authorization(client.app, roles=["admin"], expires=-60)

    assert (await client.get("/me", headers=headers)).status_code == 401
    assert (await client.get("/pets/", headers=headers)).status_code == 401


def test_roles_are_those_of_the_settings() -> None:
    """A route of the petstore that required another role than user and admin would be a mistake."""
    assert service_of(create_app("testing")).settings.allowed_roles == ("user", "admin")


@pytest.mark.parametrize(("method", "status"), [("PUT", 200), ("PATCH", 200), ("DELETE", 204)])
async def test_only_who_has_seen_a_pet_changes_it(
    client: Client, keeper: dict[str, str], method: str, status: int
) -> None:
    """428 without a tag, 412 with one that is out of date, and done with the current one."""
    pet = await register(client, keeper)
    where = f"/pets/{pet['id']}"
    old = {"If-Match": (await client.get(where)).headers["ETag"]}
    changed = await client.patch(where, json={"name": "Max"}, headers=keeper | old)
    body = None if method == "DELETE" else {"name": "Tom"}

    async def change(headers: dict[str, str]) -> int:
        return (await client.open(where, method=method, json=body, headers=keeper | headers)).status_code

    assert [await change(headers) for headers in ({}, old, {"If-Match": changed.headers["ETag"]})] == [428, 412, status]


async def test_who_has_a_pet_or_a_list_reads_nothing(client: Client, keeper: dict[str, str]) -> None:
    """304 for the tag of either, until it changes."""
    pet = await register(client, keeper)
    for where, kind in ((f"/pets/{pet['id']}", '"'), ("/pets/", 'W/"')):
        tag = (await client.get(where)).headers["ETag"]
        assert tag.startswith(kind)
        assert (await client.get(where, headers={"If-None-Match": tag})).status_code == 304
        await client.patch(f"/pets/{pet['id']}", json={"name": f"Not {kind}"}, headers=keeper | ANY)
        assert (await client.get(where, headers={"If-None-Match": tag})).status_code == 200


async def test_a_pet_is_registered_once_for_each_key(client: Client, keeper: dict[str, str]) -> None:
    """The same request again has the same answer, and no second pet."""
    key = {"Idempotency-Key": '"rex-1"'}
    first, again = [await client.post("/pets/", json=REX, headers=keeper | key) for _ in range(2)]

    assert await first.get_json() == await again.get_json()
    assert (first.headers["ETag"], first.headers["Location"]) == (again.headers["ETag"], again.headers["Location"])
    assert (await client.post("/pets/", json=REX | {"name": "Max"}, headers=keeper | key)).status_code == 422
    assert len((await (await client.get("/pets/")).get_json())["items"]) == 1
