"""Issue 16: the same app under hypercorn, uvicorn and granian; docs/server.md has a table of what they cannot do."""

import os
import re
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
from hpack import Encoder
from hyperframe.frame import DataFrame

from tests.faults.floods import BUSY, PREFACE, connect, connect_websocket, head_frame, websocket_frame
from tests.http import PROBLEM, WireReply, exchange_now, request
from tests.servers import ROOT, Launched, free_port, wait_until_live

pytestmark = pytest.mark.extended

EMPTY_SETTINGS = bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])


@dataclass(frozen=True)
class Bare:
    """A server and what it does differently; a test fails when it does better, so that the table can be renewed.

    Attributes:
        name: Of its module.
        options: Of its command.
        clean: Exit code after SIGTERM.
        failed: Exit code after a failed start.
        own_reply: Content type of its reply to bytes that are not HTTP.
        goodbye: Close code that a websocket gets when the server stops; None for no close at all.
        keeps_http2: A connection goes on after an answer that came before its body.
    """

    name: str
    options: tuple[str, ...]
    clean: int = 0
    failed: int = 1
    own_reply: str | None = None
    goodbye: int | None = None
    keeps_http2: bool = True

    def command(self, port: int) -> list[str]:
        """Return the command that serves the busy service."""
        bind = ["--bind", f"127.0.0.1:{port}"] if self.name == "hypercorn" else ["--port", str(port)]
        target = [f"{BUSY}()"] if self.name == "hypercorn" else ["--factory", BUSY]
        return [sys.executable, "-m", self.name, *self.options, *bind, *target]

    def start(self, directory: Path) -> Launched:
        """Start it."""
        port = free_port()
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("LIGAND_", "QUART_"))}
        environment |= {"PYTHONPATH": str(ROOT), "LIGAND_ENVIRONMENT": "local"}
        log = directory / "server.log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                self.command(port),
                cwd=directory,
                env=environment,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        return Launched(process, f"http://127.0.0.1:{port}", log)

    @contextmanager
    def serving(self, directory: Path) -> Iterator[Launched]:
        """Serve, and kill at the end what still runs: the server and its workers."""
        server = self.start(directory)
        try:
            wait_until_live(server.address, server.process, server.log)
            yield server
        finally:
            end_group(server)


HYPERCORN = Bare("hypercorn", (), failed=0, goodbye=1011, keeps_http2=False)
UVICORN = Bare(
    "uvicorn",
    ("--timeout-graceful-shutdown", "5"),  # without it an open stream keeps it from ending
    clean=-signal.SIGTERM,
    failed=3,
    own_reply="text/plain; charset=utf-8",
    goodbye=1012,
)
GRANIAN = Bare("granian", ("--interface", "asgi", "--workers-kill-timeout", "8"))
BARE = [pytest.param(bare, id=bare.name) for bare in (HYPERCORN, UVICORN, GRANIAN)]
never_ends = pytest.mark.skipif(sys.version_info >= (3, 12), reason="an open connection keeps hypercorn from ending")
ENDING = [pytest.param(HYPERCORN, id="hypercorn", marks=never_ends), *BARE[1:]]


def end_group(server: Launched) -> None:
    """Kill a server with its workers, which outlive it."""
    with suppress(ProcessLookupError):
        os.killpg(server.process.pid, signal.SIGKILL)
    server.process.wait()


def problem_status(reply: WireReply) -> int | None:
    """Return the status of a problem document."""
    return reply.status if reply.headers.get("content-type") == PROBLEM and reply.document["request_id"] else None


@pytest.mark.parametrize("bare", BARE)
def test_serves(bare: Bare, tmp_path: Path) -> None:
    """Requests, problems, bodies, streams of events, websockets, health and a stop with nothing open are right."""
    with bare.serving(tmp_path) as server:
        address = server.address
        assert exchange_now(address, request("GET", "/")).body == b"index"
        assert exchange_now(address, request("POST", "/length", body=b"hello")).body == b"5"
        assert problem_status(exchange_now(address, request("GET", "/nothing"))) == 404
        assert problem_status(exchange_now(address, request("GET", "/%ff"))) == 400
        assert problem_status(exchange_now(address, request("GET", "/", "X-Long: " + "a" * 40_000))) == 431
        assert exchange_now(address, request("GET", "/readyz")).status == 200
        with connect(address) as events:
            events.sendall(request("GET", "/events"))
            assert b"data: still here" in read_until(events, b"still here")
        websocket, _ = connect_websocket(address, "/echo")
        with websocket:
            websocket.sendall(websocket_frame(b"abc"))
            assert websocket.recv(100) == b"\x81\x013"
        own = exchange_now(address, b"\x00\x01 nonsense\r\n\r\n")
        assert (own.status, own.headers.get("content-type")) == (400, bare.own_reply)
        code, _ = server.stop()
        log = server.log.read_text()

    assert code == bare.clean
    assert " closing" in log  # the app has been told


