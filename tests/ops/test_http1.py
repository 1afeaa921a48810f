"""HTTP/1.1: what we replace of hypercorn's protocol, whether it is still needed, and what the replacement does."""

import asyncio
import hashlib
import inspect
from collections.abc import Callable
from importlib.metadata import version
from typing import Any

import pytest
from hypercorn.asyncio.lifespan import Lifespan
from hypercorn.asyncio.task_group import TaskGroup
from hypercorn.protocol.h11 import H11Protocol, H11WSConnection
from hypercorn.protocol.http_stream import HTTPStream
from hypercorn.protocol.ws_stream import Handshake, WebsocketBuffer, WSStream

from tests.http import PROBLEM, request
from tests.ops.plain import UPGRADE, WEBSOCKET, Serve, app, ask, serving_ours, serving_stock
from tests.servers import serving_stock as serving


async def count_left(serve: Serve, *parts: bytes) -> int:
    """Send bytes, wait for the end of the connection, and return how many tasks of the server are left of it."""
    async with serve(graceful_timeout=0.3) as port:
        await asyncio.sleep(0.1)
        running = asyncio.all_tasks()
        await ask(port, *parts, until_closed=True, timeout=1)
        await asyncio.sleep(0.2)
        return len(asyncio.all_tasks() - running)


# Of what our classes inherit, call, or take the place of. A change is read, our side adapted, and the digest renewed.
DIGESTS = {
    H11Protocol.__init__: "c7c989fd6a352626",
    H11Protocol.handle: "3b56e067447488df",
    H11Protocol.stream_send: "56a36254a368d71a",
    H11Protocol._handle_events: "bd4a76b2837e8722",
    H11Protocol._check_protocol: "f95f6b38f43c62aa",
    H11Protocol._send_h11_event: "5e40283daa303ec7",
    H11Protocol._send_error_response: "58c2b47ae295d000",
    H11Protocol._maybe_recycle: "3ac53f52bc4e65de",
    H11Protocol._close_stream: "378930655d7bb41a",
    H11WSConnection: "33372cf689429978",
    H11Protocol._create_stream: "a2338a57ab343908",
    TaskGroup: "1260b105c058872d",
    Lifespan: "164b3fdbe941195d",
    HTTPStream.handle: "6ed2e34c5e708c6a",
    HTTPStream.app_send: "c806044b99736985",
    HTTPStream._send_error_response: "57f849b2813e5779",
    WSStream.handle: "743209f49012b8c7",
    WSStream.app_send: "a6dd1160bfc416e7",
    WSStream._accept: "144623ad2e13fc56",
    WSStream._handle_events: "b90f3f595ff9fd47",
    WSStream._send_pings: "4721ce45cbdf91e6",
    WSStream._send_wsproto_event: "3a4df3f0d2dfd314",
    Handshake: "701a154c29b5ab4c",
    WebsocketBuffer: "31c9b1345f308f4c",
    WSStream._send_error_response: "8b6acae9ca1ce378",
}


def test_version_is_the_one_that_was_read() -> None:
    """Our replies were written for hypercorn 0.18."""
    assert version("hypercorn").startswith("0.18.")


@pytest.mark.parametrize("code", DIGESTS, ids=lambda code: code.__qualname__)
def test_source_is_the_one_that_was_read(code: Callable[..., Any]) -> None:
    """What our replies build on is, to the letter, what they were written for."""
    assert hashlib.sha256(inspect.getsource(code).encode()).hexdigest()[:16] == DIGESTS[code]


@pytest.mark.parametrize(
    "sent",
    [
        pytest.param(b"hello\r\n\r\n", id="garbage"),
        pytest.param(request("GET", "/broken"), id="no answer"),
        pytest.param(request("GET", "/", *UPGRADE), id="bad handshake"),
        pytest.param(WEBSOCKET, id="refused websocket"),
    ],
)
async def test_replies_are_needed(sent: bytes) -> None:
    """hypercorn itself still answers without a body; on the day it does not, delete its own replies."""
    async with serving(app) as port:  # type: ignore[arg-type]  # any ASGI app will do
        reply = await ask(port, sent)

    assert reply.status is not None
    assert reply.headers["content-length"] == "0"
    assert "content-type" not in reply.headers


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        pytest.param(b"hello\r\n\r\n", 400, id="garbage"),
        pytest.param(request("GET", "/broken"), 500, id="failed"),
        pytest.param(request("GET", "/silent"), 500, id="no answer"),
        pytest.param(request("GET", "/", *UPGRADE), 400, id="bad handshake"),
        pytest.param(WEBSOCKET, 403, id="refused websocket"),
    ],
)
async def test_replies_are_problems(sent: bytes, status: int) -> None:
    """Each of them has a problem document, and the connection is closed."""
    async with serving_ours() as port:
        reply = await ask(port, sent, until_closed=True)

    assert (reply.status, reply.headers["content-type"], reply.closed) == (status, PROBLEM, True)
    assert reply.headers["connection"] == "close"
    assert reply.document["status"] == status
    assert reply.document["request_id"] == reply.headers["x-request-id"]


