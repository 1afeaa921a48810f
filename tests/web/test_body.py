"""JSON bodies: strict, read once, and never echoed; bodies of patches."""

import json
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Any, Literal
from uuid import UUID

import pytest
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, field_validator
from quart import Request
from quart.typing import TestClientProtocol as Client
from sqlalchemy.ext.asyncio import AsyncSession

from ligand_async import CreateSchema, PatchSchema, ReadSchema, get_or_404, operation
from tests.services import Item, app_of, ask, make_app, post_json, routes, running, send

JSON = {"Content-Type": "application/json"}


class Colour(StrEnum):
    RED = "red"


class Maker(BaseModel):
    name: str


class Cat(BaseModel):
    kind: Literal["cat"]


class Dog(BaseModel):
    kind: Literal["dog"]


class Toy(BaseModel):
    """One of everything that a body may hold."""

    name: Annotated[str, Field(min_length=1)]
    price: int = 0
    weight: float | None = None
    id: UUID | None = None
    made_at: datetime | None = None
    cost: Decimal | None = None
    colour: Colour | None = None
    soft: bool = False
    makers: list[Maker] = []
    owner_name: Annotated[str | None, Field(alias="ownerName")] = None
    pet: Annotated[Cat | Dog, Field(discriminator="kind")] | None = None
    extra: dict[str, Any] = {}

    @field_validator("name")
    @classmethod
    def no_swearing(cls, name: str) -> str:
        if name == "swearword":
            raise ValueError(f"{name} is a bad word")
        return name


@operation
async def keep(data: Toy) -> Toy:
    return data


async def test_strict_json_takes_what_json_has_no_type_for() -> None:
    """UUIDs, times, decimals and enums are strings in JSON, and are read strictly."""
    sent = {
        "name": "ball",
        "id": "8d3bb5e4-6a3e-4a0b-8f0e-0c8f3d1d5a55",
        "made_at": "2024-01-02T03:04:05Z",
        "cost": "1.50",
        "colour": "red",
        "weight": 2,
        "ownerName": "Ann",
    }

    answer = await post_json(keep, json.dumps(sent))

    assert answer.status == 200
    assert answer.json | sent == answer.json | {"weight": 2.0}


@pytest.mark.parametrize(
    ("raw", "errors"),
    [
        ('{"name": "ball", "price": "5"}', [("/price", "int_type")]),
        ('{"name": "ball", "price": true}', [("/price", "int_type")]),
        ('{"name": "ball", "price": 1.0}', [("/price", "int_type")]),
        ('{"name": "ball", "soft": 1}', [("/soft", "bool_type")]),
        ('{"name": 5}', [("/name", "string_type")]),
        ('{"name": ""}', [("/name", "string_too_short")]),
        ("{}", [("/name", "missing")]),
        ("null", [("", "model_type")]),
        ("[]", [("", "model_type")]),
        ('"ball"', [("", "model_type")]),
        ('{"name": "ball", "colour": "blue"}', [("/colour", "enum")]),
        ('{"name": "ball", "made_at": 0}', [("/made_at", "datetime_type")]),
        ('{"name": "ball", "id": "x"}', [("/id", "uuid_parsing")]),
        ('{"name": "ball", "ownerName": 5}', [("/ownerName", "string_type")]),
        ('{"name": "ball", "makers": [{"name": "a"}, {}]}', [("/makers/1/name", "missing")]),
        ('{"name": "ball", "a/b~c": 1}', [("/a~1b~0c", "extra_forbidden")]),
        ('{"name": "ball", "makers": [{"name": "a", "age": 1}]}', [("/makers/0/age", "extra_forbidden")]),
        ('{"price": "5", "soft": "x"}', [("/name", "missing"), ("/price", "int_type"), ("/soft", "bool_type")]),
    ],
)
async def test_what_the_schema_refuses_is_422(raw: str, errors: list[tuple[str, str]]) -> None:
    """Each part that does not fit is named by a JSON pointer and a code."""
    answer = await post_json(keep, raw)

    assert (answer.status, sorted(answer.errors)) == (422, sorted(errors))


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b" ",
        b"{",
        b'{"name": "a",}',
        b"{'name': 'a'}",
        b'{"name": "a"} {}',
        b'{"name": NaN}',
        b'{"name": "a", "weight": NaN}',
        b'{"name": "a", "weight": Infinity}',
        b'{"name": "a", "weight": -Infinity}',
        b'{"name": "a", "price": 01}',
        b'{"name": "\xff"}',
        '{"name": "a"}'.encode("utf-16"),
        b'{"name": "\\ud800"}',
        b'{"name": "a\x00b"}',
        b'{"name": "a", "name": "b"}',
        b'{"name": "a", "makers": [{"name": "a", "name": "b"}]}',
        b'{"extra": ' + b"[" * 5_000 + b"]" * 5_000 + b"}",
        b'{"extra": ' + b'{"a":' * 100_000 + b"1" + b"}" * 100_000 + b"}",
        b'{"name": "a", "price": ' + b"9" * 5_000 + b"}",
    ],
    ids=range(20),
)
async def test_what_is_no_json_is_400(raw: bytes) -> None:
    """Malformed, ambiguous or too deep: two parsers would not agree about it."""
    answer = await post_json(keep, raw)

    assert (answer.status, answer.headers["Content-Type"]) == (400, "application/problem+json")


