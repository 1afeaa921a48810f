"""Issue 16: a service is replaced behind nginx again and again under load, and no request fails."""

import http.client
import os
import signal
import socket
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest

from tests.faults.floods import BUSY
from tests.http import exchange_now, request
from tests.servers import Launched, free_port, launched

DRAIN_DELAY = 0.3  # seconds
CONFIGURATION = """
{user}
daemon off;
worker_processes 1;
worker_shutdown_timeout 10;
pid {directory}/nginx.pid;
error_log {directory}/error.log;
events {{ worker_connections 512; }}
http {{
    access_log off;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    include {directory}/upstream.conf;
    server {{
        listen 127.0.0.1:{port};
        location / {{
            proxy_pass http://service;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_set_header Host $host;
            proxy_next_upstream off;
        }}
    }}
}}
"""


class Nginx:
    """nginx before one instance of a service, whose connections it keeps; it repeats no request.

    Args:
        program: nginx.
        directory: For its files.
    """

    def __init__(self, program: Path, directory: Path) -> None:
        self._command = [str(program), "-p", str(directory), "-c", str(directory / "nginx.conf")]
        self._directory = directory
        self.port = free_port()

    def name(self, server: Launched) -> None:
        """Write down the instance that gets the requests."""
        address = server.address.removeprefix("http://")
        (self._directory / "upstream.conf").write_text(f"upstream service {{ server {address}; keepalive 16; }}\n")

    def reload(self) -> None:
        """Send new requests to the instance that was named last; requests under way end where they are."""
        subprocess.run([*self._command, "-s", "reload"], check=True, timeout=20, capture_output=True)

    @contextmanager
    def running(self) -> Iterator[None]:
        """Run it."""
        user = "user root;" if os.geteuid() == 0 else ""
        text = CONFIGURATION.format(user=user, directory=self._directory, port=self.port)
        (self._directory / "nginx.conf").write_text(text)
        process = subprocess.Popen(self._command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            for _ in range(200):
                with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
                    break
                time.sleep(0.05)
            yield
        finally:
            process.terminate()
            process.wait(20)


class Clients:
    """Clients of a port that ask on and on: some read over connections that they keep, some write over new ones."""

    def __init__(self, port: int, count: int) -> None:
        self._port = port
        self._stopped = threading.Event()
        self._threads = [
            threading.Thread(target=self._run, args=(self._read if number % 2 else self._write,))
            for number in range(count)
        ]
        self._connections = threading.local()
        self.answered: Counter[str] = Counter()
        self.lost: list[str] = []

    def __enter__(self) -> "Clients":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stopped.set()
        for thread in self._threads:
            thread.join()

    def _run(self, ask: Callable[[], tuple[int, bytes]]) -> None:
        while not self._stopped.is_set():
            try:
                status, body = ask()
            except (OSError, http.client.HTTPException) as error:
                self.lost.append(f"{ask.__name__}: {error!r}")
                continue
            if (status, body) in {(200, b"index"), (200, b"5")}:
                self.answered[ask.__name__] += 1
            else:
                self.lost.append(f"{ask.__name__}: {status} {body!r}")
            time.sleep(0.01)

    def _read(self) -> tuple[int, bytes]:
        kept: http.client.HTTPConnection | None = getattr(self._connections, "kept", None)
        if kept is not None:
            try:
                return self._exchange(kept, "GET", "/")
            except (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError):
                # nginx closed it while it was idle. RFC 9112 section 9.3.1: send it again over a new connection.
                kept.close()
        self._connections.kept = http.client.HTTPConnection("127.0.0.1", self._port, timeout=20)
        return self._exchange(self._connections.kept, "GET", "/")

    def _write(self) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=20)
        try:
            return self._exchange(connection, "POST", "/length", b"hello")
        finally:
            connection.close()

    def _exchange(
        self, connection: http.client.HTTPConnection, method: str, path: str, body: bytes | None = None
    ) -> tuple[int, bytes]:
        connection.request(method, path, body)
        response = connection.getresponse()
        return response.status, response.read()


def wait_until_ready(server: Launched) -> None:
    """Poll readiness, as an orchestrator does."""
    for _ in range(200):
        if exchange_now(server.address, request("GET", "/readyz")).status == 200:
            return
        time.sleep(0.1)
    raise AssertionError(server.log.read_text())


@pytest.mark.extended
def test_rolling_restarts(
    tmp_path: Path, require_tool: Callable[[str], Path], figure: Callable[[int, int], int]
) -> None:
    """Replaced as an orchestrator does it, the service answers every request: 3 times here, 50 in the full form."""
    nginx = Nginx(require_tool("nginx"), tmp_path)
    codes = []
    with ExitStack() as stack:

        def start(number: int) -> Launched:
            directory = tmp_path / str(number)
            directory.mkdir()
            server = stack.enter_context(launched(BUSY, directory, {"LIGAND_DRAIN_DELAY": str(DRAIN_DELAY)}))
            wait_until_ready(server)
            return server

        serving = start(0)
        nginx.name(serving)
        clients = Clients(nginx.port, 8)
        with nginx.running(), clients:
            for number in range(1, figure(3, 50) + 1):
                replacement = start(number)
                nginx.name(replacement)
                nginx.reload()
                time.sleep(DRAIN_DELAY)
                code, _ = serving.stop()
                codes.append(code)
                serving = replacement
        codes.append(serving.stop()[0])

    print(f"answered {dict(clients.answered)}")
    assert clients.lost == []
    assert min(clients.answered.values()) > 50
    assert set(codes) == {0}


@pytest.mark.extended
def test_client_that_ignores_readiness(tmp_path: Path) -> None:
    """A bare client is served to the end of the drain delay, over connections that end; then nobody listens."""
    with launched(BUSY, tmp_path, {"LIGAND_DRAIN_DELAY": "1.5"}) as server:
        port = int(server.address.rpartition(":")[2])
        kept = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        late = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        for connection in (kept, late):
            connection.request("GET", "/")
            assert connection.getresponse().read() == b"index"
        server.process.send_signal(signal.SIGTERM)
        time.sleep(0.5)
        for connection in (kept, http.client.HTTPConnection("127.0.0.1", port, timeout=10)):
            connection.request("GET", "/")
            response = connection.getresponse()
            assert (response.status, response.headers["connection"], response.read()) == (200, "close", b"index")
        assert server.process.wait(10) == 0
        with pytest.raises(
            (http.client.RemoteDisconnected, ConnectionError)
        ):  # idle, and closed at the end of the delay
            late.request("GET", "/")
            late.getresponse()
        with pytest.raises(ConnectionRefusedError):
            http.client.HTTPConnection("127.0.0.1", port, timeout=10).connect()
