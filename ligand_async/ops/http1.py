"""HTTP/1.1: hypercorn's protocol on h11, with problem documents, stricter heads, and its faults mended.

What it answers to in hypercorn 0.18, none of it reported but where a number stands:

- A request that h11 refuses, a bad websocket handshake, and an app that ends without an answer get an empty body. Here
  they get a problem document.
- A head that does not end in time closes the connection without an answer. Here it gets a 408 (RFC 9110).
- `Upgrade: h2c` switches to HTTP/2 past the rules of a proxy (#317). Here it is ignored (RFC 9113 section 3.1), and
  HTTP/2 with prior knowledge is served only where the limits say so.
- The method is written in capitals. Here it stays as it was sent (RFC 9110 section 9.1).
- Two `Content-Length` fields of one value pass, because h11 makes one of them. Here they are refused; RFC 9110 section
  8.6 leaves the choice, and what stands before this server may have chosen otherwise.
- A websocket that sends before it is accepted, and is then refused, keeps its connection. Here it is closed.
- A response on a connection that ends soon does not say so. Here it has `Connection: close` while the server drains.

`tests/ops/test_hypercorn.py` compares hypercorn's code with the code that this was written for.
"""

from typing import Any

import h11
from hypercorn.events import Closed, Event
from hypercorn.protocol.events import Body, EndBody, Request, Response
from hypercorn.protocol.events import Event as StreamEvent
from hypercorn.protocol.h11 import STREAM_ID, H11Protocol, H11WSConnection
from hypercorn.protocol.ws_stream import ASGIWebsocketState, WSStream
from wsproto.frame_protocol import CloseReason

from ligand_async.ops.replies import OwnReply, is_own, reply_in_place_of
from ligand_async.ops.streams import RequestStream, ServerContext
from ligand_async.ops.websockets import WebsocketStream

_CLOSE = (b"connection", b"close")
_PREFACE = b"PRI * HTTP/2.0\r\n\r\n"  # the part of HTTP/2's that h11 takes for a request


class HTTP2Begun(Exception):
    """The connection is one of HTTP/2, with prior knowledge.

    Attributes:
        data: All that came, from the preface on.
    """

    def __init__(self, data: bytes) -> None:
        super().__init__()
        self.data = data


class _StrictConnection(h11.Connection):
    """h11 takes several `Content-Length` fields, and lists in one, for one if their values are equal."""

    is_over = False  # no request is read any more

    def next_event(self) -> Any:
        head = self.trailing_data[0] if self.their_state is h11.IDLE else b""
        event = super().next_event()
        if event is h11.PAUSED and self.is_over:
            return h11.NEED_DATA  # hypercorn would wait for the end of a response that has ended
        if isinstance(event, h11.Request) and _count_lengths(event, head) > 1:
            raise h11.RemoteProtocolError("more than one Content-Length")
        return event


def _count_lengths(request: h11.Request, head: bytes) -> int:
    if not any(name == b"content-length" for name, _ in request.headers):
        return 0
    count = 0
    for line in head.split(b"\n")[1:]:
        if not line.strip():
            break  # the end of the head
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            count += 1 + value.count(b",")
    return count


