"""The connections of a server: accepted, capped in number, limited in time, and ended.

`Connections` takes the place of asyncio's server and of hypercorn's `TCPServer`. Each connection speaks by a protocol
object: `HTTP1`, or `HTTP2` where TLS has agreed on it or the client begins with it. A protocol has the signature of
hypercorn 0.18's, and `announce_end`, `end` and `refuse_unanswered` besides. It sends hypercorn's events: `RawData` is
written, `Updated` says whether a request is being served, `Closed` ends the connection.

What hypercorn 0.18 leaves open: a connection whose client has closed it is kept for five seconds more, one whose client
reads nothing for ever; and under Python 3.12 and later an open one keeps the process from ending.
"""

import asyncio
import contextlib
import logging
import resource
import socket
import ssl
import sys
import time
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from hypercorn.app_wrappers import ASGIWrapper
from hypercorn.asyncio.task_group import TaskGroup
from hypercorn.config import Config
from hypercorn.events import Closed, Event, RawData, Updated
from hypercorn.typing import ConnectionState
from hypercorn.utils import parse_socket_addr

from ligand_async.ops.http1 import HTTP1, HTTP2Begun
from ligand_async.ops.http2 import HTTP2
from ligand_async.ops.logs import ASGIApp
from ligand_async.ops.plain_http1 import HAS_HTTPTOOLS, PlainHTTP1
from ligand_async.ops.streams import Limits, ServerContext

logger = logging.getLogger(__name__)

_Kind = TypeVar("_Kind", HTTP1, HTTP2)

_READ_AT_ONCE = 64 * 1024  # bytes
_WRITE_AT_ONCE = 64 * 1024  # bytes
_ACCEPT_AT_ONCE = 128  # connections per turn of the loop; uvloop itself accepts one, and others starve meanwhile
_ACCEPT_PAUSE = 0.1  # seconds, where the process can open no more files
_LOG_INTERVAL = 1.0  # seconds between two log lines about connections that could not be accepted
_TELL_TIMEOUT = 0.5  # seconds for what connections are told when the server stops
_ABORT_TIMEOUT = 0.2  # seconds for the app to hear that its client is gone, and then for its cancellation
_LINGER = 1.0  # seconds in which what a client still sends is dropped, so that it can read the last response
_FLUSH_TIMEOUT = 5.0  # seconds without progress, for what is written when a connection ends
_SPARE_FILES = 8  # one in eight of the files that the process may open is not for connections


_Context = Callable[[], ssl.SSLContext]


