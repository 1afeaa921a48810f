"""What the faults of another service become."""

import asyncio
import gzip
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from ligand_async.errors import BadGateway, GatewayTimeout
from ligand_async.upstream import ServiceClient
from tests.upstream.service import HANG, RESET, TOKEN_PATH, Reply, Upstream, failure, raw

MEBIBYTE = 1024 * 1024
CONFIDENTIAL = b'{"confidential": "words of the other service"}'


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    with Upstream() as service:
        yield service


@pytest.fixture
async def client(upstream: Upstream) -> AsyncIterator[ServiceClient]:
    async with ServiceClient(f"{upstream.url}/v1", retries=0) as client:
        yield client


@pytest.mark.parametrize(
    ("reply", "status"),
    [
        (500, 502),
        (501, 502),
        (502, 502),
        (503, 503),
        (504, 504),
        (599, 502),
        (429, 503),
        (401, 502),
        (403, 502),
        (RESET, 502),
        (raw(b"\x00\xffthis is no HTTP\r\n\r\n"), 502),
        (raw(b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nshort"), 502),
        (raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"), 502),
        (raw(b"HTTP/1.1 20"), 502),
        (raw(b"HTTP/1.1 200 OK\r\nX: " + b"x" * 200_000), 502),
        (Reply(headers={"Content-Encoding": "gzip"}, body=gzip.compress(b"x" * MEBIBYTE)), 502),
    ],
)
async def test_a_fault_is_a_problem(upstream: Upstream, client: ServiceClient, reply: Any, status: int) -> None:
    """Nothing that another service does is an unhandled exception here; its own words go no further."""
    if isinstance(reply, int):
        reply = Reply(reply, CONFIDENTIAL, {"X-Internal": "10.0.0.1"})
    upstream.script("/v1/items", reply)

    problem = await failure(client)

    assert problem.status == status
    shown = f"{problem.document()} {problem.headers}"
    assert not [word for word in ("confidential", "10.0.0.1", "127.0.0.1", upstream.url) if word in shown]


async def test_who_is_not_there_is_a_bad_gateway(unused_tcp_port: int) -> None:
    """A refused connection is a 502."""
    async with ServiceClient(f"http://127.0.0.1:{unused_tcp_port}") as client:
        assert isinstance(await failure(client), BadGateway)


async def test_who_hangs_is_a_gateway_timeout(upstream: Upstream) -> None:
    """Within the time limit of the client, or of the call."""
    upstream.script("/items", HANG)
    async with ServiceClient(upstream.url, timeout=0.1) as brief, ServiceClient(upstream.url) as patient:
        begun = time.monotonic()
        problems = [await failure(brief), await failure(patient, timeout=0.1)]

    assert [type(problem) for problem in problems] == [GatewayTimeout] * 2
    assert time.monotonic() - begun < 2


async def test_who_trickles_is_a_gateway_timeout(upstream: Upstream) -> None:
    """The limit is one of the whole call, not of a silence."""
    listening = asyncio.Event()

    async def trickle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 10000\r\n\r\n")
        while not listening.is_set():
            writer.write(b"x")
            await asyncio.sleep(0.02)
        writer.close()

    server = await asyncio.start_server(trickle, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server, ServiceClient(f"http://127.0.0.1:{port}", timeout=0.2) as client:
        problem = await failure(client)
        listening.set()

    assert isinstance(problem, GatewayTimeout)


@pytest.mark.parametrize(
    "reply",
    [
        Reply(body=b"x" * 1001),
        raw(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + b"x" * MEBIBYTE),
    ],
    ids=["counted", "endless"],
)
async def test_a_body_has_a_largest_size(upstream: Upstream, reply: Reply) -> None:
    """One that is larger is a 502; one that is as large is read."""
    upstream.script("/large", reply)
    upstream.script("/fits", Reply(body=b"x" * 1000))
    async with ServiceClient(upstream.url, max_bytes=1000) as client:
        assert isinstance(await failure(client, "/large"), BadGateway)
        assert len((await client.get("/fits")).content) == 1000


async def test_redirects_are_followed_at_home(upstream: Upstream, client: ServiceClient) -> None:
    """Three at most, and within the origin."""
    for number in range(4):
        upstream.script(f"/v1/{number}", Reply(302, headers={"Location": f"/v1/{number + 1}"}))
    upstream.script("/v1/4", {"n": 4})

    assert (await client.get("/1")).json() == {"n": 4}
    assert isinstance(await failure(client, "/0"), BadGateway)


@pytest.mark.parametrize(
    "location", ["http://localhost:{port}/x", "//127.0.0.2/x", "http://u:p@127.0.0.1:{port}/x", "http://["]
)
async def test_redirects_lead_nowhere_else(upstream: Upstream, client: ServiceClient, location: str) -> None:
    """Another origin is not asked: it would be shown our token."""
    with Upstream() as elsewhere:
        port = elsewhere.url.rpartition(":")[2]
        upstream.script("/v1/items", Reply(307, headers={"Location": location.format(port=port)}))

        assert isinstance(await failure(client), BadGateway)
        assert elsewhere.requests == []


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize(
    "location",
    [
        "/x",
        "/",
        "../x",
        "../../x",
        "/v1/../x",
        "/v1x",
        "/v1x/items",
        "/v1%2Fx",
        "/v1.",
        "/V1/items",
        "/%76%31/items",
        "/v1;x/items",
        "/v1/%2e%2e/x",
        "/v1/..%2Fx",
        "/v1/..;/x",
        "/v1/%252e%252e/x",
        "/v1/..%5Cx",
        "/v1/..\\x",
        "\\v1\\..\\x",
        "/v1/%c0%ae%c0%ae/x",
        "//127.0.0.1:{port}/x",
        "http://127.0.0.1:{port}/x",
        "http://127.0.0.1:{port}/v1/../x",
        "http://u:p@127.0.0.1:{port}/v1/x",
        "http://127.0.0.1:{port}@elsewhere.example/v1/x",
        "https://127.0.0.1:{port}/v1/x",
    ],
)
async def test_redirects_stay_below_the_address(upstream: Upstream, status: int, location: str) -> None:
    """Row 169: beside `base_url` may be another service, which would be shown our token. It is not asked at all."""
    port = upstream.url.rpartition(":")[2]
    upstream.script("/v1/items", Reply(status, headers={"Location": location.format(port=port)}))
    async with ServiceClient(f"{upstream.url}/v1", credentials=upstream.credentials()) as client:
        assert isinstance(await failure(client), BadGateway)

    assert {asked.path for asked in upstream.requests} <= {"/v1/items", TOKEN_PATH}


@pytest.mark.parametrize(
    "location", ["/v1", "/v1/", "/v1/?a=/../b", "items/1", "./1", "?page=2", "/v1/a%2Fb", "//{host}/v1/x"]
)
async def test_redirects_below_the_address_carry_the_token(upstream: Upstream, location: str) -> None:
    """They are the same service."""
    host = upstream.url.removeprefix("http://")
    upstream.script("/v1/items", Reply(302, headers={"Location": location.format(host=host)}), {"n": 1})
    async with ServiceClient(f"{upstream.url}/v1/", credentials=upstream.credentials()) as client:
        response = await client.get("/items")

    assert response.status_code == 200
    assert upstream.requests[-1].headers["Authorization"] == "Bearer token-1"
    assert len(upstream.requests) == 3


async def test_every_step_of_a_chain_stays_below(upstream: Upstream) -> None:
    """A redirect that stays may lead to one that does not."""
    upstream.script("/v1/items", Reply(302, headers={"Location": "/v1/a"}))
    upstream.script("/v1/a", Reply(302, headers={"Location": "/v1/b"}))
    upstream.script("/v1/b", Reply(302, headers={"Location": "/admin"}))
    async with ServiceClient(f"{upstream.url}/v1", credentials=upstream.credentials()) as client:
        assert isinstance(await failure(client), BadGateway)
        assert isinstance(await failure(client, method="HEAD"), BadGateway)

    assert upstream.asked["/admin"] == 0
    assert upstream.asked["/v1/b"] == 2


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
@pytest.mark.parametrize("status", [307, 308])
async def test_other_methods_are_not_sent_on(upstream: Upstream, method: str, status: int) -> None:
    """Neither inside nor outside: the redirect is returned, and nothing else is asked."""
    for location in ("/v1/other", "/admin", "http://elsewhere.example/"):
        upstream.script("/v1/items", Reply(status, headers={"Location": location}))
        async with ServiceClient(f"{upstream.url}/v1", credentials=upstream.credentials()) as client:
            response = await client.request(method, "/items")
        assert (response.status_code, response.headers["Location"]) == (status, location)

    assert {asked.path for asked in upstream.requests} == {"/v1/items", TOKEN_PATH}


async def test_a_redirect_after_a_post_is_returned(upstream: Upstream, client: ServiceClient) -> None:
    """What is not safe is sent nowhere else, not even at home."""
    upstream.script("/v1/items", Reply(303, headers={"Location": "/v1/items/1"}))

    assert (await client.post("/items", json={})).headers["Location"] == "/v1/items/1"
    assert upstream.asked.total() == 1
