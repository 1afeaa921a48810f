"""HTTP/2 (RFC 9113): one connection on h2, with hypercorn's streams to the app.

It takes the place of hypercorn 0.18's `H2Protocol`, whose faults are of its making:

- Priorities move streams in a tree, a millisecond for each frame. Here they are ignored (RFC 9113 section 5.3.2).
- A body is copied whole before it is sent. Here it goes out in pieces as the windows allow, and the app waits.
- A connection without requests, or with a head that does not end, stays open. Here it has the time that HTTP/1 has.
- Frames that ask for nothing, and requests that are taken back at once (CVE-2023-44487), cost without limit. Here a
  connection has a budget for them, and each app task counts as a stream until it has ended.
- A request too many ends the connection. Here it is refused (REFUSED_STREAM), and the client may try again.
- A response that is cut is never ended. Here its stream is reset.
- Data of a stream that is answered already ends the connection (#329). Here it is dropped.
- A path or method beyond ASCII, or a missing path, ends the connection. Here the stream gets a 400.
"""

import asyncio
import contextlib
import re
from typing import Any

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.exceptions
import h2.settings
from hypercorn.config import Config
from hypercorn.events import Closed, Event, RawData, Updated
from hypercorn.protocol.events import (
    Body,
    Data,
    EndBody,
    EndData,
    InformationalResponse,
    Request,
    Response,
    StreamClosed,
    Trailers,
)
from hypercorn.protocol.events import Event as StreamEvent
from hypercorn.utils import filter_pseudo_headers
from hyperframe.frame import GoAwayFrame
from wsproto.frame_protocol import CloseReason

from ligand_async.ops.replies import OwnReply, is_own, reply_in_place_of
from ligand_async.ops.streams import RequestStream, ServerContext
from ligand_async.ops.websockets import WebsocketStream

PIECE = 16 * 1024  # bytes of a body in one frame
_READ_AT_ONCE = 4 * 1024  # bytes, so that the frames in them do not keep other connections waiting
_MAX_STREAM_ID = 2**31 - 1
_TOKEN = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")

# The budget: frames that ask for nothing, per second and at once. A request that is answered, and a full frame of a
# body, pay for some: a client opens windows as it reads.
_FREE_FRAMES = 2_000
_FREE_FRAMES_PER_SECOND = 100
_PAID_BY_RESPONSE = 10
_PAID_BY_PIECE = 2
_SMALL = 256  # bytes; a smaller part of a body asks for as much work as a large one

_IDLE_FRAMES = (
    h2.events.PriorityUpdated,
    h2.events.PingReceived,
    h2.events.RemoteSettingsChanged,
    h2.events.SettingsAcknowledged,
    h2.events.WindowUpdated,
    h2.events.StreamReset,
    h2.events.UnknownFrameReceived,
    h2.events.TrailersReceived,
)


class _Budget:
    """The frames that a client may still send without asking for anything."""

    def __init__(self, now: float) -> None:
        self._left = float(_FREE_FRAMES)
        self._since = now

    def pay(self, frames: int) -> None:
        self._left = min(self._left + frames, _FREE_FRAMES)

    def spend(self, now: float) -> bool:
        """Take one frame off, and return whether it was there."""
        self._left = min(self._left + (now - self._since) * _FREE_FRAMES_PER_SECOND, _FREE_FRAMES)
        self._since = now
        self._left -= 1
        return self._left >= 0


