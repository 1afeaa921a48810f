"""When another service is asked again, and when our caller is."""

import time
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest

from ligand_async.errors import BadGateway, ServiceUnavailable
from ligand_async.upstream import ServiceClient, UpstreamFailed, retries
from tests.upstream.service import RESET, Reply, Upstream, failure, raw


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    with Upstream() as service:
        yield service


@pytest.fixture
async def client(upstream: Upstream) -> AsyncIterator[ServiceClient]:
    async with ServiceClient(f"{upstream.url}/v1", retries=0) as client:
        yield client


@pytest.fixture(autouse=True)
def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Retries come at once, so that tests need not wait for them."""
    monkeypatch.setattr(retries, "FIRST_PAUSE", 0.005)


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS"])
@pytest.mark.parametrize("reply", [502, 503, 504, RESET, raw(b"nonsense\r\n\r\n")])
async def test_safe_methods_are_tried_again(upstream: Upstream, method: str, reply: Any) -> None:
    """What may pass is tried again, twice unless told otherwise."""
    upstream.script("/items", reply, reply, 200)
    async with ServiceClient(upstream.url) as client:
        assert (await client.request(method, "/items")).status_code == 200

    assert upstream.asked["/items"] == 3


@pytest.mark.parametrize(
    ("method", "reply", "retries", "times"),
    [("GET", 503, 2, 3), ("GET", 503, 0, 1), ("GET", 500, 2, 1), ("GET", 404, 2, 1), ("GET", 429, 2, 1)]
    + [(method, reply, 2, 1) for method in ("POST", "PUT", "PATCH", "DELETE") for reply in (503, RESET)],
)
async def test_nothing_else_is_tried_again(
    upstream: Upstream, method: str, reply: Any, retries: int, times: int
) -> None:
    """Unsafe methods are sent once, and so is what no other attempt would mend."""
    upstream.script("/items", reply)
    async with ServiceClient(upstream.url, retries=retries) as client:
        if reply == 404:
            await client.get("/items")
        else:
            await failure(client, method=method)

    assert upstream.asked["/items"] == times


async def test_a_short_retry_after_is_waited_for(upstream: Upstream) -> None:
    """As long as the other service asks."""
    upstream.script("/items", Reply(503, headers={"Retry-After": "1"}), 200)
    async with ServiceClient(upstream.url) as client:
        begun = time.monotonic()
        await client.get("/items")

    assert 1.0 <= time.monotonic() - begun < 3


@pytest.mark.parametrize(("seconds", "asked"), [(30.0, "60"), (0.5, "1")], ids=["long", "past the limit"])
async def test_a_long_retry_after_is_passed_on(upstream: Upstream, seconds: float, asked: str) -> None:
    """Nobody waits for it here: our caller is told at once."""
    upstream.script("/items", Reply(503, headers={"Retry-After": asked}))
    async with ServiceClient(upstream.url, timeout=seconds) as client:
        begun = time.monotonic()
        problem = await failure(client)

    assert time.monotonic() - begun < 0.4
    assert (problem.headers["Retry-After"], upstream.asked["/items"]) == (asked, 1)


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("7", "7"),
        ("0", "0"),
        ("9" * 30, "86400"),
        ("-1", "5"),
        ("soon <b>", "5"),
        (None, "5"),
        ("Sun, 06 Nov 1994 08:49:37 GMT", "0"),
        ("Thu, 06 Nov 2994 08:49:37 GMT", "86400"),
    ],
)
async def test_retry_after_is_told_in_seconds(
    upstream: Upstream, client: ServiceClient, status: int, said: str | None, told: str
) -> None:
    """A date becomes seconds, too many a day, and nonsense five seconds: none of its own text goes further."""
    upstream.script("/v1/items", Reply(status, headers={} if said is None else {"Retry-After": said}))

    problem = await failure(client)

    assert isinstance(problem, ServiceUnavailable)
    assert problem.headers["Retry-After"] == told


async def test_a_date_to_come_back_at_is_told_in_seconds(upstream: Upstream, client: ServiceClient) -> None:
    """Counted from now."""
    date = format_datetime(datetime.now(UTC) + timedelta(seconds=600), usegmt=True)
    upstream.script("/v1/items", Reply(503, headers={"Retry-After": date}))

    assert 590 <= int((await failure(client)).headers["Retry-After"]) <= 600


async def test_pauses_are_random_and_grow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Full jitter: anything from nothing to a bound that doubles."""
    monkeypatch.setattr(retries, "FIRST_PAUSE", 0.1)
    broken = UpstreamFailed(BadGateway(), "x", may_pass=True)
    bounds = {1: 0.1, 2: 0.2, 3: 0.4, 9: 2.0}

    for attempt, bound in bounds.items():
        pauses = [retries.pause_after(broken, "GET", attempt, 10) or 0.0 for _ in range(300)]
        assert max(pauses) <= bound
        assert (max(pauses), min(pauses)) == pytest.approx((bound, 0), abs=bound / 5)
