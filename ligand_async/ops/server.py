"""The server: one process, as `ligand serve` runs it, from the bound socket to the exit."""

import asyncio
import gc
import logging
import os
import signal
import ssl
import sys
import threading
import time
from collections.abc import Callable, Sequence
from types import FrameType
from typing import Any

from hypercorn.app_wrappers import ASGIWrapper
from hypercorn.asyncio.lifespan import Lifespan
from hypercorn.config import Config
from hypercorn.utils import LifespanFailureError, LifespanTimeoutError
from quart import Quart
from quart.signals import got_serving_exception

from ligand_async.draining import begin_draining, draining_of
from ligand_async.ops.addresses import BACKLOG, Listener, ServerError, cannot_listen
from ligand_async.ops.connections import Connections
from ligand_async.ops.logs import AccessLog
from ligand_async.ops.management import ManagementPort
from ligand_async.ops.streams import Limits
from ligand_async.ops.tls import certificate_of
from ligand_async.settings import Settings

logger = logging.getLogger(__name__)

HEAD_BYTES = 64 * 1024  # more than the guard accepts, so that the guard refuses with its own problem
_IDLE_TIMEOUT = 5.0  # seconds without a whole request head, on a new connection and between two requests
_STREAMS = 32  # of one connection, at once
_PING_INTERVAL = 20.0  # seconds
_START_TIMEOUT = 60.0  # seconds

STOP_SECONDS = 2.0  # after the grace period, for what is left: a stop takes no longer
_CUT_SECONDS = 0.5  # for requests that are cut to be answered
_EXIT_SECONDS = 0.3  # before the process is ended from outside, for the loop to close

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class ForcedStop(ServerError):
    """The server stopped, but had to cut requests, or the app did not close in time; the text says which."""

    exit_code = 3


def run(
    app: Quart,
    settings: Settings,
    *,
    listeners: Sequence[Listener],
    management: Listener | None = None,
    life: int | None = None,
) -> None:
    """Serve an app until SIGINT or SIGTERM.

    A stop takes at most the drain delay, the grace period and two seconds, whatever is open and whatever hangs: then
    the process ends from outside the event loop, with the exit code of `ForcedStop`. A second signal ends the delay and
    the grace period. SIGHUP reads the certificate anew; without TLS it stops the server, unless it was ignored before.

    Args:
        app: As `create_app` made it.
        settings: The app's.
        listeners: Where it is served; their sockets belong to the server from now on.
        management: Where its health pages are served instead.
        life: A descriptor; when it is readable, or at its end, the server stops.

    Raises:
        ServerError: The app does not start, or the certificate cannot be used.
        ForcedStop: Something was cut.
    """
    serve_on(listeners, app, settings, management=management, life=life)


def serve_on(
    listeners: Sequence[Listener],
    app: Quart,
    settings: Settings,
    *,
    management: Listener | None = None,
    announce: Callable[[], None] = lambda: None,
    life: int | None = None,
) -> None:
    """Serve an app until SIGINT or SIGTERM, as `run` does.

    Args:
        listeners: Where it is served; their sockets belong to the server from now on.
        app: As `create_app` made it.
        settings: The app's.
        management: Where its health pages are served instead.
        announce: Called once connections are accepted.
        life: A descriptor; when it is readable, or at its end, the server stops.
    """
    server = Server(app, settings, listeners, management)
    with _Signals(server) as signals, asyncio.Runner(loop_factory=make_loop) as runner:
        runner.run(server.serve(signals.hand_over, announce, life))


def make_loop() -> asyncio.AbstractEventLoop:
    """Return a new event loop: uvloop's, or asyncio's where the platform has no uvloop."""
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()


def longest_stop(settings: Settings) -> float:
    """Return the seconds that a stop may take."""
    return settings.drain_delay + settings.grace_period + STOP_SECONDS