@pytest.mark.parametrize(
    "number",
    ["1e999", "-1e999", "1" + "0" * 298 + "e99", "9" * 309, "-" + "9" * 400, "1E+0400", "1e309"],
)
@pytest.mark.parametrize("field", ["weight", "extra"])
async def test_a_number_beyond_a_double_is_422(number: str, field: str) -> None:
    """However it is written, and in free-form members too: nobody could send it back."""
    raw = (
        f'{{"name": "a", "weight": {number}}}'
        if field == "weight"
        else f'{{"name": "a", "extra": {{"x": [{number}]}}}}'
    )

    answer = await post_json(keep, raw)

    assert answer.status == 422
    assert answer.errors == [("/weight" if field == "weight" else "/extra/x/0", "finite_number")]


async def test_large_numbers_that_a_double_holds_pass() -> None:
    """Long digits and large exponents are fine as long as they are finite."""
    answer = await post_json(keep, f'{{"name": "a", "weight": 1e308, "price": {"9" * 300}}}')

    assert answer.json["price"] == int("9" * 300)


@pytest.mark.parametrize(
    "content_type", [None, "text/plain", "application/x-www-form-urlencoded", "application/xml", "application/jsonx"]
)
async def test_another_media_type_is_415(content_type: str | None) -> None:
    """The answer says what would have been accepted."""
    answer = await post_json(keep, '{"name": "a"}', content_type)

    assert (answer.status, answer.json["detail"]) == (415, "the body must be sent as application/json")


@pytest.mark.parametrize("content_type", ["application/json; charset=utf-8", "Application/JSON"])
async def test_parameters_of_the_media_type_do_not_matter(content_type: str) -> None:
    """RFC 9110 section 8.3.1: the type is compared without case and parameters."""
    assert (await post_json(keep, '{"name": "a"}', content_type)).status == 200


@pytest.mark.parametrize("coding", ["gzip", "br", "identity, gzip"])
async def test_a_compressed_body_is_415(coding: str) -> None:
    """With Accept-Encoding, as RFC 9110 section 15.5.16 asks."""
    answer = await post_json(keep, b"\x1f\x8b", **{"Content-Encoding": coding})

    assert (answer.status, answer.headers["Accept-Encoding"]) == (415, "identity")


async def test_identity_is_no_compression() -> None:
    """`identity` says nothing was done, in any case."""
    assert (await post_json(keep, '{"name": "a"}', **{"Content-Encoding": "Identity"})).status == 200


async def test_a_body_over_the_limit_is_413() -> None:
    """The limit is a setting; the default is a mebibyte."""
    app = app_of(("POST", "/", keep), settings={"max_body_bytes": 100})

    answer = await send(app, "POST", "/", json={"name": "a" * 200})

    assert (answer.status, answer.headers["Content-Type"]) == (413, "application/problem+json")


@pytest.mark.parametrize(
    "sent",
    [
        {"name": "s3cret-value", "price": "s3cret-value"},
        {"name": "s3cret-value", "pet": {"kind": "s3cret-value"}},
        {"name": "a", "id": "s3cret-value"},
        {"name": "a", "colour": "s3cret-value"},
        {"name": "a", "made_at": "s3cret-value"},
        {"name": "a", "cost": "s3cret-value"},
        {"name": ["s3cret-value"]},
    ],
)
async def test_a_refusal_never_holds_the_value(sent: dict[str, Any]) -> None:
    """Neither in the detail nor in the errors."""
    answer = await post_json(keep, json.dumps(sent))

    assert answer.status == 422
    assert b"s3cret" not in answer.raw