class HTTP2:
    """One connection of HTTP/2; its signature is that of hypercorn's protocols."""

    def __init__(
        self,
        app: Any,
        config: Config,
        context: ServerContext,
        task_group: Any,
        connection_state: Any,
        ssl: bool,
        client: tuple[str, int] | None,
        server: tuple[str, int] | None,
        send: Any,
    ) -> None:
        self.app = app
        self.config = config
        self.context = context
        self.task_group = task_group
        self.connection_state = connection_state
        self.ssl = ssl
        self.client = client
        self.server = server
        self.send = send
        self.streams: dict[int, RequestStream | WebsocketStream] = {}
        self.connection = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False, header_encoding=None))
        self._loop = asyncio.get_running_loop()
        self._budget = _Budget(self._loop.time())
        self._running = 0  # tasks of the app, also those whose streams have ended
        self._answered: set[int] = set()  # streams whose response is whole
        self._served = 0
        self._last_id = 0
        self._ending = False  # no more requests are taken
        self._closed = False
        self._opened = asyncio.Event()  # a window
        self._head_timer: asyncio.TimerHandle | None = None

    async def initiate(self) -> None:
        """Send the settings."""
        settings = {
            h2.settings.SettingCodes.MAX_CONCURRENT_STREAMS: self.config.h2_max_concurrent_streams,
            h2.settings.SettingCodes.MAX_HEADER_LIST_SIZE: self.config.h2_max_header_list_size,
            h2.settings.SettingCodes.ENABLE_CONNECT_PROTOCOL: 1,
        }
        self.connection.local_settings = h2.settings.Settings(client=False, initial_values=settings)
        self.connection.initiate_connection()
        # h2 would end the connection of a client that had not read the settings yet: `_open_stream` counts instead.
        del settings[h2.settings.SettingCodes.MAX_CONCURRENT_STREAMS]
        self.connection.local_settings = h2.settings.Settings(client=False, initial_values=settings)
        await self._flush()

    async def handle(self, event: Event) -> None:
        """Handle what came on the connection."""
        if isinstance(event, RawData):
            for start in range(0, len(event.data), _READ_AT_ONCE):
                if start:
                    await asyncio.sleep(0)
                if self._closed or not await self._receive(event.data[start : start + _READ_AT_ONCE]):
                    return
        elif isinstance(event, Closed):
            self._closed = True
            self._stop_head_timer()
            self._open_windows()
            for stream_id in list(self.streams):
                await self._close_stream(stream_id)

    async def _receive(self, data: bytes) -> bool:
        try:
            events = self.connection.receive_data(data)
        except h2.exceptions.ProtocolError:
            await self._flush()
            await self.send(Closed())
            return False
        for event in events:
            if self._is_idle_frame(event):
                await self._charge()
            if self._closed:
                return False
            await self._handle_event(event)
        self._watch_head()
        await self._flush()
        return True

    async def _charge(self) -> None:
        if not self._budget.spend(self._loop.time()):
            await self._go_away(self._last_id, h2.errors.ErrorCodes.ENHANCE_YOUR_CALM)
            await self.send(Closed())
            self._closed = True

    def _is_idle_frame(self, event: h2.events.Event) -> bool:
        if isinstance(event, h2.events.DataReceived):
            return event.flow_controlled_length < _SMALL and event.stream_ended is None
        return isinstance(event, _IDLE_FRAMES)

    async def _handle_event(self, event: h2.events.Event) -> None:
        match event:
            case h2.events.RequestReceived():
                await self._open_stream(event)
            case h2.events.DataReceived():
                stream = self.streams.get(event.stream_id)
                if stream is not None:
                    await stream.handle(Body(stream_id=event.stream_id, data=event.data))
                # The rest of a body whose response is complete is dropped.
                self.connection.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            case h2.events.StreamEnded():
                stream = self.streams.get(event.stream_id)
                if isinstance(stream, WebsocketStream):
                    await self._finish_stream(event.stream_id)
                elif stream is not None:
                    await stream.handle(EndBody(stream_id=event.stream_id))
            case h2.events.StreamReset():
                await self._close_stream(event.stream_id)
                self._answered.discard(event.stream_id)
                self._open_windows()
            case h2.events.WindowUpdated() | h2.events.RemoteSettingsChanged():
                self._open_windows()
            case h2.events.ConnectionTerminated():
                await self.send(Closed())

    # Requests.

    async def _open_stream(self, request: h2.events.RequestReceived) -> None:
        stream_id = request.stream_id
        if self._ending or self._running >= self.config.h2_max_concurrent_streams:
            await self._reset(stream_id, h2.errors.ErrorCodes.REFUSED_STREAM)
            await self._charge()
            return
        self._last_id = stream_id
        fields = dict(request.headers)
        method = fields[b":method"]
        reply = _refusal_of(method, fields)
        if reply is not None:
            await self._refuse(stream_id, reply)
            return
        kind = WebsocketStream if method == b"CONNECT" else RequestStream
        self.streams[stream_id] = stream = kind(
            self._run_app,
            self.config,
            self.context,
            self.task_group,
            self.ssl,
            self.client,
            self.server,
            self.stream_send,
            stream_id,
        )
        await self.send(Updated(idle=False))
        await stream.handle(
            Request(
                stream_id=stream_id,
                headers=filter_pseudo_headers(request.headers),
                http_version="2",
                method=method.decode("ascii"),
                raw_path=fields[b":path"],
                state=self.connection_state,
            )
        )
        if stream.app_put is not None:
            self._running += 1
        self._served += 1
        if self._served >= self.config.keep_alive_max_requests and not self._ending:
            self._ending = True
            await self._go_away(self._last_id)

    async def _refuse(self, stream_id: int, reply: OwnReply) -> None:
        reply.write_access(self.client)
        try:
            headers = [(b":status", b"%d" % reply.status), *reply.headers, *self.config.response_headers("h2")]
            self.connection.send_headers(stream_id, headers)
            self.connection.send_data(stream_id, reply.body, end_stream=True)
        except h2.exceptions.ProtocolError:
            await self._reset(stream_id, h2.errors.ErrorCodes.INTERNAL_ERROR)
        await self._flush()

    # Responses.

    async def stream_send(self, event: StreamEvent) -> None:
        """Send a part of a response; parts of a stream that has ended are dropped."""
        try:
            if is_own(event):
                stream = self.streams.get(event.stream_id)
                reply = reply_in_place_of(event, stream, self.client)
                await self._send_head(event.stream_id, reply.status, reply.headers)
                if stream is None or stream.scope.get("method") != "HEAD":
                    await self._send_body(event.stream_id, reply.body)
            elif isinstance(event, Response | InformationalResponse):
                await self._send_head(event.stream_id, event.status_code, event.headers)
            elif isinstance(event, Body | Data):
                await self._send_body(event.stream_id, event.data)
            elif isinstance(event, EndBody | EndData):
                self.connection.end_stream(event.stream_id)
                self._answered.add(event.stream_id)
                self._budget.pay(_PAID_BY_RESPONSE)
                await self._flush()
            elif isinstance(event, Trailers):
                self.connection.send_headers(event.stream_id, event.headers, end_stream=True)
                self._answered.add(event.stream_id)
                await self._flush()
            elif isinstance(event, StreamClosed):
                await self._finish_stream(event.stream_id)
        except h2.exceptions.ProtocolError:
            await asyncio.sleep(0)  # the stream or the connection has ended, and the app will hear of it

    async def _send_head(self, stream_id: int, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        self.connection.send_headers(
            stream_id, [(b":status", b"%d" % status), *headers, *self.config.response_headers("h2")]
        )
        await self._flush()

    async def _send_body(self, stream_id: int, data: bytes) -> None:
        left = memoryview(data)
        while left and not self._closed:
            connection = self.connection
            room = min(connection.local_flow_control_window(stream_id), connection.max_outbound_frame_size, PIECE)
            if room <= 0:
                try:
                    async with asyncio.timeout(self.context.limits.stall_timeout):
                        await self._opened.wait()
                except TimeoutError:
                    await self._reset(stream_id, h2.errors.ErrorCodes.CANCEL)
                    await self._close_stream(stream_id)
                continue
            connection.send_data(stream_id, left[:room].tobytes())
            if room >= _SMALL:
                self._budget.pay(_PAID_BY_PIECE)
            left = left[room:]
            await self._flush()
        if left:
            await asyncio.sleep(0)  # the connection has ended, and the app will hear of it

    def _open_windows(self) -> None:
        self._opened.set()
        self._opened = asyncio.Event()

    async def _finish_stream(self, stream_id: int) -> None:
        """End a stream whose response, websocket or app task has ended."""
        is_whole = stream_id in self._answered
        self._answered.discard(stream_id)
        stream = self.connection.streams.get(stream_id)
        if stream is not None and not stream.closed and not self._closed:
            # The response was cut; or it is whole, and the rest of the request is not wanted (RFC 9113 section 8.1).
            codes = h2.errors.ErrorCodes
            await self._reset(stream_id, codes.NO_ERROR if is_whole else codes.INTERNAL_ERROR)
        await self._close_stream(stream_id)

    async def _reset(self, stream_id: int, code: h2.errors.ErrorCodes) -> None:
        with contextlib.suppress(h2.exceptions.ProtocolError):  # the client may have reset it too
            self.connection.reset_stream(stream_id, code)
        await self._flush()

    async def _close_stream(self, stream_id: int) -> None:
        stream = self.streams.pop(stream_id, None)
        if stream is not None:
            await stream.handle(StreamClosed(stream_id=stream_id))
            await self._rest()

    # The connection.

    async def announce_end(self) -> None:
        """Say that the connection ends soon (RFC 9113 section 6.8); requests are still taken."""
        await self._go_away(_MAX_STREAM_ID)

    async def end(self) -> None:
        """Take no more requests, and end the connection once the others are answered; a websocket is closed now."""
        self._ending = True
        await self._go_away(self._last_id)
        for stream in list(self.streams.values()):
            if isinstance(stream, WebsocketStream):
                await stream.close(CloseReason.GOING_AWAY)
        await self._rest()

    async def refuse_unanswered(self) -> None:
        """Answer the requests that the app has not begun to answer with a 503."""
        for stream in list(self.streams.values()):
            if isinstance(stream, RequestStream):
                await stream.refuse(503)

    async def _rest(self) -> None:
        """Wait for the next request where none is being served, or end."""
        if self.streams or self._closed:
            return
        if self._ending:
            await self.send(Closed())
        else:
            await self.send(Updated(idle=True))

    async def _go_away(self, last_id: int, code: h2.errors.ErrorCodes = h2.errors.ErrorCodes.NO_ERROR) -> None:
        # h2 would send nothing more on the connection, not even the responses that are under way.
        await self._flush()
        await self.send(RawData(data=GoAwayFrame(0, last_stream_id=last_id, error_code=code).serialize()))

    def _watch_head(self) -> None:
        # HEADERS without an end may come while other streams are open, when the connection is not idle.
        if not self.connection.incoming_buffer._headers_buffer:
            self._stop_head_timer()
        elif self._head_timer is None:
            timeout = self.config.keep_alive_timeout
            self._head_timer = self._loop.call_later(timeout, self.task_group.spawn, self.send, Closed())

    def _stop_head_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    async def _run_app(self, scope: Any, receive: Any, send: Any, sync_spawn: Any, call_soon: Any) -> None:
        try:
            await self.app(scope, receive, send, sync_spawn, call_soon)
        finally:
            self._running -= 1

    async def _flush(self) -> None:
        data = self.connection.data_to_send()
        if data:
            await self.send(RawData(data=data))


def _refusal_of(method: bytes, fields: dict[bytes, bytes]) -> OwnReply | None:
    """Return the reply to a head of which no request can be made."""
    if method == b"CONNECT" and fields.get(b":protocol") != b"websocket":  # RFC 8441 section 4
        return OwnReply.make(501, "the method is not implemented")
    if not _TOKEN.fullmatch(method) or not fields.get(b":path", b"\xff").isascii():
        return OwnReply.make(400)
    return None