class Server:
    """An app, its listeners and the state of both.

    Args:
        app: As `create_app` made it.
        settings: The app's.
        listeners: Bound; their sockets belong to the server from now on.
        management: The same, of the management port.

    Raises:
        ServerError: The certificate of the settings cannot be used.
    """

    def __init__(
        self, app: Quart, settings: Settings, listeners: Sequence[Listener], management: Listener | None = None
    ) -> None:
        self.app = app
        self.settings = settings
        self.listeners = listeners
        self.management = management
        self.certificate = certificate_of(settings)
        self.config = configure(settings)
        self.limits = limits_of(app, settings)
        self._stopping = asyncio.Event()
        self._hurried = asyncio.Event()
        self._cut: list[str] = []

    @property
    def longest_stop(self) -> float:
        """The seconds that a stop may take."""
        return longest_stop(self.settings)

    def stop(self) -> None:
        """Stop; the second call ends the drain delay and the grace period."""
        if self._stopping.is_set():
            self._hurried.set()
        self._stopping.set()

    async def serve(
        self,
        begun: Callable[[asyncio.AbstractEventLoop], None],
        announce: Callable[[], None],
        life: int | None,
    ) -> None:
        """Serve until `stop` is called.

        Args:
            begun: Called with the running loop.
            announce: Called once connections are accepted.
            life: A descriptor; when it is readable, or at its end, the server stops.

        Raises:
            ServerError: The app does not start.
            ForcedStop: Something was cut.
        """
        loop = asyncio.get_running_loop()
        begun(loop)
        state: dict[str, Any] = {}
        front = AccessLog(self.app)
        manager = None if self.management is None else AccessLog(ManagementPort(self.app))
        lifespan = Lifespan(ASGIWrapper(front), self.config, loop, state)
        running = loop.create_task(lifespan.handle_lifespan())
        if not await self._start(lifespan, running):
            return
        # What the start has made stays for good: the search for garbage, which stops all requests, leaves it out.
        gc.freeze()
        connections = Connections(front, self.config, self.limits, state)
        managed = None if manager is None else Connections(manager, self.config, Limits(), state)
        try:
            self._listen(connections, managed)
        except ServerError:
            await self._close_app(lifespan, running, loop.time())
            raise
        announce()
        if life is not None:
            loop.add_reader(life, self._end_with, life)
        await self._stopping.wait()
        stopped_at = loop.time()
        await self._end_connections(connections)
        await self._close_app(lifespan, running, stopped_at)
        if managed is not None:
            await managed.end()
            await managed.abort()
        if self._cut:
            raise ForcedStop(f"the service was stopped, but {' and '.join(self._cut)}")
        logger.info("stopped after %.1f s", loop.time() - stopped_at)

    def _listen(self, connections: Connections, managed: Connections | None) -> None:
        certificate = self.certificate
        context = None if certificate is None else lambda: certificate.context
        scheme = "http" if certificate is None else "https"
        for listener in self.listeners:
            self._listen_on(listener, connections, context, scheme)
            logger.info("serving at %s", listener.describe(scheme))
        if managed is not None and self.management is not None:
            self._listen_on(self.management, managed, None, "http")
            logger.info("health checks are at %s", self.management.describe("http"))

    def _listen_on(
        self,
        listener: Listener,
        connections: Connections,
        context: Callable[[], ssl.SSLContext] | None,
        scheme: str,
    ) -> None:
        address = listener.describe(scheme)
        try:
            connections.listen(listener.socket, context)
        except OSError as error:  # another server has bound it at the same time
            raise cannot_listen(address, error, source=listener.source) from error

    def _end_with(self, life: int) -> None:
        asyncio.get_running_loop().remove_reader(life)
        os.kill(os.getpid(), signal.SIGTERM)  # so that the time is watched

    # The start.

    async def _start(self, lifespan: Lifespan, running: "asyncio.Task[None]") -> bool:
        """Start the app; False if it is told to stop before it has started."""
        failures: list[Exception] = []

        def keep_failure(_app: Quart, exception: Exception, **_others: Any) -> None:
            failures.append(exception)

        with got_serving_exception.connected_to(keep_failure, sender=self.app):
            starting = asyncio.create_task(lifespan.wait_for_startup())
            stopped = asyncio.create_task(self._stopping.wait())
            await asyncio.wait({starting, stopped}, return_when=asyncio.FIRST_COMPLETED)
            stopped.cancel()
            if not starting.done():  # a start that was interrupted has nothing to finish
                starting.cancel()
                running.cancel()
                await asyncio.wait({starting, running}, timeout=STOP_SECONDS)
                self._close_listeners()
                return False
            try:
                starting.result()
                if running.done():
                    running.result()
            except (LifespanFailureError, LifespanTimeoutError, OSError) as error:
                self._close_listeners()
                reason = _describe(failures[-1] if failures else error)
                raise ServerError(f"the service did not start: {reason}") from error
        return True

    def _close_listeners(self) -> None:
        for listener in (*self.listeners, *([] if self.management is None else [self.management])):
            listener.socket.close()

    # The end.

    async def _end_connections(self, connections: Connections) -> None:
        """Let the connections end, and cut what is left of them at the end of the grace period."""
        draining = draining_of(self.app)
        delay, grace = self.settings.drain_delay, self.settings.grace_period
        logger.info("stopping: not ready any more; %d connections are open", len(connections.open))
        telling = asyncio.create_task(begin_draining(self.app))
        await connections.announce_end()
        await self._pass(delay)
        deadline = asyncio.get_running_loop().time() + grace
        connections.stop_listening()
        await self._pass(grace / 2, until=telling)  # streams may say good-bye before they are ended
        draining.end_streams()
        await connections.end()
        empty = asyncio.create_task(connections.wait_until_empty())
        await self._pass(deadline - asyncio.get_running_loop().time(), until=empty)
        if not empty.done():
            requests = draining.stop_requests()
            await asyncio.wait({empty}, timeout=_CUT_SECONDS)
            if not empty.done() and draining.is_committing:
                await asyncio.wait({empty}, timeout=_CUT_SECONDS)
            if not draining.is_committing:  # whose client must not be told that nothing was done
                await connections.refuse_unanswered()
                await asyncio.wait({empty}, timeout=0.1)
            left = await connections.abort()
            if requests or left:
                self._cut.append(f"{requests} requests and {left} connections were cut")
        empty.cancel()
        telling.cancel()

    async def _pass(self, seconds: float, *, until: "asyncio.Task[None] | None" = None) -> None:
        """Wait until the time is over, the task has ended, or a second signal has come."""
        hurried = asyncio.create_task(self._hurried.wait())
        awaited = {hurried} if until is None else {hurried, until}
        await asyncio.wait(awaited, timeout=max(0.0, seconds), return_when=asyncio.FIRST_COMPLETED)
        hurried.cancel()

    async def _close_app(self, lifespan: Lifespan, running: "asyncio.Task[None]", stopped_at: float) -> None:
        """Let the app close what it has opened, for as long as the stop may take."""
        loop = asyncio.get_running_loop()
        left = stopped_at + self.longest_stop - _EXIT_SECONDS - loop.time()
        if self._hurried.is_set():
            left = min(left, STOP_SECONDS - 2 * _CUT_SECONDS)
        background = self.app.config["BACKGROUND_TASK_SHUTDOWN_TIMEOUT"]
        self.app.config["BACKGROUND_TASK_SHUTDOWN_TIMEOUT"] = min(background, max(0.1, left - 1.0))
        self.config.shutdown_timeout = max(0.1, left)
        failures: list[Exception] = []

        def keep_failure(_app: Quart, exception: Exception, **_others: Any) -> None:
            failures.append(exception)

        with got_serving_exception.connected_to(keep_failure, sender=self.app):
            try:
                await lifespan.wait_for_shutdown()
            except LifespanTimeoutError:
                self._cut.append(f"the app did not close within {left:.1f} s")
            except LifespanFailureError as error:
                self._cut.append(f"the app failed to close: {_describe(failures[-1] if failures else error)}")
        await asyncio.wait({running}, timeout=0.1)
        if running.done() and not running.cancelled() and isinstance(running.exception(), LifespanFailureError):
            reason = _describe(failures[-1] if failures else running.exception())
            self._cut.append(f"the app failed to close: {reason}")
        running.cancel()