class HTTP1(H11Protocol):
    """One connection of HTTP/1.0 or HTTP/1.1."""

    context: ServerContext
    stream: RequestStream | WebsocketStream | None

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.connection = _StrictConnection(h11.SERVER, max_incomplete_event_size=self.config.h11_max_incomplete_size)

    async def handle(self, event: Event) -> None:
        """Handle what came on the connection.

        Raises:
            HTTP2Begun: It is not a connection of HTTP/1.
        """
        if isinstance(event, Closed) and self.connection.our_state is h11.IDLE and self.connection.trailing_data[0]:
            await self._send_error_response(408)
        await super().handle(event)

    async def stream_send(self, event: StreamEvent) -> None:
        """Send a part of the response."""
        stream = self.stream
        if not is_own(event):
            if isinstance(event, Response) and self.context.draining and event.status_code >= 200:
                event.headers[:] = [*(field for field in event.headers if field[0] != _CLOSE[0]), _CLOSE]
            await super().stream_send(event)
            if isinstance(event, EndBody) and isinstance(stream, WSStream):
                await self._end_refused(stream)
            return
        reply = reply_in_place_of(event, stream, self.client)
        headers = [*reply.headers, _CLOSE]
        if isinstance(stream, WSStream):
            headers.append((b"sec-websocket-version", b"13"))  # RFC 6455 section 4.4
        await super().stream_send(Response(event.stream_id, headers=headers, status_code=event.status_code))
        if stream is None or stream.scope.get("method") != "HEAD":
            await super().stream_send(Body(event.stream_id, data=reply.body))

    async def announce_end(self) -> None:
        """Say that the connection ends soon: the next response does."""

    async def end(self) -> None:
        """End the connection once the request that is being served is answered; a websocket is closed now."""
        if isinstance(self.stream, WebsocketStream):
            await self.stream.close(CloseReason.GOING_AWAY)

    async def refuse_unanswered(self) -> None:
        """Answer the request that the app has not begun to answer with a 503."""
        if isinstance(self.stream, RequestStream):
            await self.stream.refuse(503)

    async def _maybe_recycle(self) -> None:
        await super()._maybe_recycle()
        if isinstance(self.connection, _StrictConnection) and self.connection.our_state is not h11.IDLE:
            self.connection.is_over = True

    async def _end_refused(self, stream: WSStream) -> None:
        # A websocket that was refused before it was open; hypercorn would keep its connection.
        if stream.state is ASGIWebsocketState.HANDSHAKE:
            if stream.app_put is not None:  # the client sent before it was accepted, and the app may wait for more
                await stream.app_put({"type": "websocket.disconnect", "code": CloseReason.ABNORMAL_CLOSURE.value})
            await self.send(Closed())

    async def _send_error_response(self, status_code: int) -> None:
        if status_code == 431 and b"\n" not in self.connection.trailing_data[0]:
            status_code = 414  # h11 has one error for a long target and for long fields
        reply = OwnReply.make(status_code)
        reply.write_access(self.client)
        headers = [*reply.headers, _CLOSE, *self.config.response_headers("h11")]
        await self._send_h11_event(h11.Response(status_code=status_code, headers=headers))
        await self._send_h11_event(h11.Data(data=reply.body))
        await self._send_h11_event(h11.EndOfMessage())

    async def _check_protocol(self, event: h11.Request) -> None:
        if event.http_version != b"2.0" or event.method != b"PRI":
            return
        if self.context.limits.http2_cleartext:
            raise HTTP2Begun(_PREFACE + self.connection.trailing_data[0])

    async def _create_stream(self, request: h11.Request) -> None:
        if request.method == b"PRI" and request.http_version == b"2.0":
            await self._send_error_response(505)
            await self.send(Closed())
            return
        kind = WebsocketStream if _is_websocket(request) else RequestStream
        self.stream = stream = kind(
            self.app,
            self.config,
            self.context,
            self.task_group,
            self.ssl,
            self.client,
            self.server,
            self.stream_send,
            STREAM_ID,
        )
        if kind is WebsocketStream and isinstance(self.connection, h11.Connection):
            self.connection = H11WSConnection(self.connection)
        await stream.handle(
            Request(
                stream_id=STREAM_ID,
                headers=list(request.headers),
                http_version=request.http_version.decode(),
                method=request.method.decode("ascii"),
                raw_path=request.target,
                state=self.connection_state,
            )
        )
        self.keep_alive_requests += 1


def _is_websocket(request: h11.Request) -> bool:
    if request.method != b"GET":
        return False
    upgrade, connection = b"", b""
    for name, value in request.headers:
        if name == b"upgrade":
            upgrade = value.strip().lower()
        elif name == b"connection":
            connection += b"," + value.lower()
    return upgrade == b"websocket" and any(token.strip() == b"upgrade" for token in connection.split(b","))
