"""Bodies that are taken as they are sent, and the limits of single operations."""

import asyncio
from collections.abc import AsyncIterator
from typing import Annotated, Any

import pytest
from pydantic import BaseModel, ConfigDict, Field
from quart import Blueprint, Quart
from quart.typing import TestClientProtocol as Client
from quart.views import MethodView
from typing_extensions import TypedDict

from ligand_async import operation, public
from ligand_async.web import Body, OperationError, request_limits
from tests.services import app_of, ask, post_json, running

MEGABYTE = 1024 * 1024
BYTES = {"Content-Type": "application/octet-stream"}


class Item(BaseModel):
    """A body."""

    number: int


class Lenient(BaseModel):
    """A body that lifts strictness for one field."""

    number: Annotated[int, Field(strict=False)]
    other: int = 0


class LenientModel(BaseModel):
    """A body that lifts strictness for all fields, not for those of models in it."""

    model_config = ConfigDict(strict=False)

    number: int
    item: Item | None = None


class Inner(TypedDict):
    """A closed dictionary."""

    number: int


class Outer(TypedDict):
    """One that holds others."""

    inner: Inner
    items: list[Inner]


@operation
async def count_bytes(raw: Annotated[bytes, Body("application/octet-stream", "image/*")]) -> int:
    return len(raw)


@operation
async def take_text(text: Annotated[str, Body("text/plain"), Field(max_length=3)]) -> str:
    return text


@operation
async def take_vendor(item: Annotated[Item, Body("application/vnd.item+json")]) -> int:
    return item.number


@operation
async def count_chunks(chunks: Annotated[AsyncIterator[bytes], Body("application/octet-stream")]) -> dict[str, int]:
    sizes = [len(chunk) async for chunk in chunks]
    return {"bytes": sum(sizes), "largest": max(sizes, default=0)}


@pytest.mark.parametrize(
    ("view", "media_type", "body", "status"),
    [
        (count_bytes, "application/octet-stream", b"\x00\xff", 200),
        (count_bytes, "image/png", b"\x00", 200),
        (count_bytes, "text/plain", b"x", 415),
        (count_bytes, "", b"x", 415),
        (take_text, "text/plain; charset=utf-8", "äöü".encode(), 200),
        (take_text, "text/plain", b"four", 422),
        (take_text, "text/plain", b"\xff", 400),
        (take_text, "text/plain", b"\x00", 422),
        (take_vendor, "application/vnd.item+json", b'{"number": 1}', 200),
        (take_vendor, "application/json", b'{"number": 1}', 415),
        (take_vendor, "application/vnd.item+json", b'{"number": "1"}', 422),
        (count_chunks, "application/octet-stream", b"abc", 200),
        (count_chunks, "text/plain", b"abc", 415),
    ],
)
async def test_a_body_may_have_other_media_types(view: Any, media_type: str, body: bytes, status: int) -> None:
    """Bytes and chunks come as they are, text is UTF-8, and vendor types of JSON are as strict as JSON."""
    assert (await post_json(view, body, media_type)).status == status


async def test_a_compressed_body_is_refused() -> None:
    """Bytes are those of the document, never those of an encoding that nobody asked for."""
    answers = [
        await ask(view, method="POST", data=b"x", headers=BYTES | {"Content-Encoding": "gzip"})
        for view in (count_bytes, count_chunks)
    ]

    assert [answer.status for answer in answers] == [415, 415]


async def test_raw_bodies_are_documented() -> None:
    """By their media types."""
    app = app_of(("POST", "/bytes", count_bytes), ("POST", "/text", take_text), ("POST", "/vendor", take_vendor))
    async with running(app, tables=False) as client:
        paths = (await (await client.get("/openapi.json")).get_json())["paths"]
    content = {path: item["post"]["requestBody"]["content"] for path, item in paths.items()}

    binary = {"schema": {"type": "string", "format": "binary"}}
    assert content["/bytes"] == {"application/octet-stream": binary, "image/*": binary}
    assert content["/text"] == {"text/plain": {"schema": {"type": "string"}}}
    assert content["/vendor"] == {"application/vnd.item+json": {"schema": {"$ref": "#/components/schemas/Item"}}}


