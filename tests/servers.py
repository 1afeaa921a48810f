"""Real servers: a process of `hypercorn` or `ligand serve`, and hypercorn in the test's own loop."""

import asyncio
import contextlib
import json
import logging
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlencode

from hypercorn.app_wrappers import ASGIWrapper
from hypercorn.asyncio import serve
from hypercorn.asyncio.lifespan import Lifespan
from hypercorn.config import Config
from quart import Quart

from ligand_async.ops import Connections, Limits

ROOT = Path(__file__).parent.parent
START_TIMEOUT = 60.0  # seconds, on a machine that is busy with other tests
HYPERCORN = (sys.executable, "-m", "hypercorn", "--workers", "0")
LIGAND = (sys.executable, "-c", "from ligand_async.cli import main; main()")


def http1_reader() -> Any:
    """Return the reader of HTTP/1 that this run's servers have: httptools, or what LIGAND_TEST_HTTP1_READER says."""
    return os.environ.get("LIGAND_TEST_HTTP1_READER", "httptools")


def free_port() -> int:
    """Return a port that was free a moment ago."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


@contextmanager
def served(
    target: str, directory: Path, variables: Mapping[str, str] | None = None, *, by_ligand: bool = False
) -> Iterator[str]:
    """Serve an app, such as `examples.minimal:app`, from a directory of its own, and yield its address.

    It is `hypercorn` that serves, or `ligand serve`; its output goes into `server.log` there. It ends by SIGINT, as
    Ctrl-C does, and must end by itself, with status 0.
    """
    port = free_port()
    address = f"http://127.0.0.1:{port}"
    if by_ligand:
        command = [*LIGAND, "--app", target, "serve", "--port", str(port)]
    else:
        command = [*HYPERCORN, "--bind", f"127.0.0.1:{port}", target]
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("LIGAND_", "QUART_"))}
    own = {"PYTHONPATH": str(ROOT), "LIGAND_ENVIRONMENT": "local", "LIGAND_HTTP1_READER": http1_reader()}
    environment |= {**own, **(variables or {})}
    log = directory / "server.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            cwd=directory,
            env=environment,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        wait_until_live(address, process, log)
        yield address
    finally:
        process.send_signal(signal.SIGINT)
        try:
            status = process.wait(Config.graceful_timeout + 10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise
    assert status == 0, log.read_text()


@dataclass(frozen=True)
class Launched:
    """A process of `ligand serve`.

    Attributes:
        process: Which a test may send signals, and whose end it may await.
        address: Where it serves.
        log: Where its output goes.
    """

    process: "subprocess.Popen[bytes]"
    address: str
    log: Path

    def stop(self, number: int = signal.SIGTERM, *, timeout: float = 30.0) -> tuple[int, float]:
        """Send a signal; return the exit code, and after how many seconds the process ended."""
        start = time.monotonic()
        self.process.send_signal(number)
        return self.process.wait(timeout), time.monotonic() - start


@contextmanager
def launched(
    target: str,
    directory: Path,
    variables: Mapping[str, str] | None = None,
    *,
    descriptors: int | None = None,
    workers: int = 1,
) -> Iterator[Launched]:
    """Serve an app by `ligand serve`, as `served` does, and leave its end to the test; one that still runs is killed.

    Args:
        target: The app.
        directory: In which it runs, and where its output goes.
        variables: Of its environment.
        descriptors: The most files that the process may have open.
        workers: How many processes serve.
    """
    port = free_port()
    address = f"http://127.0.0.1:{port}"
    command = [*LIGAND, "--app", target, "serve", "--port", str(port), "--workers", str(workers)]
    if descriptors is not None:
        command = ["prlimit", f"--nofile={descriptors}:{descriptors}", *command]
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("LIGAND_", "QUART_"))}
    own = {"PYTHONPATH": str(ROOT), "LIGAND_ENVIRONMENT": "local", "LIGAND_HTTP1_READER": http1_reader()}
    environment |= {**own, **(variables or {})}
    log = directory / "server.log"
    with log.open("wb") as output:
        process = subprocess.Popen(command, cwd=directory, env=environment, stdout=output, stderr=subprocess.STDOUT)
    try:
        wait_until_live(address, process, log)
        yield Launched(process, address, log)
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def get_token(
    address: str,
    *,
    roles: Iterable[str] = (),
    scopes: Iterable[str] = (),
    claims: Mapping[str, object] | None = None,
) -> str:
    """Ask the development issuer of a served app for an access token."""
    form = {
        "grant_type": "client_credentials",
        "client_id": "test",
        "roles": ",".join(roles),
        "scope": " ".join(scopes),
        "claims": json.dumps(dict(claims or {})),
    }
    with urllib.request.urlopen(f"{address}/_dev/issuer/token", urlencode(form).encode(), timeout=10) as answer:
        token: str = json.load(answer)["access_token"]
        return token


def wait_until_live(address: str, process: "subprocess.Popen[bytes]", log: Path) -> None:
    """Wait until the service answers."""
    deadline = time.monotonic() + START_TIMEOUT
    while time.monotonic() < deadline:
        assert process.poll() is None, log.read_text()
        try:
            with urllib.request.urlopen(f"{address}/livez", timeout=2):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.05)
    raise AssertionError(f"no answer within {START_TIMEOUT} s:\n{log.read_text()}")


@asynccontextmanager
async def serving(app: Quart, **options: float) -> AsyncIterator[int]:
    """Serve an app on 127.0.0.1 from the test's own loop, so that a test sees its insides; yield the port.

    It is hypercorn that serves, or the connections of `ligand serve` if LIGAND_TEST_OWN_SERVER is set. The options are
    those of hypercorn's configuration.
    """
    if "LIGAND_TEST_OWN_SERVER" not in os.environ:
        async with serving_stock(app, **options) as port:
            yield port
        return
    served: Any = app
    lifespan = Lifespan(ASGIWrapper(served), Config(), asyncio.get_running_loop(), {})
    living = asyncio.create_task(lifespan.handle_lifespan())
    await lifespan.wait_for_startup()
    try:
        own: dict[str, Any] = {**options}
        async with serving_own(served, **own) as port:
            yield port
    finally:
        await lifespan.wait_for_shutdown()
        await living


@asynccontextmanager
async def serving_stock(app: Quart, **options: float) -> AsyncIterator[int]:
    """Serve an app by hypercorn's own protocols, as `serving` does."""
    config = Config()
    port = free_port()
    config.bind = [f"127.0.0.1:{port}"]
    config.graceful_timeout = 5
    for name, value in options.items():
        setattr(config, name, value)
    stop = asyncio.Event()
    server = asyncio.create_task(serve(app, config, shutdown_trigger=stop.wait))
    try:
        await _wait_until_open(port, server)
        yield port
    finally:
        stop.set()
        await asyncio.wait_for(server, 15)


@asynccontextmanager
async def serving_own(
    app: Callable[..., Awaitable[None]],
    *,
    limits: Limits | None = None,
    made: Callable[[Connections], object] | None = None,
    reader: Literal["httptools", "h11"] | None = None,
    **options: float,
) -> AsyncIterator[int]:
    """Serve any ASGI app by the connections of `ligand serve` in the test's own loop, without lifespan; yield the port.

    The options are those of hypercorn's configuration. `made` is called with the connections. `reader` is the reader of
    HTTP/1, by default that of the run.
    """
    config = Config()
    config.include_server_header = False
    config.errorlog = logging.getLogger("hypercorn.error")
    for name, value in options.items():
        setattr(config, name, value)
    chosen = replace(limits or Limits(http2_cleartext=True), http1_reader=reader or http1_reader())
    connections = Connections(app, config, chosen)
    if made is not None:
        made(connections)
    listener = socket.create_server(("127.0.0.1", 0))
    connections.listen(listener)
    try:
        yield listener.getsockname()[1]
    finally:
        await connections.end()
        try:
            await asyncio.wait_for(connections.wait_until_empty(), 5)
        finally:
            await connections.abort()


async def _wait_until_open(port: int, server: "asyncio.Task[None]") -> None:
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