async def test_head_has_no_body() -> None:
    """HEAD is answered with the headers alone."""
    async with serving_ours() as port:
        reply = await ask(port, request("HEAD", "/silent"), until_closed=True)

    assert (reply.status, reply.headers["content-type"], reply.body) == (500, PROBLEM, b"")


UNREAD = request("POST", "/late", body=b"a" * 4_000_000)
EARLY = (request("GET", "/waiting", *UPGRADE, "Sec-WebSocket-Version: 13"), b"\x81\x05hello")


async def test_unread_body_frees_its_connection() -> None:
    """A body that the app leaves unread holds neither the app's task nor the connection, as it does in hypercorn."""
    assert await count_left(serving_ours, UNREAD) == 0
    assert await count_left(serving_stock, UNREAD) > 0


async def test_websocket_that_speaks_too_early_frees_its_connection() -> None:
    """One that sends before it is accepted is refused, and the app gets its disconnect, unlike in hypercorn."""
    async with serving_ours() as port:
        reply = await ask(port, *EARLY, until_closed=True)

    assert (reply.status, reply.closed) == (400, True)
    assert await count_left(serving_ours, *EARLY) == 0
    assert await count_left(serving_stock, *EARLY) > 0


async def test_head_without_an_end_is_answered() -> None:
    """A head that does not end in time gets a 408; hypercorn closes the connection without a word."""

    async def stop_early(serve: Serve) -> bytes:
        async with serve(keep_alive_timeout=0.2) as port:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"GET /ok HTTP/1.1\r\nHo")
            received = await reader.read()
            writer.close()
            return received

    assert (await stop_early(serving_ours)).startswith(b"HTTP/1.1 408 ")
    assert await stop_early(serving_stock) == b""


async def test_upgrade_to_http2_is_ignored() -> None:
    """`Upgrade: h2c` changes nothing; hypercorn would switch, past the rules of a proxy in front."""
    upgrade = ("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQAAP__")
    async with serving_ours() as port:
        ours = await ask(port, request("GET", "/ok", *upgrade))
    async with serving_stock(graceful_timeout=0.3) as port:
        stock = await ask(port, request("GET", "/ok", *upgrade), timeout=1)

    assert (ours.status, ours.body) == (200, b"ok")
    assert stock.status != 200


@pytest.mark.parametrize("method", ["GET", "get", "M-SEARCH"])
async def test_method_is_as_it_was_sent(method: str) -> None:
    """A method is case-sensitive (RFC 9110 section 9.1); hypercorn writes it in capitals."""
    async with serving_ours() as port:
        reply = await ask(port, request(method, "/method"))

    assert reply.body == method.encode()


@pytest.mark.parametrize(
    "lengths",
    [("5", "5"), ("5, 5",), ("5,5",), ("5", "6"), ("+5",), ("5", "5", "5")],
    ids=lambda lengths: " and ".join(lengths),
)
async def test_two_lengths_are_refused(lengths: tuple[str, ...]) -> None:
    """Two Content-Lengths are a 400 also if they are equal: what stands in front may have taken the other one."""
    head = request("POST", "/length", *(f"Content-Length: {length}" for length in lengths))
    async with serving_ours() as port:
        reply = await ask(port, head + b"hello", until_closed=True)

    assert (reply.status, reply.closed, reply.document["status"]) == (400, True, 400)


@pytest.mark.parametrize("pause", [0, 0.01])
async def test_one_length_is_taken(pause: float) -> None:
    """One is enough, in one piece or in many, and what stands in the body counts for nothing."""
    body = b"Content-Length: 1\r\nContent-Length: 2\r\n\r\n"
    sent = request("POST", "/length", body=body) + request("GET", "/ok", "Connection: close")
    async with serving_ours() as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for number in range(0, len(sent), 7):
            writer.write(sent[number : number + 7])
            if pause:
                await asyncio.sleep(pause)
        received = await reader.read()

    assert received.count(b"HTTP/1.1 200 ") == 2
    assert b"\r\n\r\n41" in received.replace(b"\r\n\r\n%d" % len(body), b"\r\n\r\n41")
