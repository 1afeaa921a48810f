"""The parts that all protocols have in common: the limits and the state of their server, and one request's stream."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from email.utils import formatdate
from typing import Any, Literal

from hypercorn.asyncio.worker_context import WorkerContext
from hypercorn.protocol.events import Request, StreamClosed
from hypercorn.protocol.http_stream import ASGIHTTPState, HTTPStream

from ligand_async.protocols import SERVED_REQUEST


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of a server's connections that hypercorn's configuration does not have.

    Attributes:
        connections: The most at once.
        stall_timeout: Seconds in which a client must take a part of its response; None for no limit.
        http2_cleartext: Serve HTTP/2 without TLS, to clients that begin with it.
        http1_reader: Which library reads the plain requests of HTTP/1; h11 reads the others.
    """

    connections: int = 10_000
    stall_timeout: float | None = 60.0
    http2_cleartext: bool = False
    http1_reader: Literal["httptools", "h11"] = "httptools"


class ServerContext(WorkerContext):
    """The state of a server that its protocols see; hypercorn's classes get it as their context.

    Attributes:
        limits: The server's.
        draining: The server is about to stop: every response says that its connection ends.
        terminated: Set when no more connections are accepted: one that is idle ends.
    """

    def __init__(self, limits: Limits) -> None:
        super().__init__(None)
        self.limits = limits
        self.draining = False
        self._second = 0
        self._date = b""

    def date_line(self) -> bytes:
        """Return the header `Date` as it is written, which is made once a second."""
        now = int(time.time())
        if now != self._second:
            self._second, self._date = now, b"date: " + formatdate(now, usegmt=True).encode("ascii")
        return self._date


class RequestStream(HTTPStream):
    """One request and its response.

    In hypercorn 0.18 a body that the app does not read keeps the app's task for ever: the queue is full in which it
    waits to put the disconnect.

    It is the `ServedRequest` of its scope.
    """

    _on_leave: Callable[[], None] | None = None

    async def handle(self, event: Any) -> None:
        """Give an event of the connection to the app."""
        if isinstance(event, StreamClosed):
            drop_unread(self)
            self._note_left()
        await super().handle(event)
        if isinstance(event, Request):  # the app's task is there, and has not begun
            extensions: dict[Any, Any] = self.scope["extensions"]
            extensions[SERVED_REQUEST] = self

    async def app_send(self, message: Any) -> None:
        """Take a message of the app; None when its task has ended."""
        if message is None:
            self._on_leave = None
        await super().app_send(message)

    def take_body(self) -> bytes | None:
        """Return None: the body comes by messages."""
        return None

    def call_when_left(self, callback: Callable[[], None]) -> None:
        """Call a function when the client leaves, as `ServedRequest` has it."""
        self._on_leave = callback
        if self.closed:
            asyncio.get_running_loop().call_soon(self._note_left)

    def _note_left(self) -> None:
        callback, self._on_leave = self._on_leave, None
        if callback is not None and self.state is not ASGIHTTPState.CLOSED:
            callback()

    async def refuse(self, status: int) -> None:
        """Answer in the place of an app that has not begun to."""
        if self.state is ASGIHTTPState.REQUEST:
            await self._send_error_response(status)


def drop_unread(stream: Any) -> None:
    """Drop what the app has not read."""
    queue = getattr(getattr(stream, "app_put", None), "__self__", None)
    while isinstance(queue, asyncio.Queue) and not queue.empty():
        queue.get_nowait()
