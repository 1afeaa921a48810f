"""HTTP/1.1 on httptools, for plain requests; h11 (`http1.py`) serves the others.

A request is plain if llhttp and h11 read its head alike, and its body is empty or has one `Content-Length`. A request
with `Transfer-Encoding`, `Expect` or `Upgrade`, one that is neither HTTP/1.0 nor HTTP/1.1, one that httptools refuses,
and one that it takes but h11 does not (more spaces in the request line, a second `Host`), goes to h11 byte by byte, as
it came, and h11 keeps the connection. So h11 makes all refusals. Where a request ends is decided here, by the first
empty line and its one `Content-Length`, and not by llhttp: that skips the body of a request with `Connection: upgrade`,
which would then be read as the next request.

What arrives is read when it arrives, without a queue or a task between. A request is one task, and a response whose
parts come at once is one write.
"""

import asyncio
import re
from collections.abc import Callable
from functools import lru_cache
from typing import Any, Protocol
from urllib.parse import unquote

from hypercorn.asyncio.task_group import TaskGroup
from hypercorn.config import Config
from hypercorn.events import Closed, Event, RawData

from ligand_async.ops.http1 import HTTP1
from ligand_async.ops.logs import ASGIApp
from ligand_async.ops.replies import OwnReply
from ligand_async.ops.streams import ServerContext
from ligand_async.protocols import SERVED_REQUEST

try:
    import httptools
except ImportError:  # the platform has none
    HAS_HTTPTOOLS = False
else:
    HAS_HTTPTOOLS = True

_AHEAD = 64 * 1024  # bytes of a body that the app has not read, or of later requests, until the client has to wait
_WRITE_AT_ONCE = 64 * 1024  # bytes
_HEAD_END = re.compile(rb"\n\r?\n")  # h11's; llhttp then refuses a line that ends in LF alone
_TARGET = re.compile(rb"[!-~]+")
_TOKEN = re.compile(rb"[-!#$%&'*+.^_`|~0-9a-zA-Z]+")
_UNFIT = re.compile(rb"[\0\v\f]")  # where a field's value stands; CR and LF are counted
_LONGEST_LENGTH = 18  # digits
_DECIDING = frozenset({b"host", b"content-length", b"connection", b"expect", b"upgrade", b"transfer-encoding"})
_BODILESS = frozenset({204, 304})


class ServedConnection(Protocol):
    """The connection as this protocol sees it. `connections.py` has it, and imports this module."""

    app: ASGIApp
    config: Config
    context: ServerContext
    group: TaskGroup
    transport: asyncio.Transport
    is_closing: bool

    def note(self, *, idle: bool) -> None:
        """Note whether a request is being served; an idle connection is closed when the server ends."""

    async def write(self, data: bytes) -> None:
        """Write, and wait where the client does not read; nothing is written once the connection ends."""

    def close(self) -> None:
        """Write no more, and end the connection."""

    def fall_back(self, data: bytes) -> HTTP1:
        """Let h11 have the connection, and read the data before all that follows; return its protocol."""


