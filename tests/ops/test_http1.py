"""hypercorn's own replies: what we replace of it, whether it is still needed, and what the replacements do."""

import asyncio
import hashlib
import inspect
import json
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from importlib.metadata import version
from typing import Any

import h2.config
import h2.connection
import h2.events
import hypercorn.protocol
import pytest
from hypercorn.asyncio.task_group import TaskGroup
from hypercorn.protocol import ProtocolWrapper
from hypercorn.protocol.h2 import H2Protocol
from hypercorn.protocol.h11 import H11Protocol, H11WSConnection
from hypercorn.protocol.http_stream import HTTPStream
from hypercorn.protocol.ws_stream import WSStream

from ligand_async.ops.replies import own_replies
from tests.http import PROBLEM, WireReply, exchange_now, request
from tests.servers import serving

Serve = Callable[..., AbstractAsyncContextManager[int]]
UPGRADE = ("Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==")
WEBSOCKET = request("GET", "/", *UPGRADE, "Sec-WebSocket-Version: 13")


async def app(scope: Any, receive: Any, send: Any) -> None:
    """Do as the path says; nothing stands around it."""
    if scope["type"] == "lifespan":
        for _ in range(2):
            await send({"type": f"{(await receive())['type']}.complete"})
    elif scope["path"] == "/broken":
        raise RuntimeError("no answer")
    elif scope["path"] in {"/ok", "/late"}:
        await asyncio.sleep(0.2 if scope["path"] == "/late" else 0)
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"ok"})
    elif scope["path"] == "/waiting":
        while (await receive())["type"] != "websocket.disconnect":
            pass
    elif scope["type"] == "websocket":
        await send({"type": "websocket.close"})


@asynccontextmanager
async def serving_ours(**options: float) -> AsyncIterator[int]:
    """Serve it with our replies."""
    with own_replies():
        async with serving(app, **options) as port:  # type: ignore[arg-type]  # any ASGI app will do
            yield port


def serving_stock(**options: float) -> AbstractAsyncContextManager[int]:
    """Serve it as hypercorn does."""
    return serving(app, **options)  # type: ignore[arg-type]  # any ASGI app will do


async def count_left(serve: Serve, *parts: bytes) -> int:
    """Send bytes, wait for the end of the connection, and return how many tasks of the server are left of it."""
    async with serve(graceful_timeout=0.3) as port:
        await asyncio.sleep(0.1)
        running = asyncio.all_tasks()
        await ask(port, *parts, until_closed=True, timeout=1)
        await asyncio.sleep(0.2)
        return len(asyncio.all_tasks() - running)


async def ask(port: int, *parts: bytes, **options: Any) -> WireReply:
    """Send bytes to a server in this loop."""
    return await asyncio.to_thread(exchange_now, f"http://127.0.0.1:{port}", *parts, **options)