async def test_a_validator_of_the_service_cannot_give_the_value_away() -> None:
    """A message that holds the value is replaced; the code still says who refused."""
    answer = await post_json(keep, '{"name": "swearword"}')

    assert answer.json["errors"] == [{"detail": "Input is not valid", "pointer": "/name", "code": "value_error"}]


async def test_malformed_json_says_where_but_not_what() -> None:
    """A position helps, a key that was sent is not repeated."""
    answer = await post_json(keep, '{"s3cret": 1, "s3cret": 2}')

    assert answer.json["detail"] == "the body has a duplicate key at line 1 column 24"


async def test_at_most_a_hundred_errors() -> None:
    """A body that is wrong everywhere is not answered by a longer one."""
    answer = await post_json(keep, json.dumps({"name": "a", "makers": [{}] * 500}))

    assert len(answer.json["errors"]) == 100


async def test_a_model_that_configures_unknown_keys_is_obeyed() -> None:
    """Each model decides for itself, whatever it is within."""

    class Open(BaseModel):
        model_config = ConfigDict(extra="allow")
        inner: Maker | None = None

    class Closed(BaseModel):
        open: Open

    @operation
    async def handler(data: Closed) -> dict[str, Any]:
        return data.model_dump()

    kept = await post_json(handler, '{"open": {"more": 1}}')
    refused = await post_json(handler, '{"open": {"inner": {"name": "a", "more": 1}}}')

    assert kept.json == {"open": {"inner": None, "more": 1}}
    assert refused.errors == [("/open/inner/more", "extra_forbidden")]


async def test_bodies_without_a_model() -> None:
    """Lists, mappings, dataclasses and unions are bodies too."""

    @dataclass
    class Point:
        x: int

    @operation
    async def points(data: list[Point]) -> int:
        return sum(point.x for point in data)

    @operation
    async def either(data: Cat | Dog) -> str:
        return data.kind

    assert (await post_json(points, '[{"x": 1}, {"x": 2}]')).json == 3
    assert (await post_json(points, '[{"x": 1, "y": 2}]')).status == 422
    assert (await post_json(either, '{"kind": "dog"}')).json == "dog"


@operation
async def perhaps(data: Toy | None) -> str:
    return "nothing" if data is None else data.name


@operation
async def by_default(data: Toy = Toy(name="default")) -> str:  # noqa: B008  (read only)
    return data.name


@pytest.mark.parametrize(
    ("view", "raw", "expected"),
    [
        (perhaps, b"", "nothing"),
        (perhaps, b"null", "nothing"),
        (perhaps, b'{"name": "a"}', "a"),
        (by_default, b"", "default"),
        (by_default, b'{"name": "a"}', "a"),
    ],
)
async def test_an_optional_body_may_be_absent(view: Any, raw: bytes, expected: str) -> None:
    """`data: X | None` and a default let a request have no body at all."""
    content_type = "application/json" if raw else None

    assert (await post_json(view, raw, content_type)).json == expected


async def test_an_optional_body_is_as_strict_when_it_is_there() -> None:
    """Optional is not lax."""
    assert (await post_json(perhaps, b"{}")).status == 422
    assert (await post_json(perhaps, b'{"name": "a"}', "text/plain")).status == 415


@pytest.mark.ligand_conformance("off", reason="the document is built of what this test forbids to build")
async def test_nothing_is_built_per_request(monkeypatch: pytest.MonkeyPatch) -> None:
    """A hundred requests make no adapter, no validator and no model: all of them are made at decoration."""
    made: list[str] = []
    app = app_of(("POST", "/", keep))
    async with app.test_app():
        monkeypatch.setattr(TypeAdapter, "__init__", lambda *_, **__: made.append("adapter"))
        monkeypatch.setattr(type(BaseModel), "__new__", lambda *_, **__: made.append("model"))
        for _ in range(100):
            assert (await app.test_client().post("/", data=b'{"name": "a"}', headers=JSON)).status_code == 200

    assert made == []


