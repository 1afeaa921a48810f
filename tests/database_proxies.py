"""What stands between a service and PostgreSQL: a proxy that can fall silent, and pgbouncer."""

import asyncio
import contextlib
import os
import pwd
import signal
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import URL, make_url

from tests.servers import free_port


class Proxy:
    """Passes bytes on, until it is told to swallow them.

    Attributes:
        silent: Whether all bytes are swallowed.
        answers_left: Pieces of the database's answers until it falls silent; None for no end.
        connections: How many were made.
        questions: Pieces that the clients have sent: one for each round trip.
    """

    def __init__(self, target: URL) -> None:
        self._target = target
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self.silent = False
        self.answers_left: int | None = None
        self.connections = 0
        self.questions = 0

    @property
    def url(self) -> str:
        """The URL of the same database, by way of the proxy."""
        assert self._server is not None
        port = self._server.sockets[0].getsockname()[1]
        target = self._target.difference_update_query(["host", "port"])
        return target.set(host="127.0.0.1", port=port).render_as_string(hide_password=False)

    async def open(self) -> None:
        """Listen on a free port."""
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)

    async def close(self) -> None:
        """Stop listening and cut all connections."""
        assert self._server is not None
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        far_reader, far_writer = await self._connect()
        for source, sink in ((reader, far_writer), (far_reader, writer)):
            task = asyncio.create_task(self._pass_on(source, sink, answers=source is far_reader))
            self._tasks.add(task)

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        host = self._target.query.get("host") or self._target.host or "127.0.0.1"
        port = self._target.port or 5432
        if isinstance(host, str) and host.startswith("/"):
            return await asyncio.open_unix_connection(str(Path(host) / f".s.PGSQL.{port}"))
        return await asyncio.open_connection(str(host), port)

    async def _pass_on(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, *, answers: bool) -> None:
        with contextlib.suppress(OSError):
            while data := await source.read(65536):
                if answers and self.answers_left is not None:
                    self.silent = self.silent or self.answers_left == 0
                    self.answers_left -= 1
                self.questions += not answers
                if not self.silent:
                    sink.write(data)
                    await sink.drain()
        if not self.silent:
            sink.close()


@asynccontextmanager
async def proxied(url: str) -> AsyncIterator[Proxy]:
    """Put a proxy before a database."""
    proxy = Proxy(make_url(url))
    await proxy.open()
    try:
        yield proxy
    finally:
        await proxy.close()


CONFIGURATION = """
[databases]
{name} = host={host} port={server_port} user={user} dbname={name}

[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = {size}
max_client_conn = 200
"""


@contextmanager
def bounced(program: Path, url: str, *, size: int) -> Iterator[str]:
    """Put pgbouncer before a database, with so many connections to it, and yield the URL by way of it."""
    with (
        tempfile.TemporaryDirectory(prefix="ligand-bouncer-") as name,
        run_pgbouncer(program, url, Path(name), size) as bounced_url,
    ):
        yield bounced_url


@contextmanager
def run_pgbouncer(program: Path, url: str, directory: Path, size: int) -> Iterator[str]:
    """Run pgbouncer with its files in a directory of its own."""
    target = make_url(url)
    port = free_port()
    configuration = directory / "pgbouncer.ini"
    configuration.write_text(
        CONFIGURATION.format(
            name=target.database,
            host=target.query.get("host") or target.host,
            server_port=target.port or 5432,
            user=target.username,
            port=port,
            size=size,
        )
    )
    other_user: dict[str, Any] = {}
    if os.geteuid() == 0:  # pgbouncer refuses to run as root; the directory of the socket is its server's
        user = pwd.getpwuid(socket_owner(target.query.get("host")))
        other_user = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
        os.chown(directory, user.pw_uid, user.pw_gid)
        os.chown(configuration, user.pw_uid, user.pw_gid)
    with (directory / "log").open("wb") as log:
        process = subprocess.Popen([program, configuration], stdout=log, stderr=log, cwd="/", **other_user)
    try:
        wait_for_pgbouncer(process, directory / "log")
        yield target.set(host="127.0.0.1", port=port, query={}).render_as_string(hide_password=False)
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def socket_owner(host: object) -> int:
    """Return who owns the directory of a Unix socket, or `nobody` for a server elsewhere."""
    if isinstance(host, str) and host.startswith("/"):
        return Path(host).stat().st_uid
    return pwd.getpwnam("nobody").pw_uid


def wait_for_pgbouncer(process: "subprocess.Popen[bytes]", log: Path) -> None:
    """Wait until pgbouncer says that it is up."""
    for _ in range(200):
        if "process up" in log.read_text():
            return
        assert process.poll() is None, log.read_text()
        time.sleep(0.02)
    raise AssertionError(log.read_text())
