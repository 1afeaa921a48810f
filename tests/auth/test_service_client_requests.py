"""Calling another service while a request is served: what goes on, the time there is, whose token is forwarded."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from functools import partial
from types import MappingProxyType
from typing import Any

import pytest
from quart import Quart

from ligand_async import Principal, current_principal, operation
from ligand_async.auth import BearerAuthenticator, InvalidToken, current_caller_token
from ligand_async.errors import GatewayTimeout
from ligand_async.upstream import ForwardToken, ServiceClient
from ligand_async.web import app_scope, services_of
from tests.auth.upstream import HANG, Reply, Upstream
from tests.services import Answer, app_of, running, send

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


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    with Upstream() as service:
        service.script("/count", {"count": 7})
        yield service


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
        inventory = services_of(app).registry.get_registered_service_for(Inventory).factory()

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
