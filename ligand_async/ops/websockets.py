"""Websockets: hypercorn's stream (RFC 6455), with an end to everything that hypercorn 0.18 leaves open.

- Messages are not compressed: 61 kB of compressed zeros were 60 MB of memory (permessage-deflate has no limit).
- A client that does not answer pings is gone. hypercorn sends pings and waits for nothing.
- A message that is too long ends the websocket; hypercorn goes on collecting it.
- Frames after the end, and messages of the app after it, are dropped; hypercorn ends the connection with a traceback.
- When the server stops, the client gets 1001 and the app its disconnect.
- A client that sends before it is accepted, and is then refused, is disconnected; hypercorn keeps its task for ever.
"""

import asyncio
from typing import Any

from hypercorn.protocol.events import Body, Data, StreamClosed
from hypercorn.protocol.events import Event as StreamEvent
from hypercorn.protocol.ws_stream import ASGIWebsocketState, WSStream
from hypercorn.typing import ASGISendEvent, WebsocketAcceptEvent
from wsproto.connection import ConnectionState
from wsproto.events import CloseConnection, Message, Ping
from wsproto.frame_protocol import CloseReason

from ligand_async.ops.streams import drop_unread

_READ_AT_ONCE = 4 * 1024  # bytes, so that many small frames do not keep other connections waiting
_CLOSE_TIMEOUT = 5.0  # seconds for the client to answer a close, and for the app to end


class WebsocketStream(WSStream):
    """One websocket, over HTTP/1.1 or HTTP/2."""

    _heard = True  # something came since the last ping
    _timer: asyncio.TimerHandle | None = None

    async def handle(self, event: StreamEvent) -> None:
        """Give an event of the connection to the websocket."""
        if isinstance(event, StreamClosed):
            drop_unread(self)
            self._stop_timer()
        elif isinstance(event, Body | Data) and self.handshake.accepted:
            self._heard = True
            for start in range(0, len(event.data), _READ_AT_ONCE):
                if start:
                    await asyncio.sleep(0)
                if not self.closed and self.connection.state in _READING:
                    self.connection.receive_data(event.data[start : start + _READ_AT_ONCE])
                    await self._handle_events()
            return
        elif isinstance(event, Body | Data) and self.app_put is not None:
            await self.app_put({"type": "websocket.disconnect", "code": CloseReason.ABNORMAL_CLOSURE.value})
        await super().handle(event)

    async def app_send(self, message: ASGISendEvent | None) -> None:
        """Take a message of the app; None when its task has ended."""
        if message is not None and self.state is ASGIWebsocketState.CLOSED:
            return
        await super().app_send(message)

    async def close(self, code: CloseReason) -> None:
        """Close the websocket from this side: the client gets the code, and the app its disconnect."""
        if self.closed or self.state is not ASGIWebsocketState.CONNECTED:
            return
        self.state = ASGIWebsocketState.CLOSED
        self._stop_timer()
        self._timer = asyncio.get_running_loop().call_later(_CLOSE_TIMEOUT, self._end)
        await self._send_wsproto_event(CloseConnection(code=code))
        drop_unread(self)
        if self.app_put is not None:
            await self.app_put({"type": "websocket.disconnect", "code": code.value})

    async def _handle_events(self) -> None:
        for event in self.connection.events():
            if isinstance(event, Message):
                if self.state is ASGIWebsocketState.CLOSED:
                    continue
                if self.buffer.length + len(event.data) > self.buffer.max_length:
                    self.buffer.clear()
                    await self.close(CloseReason.MESSAGE_TOO_BIG)
                    continue
                self.buffer.extend(event)
                if event.message_finished:
                    message = self.buffer.to_message()
                    self.buffer.clear()
                    if self.app_put is not None:
                        await self.app_put(message)
            elif isinstance(event, Ping):
                await self._send_wsproto_event(event.response())
            elif isinstance(event, CloseConnection):
                if self.connection.state is ConnectionState.REMOTE_CLOSING:
                    await self._send_wsproto_event(event.response())
                elif self.connection.state is ConnectionState.OPEN:  # a frame that is none
                    await self._send_wsproto_event(CloseConnection(code=event.code))
                await self.send(StreamClosed(stream_id=self.stream_id))

    async def _accept(self, message: WebsocketAcceptEvent) -> None:
        self.handshake.extensions = None
        await super()._accept(message)

    async def _send_pings(self) -> None:
        # hypercorn runs this as a task, which would outlive the websocket by one interval.
        self._set_ping_timer()

    def _set_ping_timer(self) -> None:
        interval = self.config.websocket_ping_interval
        if interval is not None and not self.closed and self.state is ASGIWebsocketState.CONNECTED:
            self._timer = asyncio.get_running_loop().call_later(interval, self._on_ping_timer)

    def _on_ping_timer(self) -> None:
        if not self._heard:
            self._end()
            return
        self._heard = False
        self._set_ping_timer()
        self.task_group.spawn(self._send_wsproto_event, Ping())

    def _end(self) -> None:
        if not self.closed:
            self.task_group.spawn(self.send, StreamClosed(stream_id=self.stream_id))

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


_READING: frozenset[Any] = frozenset({ConnectionState.OPEN, ConnectionState.LOCAL_CLOSING})
