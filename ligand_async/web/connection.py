"""One connection of the ASGI server to the app: a request, or a websocket (quart 0.22).

Quart makes two tasks for a request: one runs the handler, the other receives. Here the handler runs in the task that
the request came in. A task that receives is made when the handler waits for the body, and for requests that take longer
than 50 ms, because their clients may leave meanwhile: that cancels the handler, as in Quart.
"""

import asyncio
import logging
from functools import partial
from typing import Any

from quart import Quart, Request, Response, Websocket
from quart.asgi import ASGIHTTPConnection, ASGIWebsocketConnection
from quart.signals import websocket_received
from quart.wrappers.response import DataBody
from werkzeug.datastructures import Headers

from ligand_async.context import request_state
from ligand_async.draining import draining_of
from ligand_async.tasks import require_task
from ligand_async.web.guard import ResponseTimedOut
from ligand_async.web.request import StreamedBody

logger = logging.getLogger(__name__)

_WATCH_SECONDS = 0.05
_EVENT_STREAM = "text/event-stream"


class Watch:
    """Watches the clients of the requests that take longer than 50 to 100 ms, by one timer for all of them."""

    __slots__ = ("_loop", "_new", "_old")

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None  # in which the timer runs
        self._new: set[HTTPConnection] = set()
        self._old: set[HTTPConnection] = set()

    def enter(self, connection: "HTTPConnection") -> None:
        """Note a request that begins."""
        self._new.add(connection)
        loop = asyncio.get_running_loop()
        if self._loop is not loop:
            self._loop, self._old = loop, set()
            loop.call_later(_WATCH_SECONDS, self._turn, loop)

    def leave(self, connection: "HTTPConnection") -> None:
        """Forget a request that has ended."""
        self._new.discard(connection)
        self._old.discard(connection)

    def _turn(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._loop is not loop:
            return
        slow, self._old, self._new = self._old, self._new, set()
        if self._old:
            loop.call_later(_WATCH_SECONDS, self._turn, loop)
        else:
            self._loop = None
        for connection in slow:
            connection.watch()


class HTTPConnection(ASGIHTTPConnection):
    """Serves one request; Quart's own ends a slow response without a word, and lets a `SystemExit` end the server."""

    def __init__(self, app: Quart, scope: Any) -> None:
        super().__init__(app, scope)
        self._receiver: asyncio.Task[None] | None = None
        self._is_pulled = False
        self._has_left = False  # the client, or nothing more can be received
        self._is_watched = False
        self._sending: float | None = None  # seconds for the response that is being sent, before it is watched
        self._limit: asyncio.TimerHandle | None = None
        self._timed_out = False

    async def __call__(self, receive: Any, send: Any) -> None:
        """Serve the request.

        Raises:
            ResponseTimedOut: The response took longer than RESPONSE_TIMEOUT; a stream of events never does.
        """
        self._receive = receive
        self._task = require_task()
        self._request = request = self._create_request_from_scope(send)
        if isinstance(request.body, StreamedBody):
            request.body.begin, request.body.pull = self.receive, self._pull
        else:
            self.receive()
        watch: Watch = self.app.watch  # type: ignore[attr-defined]  # of LigandQuart, which is above this file
        watch.enter(self)
        try:
            await self.handle_request(request, send)
        except asyncio.CancelledError:
            if not (self._has_left or self._timed_out) or self._task.cancelling() > 1:
                raise
        finally:
            watch.leave(self)
            self._end()
        if self._timed_out:
            raise ResponseTimedOut(f"the response was not sent within {self._sending} s")
        receiver = self._receiver
        if receiver is not None and receiver.done() and not receiver.cancelled():
            receiver.result()

    def _end(self) -> None:
        if self._limit is not None:
            self._limit.cancel()
        if self._has_left or self._timed_out:
            self._task.uncancel()
        if self._receiver is not None and not self._receiver.done():
            self._receiver.remove_done_callback(self._leave)
            self._receiver.cancel()

    def receive(self) -> None:
        """Begin to receive the body, and then to wait for the client's leaving."""
        if self._receiver is None and not self._is_pulled:
            self._receiver = asyncio.create_task(self.handle_messages(self._request, self._receive))
            self._receiver.add_done_callback(self._leave)

    def watch(self) -> None:
        """Watch the client: it may leave, or be slow to take the response."""
        self._is_watched = True
        self.receive()
        if self._sending is not None:
            self._limit = asyncio.get_running_loop().call_later(self._sending, self._time_out)

    def _leave(self, _receiver: Any) -> None:
        if not self._timed_out:
            self._has_left = True
            self._task.cancel()

    def _time_out(self) -> None:
        if not self._has_left:
            self._timed_out = True
            self._task.cancel()

    async def _pull(self) -> None:
        """Receive the whole body in the task that wants it, unless it is received already."""
        if self._receiver is not None or self._is_pulled:
            return
        body = self._request.body
        self._is_pulled, is_whole = True, False
        try:
            while not (is_whole or body._complete.is_set()):  # it may have become too large
                message = await self._receive()
                if message["type"] == "http.disconnect":
                    self._leave(None)
                    await asyncio.get_running_loop().create_future()  # until the request is cancelled, which is now
                body.append(message.get("body", b""))
                is_whole = not message.get("more_body", False)
            body.set_complete()
        finally:
            self._is_pulled = False
            if not self._has_left and (self._is_watched or not is_whole):
                self.receive()  # the rest, and the client's leaving

    async def handle_messages(self, request: Request, receive: Any) -> None:
        """Pass the body on as it comes; Quart's does not wait for a handler that takes it in parts."""
        body = request.body
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            body.append(message.get("body", b""))
            if not message.get("more_body", False):
                body.set_complete()
            elif isinstance(body, StreamedBody) and body.room is not None:
                await body.wait_for_room()

    async def handle_request(self, request: Request, send: Any) -> None:
        """Serve the request, and send its response."""
        response: Any = await self.app.handle_request(request)
        body = response.response
        seconds = self.app.config["RESPONSE_TIMEOUT"]
        own = getattr(response, "timeout", ...)  # werkzeug's responses have none
        if type(body) is not DataBody:
            await self._send_stream(send, response, seconds if own is ... else own)
            return
        data = body.data if body.begin == 0 and body.end == len(body.data) else body.data[body.begin : body.end]
        start = {"type": "http.response.start", "status": response.status_code, "headers": _encode(response.headers)}
        self._sending = seconds if own is ... else own
        if self._is_watched:
            self.watch()
        await send(start)
        await send({"type": "http.response.body", "body": data, "more_body": False})

    async def _send_stream(self, send: Any, response: Any, seconds: float | None) -> None:
        if response.mimetype == _EVENT_STREAM:
            await self._send_events(send, response)
            return
        limit = asyncio.timeout(seconds)
        try:
            async with limit:
                await self._send_response(send, response)
        except TimeoutError as error:
            if limit.expired():
                raise ResponseTimedOut(f"the response was not sent within {seconds} s") from error
            raise

    async def _send_events(self, send: Any, response: Any) -> None:
        # Events have no end of their own: they end, as a whole response, when the service does.
        draining = draining_of(self.app)
        own = response.timeout if isinstance(response, Response) and response.timeout is not ... else None
        limit = asyncio.timeout(own)
        try:
            async with limit:
                draining.enter_stream(limit)
                await self._send_response(send, response)
        except TimeoutError as error:
            if not limit.expired():
                raise
            if not draining.streams_ended:
                raise ResponseTimedOut(f"the response was not sent within {own} s") from error
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            draining.leave_stream(limit)

    def _create_request_from_scope(self, send: Any) -> Request:
        scope: Any = self.scope
        path = scope["path"]
        if path[:1] != "/" or scope.get("root_path") or scope["http_version"] < "1.1":
            return super()._create_request_from_scope(send)
        fields = [("Remote-Addr", (scope.get("client") or _LOCAL)[0])]
        for name, value in scope["headers"]:
            title = _TITLES[name] if name in _TITLES else name.decode("latin-1").title()
            fields.append((title, value.decode("latin-1")))
        headers = Headers()
        headers._list = fields  # which `add` would check one by one; ASGI has nothing but bytes
        config = self.app.config
        return self.app.request_class(
            scope["method"],
            scope["scheme"],
            path,
            scope["query_string"],
            headers,
            "",
            scope["http_version"],
            max_content_length=config["MAX_CONTENT_LENGTH"],
            body_timeout=config["BODY_TIMEOUT"],
            send_push_promise=partial(self._send_push_promise, send),
            scope=scope,
        )


_LOCAL = ("<local>",)

_REQUEST_NAMES = """
accept accept-encoding accept-language access-control-request-headers access-control-request-method authorization
cache-control connection content-encoding content-length content-type cookie dnt expect forwarded host idempotency-key
if-match if-modified-since if-none-match if-range if-unmodified-since keep-alive last-event-id origin pragma priority
range referer sec-ch-ua sec-ch-ua-mobile sec-ch-ua-platform sec-fetch-dest sec-fetch-mode sec-fetch-site sec-fetch-user
te traceparent tracestate transfer-encoding upgrade-insecure-requests user-agent via x-forwarded-for x-forwarded-host
x-forwarded-port x-forwarded-prefix x-forwarded-proto x-real-ip x-request-id
"""
_RESPONSE_NAMES = """
Accept-Ranges Allow Cache-Control Content-Disposition Content-Encoding Content-Language Content-Length Content-Range
Content-Security-Policy Content-Type Deprecation ETag Idempotency-Replayed Last-Modified Link Location RateLimit
RateLimit-Policy Retry-After Set-Cookie Sunset Vary WWW-Authenticate X-Content-Type-Options X-Pagination X-Request-ID
"""
_TITLES = {name.encode(): name.title() for name in _REQUEST_NAMES.split()}
_NAMES = {name: name.lower().encode() for name in _RESPONSE_NAMES.split()}


def _encode(headers: Headers) -> list[tuple[bytes, bytes]]:
    """Return the fields of a response as ASGI has them."""
    return [(_NAMES[name] if name in _NAMES else name.lower().encode(), value.encode()) for name, value in headers]


_MESSAGE_OVERHEAD = 100  # bytes that a message costs besides its content
_UNREAD_SECONDS = 20.0  # in which a handler must receive, where its client has sent as much as may wait


class _Unread(asyncio.Queue[Any]):
    """The messages that a websocket's handler has not received, limited by their size."""

    def __init__(self, most: int) -> None:
        super().__init__()
        self._most = most
        self._size = 0

    def full(self) -> bool:
        return self._size >= self._most

    def _put(self, item: Any) -> None:
        self._size += len(item) + _MESSAGE_OVERHEAD
        super()._put(item)

    def _get(self) -> Any:
        item = super()._get()
        self._size -= len(item) + _MESSAGE_OVERHEAD
        return item


class WebsocketConnection(ASGIWebsocketConnection):
    """Quart's own collects the messages that the handler does not receive, as many as a client sends."""

    def __init__(self, app: Quart, scope: Any) -> None:
        super().__init__(app, scope)
        self._overrun = False
        self.queue = _Unread(app.config["MAX_CONTENT_LENGTH"] or 2**63)

    async def __call__(self, receive: Any, send: Any) -> None:
        """Serve one websocket."""
        await super().__call__(receive, send)
        if self._overrun:
            await send({"type": "websocket.close", "code": 1008})

    async def handle_messages(self, receive: Any) -> None:
        """Take the client's messages; while too many wait, the client waits, and in the end it is closed with 1008."""
        while (event := await receive())["type"] != "websocket.disconnect":
            if event["type"] != "websocket.receive":
                continue
            message = event.get("bytes") or event["text"]
            await websocket_received.send_async(message)
            try:
                async with asyncio.timeout(_UNREAD_SECONDS):
                    await self.queue.put(message)
            except TimeoutError:
                logger.warning("a websocket was closed: its handler did not receive for %g s", _UNREAD_SECONDS)
                self._overrun = True
                return


class LigandWebsocket(Websocket):
    """Answers the handshake with the subprotocol that was agreed on; Quart's answers with none unless the handler does.

    A browser that offered subprotocols then closes the websocket (WHATWG WebSockets, section 2).
    """

    async def accept(self, headers: Any = None, subprotocol: str | None = None) -> None:
        """Accept the websocket, once.

        Args:
            headers: More headers of the response.
            subprotocol: One of those that the client offered; None for the one that was agreed on, if any.
        """
        await super().accept(headers, subprotocol or request_state().subprotocol)