class Connections:
    """All connections of one server.

    Args:
        app: Served.
        config: hypercorn's; the limits of the protocols are read from it.
        limits: The others.
        state: Of the app's lifespan.
    """

    def __init__(self, app: ASGIApp, config: Config, limits: Limits, state: dict[str, Any] | None = None) -> None:
        self.app = app
        self.config = config
        self.context = ServerContext(limits)
        self.state = {} if state is None else state
        self.most = min(limits.connections, _files_for_connections())
        self.open: dict[_Connection, None] = {}
        self.idle: dict[_Connection, None] = {}  # the oldest first
        self.loop = asyncio.get_running_loop()
        self._listeners: dict[socket.socket, _Context | None] = {}
        self._accepting = False
        self._beginning: set[asyncio.Task[Any]] = set()
        self._handshakes: set[asyncio.Task[Any]] = set()  # those of TLS among them
        self._telling: set[asyncio.Task[None]] = set()
        self._empty = asyncio.Event()
        self._empty.set()
        self._failures = 0
        self._logged_at = -_LOG_INTERVAL

    # The beginning.

    def listen(self, listener: socket.socket, context: _Context | None = None) -> None:
        """Accept the connections of a bound socket, which belongs to the server from now on.

        Args:
            listener: The socket.
            context: Returns the context of TLS for a new connection; None for no TLS.

        Raises:
            OSError: Another socket listens there already.
        """
        listener.setblocking(False)
        listener.listen(self.config.backlog)
        self._listeners[listener] = context
        self._accepting = False
        self._accept_again()

    def stop_listening(self) -> None:
        """Accept no more connections. Those that wait in the backlog are refused by the kernel."""
        self._pause()
        for listener in self._listeners:
            listener.close()
        self._listeners.clear()

    def _accept(self, listener: socket.socket) -> None:
        for _ in range(_ACCEPT_AT_ONCE):
            is_full = len(self.open) + len(self._beginning) >= self.most
            if is_full and not self.idle:
                self._pause()  # until a connection ends, or is idle
                return
            try:
                accepted, _ = listener.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:  # too many files are open, here or on the machine
                self._log_failure(error)
                self._make_room()
                self._pause()
                self.loop.call_later(_ACCEPT_PAUSE, self._accept_again)
                return
            if is_full:
                self._make_room()
            accepted.setblocking(False)
            if accepted.family in {socket.AF_INET, socket.AF_INET6}:
                accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            context = self._listeners[listener]
            task = self.loop.create_task(self._begin(accepted, context))
            self._beginning.add(task)
            task.add_done_callback(self._beginning.discard)
            if context is not None:
                self._handshakes.add(task)
                task.add_done_callback(self._handshakes.discard)

    async def _begin(self, accepted: socket.socket, context: _Context | None) -> None:
        reader = asyncio.StreamReader(limit=_READ_AT_ONCE, loop=self.loop)
        protocol = asyncio.StreamReaderProtocol(reader, loop=self.loop)
        try:
            transport, _ = await self.loop.connect_accepted_socket(
                lambda: protocol,
                accepted,
                ssl=None if context is None else context(),
                ssl_handshake_timeout=None if context is None else self.config.keep_alive_timeout,
                ssl_shutdown_timeout=None if context is None else _LINGER,
            )
        except OSError as error:
            accepted.close()
            logger.info("a connection was lost before it began: %s", error)
            return
        connection = _Connection(self, reader, protocol, transport)
        self.open[connection] = None
        self._empty.clear()
        connection.task = self.loop.create_task(connection.run())

    def _pause(self) -> None:
        if self._accepting:
            self._accepting = False
            for listener in self._listeners:
                self.loop.remove_reader(listener)

    def _accept_again(self) -> None:
        if not self._accepting:
            self._accepting = True
            for listener in self._listeners:
                self.loop.add_reader(listener, self._accept, listener)

    def _make_room(self) -> None:
        """Close the connection that has been idle for longest."""
        oldest = next(iter(self.idle), None)
        if oldest is not None:
            oldest.abort()

    def _log_failure(self, error: OSError) -> None:
        self._failures += 1
        now = time.monotonic()
        if now - self._logged_at >= _LOG_INTERVAL:
            count, self._failures, self._logged_at = self._failures, 0, now
            logger.error(
                "cannot accept connections: %s (%d times, %d connections are open); raise the limit of open files",
                error.strerror,
                count,
                len(self.open),
            )

    def note_idle(self, connection: "_Connection") -> None:
        """Note that a connection is idle from now on."""
        self.idle[connection] = None
        if not self._accepting:
            self._accept_again()

    def forget(self, connection: "_Connection") -> None:
        """Drop a connection that has ended."""
        self.open.pop(connection, None)
        self.idle.pop(connection, None)
        if not self.open:
            self._empty.set()
        self._accept_again()

    # The end.

    async def announce_end(self) -> None:
        """Let every response say that its connection ends; connections are still accepted."""
        self.context.draining = True
        await self._tell(_Connection.announce_end)

    async def end(self) -> None:
        """Accept no more connections, and end each once its request is answered; websockets are closed now."""
        self.context.draining = True
        self.stop_listening()
        for handshake in self._handshakes:
            handshake.cancel()  # no request has come
        await self.context.terminated.set()
        await self._tell(_Connection.end)

    async def wait_until_empty(self) -> None:
        """Wait until all connections have ended."""
        if self._beginning:
            await asyncio.wait(self._beginning)
        await self._empty.wait()

    async def refuse_unanswered(self) -> None:
        """Answer what the app has not begun to answer with a 503."""
        await self._tell(_Connection.refuse_unanswered)

    async def _tell(self, message: Callable[["_Connection"], Coroutine[Any, Any, None]]) -> None:
        # All at once, because one whose client does not read may not keep the others waiting.
        tasks = {self.loop.create_task(message(connection)) for connection in self.open}
        self._telling |= tasks
        for task in tasks:
            task.add_done_callback(self._telling.discard)
        if tasks:
            await asyncio.wait(tasks, timeout=_TELL_TIMEOUT)

    async def abort(self) -> int:
        """Abort all connections, and cancel what does not end then; return how many were not ending already."""
        count = sum(not connection.is_closing for connection in self.open)
        tasks = {connection.abort() for connection in self.open}
        if tasks:
            # Apps that hear of it end by themselves. Quart's inner tasks would outlive a cancellation.
            _, tasks = await asyncio.wait(tasks, timeout=_ABORT_TIMEOUT)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=_ABORT_TIMEOUT)
        return count


