"""Calling another service: what it is sent, and how its answers are read."""

from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from pydantic import BaseModel

from ligand_async.errors import BadGateway
from ligand_async.upstream import ServiceClient, read_model
from tests.auth.upstream import Reply, Upstream, raw


class Item(BaseModel):
    name: str
    price: int


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    with Upstream() as service:
        yield service


@pytest.fixture
async def client(upstream: Upstream) -> AsyncIterator[ServiceClient]:
    async with ServiceClient(f"{upstream.url}/v1", retries=0) as client:
        yield client


async def test_an_answer_is_returned(upstream: Upstream, client: ServiceClient) -> None:
    """The path is below the base address, and the answer is httpx2's own."""
    upstream.script("/v1/items", {"name": "cup"})

    response = await client.get("/items", params={"page": 2, "tag": ["a", "b"]})

    assert (response.status_code, response.json()) == (200, {"name": "cup"})
    assert (upstream.requests[0].path, upstream.requests[0].query) == ("/v1/items", "page=2&tag=a&tag=b")


@pytest.mark.parametrize("method", ["post", "put", "patch", "delete"])
async def test_every_method_has_a_name(upstream: Upstream, client: ServiceClient, method: str) -> None:
    """And is sent as such, once."""
    await getattr(client, method)("/items")

    assert [asked.method for asked in upstream.requests] == [method.upper()]


@pytest.mark.parametrize("method", ["post", "put", "patch"])
async def test_a_body_is_json(upstream: Upstream, client: ServiceClient, method: str) -> None:
    """Models, times and UUIDs are written as the framework's own answers are."""
    body = {"item": Item(name="cup", price=5), "id": UUID(int=1), "at": datetime(2026, 1, 1, tzinfo=UTC)}

    await getattr(client, method)("/items", json=body)

    (asked,) = upstream.requests
    assert asked.headers["Content-Type"] == "application/json"
    assert asked.body == (
        b'{"item": {"name": "cup", "price": 5}, "id": "00000000-0000-0000-0000-000000000001", '
        b'"at": "2026-01-01T00:00:00Z"}'
    )


async def test_a_body_that_is_no_json_is_not_sent(upstream: Upstream, client: ServiceClient) -> None:
    """NaN is refused before anything is sent."""
    with pytest.raises(ValueError, match="not JSON compliant"):
        await client.post("/items", json=float("nan"))

    assert upstream.requests == []


async def test_bytes_are_sent_as_they_are(upstream: Upstream, client: ServiceClient) -> None:
    """With the headers of whoever sends them."""
    await client.post("/items", content=b"a,b", headers={"content-type": "text/csv"})

    assert (upstream.requests[0].body, upstream.requests[0].headers["content-type"]) == (b"a,b", "text/csv")


@pytest.mark.parametrize("status", [200, 204, 304, 400, 404, 409, 412, 422])
async def test_what_means_something_is_returned(upstream: Upstream, client: ServiceClient, status: int) -> None:
    """Success, and what the handler can act upon, are no failures of the other service."""
    upstream.script("/v1/items", Reply(status, b"" if status in {204, 304} else b"{}"))

    assert (await client.get("/items")).status_code == status


async def test_nothing_of_one_call_is_kept_for_the_next(upstream: Upstream, client: ServiceClient) -> None:
    """A cookie that one caller's answer sets is not sent with another caller's request."""
    upstream.script("/v1/items", Reply(headers={"Set-Cookie": "session=ada; Path=/"}))
    for _ in range(2):
        await client.get("/items")

    assert ["Cookie" in asked.headers for asked in upstream.requests] == [False, False]


async def test_a_model_is_read(upstream: Upstream, client: ServiceClient) -> None:
    """Of anything that pydantic reads."""
    upstream.script("/v1/items/1", {"name": "cup", "price": 5, "more": True})
    upstream.script("/v1/items", [{"name": "cup", "price": 5}])

    assert await client.get_model("/items/1", Item) == Item(name="cup", price=5)
    assert await client.get_model("/items", list[Item]) == [Item(name="cup", price=5)]


@pytest.mark.parametrize(
    "reply",
    [{"name": "confidential"}, raw(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n\xff{a]"), 404, Reply(200, b"")],
)
async def test_another_shape_is_a_bad_gateway(upstream: Upstream, client: ServiceClient, reply: Any) -> None:
    """What does not fit the model, and what is no success, is no answer; nor is it kept in the error."""
    upstream.script("/v1/items", reply)

    with pytest.raises(BadGateway) as caught:
        await client.get_model("/items", Item)

    assert "confidential" not in f"{caught.value.document()} {caught.value.__cause__!r}"


async def test_a_model_is_read_where_its_absence_means_something(upstream: Upstream, client: ServiceClient) -> None:
    """A handler asks for the answer, looks at its status, and reads it."""
    upstream.script("/v1/items/1", {"name": "cup", "price": 5})

    assert read_model(await client.get("/items/1"), Item).name == "cup"


@pytest.mark.parametrize(
    "url",
    [
        *("inventory", "ftp://inventory", "http://", "http://ada:hidden@inventory", "http://inventory?hidden"),
        *("http://i#hidden", "http://i:0", "http://i:port", "http://[", "http://in ventory", "http://i\\x"),
    ],
)
def test_a_base_address_is_one(url: str) -> None:
    """Otherwise the client is not made; the error does not repeat it."""
    with pytest.raises(ValueError, match="base_url: write it as") as caught:
        ServiceClient(url)
    assert "hidden" not in str(caught.value)


@pytest.mark.parametrize(
    "path",
    [
        "items",
        "",
        "//elsewhere/x",
        "http://elsewhere/x",
        "/a/../b",
        "/a/%2e%2E/b",
        "/..",
        "/a/.",
        "/a?admin=1",
        "/a#b",
        "/a\\..\\b",
        "/a b",
        "/a\r\nX: y",
        "/\x00",
    ],
)
async def test_a_path_stays_below_the_base_address(upstream: Upstream, client: ServiceClient, path: str) -> None:
    """A variable that was not quoted cannot lead elsewhere: nothing is sent."""
    with pytest.raises(ValueError, match="path: begin it with one slash"):
        await client.get(path)
    assert upstream.requests == []


@pytest.mark.parametrize("path", ["/", "/a.b/..c", "/caf%C3%A9/%2F..", "/käse", "/a;b=1/c,d:e@f"])
async def test_other_paths_are_sent(upstream: Upstream, client: ServiceClient, path: str) -> None:
    """Whatever is one."""
    await client.get(path)

    assert len(upstream.requests) == 1


async def test_a_header_that_cannot_be_sent_is_the_handler_s_fault(upstream: Upstream, client: ServiceClient) -> None:
    """It is an error, not the other service's; and it is not repeated."""
    with pytest.raises(ValueError, match="cannot be sent over HTTP") as caught:
        await client.get("/items", headers={"X-Note": "hidden\r\nX-Admin: 1"})
    assert "hidden" not in f"{caught.value} {caught.value.__cause__}"


async def test_a_closed_client_says_so(upstream: Upstream) -> None:
    """A call after the end of its block is a mistake of the service."""
    async with ServiceClient(upstream.url) as client:
        await client.get("/items")
    with pytest.raises(RuntimeError, match="was closed"):
        await client.get("/items")
