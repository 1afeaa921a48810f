"""An ASGI app that does as the path says, served by our protocols and by hypercorn's, and clients of it."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import h2.config
import h2.connection
import h2.events
from hyperframe.frame import Frame

from tests.http import WireReply, exchange_now, request
from tests.servers import serving_own
from tests.servers import serving_stock as serve_stock

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
    elif scope["path"] == "/method":
        await answer(send, scope["method"].encode())
    elif scope["path"] == "/large":
        await answer(send, LARGE)
    elif scope["path"] == "/endless":
        sending = asyncio.create_task(send_endlessly(send))
        await hold_until_left(scope, receive)
        sending.cancel()
    elif scope["path"] == "/cut":
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"half", "more_body": True})
    elif scope["path"] == "/length":
        await answer(send, b"%d" % len(await read_body(receive)))
    elif scope["path"] == "/hold":
        await hold_until_left(scope, receive)
    elif scope["path"] == "/echo":
        await echo(receive, send)
    elif scope["path"] == "/waiting":
        while (await receive())["type"] != "websocket.disconnect":
            pass
    elif scope["type"] == "websocket":
        await send({"type": "websocket.close"})


LARGE = bytes(2_000_000)
held: list[Any] = []  # the tasks of requests for `/hold` that have not ended


async def answer(send: Any, body: bytes) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]})
    await send({"type": "http.response.body", "body": body})


async def send_endlessly(send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    while True:
        await send({"type": "http.response.body", "body": bytes(100_000), "more_body": True})


async def read_body(receive: Any) -> bytes:
    body = b""
    while True:
        message = await receive()
        body += bytes(message.get("body", b""))
        if not message.get("more_body"):
            return body


async def hold_until_left(scope: Any, receive: Any) -> None:
    held.append(scope)
    try:
        while "disconnect" not in (await receive())["type"]:
            pass
    finally:
        held.remove(scope)


async def echo(receive: Any, send: Any) -> None:
    await receive()
    await send({"type": "websocket.accept"})
    while (message := await receive())["type"] == "websocket.receive":
        text = message["text"] if message["text"] is not None else message["bytes"].decode()
        await send({"type": "websocket.send", "text": f"{len(text)}"})
    closed_with.append(message["code"])


closed_with: list[int] = []  # the codes that the app has seen


def serving_ours(**options: Any) -> AbstractAsyncContextManager[int]:
    """Serve it with our protocols."""
    return serving_own(app, **options)


def serving_stock(**options: float) -> AbstractAsyncContextManager[int]:
    """Serve it as hypercorn does."""
    return serve_stock(app, **options)  # type: ignore[arg-type]  # any ASGI app will do


async def ask(port: int, *parts: bytes, **options: Any) -> WireReply:
    """Send bytes to a server in this loop."""
    return await asyncio.to_thread(exchange_now, f"http://127.0.0.1:{port}", *parts, **options)


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
        self.resets: dict[int, int] = {}

    async def send(self, *fields: tuple[bytes, bytes], end: bool = True) -> int:
        """Open a stream, and return its number."""
        stream: int = self.connection.get_next_available_stream_id()
        self.connection.send_headers(stream, list(fields), end_stream=end)
        await self.flush()
        return stream

    async def flush(self) -> None:
        self.writer.write(self.connection.data_to_send())
        await self.writer.drain()

    async def read_until(self, is_there: Callable[[], bool]) -> None:
        """Read until something has come."""
        async with asyncio.timeout(5):
            while not is_there():
                data = await self.reader.read(65536)
                assert data, "the server closed the connection"
                for event in self.connection.receive_data(data):
                    self.note(event)
                await self.flush()

    async def answer(self, stream: int) -> tuple[dict[bytes, bytes], bytes]:
        """Wait for the end of a stream's answer."""
        await self.read_until(lambda: stream in self.ended)
        return self.headers[stream], self.bodies.get(stream, b"")

    def note(self, event: Any) -> None:
        match event:
            case h2.events.StreamReset():
                self.resets[event.stream_id] = event.error_code
            case h2.events.ResponseReceived():
                self.headers[event.stream_id] = dict(event.headers)
            case h2.events.DataReceived():
                self.bodies[event.stream_id] = self.bodies.get(event.stream_id, b"") + event.data
                self.connection.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            case h2.events.StreamEnded():
                self.ended.add(event.stream_id)


@asynccontextmanager
async def h2_client(serve: Serve = serving_ours, **options: Any) -> AsyncIterator[H2Client]:
    """Speak HTTP/2, with prior knowledge, to the app under our protocol, or under hypercorn's own."""
    async with serve(**options) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        client = H2Client(reader, writer)
        await client.flush()
        try:
            yield client
        finally:
            writer.transport.abort()


def fields(path: bytes, method: bytes = b"GET") -> tuple[tuple[bytes, bytes], ...]:
    return (b":method", method), (b":path", path), (b":scheme", b"http"), (b":authority", b"127.0.0.1")


async def read_frames(reader: asyncio.StreamReader, *, seconds: float = 5.0) -> list[Frame]:
    """Read HTTP/2's frames to the end of the connection, or as long as some come within the time."""
    found: list[Frame] = []
    with contextlib.suppress(TimeoutError, asyncio.IncompleteReadError, ConnectionError):
        while True:
            async with asyncio.timeout(seconds):
                frame, length = Frame.parse_frame_header(memoryview(await reader.readexactly(9)))
                frame.parse_body(memoryview(await reader.readexactly(length)))
            found.append(frame)
    return found