class PlainHTTP1(asyncio.Protocol):
    """One connection of HTTP/1.0 or HTTP/1.1, as long as its requests are plain.

    It is the protocol of the transport, and passes on what it does not use itself.

    Args:
        connection: Served.
        base: The members of all requests' scopes: scheme, client, server, state.
        streams: The protocol of the transport before, which has it again when h11 gets the connection.
    """

    def __init__(
        self, connection: ServedConnection, base: dict[str, Any], streams: asyncio.StreamReaderProtocol
    ) -> None:
        self.connection = connection
        self.keep_alive_requests = 0
        self.missing = 0  # bytes of the body of the request that have not come
        self._base = base
        self._streams = streams
        self._stream: _PlainStream | None = None  # whose response is being made
        self._received = bytearray()  # a head without its end, or what came after a request
        self._searched = 0  # bytes of it that do not hold the end of a head
        self._is_paused = False

    # The protocol of the transport.

    def data_received(self, data: bytes) -> None:
        """Read what came: a head, a part of a body, or a request that has to wait."""
        if self.connection.is_closing:
            return
        stream = self._stream
        if stream is None:
            self._read(data)
            return
        if self.missing:
            part = data[: self.missing]
            self.missing -= len(part)
            stream.fill(part, is_whole=not self.missing)
            data = data[len(part) :]
        self._received += data
        if stream.unread > _AHEAD or len(self._received) > _AHEAD:
            self.pause()

    def eof_received(self) -> bool | None:
        """End the connection: a client that sends no more is gone."""
        return self._streams.eof_received()

    def connection_lost(self, error: Exception | None) -> None:
        """End the connection."""
        self._streams.connection_lost(error)

    def pause_writing(self) -> None:
        """Let `write` wait."""
        self._streams.pause_writing()

    def resume_writing(self) -> None:
        """Let `write` go on."""
        self._streams.resume_writing()

    # The protocol of the connection.

    async def initiate(self) -> None:
        """Begin."""

    async def handle(self, event: Event) -> None:
        """Handle the end of the connection, or what came before this was the protocol of the transport."""
        if isinstance(event, RawData):
            self.data_received(event.data)
        elif isinstance(event, Closed) and self._stream is not None:
            self._stream.leave()
        elif self._received:  # a head that did not end in time
            other = self.connection.fall_back(b"")
            await other.handle(RawData(bytes(self._received)))
            await other.handle(event)

    async def announce_end(self) -> None:
        """Say that the connection ends soon: the next response does."""

    async def end(self) -> None:
        """End the connection once the request that is being served is answered."""

    async def refuse_unanswered(self) -> None:
        """Answer the request that the app has not begun to answer with a 503."""
        if self._stream is not None:
            self._stream.refuse(503)

    # Requests.

    def _read(self, data: bytes) -> None:
        if self._received:
            self._received += data
            data = bytes(self._received)
        ended = _HEAD_END.search(data, self._searched)
        if ended is None:
            if data[0] <= 0x20 or len(data) > self.connection.config.h11_max_incomplete_size:
                self._fall_back(data)
            else:
                self._searched = max(0, len(data) - 2)
                self._received = self._received or bytearray(data)
            return
        self._searched = 0
        end = ended.end()
        head = None if end > self.connection.config.h11_max_incomplete_size else _read_head(data[:end])
        if head is None:
            self._fall_back(data)
            return
        body = data[end : end + head.length]
        self._received = bytearray(data[end + head.length :]) if len(data) > end + head.length else bytearray()
        self.missing = head.length - len(body)
        self.keep_alive_requests += 1
        keep = head.keep and self.keep_alive_requests < self.connection.config.keep_alive_max_requests
        self._stream = stream = _PlainStream(self, head, self._base, keep=keep)
        stream.fill(body, is_whole=not self.missing)
        self.connection.note(idle=False)
        self.connection.group.spawn(stream.serve)

    def _fall_back(self, data: bytes) -> None:
        self._resume()
        self.connection.fall_back(data).keep_alive_requests = self.keep_alive_requests

    def go_on(self, stream: "_PlainStream") -> None:
        """Begin with the next request, or wait for one; the response of the last one is whole, or cannot be."""
        if self._stream is not stream:
            return
        self._stream = None
        connection = self.connection
        if not stream.keep or self.missing or not stream.ended:
            connection.close()
        else:
            connection.note(idle=True)
        self._resume()
        if self._received and not connection.is_closing:
            data, self._received = bytes(self._received), bytearray()
            self._read(data)

    def pause(self) -> None:
        """Let the client wait."""
        if not self._is_paused and not self.connection.transport.is_closing():
            self._is_paused = True
            self.connection.transport.pause_reading()

    def resume_if_read(self) -> None:
        """Let the client send again, once the app has read what came."""
        if self._is_paused and len(self._received) <= _AHEAD:
            self._resume()

    def _resume(self) -> None:
        if self._is_paused and not self.connection.transport.is_closing():
            self._is_paused = False
            self.connection.transport.resume_reading()


class _Head:
    """The head of a plain request; httptools calls its methods."""

    __slots__ = ("fields", "keep", "length", "method", "target", "version")

    def __init__(self) -> None:
        self.target = b""
        self.fields: list[tuple[bytes, bytes]] = []
        self.length = 0
        self.keep = True
        self.method = self.version = ""

    def on_url(self, target: bytes) -> None:
        self.target += target

    def on_header(self, name: bytes, value: bytes) -> None:
        self.fields.append((name.lower(), value.rstrip(b" \t")))


def _read_head(text: bytes) -> _Head | None:
    """Read a head to its end; None if the request is not plain."""
    head = _Head()
    parser = httptools.HttpRequestParser(head)
    try:
        parser.feed_data(text)
    except (httptools.HttpParserError, httptools.HttpParserUpgrade):
        return None
    method = parser.get_method()
    head.method, head.version = method.decode("ascii"), parser.get_http_version()
    # llhttp also takes more spaces in the request line, and other protocols.
    line = b"%b %b HTTP/%b\r\n" % (method, head.target, head.version.encode("ascii"))
    if not text.startswith(line) or not _TARGET.fullmatch(head.target):
        return None
    return head if head.version in {"1.0", "1.1"} and _is_plain(head) else None