# Of what our classes inherit, call, or take the place of. A change is read, our side adapted, and the digest renewed.
DIGESTS = {
    ProtocolWrapper: "caf949187e9b4a81",
    H11Protocol.__init__: "c7c989fd6a352626",
    H11Protocol.handle: "3b56e067447488df",
    H11Protocol.stream_send: "56a36254a368d71a",
    H11Protocol._handle_events: "bd4a76b2837e8722",
    H11Protocol._check_protocol: "f95f6b38f43c62aa",
    H11Protocol._send_h11_event: "5e40283daa303ec7",
    H11Protocol._send_error_response: "58c2b47ae295d000",
    H11Protocol._maybe_recycle: "3ac53f52bc4e65de",
    H11Protocol._close_stream: "378930655d7bb41a",
    TaskGroup.spawn_app: "6606faaadfc368e3",
    H11WSConnection: "33372cf689429978",
    H2Protocol.__init__: "d577a96e2eb647a4",
    H2Protocol.stream_send: "d8fc824e2770ba5c",
    H2Protocol._handle_events: "3378aef0a2348f0d",
    H2Protocol._create_stream: "91eb123ddf247ede",
    H2Protocol._close_stream: "a292549791640b65",
    H2Protocol._flush: "1a771e85178d124c",
    HTTPStream.handle: "6ed2e34c5e708c6a",
    HTTPStream.app_send: "c806044b99736985",
    HTTPStream._send_error_response: "57f849b2813e5779",
    WSStream.handle: "743209f49012b8c7",
    WSStream.app_send: "a6dd1160bfc416e7",
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
    """hypercorn itself still answers without a body; on the day it does not, delete `ops/replies.py`."""
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


def test_replies_end_with_their_context() -> None:
    """Afterwards the process has hypercorn's own again."""
    with own_replies():
        assert hypercorn.protocol.H11Protocol is not H11Protocol  # type: ignore[attr-defined]  # not exported
    assert hypercorn.protocol.H11Protocol is H11Protocol  # type: ignore[attr-defined]  # the same
    assert hypercorn.protocol.H2Protocol is H2Protocol  # type: ignore[attr-defined]  # the same


class H2Client:
    """A client of HTTP/2 that checks nothing of what it sends."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        unchecked = h2.config.H2Configuration(
            validate_outbound_headers=False, normalize_outbound_headers=False, header_encoding=None
        )
        self.connection = h2.connection.H2Connection(unchecked)
        self.connection.initiate_connection()
        self.headers: dict[int, dict[bytes, bytes]] = {}
        self.bodies: dict[int, bytes] = {}
        self.ended: set[int] = set()

    async def send(self, *fields: tuple[bytes, bytes], end: bool = True) -> int:
        """Open a stream, and return its number."""
        stream: int = self.connection.get_next_available_stream_id()
        self.connection.send_headers(stream, list(fields), end_stream=end)
        await self.flush()
        return stream

    async def flush(self) -> None:
        self.writer.write(self.connection.data_to_send())
        await self.writer.drain()

    async def answer(self, stream: int) -> tuple[dict[bytes, bytes], bytes]:
        """Wait for the end of a stream's answer."""
        async with asyncio.timeout(5):
            while stream not in self.ended:
                data = await self.reader.read(65536)
                assert data, "the server closed the connection"
                for event in self.connection.receive_data(data):
                    self.note(event)
                await self.flush()
        return self.headers[stream], self.bodies.get(stream, b"")

    def note(self, event: Any) -> None:
        match event:
            case h2.events.ResponseReceived():
                self.headers[event.stream_id] = dict(event.headers)
            case h2.events.DataReceived():
                self.bodies[event.stream_id] = self.bodies.get(event.stream_id, b"") + event.data
                self.connection.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            case h2.events.StreamEnded():
                self.ended.add(event.stream_id)


@asynccontextmanager
async def h2_client(serve: Serve = serving_ours) -> AsyncIterator[H2Client]:
    """Speak HTTP/2, with prior knowledge, to the app under our replies, or under hypercorn's own."""
    async with serve() as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        client = H2Client(reader, writer)
        await client.flush()
        try:
            yield client
        finally:
            writer.transport.abort()


def fields(path: bytes, method: bytes = b"GET") -> tuple[tuple[bytes, bytes], ...]:
    return (b":method", method), (b":path", path), (b":scheme", b"http"), (b":authority", b"127.0.0.1")


async def test_http2_without_an_answer_is_a_problem() -> None:
    """HTTP/2 has the same document, and no `connection` field: it would make the reply malformed."""
    async with h2_client() as client:
        headers, body = await client.answer(await client.send(*fields(b"/silent")))

    assert headers[b":status"] == b"500"
    assert headers[b"content-type"] == PROBLEM.encode()
    assert b"connection" not in headers
    assert json.loads(body)["request_id"] == headers[b"x-request-id"].decode()


@pytest.mark.parametrize(
    "bad",
    [
        pytest.param(fields(b"/\xff"), id="bytes beyond ASCII in the path"),
        pytest.param(fields(b"/", b"G\xffT"), id="in the method"),
        pytest.param(((b":method", b"CONNECT"), (b":authority", b"127.0.0.1")), id="no path"),
    ],
)
async def test_http2_requests_that_hypercorn_fails_on(bad: tuple[tuple[bytes, bytes], ...]) -> None:
    """A stream that ends the whole connection in hypercorn is a 400, and the others of its connection go on."""
    async with h2_client() as client:
        headers, body = await client.answer(await client.send(*bad))
        good, _ = await client.answer(await client.send(*fields(b"/ok")))

    assert (headers[b":status"], headers[b"content-type"]) == (b"400", PROBLEM.encode())
    assert json.loads(body)["status"] == 400
    assert good[b":status"] == b"200"
    async with h2_client(serving_stock) as client:
        with pytest.raises(AssertionError, match="the server closed the connection"):
            await client.answer(await client.send(*bad))


async def test_http2_body_after_its_answer() -> None:
    """What comes of a body after its answer is dropped; in hypercorn it ends the other streams of the connection."""
    async with h2_client() as client:
        stream = await client.send(*fields(b"/ok", b"POST"), end=False)
        await client.answer(stream)
        client.connection.send_data(stream, b"late", end_stream=True)
        await client.flush()
        headers, body = await client.answer(await client.send(*fields(b"/ok")))

    assert (headers[b":status"], body) == (b"200", b"ok")
    async with h2_client(serving_stock) as client:
        stream = await client.send(*fields(b"/ok", b"POST"), end=False)
        await client.answer(stream)
        client.connection.send_data(stream, b"late", end_stream=True)
        await client.flush()
        with pytest.raises(AssertionError, match="the server closed the connection"):
            await client.answer(await client.send(*fields(b"/ok")))