class _Signals:
    """SIGINT, SIGTERM and SIGHUP of the process, for as long as the server runs.

    The handlers are Python's own and not the loop's: they also run while a handler of the service blocks the loop. From
    the first signal on a thread watches the time.
    """

    def __init__(self, server: Server) -> None:
        self._server = server
        self._loop: asyncio.AbstractEventLoop | None = None
        self._before: dict[int, Any] = {}
        self._ends_at = 0.0
        self._main = threading.get_ident()

    def __enter__(self) -> "_Signals":
        for number in _SIGNALS:
            if number == signal.SIGHUP and not self._server.certificate and signal.getsignal(number) is signal.SIG_IGN:
                continue  # as `nohup` leaves it
            self._before[number] = signal.signal(number, self._handle)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, self._before)  # in a worker, which begins with these blocked
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def hand_over(self, loop: asyncio.AbstractEventLoop) -> None:
        """Let the signals stop the server in its loop from now on."""
        self._loop = loop
        if self._ends_at:
            self._server.stop()

    def _handle(self, number: int, _frame: FrameType | None) -> None:
        certificate = self._server.certificate
        if number == signal.SIGHUP and certificate is not None:
            self._call(certificate.renew)
            return
        now = time.monotonic()
        if not self._ends_at:
            self._ends_at = now + self._server.longest_stop
            threading.Thread(target=self._watch, name="ligand-stop", daemon=True).start()
        else:
            self._ends_at = min(self._ends_at, now + STOP_SECONDS)
        self._call(self._server.stop)

    def _call(self, function: Callable[[], None]) -> None:
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(function)

    def _watch(self) -> None:
        while (left := self._ends_at - time.monotonic()) > 0:
            time.sleep(min(left, 0.1))
        # A log handler may hang like everything else.
        threading.Thread(target=self._log_end, daemon=True).start()
        time.sleep(0.1)
        os._exit(ForcedStop.exit_code)

    def _log_end(self) -> None:
        frame = sys._current_frames().get(self._main)
        place = "" if frame is None else f"; the main thread is at {frame.f_code.co_filename}:{frame.f_lineno}"
        logger.critical("the service did not stop in time and was ended%s", place)