@pytest.mark.parametrize("media_type", ["octet-stream", "text/plain; charset=utf-8", ""])
def test_a_media_type_is_written_without_parameters(media_type: str) -> None:
    """What cannot match any request is refused."""
    with pytest.raises(ValueError, match="media types without parameters"):
        Body(media_type)


@operation
async def take_lenient(data: Lenient) -> list[int]:
    return [data.number, data.other]


@operation
async def take_lenient_model(data: LenientModel) -> int:
    return data.number


@operation
async def take_outer(data: Outer) -> int:
    return len(data["items"])


@pytest.mark.parametrize(
    ("view", "body", "errors"),
    [
        (take_lenient, '{"number": "1"}', []),
        (take_lenient, '{"number": "1", "other": "2"}', [("/other", "int_type")]),
        (take_lenient_model, '{"number": "1"}', []),
        (take_lenient_model, '{"number": "1", "item": {"number": "1"}}', [("/item/number", "int_type")]),
        (take_lenient_model, '{"number": "1", "more": 1}', [("/more", "extra_forbidden")]),
        (take_outer, '{"inner": {"number": 1}, "items": [{"number": 1}]}', []),
        (take_outer, '{"inner": {"number": 1}, "items": [], "x": 1}', [("/x", "extra_forbidden")]),
        (take_outer, '{"inner": {"number": 1, "x": 1}, "items": []}', [("/inner/x", "extra_forbidden")]),
        (take_outer, '{"inner": {"number": 1}, "items": [{"number": 1, "x": 1}]}', [("/items/0/x", "extra_forbidden")]),
    ],
)
async def test_strictness_and_closedness(view: Any, body: str, errors: list[tuple[str, str]]) -> None:
    """pydantic's `strict=False` lifts strictness where it stands; typed dictionaries are closed like models."""
    answer = await post_json(view, body)

    assert (answer.status, answer.errors if errors else []) == (422 if errors else 200, errors)


@request_limits(max_body_bytes=3 * MEGABYTE)
@operation
async def take_more(raw: Annotated[bytes, Body("application/octet-stream")]) -> int:
    return len(raw)


@operation
@request_limits(max_body_bytes=10)
async def take_less(raw: Annotated[bytes, Body("application/octet-stream")]) -> int:
    return len(raw)


@operation
@request_limits(max_body_bytes=3 * MEGABYTE)
async def take_chunks(chunks: Annotated[AsyncIterator[bytes], Body("application/octet-stream")]) -> dict[str, int]:
    sizes = []
    async for chunk in chunks:
        sizes.append(len(chunk))
        await asyncio.sleep(0)
    return {"bytes": sum(sizes), "largest": max(sizes, default=0)}


def make_uploads() -> Quart:
    """Make an app with operations of different limits, and one of the setting's: a megabyte."""
    return app_of(
        ("POST", "/more", take_more),
        ("POST", "/less", take_less),
        ("POST", "/chunks", take_chunks),
        ("POST", "/setting", count_bytes),
    )


async def send_in_parts(client: Client, path: str, size: int) -> Any:
    """Send a body without a length, in parts of 1000 bytes."""
    connection = client.request(path, method="POST", headers=BYTES)
    async with connection:
        for sent in range(0, size, 1000):
            await connection.send(b"x" * min(1000, size - sent))
            if sent % 16_000 == 0:
                await asyncio.sleep(0)
        await connection.send_complete()
    return await connection.as_response()


SIZES = [
    ("/more", 2 * MEGABYTE, 200),
    ("/more", 4 * MEGABYTE, 413),
    ("/less", 10, 200),
    ("/less", 11, 413),
    ("/chunks", 2 * MEGABYTE, 200),
    ("/chunks", 4 * MEGABYTE, 413),
    ("/setting", MEGABYTE, 200),
    ("/setting", 2 * MEGABYTE, 413),
    ("/nowhere", 2 * MEGABYTE, 404),
]


@pytest.mark.parametrize(("path", "size", "status"), SIZES)
async def test_a_route_has_its_own_largest_body(path: str, size: int, status: int) -> None:
    """Larger or smaller than the setting; other routes keep to that."""
    async with running(make_uploads(), tables=False) as client:
        whole = await client.post(path, data=b"x" * size, headers=BYTES | {"Content-Length": str(size)})
        parts = await send_in_parts(client, path, size)

    assert (whole.status_code, parts.status_code) == (status, status)


