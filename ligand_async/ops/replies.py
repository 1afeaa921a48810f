"""All overrides of hypercorn 0.18: bodies for the replies that it makes itself, and its faults that end connections.

`own_replies` puts two subclasses in the place of `H11Protocol` and `H2Protocol` in `hypercorn.protocol`, where
`ProtocolWrapper` looks them up. Nothing else of hypercorn is replaced. What they answer to:

- A request that h11 refuses, a bad websocket handshake, and an app that ends without an answer get an empty body. Here
  they get a problem document. Not reported: an empty body is what hypercorn means to send.
- A head that does not end in time closes the connection without an answer. Here it gets a 408 (RFC 9110). Not reported.
- `Upgrade: h2c` switches to HTTP/2 past the rules of a proxy (hypercorn #317). Here it is ignored (RFC 9113).
- A body that the app does not read keeps the connection's tasks for ever. Here the rest is dropped. Not reported.
- A websocket that sends before it is accepted, and is then refused, keeps them too. Here it is closed. Not reported.
- HTTP/2: data of a stream that is answered already ends the whole connection (hypercorn #329). Here it is dropped.
- HTTP/2: a path or method beyond ASCII, or a missing path, ends the whole connection (hypercorn #2 was the same in
  HTTP/1). Here the stream gets a 400.

`tests/ops/test_replies.py` compares hypercorn's code with the code that these classes were written for, and has for
each of them a test that fails on the day when hypercorn does better itself.
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeGuard

import h2.events
import h2.exceptions
import h11
import hypercorn.protocol
from hypercorn.events import Closed, Event
from hypercorn.protocol.events import Body, EndBody, Response, StreamClosed
from hypercorn.protocol.events import Event as StreamEvent
from hypercorn.protocol.h2 import H2Protocol
from hypercorn.protocol.h11 import H11Protocol
from hypercorn.protocol.ws_stream import ASGIWebsocketState, WSStream
from uuid_utils.compat import uuid7
from wsproto.frame_protocol import CloseReason

from ligand_async.errors import PROBLEM_JSON, SECURITY_HEADERS, problem_bytes, problem_for
from ligand_async.ops.logs import Access, client_of, path_of

_DETAILS = {
    400: "the request is not well-formed HTTP",
    408: "the request did not arrive in time",
    414: "the request target is too long",
    431: "the header fields are too long",
    501: "the transfer coding is not supported",
}


@dataclass(frozen=True, slots=True)
class _OwnReply:
    """A problem document of the server itself.

    Attributes:
        status: 400 or more.
        request_id: A new one; that of the request's header is not used.
        headers: For any version of HTTP.
        body: The document.
    """

    status: int
    request_id: str
    headers: list[tuple[bytes, bytes]]
    body: bytes

    @classmethod
    def make(cls, status: int, detail: str | None = None) -> "_OwnReply":
        """Make the reply.

        Args:
            status: The server's status.
            detail: The problem's detail; by default the one that belongs to the status.
        """
        identity = str(uuid7())
        problem = problem_for(status, detail or _DETAILS.get(status))
        body = problem_bytes(problem, request_id=identity)
        headers = [
            (b"content-type", PROBLEM_JSON.encode()),
            (b"content-length", b"%d" % len(body)),
            (b"cache-control", b"no-store"),
            *SECURITY_HEADERS,
            (b"x-request-id", identity.encode()),
        ]
        return cls(status, identity, headers, body)

    def write_access(self, client: Any, scope: Any = None) -> None:
        """Write a line to the access log for a request that never reached the app.

        Args:
            client: The peer's address.
            scope: The request's scope, if hypercorn made one.
        """
        access = Access(client=client_of(client), status=self.status, request_id=self.request_id, bytes=len(self.body))
        if scope is not None:
            access.method, access.path, access.http_version = "GET", path_of(scope), scope["http_version"]
        access.write()


_CLOSE = (b"connection", b"close")
_OWN_HEADERS = [(b"content-length", b"0"), _CLOSE]  # only hypercorn's own replies have exactly these
_BAD_HANDSHAKE = "the websocket handshake is not valid"


class _ProblemH11Protocol(H11Protocol):
    """HTTP/1, with problem documents."""

    async def handle(self, event: Event) -> None:
        """Answer a request whose head did not end with a 408 before the connection is closed."""
        if isinstance(event, Closed) and self.connection.our_state is h11.IDLE and self.connection.trailing_data[0]:
            await self._send_error_response(408)
        await super().handle(event)

    async def stream_send(self, event: StreamEvent) -> None:
        """Send a problem document in the place of a reply without a body that hypercorn made itself."""
        stream = self.stream
        if isinstance(event, StreamClosed):
            _forget_unread(stream)
        if not _is_own(event):
            await super().stream_send(event)
            if isinstance(event, EndBody) and isinstance(stream, WSStream):
                await self.end_websocket(stream)
            return
        reply = _reply_of(event.status_code, stream, self.client)
        headers = [*reply.headers, _CLOSE]
        if isinstance(stream, WSStream):
            headers.append((b"sec-websocket-version", b"13"))  # RFC 6455 section 4.4
        await super().stream_send(Response(event.stream_id, headers=headers, status_code=event.status_code))
        if stream is None or stream.scope.get("method") != "HEAD":
            await super().stream_send(Body(event.stream_id, data=reply.body))

    async def end_websocket(self, stream: WSStream) -> None:
        """Close the connection of a websocket that was refused before it was open; hypercorn would keep it."""
        if stream.state is ASGIWebsocketState.HANDSHAKE:
            if stream.app_put is not None:  # the client sent before it was accepted, and the app may wait for more
                await stream.app_put({"type": "websocket.disconnect", "code": CloseReason.ABNORMAL_CLOSURE.value})
            await self.send(Closed())

    async def _send_error_response(self, status_code: int) -> None:
        if status_code == 431 and b"\n" not in self.connection.trailing_data[0]:
            status_code = 414  # h11 has one error for a long target and for long fields
        reply = _OwnReply.make(status_code)
        reply.write_access(self.client)
        headers = [*reply.headers, _CLOSE, *self.config.response_headers("h11")]
        await self._send_h11_event(h11.Response(status_code=status_code, headers=headers))
        await self._send_h11_event(h11.Data(data=reply.body))
        await self._send_h11_event(h11.EndOfMessage())

    async def _check_protocol(self, event: h11.Request) -> None:
        # `Upgrade: h2c` is ignored, as RFC 9113 wants it: it carries requests past proxies.
        if event.method == b"PRI":
            await super()._check_protocol(event)


class _ProblemH2Protocol(H2Protocol):
    """HTTP/2, with problem documents."""

    async def stream_send(self, event: StreamEvent) -> None:
        """Send a problem document in the place of a reply without a body that hypercorn made itself."""
        stream = self.streams.get(event.stream_id)
        if isinstance(event, StreamClosed):
            _forget_unread(stream)
        if not _is_own(event):
            await super().stream_send(event)
            return
        reply = _reply_of(event.status_code, stream, self.client)
        await super().stream_send(Response(event.stream_id, headers=reply.headers, status_code=event.status_code))
        if stream is None or stream.scope.get("method") != "HEAD":
            await super().stream_send(Body(event.stream_id, data=reply.body))

    async def _handle_events(self, events: list[h2.events.Event]) -> None:
        for event in events:
            if isinstance(event, h2.events.DataReceived) and event.stream_id not in self.streams:
                # The rest of a body whose answer is complete: hypercorn would end all streams of the connection.
                self.connection.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                await self._flush()
            else:
                await super()._handle_events([event])

    async def _create_stream(self, request: h2.events.RequestReceived) -> None:
        if _is_usable(request.headers):
            await super()._create_stream(request)
            return
        # hypercorn would end the connection with a traceback in the log.
        reply = _OwnReply.make(400)
        reply.write_access(self.client)
        try:
            status = (b":status", b"%d" % reply.status)
            headers = [status, *reply.headers, *self.config.response_headers("h2")]
            self.connection.send_headers(request.stream_id, headers)
            self.connection.send_data(request.stream_id, reply.body, end_stream=True)
        except h2.exceptions.ProtocolError:
            self.connection.reset_stream(request.stream_id)
        await self._flush()


def _is_own(event: StreamEvent) -> TypeGuard[Response]:
    return isinstance(event, Response) and event.headers == _OWN_HEADERS


def _reply_of(status: int, stream: Any, client: Any) -> _OwnReply:
    """Return the reply to a request, and log a websocket that never reached the app, which the access log misses."""
    if not isinstance(stream, WSStream) or stream.app_put is not None:
        return _OwnReply.make(status)
    reply = _OwnReply.make(status, _BAD_HANDSHAKE)
    reply.write_access(client, stream.scope)
    return reply


def _forget_unread(stream: Any) -> None:
    """Drop the part of a body that the app did not read before it answered.

    hypercorn waits for room in the queue to put the end of the connection into it, and would wait for ever.
    """
    queue = getattr(getattr(stream, "app_put", None), "__self__", None)
    while isinstance(queue, asyncio.Queue) and not queue.empty():
        queue.get_nowait()


def _is_usable(headers: Any) -> bool:
    """Return whether hypercorn can make a request of these HTTP/2 fields."""
    fields = dict(headers)
    return b":path" in fields and fields[b":path"].isascii() and fields[b":method"].isascii()


@contextmanager
def own_replies() -> Iterator[None]:
    """Let hypercorn answer with problem documents in this process while the context lasts."""
    wrapper: Any = hypercorn.protocol  # the module of ProtocolWrapper
    stock = wrapper.H11Protocol, wrapper.H2Protocol
    wrapper.H11Protocol, wrapper.H2Protocol = _ProblemH11Protocol, _ProblemH2Protocol
    try:
        yield
    finally:
        wrapper.H11Protocol, wrapper.H2Protocol = stock
