"""Calls to another service: what is sent, and what is returned."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from datetime import UTC, datetime
from functools import partial
from types import MappingProxyType
from typing import Any
from uuid import UUID

import pytest
from pydantic import BaseModel
from quart import Quart

from ligand_async import Principal, current_principal, operation
from ligand_async.auth import BearerAuthenticator, InvalidToken, current_caller_token
from ligand_async.errors import BadGateway, GatewayTimeout
from ligand_async.upstream import ForwardToken, ServiceClient, read_model
from ligand_async.web import app_scope, services_of
from tests.services import Answer, app_of, running, send
from tests.upstream.service import HANG, Reply, Upstream, raw


class Item(BaseModel):
    name: str
    price: int


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    with Upstream() as service:
        service.script("/count", {"count": 7})
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
        *("http://i/hidden/../x", "http://i/..", "http://i/a/%2e%2e/b", "http://i/..;/b"),
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
        "/..%2Fadmin",
        "/..%2fadmin",
        "/a/..;/admin",
        "/a/..;x=1/admin",
        "/a/.;/admin",
        "/%2e%2e;/admin",
        "/%252e%252e/admin",
        "/%252e%252e%252fadmin",
        "/%25252e%25252e/admin",
        "/a%2F..%2Fadmin",
        "/a%2F..",
        "/caf%C3%A9/%2F..",
        "/a%5C..%5Cadmin",
        "/..%5Cadmin",
        "/..%255Cadmin",
        "/a%5Cb",
        "/%2e%2e%5cadmin",
        "/a/%c0%ae%c0%ae/admin",
        "/a%c0%af..",
        "/a/..%00/admin",
        "/a%00",
        "/a%0d%0ab",
        "/a/..%20/admin",
        "/a/..%09/admin",
        "/%" + "25" * 40 + "2e",
        "/a\r\nX: y",
        "/\x00",
    ],
)
async def test_a_path_stays_below_the_base_address(upstream: Upstream, client: ServiceClient, path: str) -> None:
    """A variable that was not quoted cannot lead elsewhere: nothing is sent."""
    with pytest.raises(ValueError, match="path: begin it with one slash"):
        await client.get(path)
    assert upstream.requests == []


@pytest.mark.parametrize(
    "path", ["/", "/a.b/..c", "/...", "/caf%C3%A9", "/a%2Fb", "/100%25", "/a%252Fb", "/käse", "/a;b=1/c,d:e@f", "/%zz"]
)
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


TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


class Inventory:
    """What a service makes of the other one: its own words for what it needs."""

    def __init__(self, client: ServiceClient) -> None:
        self.client = client

    async def count(self) -> int:
        response = await self.client.get("/count")
        return int(response.json().get("count", 0))


class Billing(Inventory):
    """Another one."""


@operation
async def read_count(inventory: Inventory) -> int:
    return await inventory.count()


@operation
async def read_both(inventory: Inventory, billing: Billing) -> list[int]:
    return [await inventory.count(), await billing.count()]


@operation
async def read_at_once(inventory: Inventory) -> list[int]:
    return await asyncio.gather(*(inventory.count() for _ in range(3)))


async def open_service(kind: type[Inventory], url: str, **options: Any) -> AsyncIterator[Inventory]:
    async with ServiceClient(url, **options) as client:
        yield kind(client)


class Verifier:
    """Whoever sends `good-…` is known by it."""

    async def verify(self, token: str) -> Principal:
        if not token.startswith("good-"):
            raise InvalidToken("bad")
        return Principal(subject=token.removeprefix("good-"), issuer="tests", claims=MappingProxyType({}))


class Door:
    """Lets in who says so, by another way than a token."""

    challenge = None

    async def authenticate(self, connection: Any) -> Principal | None:
        name = connection.headers.get("X-Door")
        return None if name is None else Principal(subject=name, issuer="door")


def shop(
    upstream: Upstream,
    view: Callable[..., Awaitable[Any]] = read_count,
    *,
    settings: dict[str, Any] | None = None,
    **options: Any,
) -> Quart:
    """Make a service that calls another one."""
    factory = partial(open_service, Inventory, upstream.url, **options)
    return app_of(
        ("GET", "/", view),
        provide={Inventory: app_scope(factory)},
        authenticators=[Door(), BearerAuthenticator(Verifier())],
        settings=settings,
    )


async def call(upstream: Upstream, headers: Any = None, **options: Any) -> Answer:
    return await send(shop(upstream, **options), "GET", "/", headers=headers or {})


async def test_a_client_is_provided_by_type(upstream: Upstream) -> None:
    """A handler names the type that its service made; the client lives as long as the app."""
    app = shop(upstream)
    async with running(app, tables=False) as client:
        answers = [await (await client.get("/")).get_json() for _ in range(2)]
        inventory = services_of(app).get(Inventory)

    assert answers == [7, 7]
    with pytest.raises(RuntimeError, match="was closed"):
        await inventory.count()


async def test_a_service_calls_several_others(upstream: Upstream) -> None:
    """Each has a type of its own."""
    with Upstream() as other:
        other.script("/count", {"count": 2})
        provide = {
            Inventory: app_scope(partial(open_service, Inventory, upstream.url)),
            Billing: app_scope(partial(open_service, Billing, other.url)),
        }
        answer = await send(app_of(("GET", "/", read_both), provide=provide), "GET", "/")

    assert answer.json == [7, 2]


async def test_a_failure_of_the_other_is_our_problem(upstream: Upstream) -> None:
    """A handler that does nothing about it answers with a problem, which names nobody."""
    upstream.script("/count", Reply(503, b"confidential", {"Retry-After": "17"}))

    answer = await call(upstream)

    assert (answer.status, answer.headers["Content-Type"]) == (503, "application/problem+json")
    assert answer.headers["Retry-After"] == "17"
    assert answer.json["detail"] == "a service behind this one cannot answer now"
    assert b"confidential" not in answer.raw


async def test_a_failure_is_logged_without_the_path(upstream: Upstream, caplog: pytest.LogCaptureFixture) -> None:
    """Once, with the name of the other service, which our caller is not told."""
    upstream.script("/count", 500)

    await call(upstream)

    (record,) = [record for record in caplog.records if record.name == "ligand_async.upstream.retries"]
    assert record.levelno == logging.WARNING
    assert record.getMessage() == f"call to {upstream.url} failed: it answered 500 (1 attempts)"


async def test_the_request_s_id_goes_on(upstream: Upstream) -> None:
    """The other service's log can be read beside ours."""
    answer = await call(upstream, {"X-Request-ID": "abc-1"})

    assert (upstream.requests[0].headers["X-Request-ID"], answer.headers["X-Request-ID"]) == ("abc-1", "abc-1")