async def test_chunks_do_not_gather_in_memory() -> None:
    """The server reads no more while the handler has 64 KiB to read."""
    async with running(make_uploads(), tables=False) as client:
        found = await (await send_in_parts(client, "/chunks", 2 * MEGABYTE)).get_json()

    assert found["bytes"] == 2 * MEGABYTE
    assert found["largest"] <= MEGABYTE + 1000  # before the handler ran, the setting held; the rest came in turn


@operation
@request_limits(timeout=0.05)
async def sleep_too_long() -> None:
    await asyncio.sleep(5)


@operation
async def sleep_a_little() -> None:
    await asyncio.sleep(0.2)


async def test_a_route_has_its_own_time() -> None:
    """Shorter than the setting, or longer; other routes keep to that."""
    longer = request_limits(timeout=5)(operation(sleep_a_little.__wrapped__))  # type: ignore[attr-defined]  # by wraps
    app = app_of(("GET", "/short", sleep_too_long), ("GET", "/long", longer), settings={"request_timeout": 0.1})
    app.add_url_rule("/setting", "setting", public(sleep_a_little))
    async with running(app, tables=False) as client:
        statuses = [(await client.get(path)).status_code for path in ("/short", "/long", "/setting")]

    assert statuses == [504, 204, 504]


async def test_the_nearest_limits_decide() -> None:
    """Those of a method before those of its class, and those before the blueprint's."""

    @request_limits(max_body_bytes=20)
    class Notes(MethodView):
        @request_limits(max_body_bytes=5)
        @operation
        async def put(self, text: Annotated[str, Body("text/plain")]) -> int:
            return len(text)

        @operation
        async def post(self, text: Annotated[str, Body("text/plain")]) -> int:
            return len(text)

    notes = request_limits(max_body_bytes=30)(public(Blueprint("notes", __name__)))
    notes.add_url_rule("/notes", view_func=Notes.as_view("notes"))

    @notes.post("/others")
    @operation
    async def others(text: Annotated[str, Body("text/plain")]) -> int:
        return len(text)

    app = app_of()
    app.register_blueprint(notes)
    async with running(app, tables=False) as client:
        text = {"Content-Type": "text/plain"}
        sent = []
        for send, path, sizes in (
            (client.put, "/notes", (5, 6)),
            (client.post, "/notes", (20, 21)),
            (client.post, "/others", (30, 31)),
        ):
            sent += [(await send(path, data="x" * size, headers=text)).status_code for size in sizes]

    assert sent == [200, 413] * 3


async def test_limits_are_documented() -> None:
    """In words, and by the status of a body that is too large."""
    async with running(make_uploads(), tables=False) as client:
        described = (await (await client.get("/openapi.json")).get_json())["paths"]["/less"]["post"]

    assert described["description"] == "The body may have 10 bytes."
    assert "413" in described["responses"]


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({}, TypeError),
        ({"max_bytes": 5}, TypeError),
        ({"max_body_bytes": 0}, ValueError),
        ({"max_body_bytes": 1.5}, ValueError),
        ({"max_body_bytes": True}, ValueError),
        ({"timeout": 0}, ValueError),
        ({"timeout": float("inf")}, ValueError),
    ],
)
def test_limits_that_mean_nothing_are_refused(options: dict[str, Any], error: type[Exception]) -> None:
    """At import, like unknown options."""
    with pytest.raises(error):
        request_limits(**options)


def test_two_limits_are_refused() -> None:
    """Also if one stands above `@operation` and the other below."""

    @operation
    @request_limits(timeout=1)
    async def handler() -> None: ...

    with pytest.raises(TypeError, match="handler has two @request_limits; join them in one"):
        request_limits(max_body_bytes=1)(handler)


async def test_limits_of_a_websocket_are_refused() -> None:
    """It has no body and no end."""
    app = app_of()

    @app.websocket("/ws")
    @request_limits(timeout=1)
    async def socket() -> None: ...

    with pytest.raises(OperationError, match="a websocket, which has no body and no end"):
        await app.startup()