class _Connection:
    """One connection; its task reads, and owns the tasks of the app.

    `PlainHTTP1` reads by itself: it takes the reader's place as the protocol of the transport, and the task sleeps.
    """

    task: asyncio.Task[None]

    def __init__(
        self,
        connections: Connections,
        reader: asyncio.StreamReader,
        streams: asyncio.StreamReaderProtocol,
        transport: asyncio.Transport,
    ) -> None:
        self.app = connections.app
        self.config = connections.config
        self.context = connections.context
        self.group = TaskGroup(connections.loop)
        self.transport = transport
        self._connections = connections
        self._loop = connections.loop
        self._reader = reader
        self._streams = streams
        self._writer = asyncio.StreamWriter(transport, streams, reader, connections.loop)
        self._protocol: HTTP1 | HTTP2 | PlainHTTP1
        self._begun = False  # the protocol is there
        self.is_closing = False  # nothing more is written
        self._idle_since: float | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._unflushed = -1

    async def run(self) -> None:
        """Serve the connection to its end."""
        try:
            async with self.group:
                self._protocol = await self._choose_protocol()
                self._begun = True
                self.note(idle=True)
                self._watch_idle()
                if self._connections.context.terminated.is_set():
                    await self.end()
                await self._read()
                self.is_closing = True
                self._stop_timer()
                await self._protocol.handle(Closed())
                self._close_transport()  # now, although the app may still be busy with a request
                self._linger()
            await self._writer.wait_closed()
        except OSError:
            pass
        except Exception:
            logger.exception("a connection failed and was closed; its client may try again")
        finally:
            self._stop_timer()
            self.transport.abort()
            self._connections.forget(self)

    async def _choose_protocol(self) -> HTTP1 | HTTP2 | PlainHTTP1:
        ssl_object = self._writer.get_extra_info("ssl_object")
        protocol: HTTP1 | HTTP2 | PlainHTTP1
        if ssl_object is not None and ssl_object.selected_alpn_protocol() == "h2":
            protocol = self._make_protocol(HTTP2)
        elif HAS_HTTPTOOLS and self.context.limits.http1_reader == "httptools":
            protocol = self._make_plain_protocol()
        else:
            protocol = self._make_protocol(HTTP1)
        await protocol.initiate()
        if self._connections.context.draining:
            await protocol.announce_end()
        return protocol

    def _make_protocol(self, kind: type[_Kind]) -> _Kind:
        return kind(
            ASGIWrapper(self.app),
            self.config,
            self.context,
            self.group,
            ConnectionState(self._connections.state),
            self._writer.get_extra_info("ssl_object") is not None,
            self._address("peername"),
            self._address("sockname"),
            self.send,
        )

    def _make_plain_protocol(self) -> PlainHTTP1:
        base = {
            "scheme": "http" if self._writer.get_extra_info("ssl_object") is None else "https",
            "root_path": self.config.root_path,
            "client": self._address("peername"),
            "server": self._address("sockname"),
            "state": dict(self._connections.state),
        }
        protocol = PlainHTTP1(self, base, self._streams)
        self.transport.set_protocol(protocol)
        return protocol

    def _address(self, which: str) -> tuple[str, int] | None:
        accepted = self._writer.get_extra_info("socket")
        return parse_socket_addr(accepted.family, self._writer.get_extra_info(which))

    def fall_back(self, data: bytes) -> HTTP1:
        """Let h11 have the connection, and read the data before all that follows; return its protocol."""
        self._protocol = protocol = self._make_protocol(HTTP1)
        self.transport.set_protocol(self._streams)
        if data:
            self._streams.data_received(data)
        return protocol

    async def _read(self) -> None:
        while data := await self._receive():
            if self.is_closing:
                continue
            try:
                await self._protocol.handle(RawData(data))
            except HTTP2Begun as begun:
                self._protocol = self._make_protocol(HTTP2)
                self.note(idle=True)
                await self._protocol.initiate()
                if self._connections.context.draining:
                    await self._protocol.announce_end()
                await self._protocol.handle(RawData(begun.data))

    async def _receive(self) -> bytes:
        # What came before a plain protocol took the reader's place is read whole, as later data does not wait for it.
        most = sys.maxsize if isinstance(self._protocol, PlainHTTP1) else _READ_AT_ONCE
        try:
            return await self._reader.read(most)
        except OSError:  # it was reset
            return b""

    async def send(self, event: Event) -> None:
        """Do what an event of the protocol says."""
        if isinstance(event, RawData):
            await self.write(event.data)
        elif isinstance(event, Updated):
            self.note(idle=event.idle)
        else:
            self.close()

    async def write(self, data: bytes) -> None:
        """Write, and wait where the client does not read; nothing is written once the connection ends."""
        left = memoryview(data)
        while left and not self.is_closing and not self.transport.is_closing():
            self.transport.write(left[:_WRITE_AT_ONCE])
            left = left[_WRITE_AT_ONCE:]
            if self.transport.get_write_buffer_size() > _WRITE_AT_ONCE:
                await self._drain()
        if left:
            await asyncio.sleep(0)  # the connection has ended, and the app will hear of it

    async def _drain(self) -> None:
        try:
            async with asyncio.timeout(self._connections.context.limits.stall_timeout):
                await self._writer.drain()
        except TimeoutError:
            logger.info("a connection was aborted: its client did not read")
            self.transport.abort()
        except ConnectionError:
            pass  # the reader sees it too

    # Idle: no request is being served.

    def note(self, *, idle: bool) -> None:
        """Note whether a request is being served; an idle connection is closed when the server ends."""
        connections = self._connections
        connections.idle.pop(self, None)
        if not idle:
            self._idle_since = None
            return
        self._idle_since = self._loop.time()
        if not self.is_closing:
            connections.note_idle(self)
            if connections.context.terminated.is_set():
                self.close()

    def _watch_idle(self) -> None:
        # The timer is not touched by requests; when it is due it looks how long the connection has been idle.
        self._timer = None
        timeout = self._connections.config.keep_alive_timeout
        left = timeout if self._idle_since is None else self._idle_since + timeout - self._loop.time()
        if left > 0.001:
            self._timer = self._loop.call_later(left, self._watch_idle)
        else:
            self.group.spawn(self._time_out)

    async def _time_out(self) -> None:
        if self._idle_since is None:  # a request has come meanwhile
            self._watch_idle()
            return
        await self._protocol.handle(Closed())  # it may answer a head that did not end
        self.close()

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    # The end.

    async def announce_end(self) -> None:
        """Say that the connection ends soon."""
        if self._begun and not self.is_closing:
            await self._protocol.announce_end()

    async def end(self) -> None:
        """End the connection once it is idle."""
        if not self._begun:
            return
        await self._protocol.end()
        if self in self._connections.idle:
            self.close()

    async def refuse_unanswered(self) -> None:
        """Answer what the app has not begun to answer with a 503."""
        if self._begun and not self.is_closing:
            await self._protocol.refuse_unanswered()

    def abort(self) -> asyncio.Task[None]:
        """End the connection now, and return its task."""
        self.is_closing = True
        self._connections.idle.pop(self, None)
        self.transport.abort()
        return self.task

    def close(self) -> None:
        """Write no more. The client gets what was written, and what it still sends is dropped (RFC 9112 section 9.6).

        A connection that is closed with unread data is reset, and the client may lose the response.
        """
        if self.is_closing:
            return
        self.is_closing = True
        self._connections.idle.pop(self, None)
        self._stop_timer()
        if self.transport.is_closing() or not self.transport.can_write_eof():  # TLS
            self._close_transport()
        else:
            with contextlib.suppress(OSError):
                self.transport.write_eof()
        self._linger()

    def _close_transport(self) -> None:
        if not self.transport.is_closing():  # that of TLS cannot be aborted any more once it was closed twice
            self.transport.close()

    def _linger(self) -> None:
        left = self.transport.get_write_buffer_size()
        if left == self._unflushed:
            self.transport.abort()
            return
        self._unflushed = left
        self._timer = self._loop.call_later(_FLUSH_TIMEOUT if left else _LINGER, self._linger)


def _files_for_connections() -> int:
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return 2**31
    return max(1, soft - soft // _SPARE_FILES)
