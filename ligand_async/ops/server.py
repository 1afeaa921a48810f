"""The server: hypercorn in one process, as `ligand serve` runs it."""

import asyncio
import errno
import logging
import os
import signal
import socket
from typing import Any

import hypercorn.asyncio
from hypercorn.config import Config
from hypercorn.utils import LifespanFailureError, LifespanTimeoutError
from quart import Quart
from quart.signals import got_serving_exception

from ligand_async.ops.logs import AccessLog, ASGIApp
from ligand_async.ops.replies import own_replies
from ligand_async.settings import Settings

_BACKLOG = 2048  # connections waiting to be accepted
HEAD_BYTES = 64 * 1024  # more than the guard accepts, so that the guard refuses with its own problem
_IDLE_TIMEOUT = 5.0  # seconds without a whole request head, on a new connection and between two requests
_START_TIMEOUT = 60.0  # seconds
_STOP_TIMEOUT = 10.0  # seconds for what the app closes
_GRACE = 5.0  # seconds for requests that run when the server stops

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_REASONS = {
    errno.EADDRINUSE: "it is in use; choose another port with --port or PORT",
    errno.EACCES: "this user may not listen there; choose a port above 1023 with --port or PORT",
    errno.EADDRNOTAVAIL: "this machine does not have the address; choose another with --host",
}


class ServerError(RuntimeError):
    """The server did not start, or did not stop as it should; the text says why."""


def run(app: Quart, settings: Settings, *, host: str, port: int) -> None:
    """Serve an app until SIGINT or SIGTERM.

    Args:
        app: As `create_app` made it.
        settings: The app's.
        host: The address to listen on.
        port: 0 takes one that is free.

    Raises:
        ServerError: The address cannot be had, or the app does not start or stop.
    """
    listener = open_listener(host, port)  # first, because a server that cannot listen need not start the app
    with own_replies():
        asyncio.run(_serve(app, settings, listener))


async def _serve(app: Quart, settings: Settings, listener: socket.socket) -> None:
    """Serve an app on a socket, in the running loop of the main thread, until SIGINT or SIGTERM.

    Args:
        app: As `create_app` made it.
        settings: The app's.
        listener: Bound; it belongs to the server from now on.

    Raises:
        ServerError: The app does not start or stop.
    """
    started, stopping = asyncio.Event(), asyncio.Event()
    failures: list[Exception] = []

    def keep_failure(_app: Quart, exception: Exception, **_others: Any) -> None:
        failures.append(exception)

    loop = asyncio.get_running_loop()
    for number in _SIGNALS:
        loop.add_signal_handler(number, stopping.set)
    config = configure(settings, listener)
    front = _signal_start(AccessLog(app), started)
    with got_serving_exception.connected_to(keep_failure, sender=app):
        serving = hypercorn.asyncio.serve(front, config, shutdown_trigger=stopping.wait, mode="asgi")
        server = asyncio.create_task(serving)
        stopped = asyncio.create_task(stopping.wait())
        await asyncio.wait({server, stopped}, return_when=asyncio.FIRST_COMPLETED)
        stopped.cancel()
        if not server.done() and not started.is_set():
            server.cancel()  # a start that was interrupted has nothing to finish
        try:
            await server
        except asyncio.CancelledError:
            if not server.cancelled():
                raise
        except (LifespanFailureError, LifespanTimeoutError, OSError) as error:
            what = "stop as it should" if started.is_set() else "start"
            raise ServerError(
                f"the service did not {what}: {_describe(failures[-1] if failures else error)}"
            ) from error


def configure(settings: Settings, listener: socket.socket) -> Config:
    """Return hypercorn's configuration."""
    config = Config()
    config.bind = [f"fd://{listener.detach()}"]
    config.backlog = _BACKLOG
    config.include_server_header = False
    config.h11_max_incomplete_size = HEAD_BYTES
    config.h2_max_header_list_size = HEAD_BYTES
    config.websocket_max_message_size = settings.max_body_bytes
    config.keep_alive_timeout = _IDLE_TIMEOUT
    # It would also end a connection whose client waits in silence for its answer.
    config.read_timeout = None
    config.startup_timeout = _START_TIMEOUT
    config.shutdown_timeout = _STOP_TIMEOUT
    config.graceful_timeout = _GRACE
    config.errorlog = logging.getLogger("hypercorn.error")  # without a handler of its own: the process's log writes it
    config.accesslog = None  # AccessLog writes it
    return config


def open_listener(host: str, port: int) -> socket.socket:
    """Return a socket that is bound to an address.

    Raises:
        ServerError: With the reason in one line.
    """
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        reason = _REASONS.get(error.errno or 0, error.strerror or type(error).__name__)
        address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        raise ServerError(f"cannot listen on {address}: {reason}") from error
    return listener


def _signal_start(app: ASGIApp, started: asyncio.Event) -> ASGIApp:
    """Return the app in a layer that sets the event once the app has started."""

    async def front(scope: Any, receive: Any, send: Any) -> None:
        async def watch(message: Any) -> None:
            if message["type"] == "lifespan.startup.complete":
                started.set()
            await send(message)

        await app(scope, receive, watch if scope["type"] == "lifespan" else send)

    return front


def _describe(error: BaseException) -> str:
    """Return an error as text; many exceptions have no message."""
    text = os.strerror(error.errno) if isinstance(error, OSError) and error.errno else str(error)
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
