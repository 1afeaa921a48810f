"""A real hypercorn in the test's own loop, so that a test sees its insides; and a client that may leave."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from hypercorn.asyncio import serve
from hypercorn.config import Config
from quart import Quart

from tests.serving import free_port


@asynccontextmanager
async def serving(app: Quart, **options: float) -> AsyncIterator[int]:
    """Serve an app on 127.0.0.1, with options of hypercorn's configuration, and yield the port."""
    config = Config()
    port = free_port()
    config.bind = [f"127.0.0.1:{port}"]
    config.graceful_timeout = 5
    for name, value in options.items():
        setattr(config, name, value)
    stop = asyncio.Event()
    server = asyncio.create_task(serve(app, config, shutdown_trigger=stop.wait))
    try:
        await wait_until_open(port, server)
        yield port
    finally:
        stop.set()
        await asyncio.wait_for(server, 15)


async def wait_until_open(port: int, server: "asyncio.Task[None]") -> None:
    """Wait until somebody listens."""
    for _ in range(200):
        if server.done():
            break
        with contextlib.suppress(OSError):
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.close()
            return
        await asyncio.sleep(0.02)
    raise AssertionError("the server did not start")


async def send(
    port: int, method: str, path: str, document: Any = None, *, leave_after: float | None = None
) -> int | None:
    """Send a request and return the status; a client that leaves after so many seconds returns None."""
    body = b"" if document is None else json.dumps(document).encode()
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        head = f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\nContent-Length: {len(body)}\r\n"
        kind = "Content-Type: application/json\r\n" if body else ""
        writer.write(f"{head}{kind}\r\n".encode() + body)
        await writer.drain()
        try:
            async with asyncio.timeout(leave_after if leave_after is not None else 30):
                line = await reader.readline()
        except TimeoutError:
            if leave_after is None:
                raise
            return None
        return int(line.split()[1])
    finally:
        writer.transport.abort()