@pytest.mark.parametrize("bare", BARE)
def test_request_in_flight_is_answered(bare: Bare, tmp_path: Path) -> None:
    """A short request that is being served at SIGTERM is answered, while new connections are refused or unheard."""
    replies: list[WireReply] = []
    with bare.serving(tmp_path) as server:
        sent = request("GET", "/nap/1.5")
        asking = threading.Thread(target=lambda: replies.append(exchange_now(server.address, sent)))
        asking.start()
        time.sleep(0.5)
        code, _ = server.stop()
        asking.join()

    assert [reply.body for reply in replies] == [b"rested"]
    assert code == bare.clean


@pytest.mark.parametrize("bare", ENDING)
def test_what_a_websocket_hears(bare: Bare, tmp_path: Path) -> None:
    """At a stop a websocket does not get the 1001 that `ligand serve` sends."""
    with bare.serving(tmp_path) as server:
        websocket, _ = connect_websocket(server.address, "/echo")
        with websocket:
            time.sleep(0.5)
            server.stop()
            websocket.settimeout(5)
            received = read_until(websocket, b"never")

    assert received == (b"" if bare.goodbye is None else b"\x88\x02" + struct.pack(">H", bare.goodbye))


@pytest.mark.parametrize("bare", ENDING)
def test_long_request_gets_no_503(bare: Bare, tmp_path: Path) -> None:
    """What the stop cuts is a bare 500 or nothing at all; `ligand serve` answers 503 with `Retry-After`."""
    replies: list[WireReply] = []
    with bare.serving(tmp_path) as server:
        sent = request("GET", "/nap/60.0")
        asking = threading.Thread(target=lambda: replies.append(exchange_now(server.address, sent, timeout=30)))
        asking.start()
        time.sleep(0.5)
        code, _ = server.stop()
        asking.join()

    assert [reply.status for reply in replies] == [None if bare is GRANIAN else 500]
    assert "retry-after" not in replies[0].headers
    assert code == bare.clean


@pytest.mark.parametrize("bare", BARE)
def test_exit_code_of_a_failed_start(bare: Bare, tmp_path: Path) -> None:
    """Row 114: the reason is in the log, and the exit code is that of the table; hypercorn's is 0."""
    (tmp_path / "broken").touch()
    server = bare.start(tmp_path)
    try:
        code = server.process.wait(60)
    finally:
        end_group(server)

    assert code == bare.failed
    assert re.search("the cellar is flooded", server.log.read_text())


@pytest.mark.parametrize("bare", [HYPERCORN, GRANIAN], ids=["hypercorn", "granian"])
def test_answer_before_the_body_over_http2(bare: Bare, tmp_path: Path) -> None:
    """A body that comes after its answer ends hypercorn's connection (its issue 329); `ligand serve` drops it."""
    encoder = Encoder()
    with bare.serving(tmp_path) as server, connect(server.address) as connection:
        early = head_frame(encoder, 1, "/nothing", method="POST", flags=("END_HEADERS",))
        connection.sendall(PREFACE + EMPTY_SETTINGS + early.serialize())
        assert b"Not Found" in read_until(connection, b"Not Found")
        time.sleep(0.3)
        body = DataFrame(1, data=b"x", flags=["END_STREAM"])
        with suppress(ConnectionError):
            connection.sendall(body.serialize() + head_frame(encoder, 3, "/").serialize())
        answered = b"index" in read_until(connection, b"index")

    assert answered is bare.keeps_http2


def read_until(connection: socket.socket, expected: bytes) -> bytes:
    """Read until some bytes have come, the connection has ended, or five seconds have passed without any."""
    connection.settimeout(5)
    received = b""
    with suppress(OSError):
        while expected not in received and (part := connection.recv(65536)):
            received += part
    return received