async def test_bytes_become_a_model_without_python_objects_between(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither Quart's JSON nor a dictionary of the model is on the way of a body or of an answer."""
    app = app_of(("POST", "/", keep))
    used: list[str] = []

    async with app.test_app():
        for owner, name in ((app.json, "loads"), (app.json, "dumps"), (BaseModel, "model_dump"), (Request, "get_json")):
            monkeypatch.setattr(owner, name, lambda *_, name=name, **__: used.append(name))
        response = await app.test_client().post(
            "/", data=b'{"name": "a"}', headers={"Content-Type": "application/json"}
        )

    assert (response.status_code, used) == (200, [])


async def test_an_operation_without_data_ignores_the_body() -> None:
    """A body that nobody asked for is not read."""

    @operation
    async def handler() -> int:
        return 1

    assert (await ask(handler, method="POST", data=b"{", headers={"Content-Type": "application/json"})).json == 1


async def test_a_pointer_is_one() -> None:
    """It leads into the document that was sent: what pydantic calls the members of a union is no part of it."""

    @operation
    async def either(data: list[Cat | Dog] | dict[str, int]) -> int:
        return len(data)

    members = await post_json(either, '[{"kind": "dog"}, {}]')
    mapping = await post_json(either, '{"a": 1, "b": "x"}')

    assert {pointer for pointer, _ in members.errors} == {"/1/kind", ""}
    assert {pointer for pointer, _ in mapping.errors} == {"/b", ""}


@pytest.mark.parametrize("words", ["SWEARWORD", " swearword ", ["swearword"]])
async def test_a_validator_cannot_give_a_piece_away(words: Any) -> None:
    """Nor the value in another case, nor a part of it."""

    class Strict(BaseModel):
        words: Any

        @field_validator("words")
        @classmethod
        def refuse(cls, words: Any) -> Any:
            text = words[0] if isinstance(words, list) else words
            raise ValueError(f"{text.strip().lower()} is a bad word")

    @operation
    async def handler(data: Strict) -> None:
        return None

    answer = await post_json(handler, json.dumps({"words": words}))

    assert answer.json["errors"][0]["detail"] == "Input is not valid"


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


async def send_raw(
    client: Client, method: str, path: str, body: str, kind: str = "application/json"
) -> tuple[int, Any]:
    response = await getattr(client, method.lower())(path, data=body, headers={"Content-Type": kind})
    return response.status_code, await response.get_json(force=True)


async def test_a_row_is_made_changed_and_replaced(database_url: str) -> None:
    """Create, patch and replace with derived schemas alone: defaults, absent fields and nulls mean what they say."""
    async with running(make_app(database_url, VIEWS)) as client:
        status, item = await send_raw(client, "POST", "/items", '{"name": "cup"}')
        where = f"/items/{item['id']}"
        _, priced = await send_raw(
            client, "PATCH", where, '{"price": 3}', "application/merge-patch+json; charset=utf-8"
        )
        _, renamed = await send_raw(client, "PATCH", where, '{"name": "pot"}')
        _, replaced = await send_raw(client, "PUT", where, '{"name": "jug"}')

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
        status, problem = await send_raw(client, "PATCH", "/echo", body)

    assert (status, [(part["pointer"], part["code"]) for part in problem["errors"]]) == (422, [(pointer, code)])


async def test_other_types_are_refused_with_the_right_ones(sqlite_url: str) -> None:
    """A patch of another media type is a 415 that names both in `Accept-Patch` (RFC 5789); a create is JSON only."""
    async with running(make_app(sqlite_url, VIEWS), tables=False) as client:
        wrong = await client.patch("/echo", data="[]", headers={"Content-Type": "application/json-patch+json"})
        created, _ = await send_raw(client, "POST", "/items", '{"name": "x"}', "application/merge-patch+json")

    assert wrong.status_code == created == 415
    assert wrong.headers["Accept-Patch"] == "application/merge-patch+json, application/json"


async def test_a_patch_can_be_an_answer(sqlite_url: str) -> None:
    """What is absent from a patch is absent from its answer."""
    async with running(make_app(sqlite_url, VIEWS), tables=False) as client:
        assert await send_raw(client, "PATCH", "/echo", '{"price": 3}') == (200, {"price": 3})


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