def _is_plain(head: _Head) -> bool:
    hosts = lengths = 0
    for name, value in head.fields:
        if name not in _DECIDING:
            continue
        if name == b"host":
            hosts += 1
        elif name == b"connection":
            head.keep = head.keep and not _has_close(value)
        elif name == b"content-length" and value.isdigit() and len(value) <= _LONGEST_LENGTH:
            lengths += 1
            head.length = int(value)
        else:
            return False
    if head.version == "1.0":
        head.keep = False
        return hosts <= 1 and lengths <= 1
    return hosts == 1 and lengths <= 1


def _has_close(value: bytes) -> bool:
    return any(token.strip() == b"close" for token in value.lower().split(b","))


class _PlainStream:
    """One plain request and its response; it is the `ServedRequest` of its scope."""

    __slots__ = (
        "_arrived",
        "_begun",
        "_connection",
        "_flushing",
        "_gone",
        "_has_chunks",
        "_head",
        "_is_silent",
        "_is_told",
        "_is_whole",
        "_left",
        "_on_leave",
        "_parts",
        "_protocol",
        "_status",
        "ended",
        "keep",
        "scope",
        "unread",
    )

    def __init__(self, protocol: PlainHTTP1, head: _Head, base: dict[str, Any], *, keep: bool) -> None:
        path, _, query = head.target.partition(b"?")
        text = path.decode("ascii")
        self._protocol = protocol
        self._connection = protocol.connection
        self.scope: dict[str, Any] = {
            **base,
            "type": "http",
            "http_version": head.version,
            "asgi": {"spec_version": "2.1", "version": "3.0"},
            "method": head.method,
            "path": unquote(text) if "%" in text else text,
            "raw_path": path,
            "query_string": query,
            "headers": head.fields,
            "state": base["state"].copy(),
            "extensions": {SERVED_REQUEST: self},
        }
        self.keep = keep
        self.unread = 0  # bytes of the body
        self.ended = False  # the response is whole
        self._parts: list[bytes] = []
        self._is_whole = False  # all of the body has come
        self._is_told = False  # and the app knows
        self._gone = False  # the client has left
        self._begun = False  # a byte of the response was written
        self._status: int | None = None
        self._head = b""  # of the response, before it is written
        self._flushing: asyncio.Handle | None = None
        self._has_chunks = False
        self._is_silent = False  # a response without a body
        self._left: int | None = None  # bytes of the body, as Content-Length has it
        self._arrived: asyncio.Event | None = None  # made for an app that waits
        self._on_leave: Callable[[], None] | None = None

    async def serve(self) -> None:
        """Let the app answer."""
        try:
            await self._connection.app(self.scope, self.receive, self.send)
        except Exception:  # noqa: BLE001  (this is the outermost layer, and it is logged)
            await self._connection.config.log.exception("Error in ASGI Framework")
        finally:
            self._on_leave = None
            self.scope["extensions"].pop(SERVED_REQUEST, None)  # a reference to itself
            if not self.ended and not self._gone:
                self.refuse(500)
            self._protocol.go_on(self)

    # The request.

    def fill(self, part: bytes, *, is_whole: bool) -> None:
        """Take a part of the body."""
        if part:
            self._parts.append(part)
            self.unread += len(part)
        self._is_whole = is_whole
        self._wake()

    def leave(self) -> None:
        """Note that the client has left."""
        self._gone = True
        self._parts.clear()
        self._wake()
        callback, self._on_leave = self._on_leave, None
        if callback is not None and not self.ended:
            callback()

    def _wake(self) -> None:
        if self._arrived is not None:
            self._arrived.set()

    async def receive(self) -> dict[str, Any]:
        """Return a part of the body, or that the client has left; wait for either."""
        while not (self._gone or self.ended):
            if self._parts or (self._is_whole and not self._is_told):
                return {"type": "http.request", "body": self._take_parts(), "more_body": not self._is_told}
            self._arrived = self._arrived or asyncio.Event()
            self._arrived.clear()
            await self._arrived.wait()
        return {"type": "http.disconnect"}

    def _take_parts(self) -> bytes:
        body = self._parts[0] if len(self._parts) == 1 else b"".join(self._parts)
        self._parts.clear()
        self.unread = 0
        self._is_told = self._is_whole
        self._protocol.resume_if_read()
        return body

    def take_body(self) -> bytes | None:
        """Return the body, as `ServedRequest` has it."""
        return self._take_parts() if self._is_whole and not self._is_told and not self._gone else None

    def call_when_left(self, callback: Callable[[], None]) -> None:
        """Call a function when the client leaves, as `ServedRequest` has it."""
        if self._gone:
            asyncio.get_running_loop().call_soon(callback)
        else:
            self._on_leave = callback

    # The response.

    async def send(self, message: Any) -> None:
        """Write a part of the response.

        Raises:
            RuntimeError: The messages are not a response.
            ValueError: Its head cannot be written.
        """
        if self._is_cut():
            await asyncio.sleep(0)  # or an app that only sends would never hear of it
            return
        kind = message["type"]
        if kind == "http.response.start" and self._status is None:
            self._start(int(message["status"]), message.get("headers", ()))
        elif kind == "http.response.body" and self._status is not None and not self.ended:
            is_last = not message.get("more_body", False)
            await self._write(bytes(message.get("body", b"")), is_last=is_last)
        else:
            raise RuntimeError(f"{kind} is not expected {'after' if self.ended else 'at this point of'} the response")

    def _is_cut(self) -> bool:
        # uvloop raises an error where something is written to a connection that has ended.
        return self._gone or self._connection.is_closing or self._connection.transport.is_closing()

    def _start(self, status: int, headers: Any) -> None:
        """Make the head, which is written with the first part of the body, or in the next turn of the loop."""
        if not 200 <= status <= 999:
            raise ValueError(f"{status} is not the status of a response")
        is_bodiless = status in _BODILESS
        lines = [b"HTTP/1.1 %d " % status]
        length: int | None = None
        for name, value in headers:
            written = _name_of(bytes(name))
            if written == b"content-length: ":
                if length is not None or not value.isdigit():
                    raise ValueError("the response has no valid Content-Length")
                length = int(value)
            elif written == b"connection: ":
                self.keep = self.keep and not _has_close(value)
                continue
            elif written == b"transfer-encoding: ":
                continue
            lines.append(written + bytes(value).strip())
        self._is_silent = is_bodiless or self.scope["method"] == "HEAD"
        if length is None and not is_bodiless:
            if self.scope["http_version"] == "1.1":
                lines.append(b"transfer-encoding: chunked")
                self._has_chunks = not self._is_silent
        elif not self._is_silent:
            self._left = length
        lines.append(self._connection.context.date_line())
        head = b"\r\n".join(lines)
        if head.count(b"\n") != len(lines) - 1 or head.count(b"\r") != len(lines) - 1 or _UNFIT.search(head):
            raise ValueError("a header of the response holds a character that ends it")
        self._status, self._head = status, head
        self._flushing = asyncio.get_running_loop().call_soon(self._flush)

    def _end_head(self, *, is_last: bool) -> bytes:
        """Return what is left of the head; the connection ends if it may, or if the body is not waited for."""
        if self._flushing is None:
            return b""
        self._flushing.cancel()
        self._flushing = None
        self._begun = True
        if self._connection.context.draining or (is_last and self._protocol.missing):
            self.keep = False
        return self._head + (b"\r\n\r\n" if self.keep else b"\r\nconnection: close\r\n\r\n")

    def _flush(self) -> None:
        if not self._is_cut():
            self._connection.transport.write(self._end_head(is_last=False))

    async def _write(self, body: bytes, *, is_last: bool) -> None:
        if self._is_silent:
            body = b""
        elif self._left is not None:
            self._left -= len(body)
            if self._left < 0 or (is_last and self._left):
                raise RuntimeError("the body of the response is not as long as its Content-Length")
        head = self._end_head(is_last=is_last)
        if self._has_chunks:
            if body:
                head += b"%x\r\n" % len(body)
                body += b"\r\n"
            if is_last:
                body += b"0\r\n\r\n"
        if len(body) > _WRITE_AT_ONCE:
            await self._connection.write(head)
            await self._connection.write(body)
        elif head or body:
            await self._connection.write(head + body)
        if is_last:
            self.ended = True
            self._protocol.go_on(self)

    def refuse(self, status: int) -> None:
        """Answer in the place of an app that has not begun to."""
        self.keep = False
        if self._begun or self.ended or self._is_cut():
            return
        if self._flushing is not None:
            self._flushing.cancel()
            self._flushing = None
        self._begun = self.ended = self._gone = True  # what the app still sends is dropped
        reply = OwnReply.make(status)
        lines = [b"HTTP/1.1 %d " % status, *(name + b": " + value for name, value in reply.headers)]
        lines += [self._connection.context.date_line(), b"connection: close", b"", b""]
        body = b"" if self.scope["method"] == "HEAD" else reply.body
        self._connection.transport.write(b"\r\n".join(lines) + body)


@lru_cache(maxsize=1000)
def _name_of(name: bytes) -> bytes:
    bare = name.strip()
    if not _TOKEN.fullmatch(bare):
        raise ValueError("the name of a header of the response is not a token")
    return bare.lower() + b": "
