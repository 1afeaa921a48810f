"""Bodies of patches, as a client sends them."""

from typing import Any
from uuid import UUID

import pytest
from quart.typing import TestClientProtocol as Client
from sqlalchemy.ext.asyncio import AsyncSession

from ligand_async import CreateSchema, PatchSchema, ReadSchema, get_or_404, operation
from tests.shop import Item, make_app, routes, running


class ItemRead(ReadSchema, model=Item): ...


class ItemCreate(CreateSchema, model=Item): ...


class ItemPatch(PatchSchema, model=Item): ...


@operation(status=201)
async def create(data: ItemCreate, session: AsyncSession) -> ItemRead:
    item = Item(**data.model_dump())
    session.add(item)
    await session.flush()
    return ItemRead.model_validate(item)


@operation
async def replace(item_id: UUID, data: ItemCreate, session: AsyncSession) -> ItemRead:
    item = await get_or_404(session, Item, item_id)
    data.replace(item)
    await session.flush()
    return ItemRead.model_validate(item)


@operation
async def update(item_id: UUID, data: ItemPatch, session: AsyncSession) -> ItemRead:
    item = await get_or_404(session, Item, item_id)
    data.apply(item)
    await session.flush()
    return ItemRead.model_validate(item)


@operation
async def echo(data: ItemPatch | None) -> ItemPatch:
    return data or ItemPatch()


VIEWS = routes(
    ("POST", "/items", create),
    ("PUT", "/items/<uuid:item_id>", replace),
    ("PATCH", "/items/<uuid:item_id>", update),
    ("PATCH", "/echo", echo),
)


async def send(client: Client, method: str, path: str, body: str, kind: str = "application/json") -> tuple[int, Any]:
    response = await getattr(client, method.lower())(path, data=body, headers={"Content-Type": kind})
    return response.status_code, await response.get_json(force=True)


async def test_a_row_is_made_changed_and_replaced(database_url: str) -> None:
    """Create, patch and replace with derived schemas alone: defaults, absent fields and nulls mean what they say."""
    async with running(make_app(database_url, VIEWS)) as client:
        status, item = await send(client, "POST", "/items", '{"name": "cup"}')
        where = f"/items/{item['id']}"
        _, priced = await send(client, "PATCH", where, '{"price": 3}', "application/merge-patch+json; charset=utf-8")
        _, renamed = await send(client, "PATCH", where, '{"name": "pot"}')
        _, replaced = await send(client, "PUT", where, '{"name": "jug"}')

    assert (status, item["price"], item["shelf_id"], item["version"]) == (201, 0, None, 1)
    assert (priced["name"], priced["price"]) == ("cup", 3)
    assert (renamed["name"], renamed["price"], renamed["version"]) == ("pot", 3, 3)
    assert (replaced["name"], replaced["price"], replaced["id"]) == ("jug", 0, item["id"])


@pytest.mark.parametrize(
    ("body", "pointer", "code"),
    [
        ('{"name": null}', "/name", "string_type"),
        (f'{{"name": "{"x" * 51}"}}', "/name", "string_too_long"),
        ('{"price": 2147483648}', "/price", "less_than_equal"),
        ('{"shelf_id": "x"}', "/shelf_id", "uuid_parsing"),
        ('{"version": 1}', "/version", "extra_forbidden"),
    ],
)
async def test_what_the_column_refuses_is_a_422(sqlite_url: str, body: str, pointer: str, code: str) -> None:
    """A patch that its column could not hold is refused with the place and what is wrong."""
    async with running(make_app(sqlite_url, VIEWS), tables=False) as client:
        status, problem = await send(client, "PATCH", "/echo", body)

    assert (status, [(part["pointer"], part["code"]) for part in problem["errors"]]) == (422, [(pointer, code)])


async def test_other_types_are_refused_with_the_right_ones(sqlite_url: str) -> None:
    """A patch of another media type is a 415 that names both in `Accept-Patch` (RFC 5789); a create is JSON only."""
    async with running(make_app(sqlite_url, VIEWS), tables=False) as client:
        wrong = await client.patch("/echo", data="[]", headers={"Content-Type": "application/json-patch+json"})
        created, _ = await send(client, "POST", "/items", '{"name": "x"}', "application/merge-patch+json")

    assert wrong.status_code == created == 415
    assert wrong.headers["Accept-Patch"] == "application/merge-patch+json, application/json"


async def test_a_patch_can_be_an_answer(sqlite_url: str) -> None:
    """What is absent from a patch is absent from its answer."""
    async with running(make_app(sqlite_url, VIEWS), tables=False) as client:
        assert await send(client, "PATCH", "/echo", '{"price": 3}') == (200, {"price": 3})


async def test_both_types_are_documented(sqlite_url: str) -> None:
    """The document names both media types with one schema, requires nothing and shows no `MISSING`."""
    async with running(make_app(sqlite_url, VIEWS), tables=False) as client:
        document = await (await client.get("/openapi.json")).get_json()

    content = document["paths"]["/items/{item_id}"]["patch"]["requestBody"]["content"]
    schemas = document["components"]["schemas"]
    reference = {"schema": {"$ref": "#/components/schemas/ItemPatch"}}
    assert content == {"application/merge-patch+json": reference, "application/json": reference}
    assert {name for name in schemas if name.startswith("Item")} == {"ItemCreate", "ItemPatch", "ItemRead"}
    assert "required" not in schemas["ItemPatch"]
    assert schemas["ItemCreate"]["required"] == ["name"]
    assert schemas["ItemPatch"]["additionalProperties"] is False
    assert "MISSING" not in str(document)
