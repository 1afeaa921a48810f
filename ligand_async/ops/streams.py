"""The parts that all protocols have in common: the limits and the state of their server, and one request's stream."""

import asyncio
from dataclasses import dataclass
from typing import Any

from hypercorn.asyncio.worker_context import WorkerContext
from hypercorn.protocol.events import StreamClosed
from hypercorn.protocol.http_stream import ASGIHTTPState, HTTPStream


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of a server's connections that hypercorn's configuration does not have.

    Attributes:
        connections: The most at once.
        stall_timeout: Seconds in which a client must take a part of its response; None for no limit.
        http2_cleartext: Serve HTTP/2 without TLS, to clients that begin with it.
    """

    connections: int = 10_000
    stall_timeout: float | None = 60.0
    http2_cleartext: bool = False


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


class RequestStream(HTTPStream):
    """One request and its response.

    In hypercorn 0.18 a body that the app does not read keeps the app's task for ever: the queue is full in which it
    waits to put the disconnect.
    """

    async def handle(self, event: Any) -> None:
        """Give an event of the connection to the app."""
        if isinstance(event, StreamClosed):
            drop_unread(self)
        await super().handle(event)

    async def refuse(self, status: int) -> None:
        """Answer in the place of an app that has not begun to."""
        if self.state is ASGIHTTPState.REQUEST:
            await self._send_error_response(status)


def drop_unread(stream: Any) -> None:
    """Drop what the app has not read."""
    queue = getattr(getattr(stream, "app_put", None), "__self__", None)
    while isinstance(queue, asyncio.Queue) and not queue.empty():
        queue.get_nowait()