def configure(settings: Settings) -> Config:
    """Return hypercorn's configuration: the limits of its protocols."""
    config = Config()
    config.backlog = BACKLOG
    config.include_server_header = False
    config.h11_max_incomplete_size = HEAD_BYTES
    config.h2_max_header_list_size = HEAD_BYTES
    config.h2_max_concurrent_streams = _STREAMS
    config.websocket_max_message_size = settings.max_body_bytes
    config.websocket_ping_interval = _PING_INTERVAL
    config.keep_alive_timeout = _IDLE_TIMEOUT
    config.startup_timeout = _START_TIMEOUT
    config.errorlog = logging.getLogger("hypercorn.error")  # without a handler of its own: the process's log writes it
    config.accesslog = None  # AccessLog writes it
    return config


def limits_of(app: Quart, settings: Settings) -> Limits:
    """Return the limits that hypercorn's configuration does not have."""
    return Limits(
        connections=settings.max_connections,
        stall_timeout=app.config["RESPONSE_TIMEOUT"],
        http2_cleartext=settings.http2_cleartext,
        http1_reader=settings.http1_reader,
    )


def _describe(error: BaseException | None) -> str:
    """Return an error as text; many exceptions have no message."""
    text = os.strerror(error.errno) if isinstance(error, OSError) and error.errno else str(error)
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