@pytest.mark.parametrize(
    ("value", "carried"),
    [
        (TRACE, TRACE),
        (
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00",
        ),
        ("cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-what the future brings", TRACE),
        ("cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", TRACE),
        ("ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", None),
        ("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more", None),
        ("cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01.more", None),
        ("00-4BF92F3577B34DA6A3CE929D0E0E4736-00F067AA0BA902B7-01", None),
        ("00-00000000000000000000000000000000-00f067aa0ba902b7-01", None),
        ("00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01", None),
        ("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7", None),
        ("00-4bf92f3577b34da6a3ce929d0e0e473-00f067aa0ba902b7-01", None),
        ("nonsense", None),
        ("", None),
    ],
)
async def test_a_trace_goes_on(upstream: Upstream, value: str, carried: str | None) -> None:
    """As Trace Context writes it; what is no trace is left behind."""
    await call(upstream, {"traceparent": value})

    assert upstream.requests[0].headers["traceparent"] == carried


async def test_two_traces_are_none(upstream: Upstream) -> None:
    """A header that came twice says nothing."""
    await call(upstream, [("traceparent", TRACE), ("traceparent", TRACE)])

    assert upstream.requests[0].headers["traceparent"] is None


async def test_no_request_has_nothing_to_carry_on(upstream: Upstream) -> None:
    """A script calls by the same client."""
    async with ServiceClient(upstream.url) as client:
        await client.get("/count")

    assert {"X-Request-ID", "traceparent"}.isdisjoint(upstream.requests[0].headers)


async def test_a_call_ends_before_the_request_s_deadline(upstream: Upstream) -> None:
    """It has what is left, and not its own time limit; nor is it tried again when nothing is left."""
    upstream.script("/count", HANG)
    begun = time.monotonic()

    answer = await call(upstream, settings={"request_timeout": 0.3})

    assert answer.status == 504
    assert time.monotonic() - begun < 3
    assert upstream.asked["/count"] == 1


async def test_a_retry_does_not_wait_past_the_deadline(upstream: Upstream) -> None:
    """The failure that there is, is told at once."""
    upstream.script("/count", Reply(503, headers={"Retry-After": "2"}))
    begun = time.monotonic()

    answer = await call(upstream, settings={"request_timeout": 1.5})

    assert (answer.status, answer.headers["Retry-After"]) == (503, "2")
    assert time.monotonic() - begun < 1.2


async def test_a_client_s_own_limit_may_be_nearer(upstream: Upstream) -> None:
    """Then the handler has time left to do without."""

    @operation
    async def do_without(inventory: Inventory) -> int:
        try:
            return await inventory.count()
        except GatewayTimeout:
            return -1

    upstream.script("/count", HANG)

    assert (await call(upstream, view=do_without, timeout=0.1)).json == -1


async def test_the_caller_s_token_is_forwarded(upstream: Upstream) -> None:
    """Where the service asks for it: the other sees who calls; in every task of the request."""
    await call(upstream, {"Authorization": "bEaReR good-ada"}, view=read_at_once, credentials=ForwardToken())

    assert [asked.headers["Authorization"] for asked in upstream.requests] == ["Bearer good-ada"] * 3


async def test_a_token_is_not_forwarded_unasked(upstream: Upstream) -> None:
    """Without credentials none is sent; with its own it is the service that calls."""
    token = {"Authorization": "Bearer good-ada"}
    await call(upstream, token)
    await call(upstream, token, credentials=upstream.credentials())

    shown = [asked.headers["Authorization"] for asked in upstream.requests if asked.path == "/count"]
    assert shown == [None, "Bearer token-1"]


@pytest.mark.parametrize("headers", [{}, {"X-Door": "ada"}, {"X-Door": "ada", "Authorization": "Bearer forged"}])
async def test_only_a_verified_token_is_forwarded(upstream: Upstream, headers: dict[str, str]) -> None:
    """Who sent none, or is known by something else, gets a 401; what nobody verified goes nowhere."""
    answer = await call(upstream, headers, credentials=ForwardToken())

    assert (answer.status, answer.headers["WWW-Authenticate"]) == (401, 'Bearer realm="Shop"')
    assert upstream.requests == []


@pytest.mark.parametrize(("said", "told"), [(401, 502), (403, 403), (404, 200)])
async def test_what_is_refused_to_the_caller_is_told_it(upstream: Upstream, said: int, told: int) -> None:
    """With its own token, a 403 is about the caller; a 401 is still a fault between the two services."""
    upstream.script("/count", said)

    answer = await call(upstream, {"Authorization": "Bearer good-ada"}, credentials=ForwardToken())

    assert (answer.status, upstream.asked["/count"]) == (told, 1)


async def test_the_token_is_kept_apart_from_the_principal(upstream: Upstream) -> None:
    """The principal may be shown and stored; the token is there for who forwards it, and ends with its request."""
    seen: list[Any] = []

    @operation
    async def look() -> None:
        seen.extend([current_caller_token(), repr(current_principal())])

    app = shop(upstream, look)
    async with running(app, tables=False) as client:
        await client.get("/", headers={"Authorization": "Bearer good-ada"})
        await client.get("/", headers={"X-Door": "ada"})

    assert seen[0] == "good-ada"
    assert "good-ada" not in seen[1]
    assert seen[2] is None
    assert current_caller_token() is None


async def test_the_token_is_its_own_principal_s_only(upstream: Upstream) -> None:
    """A service that is called within the request of another, in one process, does not find its caller's token."""
    seen: list[str | None] = []

    @operation
    async def look() -> None:
        seen.append(current_caller_token())

    inner = shop(upstream, look)

    @operation
    async def pass_on() -> None:
        await inner.test_client().get("/", headers={"X-Door": "bob"})
        seen.append(current_caller_token())

    async with running(inner, tables=False):
        await send(shop(upstream, pass_on), "GET", "/", headers={"Authorization": "Bearer good-ada"})

    assert seen == [None, "good-ada"]
