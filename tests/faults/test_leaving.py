"""FAULTS 114, 115, 116, 158, 161, 163 to 165: how a service leaves, by real signals on real processes."""

import asyncio
import itertools
import json
import os
import re
import signal
import socket
import struct
import subprocess
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import Any

import pytest
from hpack import Encoder
from sqlalchemy import select

from tests.faults.database_service import PATH as SLOW
from tests.faults.floods import (
    BUSY,
    PREFACE,
    VARIABLES,
    connect,
    connect_websocket,
    head_frame,
    holding_bodies,
)
from tests.http import PROBLEM, WireReply, exchange_now, request
from tests.servers import LIGAND, ROOT, Launched, launched
from tests.services import Item, db, make_service, running

FORCED = 3
SPARE = 1.0  # seconds, for a machine that is busy with other tests


def leaving(path: Path, **variables: str) -> AbstractContextManager[Launched]:
    """Serve the busy service, with settings of its stop."""
    chosen: Mapping[str, str] = {**VARIABLES, **{f"LIGAND_{name.upper()}": value for name, value in variables.items()}}
    return launched(BUSY, path, chosen)


def begin(server: Launched, sent: bytes) -> socket.socket:
    """Send a request, and leave its answer for later."""
    connection = connect(server.address, 20)
    connection.sendall(sent)
    return connection


def read_all(connection: socket.socket) -> bytes:
    """Read to the end of a connection."""
    received = b""
    try:
        while part := connection.recv(65536):
            received += part
    except OSError:
        pass
    return received


def has_no_traceback(log: str) -> bool:
    return "Traceback" not in log and "[error" not in log


def test_nothing_open(tmp_path: Path) -> None:
    """A service that nobody uses leaves at once, with exit code 0."""
    with leaving(tmp_path) as server:
        code, took = server.stop()

    assert code == 0
    assert took < 1 + SPARE


def test_requests_in_flight_finish(tmp_path: Path) -> None:
    """Rows 115 and 164: a request in flight is answered whole, with `Connection: close`, and the exit code is 0."""
    with leaving(tmp_path) as server, begin(server, request("GET", "/nap/1.5")) as connection:
        time.sleep(0.3)
        code, took = server.stop()
        received = read_all(connection)
        log = server.log.read_text()

    assert received.startswith(b"HTTP/1.1 200 ")
    assert b"connection: close\r\n" in received
    assert received.endswith(b"rested")
    assert (code, has_no_traceback(log)) == (0, True)
    assert 1 < took < 3 + SPARE


@pytest.mark.extended
def test_streams_are_told_first(tmp_path: Path) -> None:
    """Row 158: websockets get 1001; a stream may say good-bye when it is told; others are ended whole; no traceback."""
    with leaving(tmp_path) as server, ExitStack() as stack:
        websocket = stack.enter_context(connect_websocket(server.address, "/echo")[0])
        endless = stack.enter_context(begin(server, request("GET", "/events")))
        polite = stack.enter_context(begin(server, request("GET", "/told")))
        time.sleep(0.5)
        code, took = server.stop()
        close, events, told = read_all(websocket), read_all(endless), read_all(polite)
        log = server.log.read_text()

    assert close == b"\x88\x02" + struct.pack(">H", 1001)
    assert events.endswith(b"\r\n0\r\n\r\n")
    assert b"event: bye" in told
    assert told.endswith(b"\r\n0\r\n\r\n")
    assert (code, has_no_traceback(log), log.count("the stream was closed"), log.count(" told ")) == (0, True, 1, 1)
    assert took < 2 + SPARE


@pytest.mark.extended
def test_drain_delay(tmp_path: Path) -> None:
    """Row 116: readiness is 503 at once; for the delay everything else is served, and the answers say it is the end."""
    with leaving(tmp_path, drain_delay="1.5") as server:
        keep = connect(server.address)
        keep.sendall(request("GET", "/"))
        assert b"connection: close" not in keep.recv(4096)
        start = time.monotonic()
        server.process.send_signal(signal.SIGTERM)
        time.sleep(0.3)
        ready = exchange_now(server.address, request("GET", "/readyz"))
        live = exchange_now(server.address, request("GET", "/livez"))
        keep.sendall(request("GET", "/"))
        answer = read_all(keep)
        code = server.process.wait(10)
        took = time.monotonic() - start
        with pytest.raises(ConnectionRefusedError):
            connect(server.address)
        keep.close()

    assert (ready.status, ready.headers["content-type"], ready.headers["retry-after"]) == (503, PROBLEM, "1")
    assert (live.status, live.headers["connection"]) == (200, "close")
    assert b"connection: close" in answer
    assert answer.endswith(b"index")
    assert code == 0
    assert 1.4 < took < 3.5 + SPARE


def hold_sleeper(server: Launched, stack: ExitStack) -> None:
    stack.enter_context(begin(server, request("GET", "/nap/60.0")))


def hold_hung(server: Launched, stack: ExitStack) -> None:
    stack.enter_context(begin(server, request("GET", "/hang")))


def hold_blocked(server: Launched, stack: ExitStack) -> None:
    stack.enter_context(begin(server, request("GET", "/block/60.0")))


def hold_thread(server: Launched, stack: ExitStack) -> None:
    stack.enter_context(begin(server, request("GET", "/thread/60.0")))


def hold_unread(server: Launched, stack: ExitStack) -> None:
    stack.enter_context(begin(server, request("GET", "/flood")))


def hold_windows(server: Launched, stack: ExitStack) -> None:
    stack.enter_context(holding_bodies(server.address, "/bundle", connections=3, requests=20))


def quick_first(cases: Iterable[str], count: int) -> list[Any]:
    """Return parameters of a test, of which the first few run in the quick suite."""
    return [
        name if number < count else pytest.param(name, marks=pytest.mark.extended) for number, name in enumerate(cases)
    ]


HELD: dict[str, Callable[[Launched, ExitStack], None]] = {
    "a client that reads nothing": hold_unread,
    "a handler that blocks the loop": hold_blocked,
    "a handler that sleeps": hold_sleeper,
    "a handler that swallows its cancellation": hold_hung,
    "a thread": hold_thread,
    "a client that opens no window": hold_windows,
}


@pytest.mark.parametrize("name", quick_first(HELD, 2))
@pytest.mark.extended
def test_hard_limit(tmp_path: Path, name: str) -> None:
    """Row 161: the process ends within grace period and two seconds, whatever is open, and its exit code says so."""
    with leaving(tmp_path, grace_period="1") as server, ExitStack() as stack:
        HELD[name](server, stack)
        time.sleep(0.5)
        code, took = server.stop()
        log = server.log.read_text()

    assert took < 3 + SPARE
    assert (code, "Traceback" in log) == (FORCED, False)
    assert re.search(r"the service was stopped, but|did not stop in time", log.splitlines()[-1])


def hold_idle_http2(server: Launched, stack: ExitStack) -> None:
    stack.enter_context(connect(server.address)).sendall(PREFACE + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0]))


def hold_idle_http1(server: Launched, stack: ExitStack) -> None:
    stack.enter_context(begin(server, request("GET", "/"))).recv(4096)


def hold_half_a_head(server: Launched, stack: ExitStack) -> None:
    stack.enter_context(begin(server, b"GET / HTT"))


def hold_events(server: Launched, stack: ExitStack) -> None:
    stack.enter_context(begin(server, request("GET", "/events"))).recv(100)


def hold_websocket(server: Launched, stack: ExitStack) -> None:
    stack.enter_context(connect_websocket(server.address, "/echo")[0])


ENDED: dict[str, Callable[[Launched, ExitStack], None]] = {
    "an idle HTTP/2 connection": hold_idle_http2,
    "a websocket": hold_websocket,
    "an idle HTTP/1 connection": hold_idle_http1,
    "half a head": hold_half_a_head,
    "a stream of events": hold_events,
}


@pytest.mark.parametrize("name", quick_first(ENDED, 2))
@pytest.mark.extended
def test_clean_end_of_what_is_open(tmp_path: Path, name: str) -> None:
    """Row 161: what only stays open is ended, and the exit code is 0; on Python 3.12 it kept hypercorn for ever."""
    with leaving(tmp_path) as server, ExitStack() as stack:
        ENDED[name](server, stack)
        time.sleep(0.3)
        code, took = server.stop()
        log = server.log.read_text()

    assert (code, has_no_traceback(log)) == (0, True)
    assert took < 3 + SPARE


@pytest.mark.extended
def test_second_signal_hastens(tmp_path: Path) -> None:
    """Row 161: a second signal ends the drain delay and the grace period."""
    with leaving(tmp_path, drain_delay="20", grace_period="20") as server, ExitStack() as stack:
        hold_sleeper(server, stack)
        time.sleep(0.3)
        server.process.send_signal(signal.SIGTERM)
        time.sleep(0.5)
        assert server.process.poll() is None
        code, took = server.stop(signal.SIGINT)

    assert (code, took < 2 + SPARE) == (FORCED, True)


@pytest.mark.extended
def test_app_that_does_not_close(tmp_path: Path) -> None:
    """Row 161: what the app closes, such as its pools, has the rest of the time and no more."""
    (tmp_path / "clinging").touch()
    with leaving(tmp_path, grace_period="1") as server:
        code, took = server.stop()
        log = server.log.read_text()

    assert (code, "Traceback" in log) == (FORCED, False)
    assert "the app did not close within" in log.splitlines()[-1]
    assert took < 3 + SPARE


@pytest.mark.extended
def test_background_task_that_does_not_end(tmp_path: Path) -> None:
    """Row 161: a background task is cancelled in time for the app to close what it has opened."""
    with leaving(tmp_path, grace_period="1") as server:
        exchange_now(server.address, request("GET", "/background"))
        code, took = server.stop()
        log = server.log.read_text()

    assert (code, has_no_traceback(log), log.count(" closing ")) == (0, True, 1)
    assert took < 3 + SPARE


@pytest.mark.parametrize("path", ["/nap/60.0", "/hang"], ids=["stopped", "hung"])
@pytest.mark.extended
def test_what_the_grace_cuts(tmp_path: Path, path: str) -> None:
    """Row 165: a request that is cut is answered with 503 and Retry-After, and has one line in the log."""
    with leaving(tmp_path, grace_period="0.5") as server:
        replies: list[WireReply] = []
        asking = threading.Thread(
            target=lambda: replies.append(exchange_now(server.address, request("GET", path), until_closed=True))
        )
        asking.start()
        time.sleep(0.3)
        code, _ = server.stop()
        asking.join()
        log = server.log.read_text()

    [reply] = replies
    assert (reply.status, reply.headers["content-type"], reply.headers["retry-after"]) == (503, PROBLEM, "1")
    assert (reply.headers["connection"], reply.document["detail"]) == ("close", "the service is stopping")
    assert (code, has_no_traceback(log)) == (FORCED, True)
    assert len([line for line in log.splitlines() if f"GET {path} 503" in line]) == (path != "/hang")


@pytest.mark.extended
def test_requests_over_http2_finish(tmp_path: Path) -> None:
    """Row 164: over HTTP/2 GOAWAY says that the connection ends, and what was asked before is answered."""
    with leaving(tmp_path) as server, connect(server.address, 20) as connection:
        head = head_frame(Encoder(), 1, "/nap/1.0").serialize()
        connection.sendall(PREFACE + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0]) + head)
        time.sleep(0.3)
        code, _ = server.stop()
        received = read_all(connection)

    assert b"rested" in received
    assert received.count(b"\x07\x00\x00\x00\x00\x00") == 2
    assert code == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.extended
def test_load_through_a_stop(tmp_path: Path, number: int, figure: Callable[[int, int], int]) -> None:
    """Row 164: clients that keep their connections, and follow `Connection: close`, lose no request to a stop."""
    answered: list[int] = []
    lost: list[str] = []
    with leaving(tmp_path, drain_delay="1") as server:
        stop = threading.Event()
        clients = [
            threading.Thread(target=ask_on_and_on, args=(server, stop, answered, lost)) for _ in range(figure(8, 64))
        ]
        for client in clients:
            client.start()
        time.sleep(1)
        server.process.send_signal(number)
        time.sleep(0.7)
        stop.set()
        for client in clients:
            client.join()
        code = server.process.wait(10)

    assert lost == []
    assert len(answered) > 100
    assert code == 0


def ask_on_and_on(server: Launched, stop: threading.Event, answered: list[int], lost: list[str]) -> None:
    """Ask over a connection that is kept until an answer says that it ends."""
    connection: socket.socket | None = None
    while not stop.is_set():
        try:
            connection = connection or connect(server.address)
            connection.sendall(request("POST", "/length", body=b"hello"))
            received = connection.recv(4096)
            while received and not received.endswith(b"\r\n\r\n5"):
                part = connection.recv(4096)
                if not part:
                    break
                received += part
        except OSError as error:
            lost.append(repr(error))
            return
        if not received.endswith(b"\r\n\r\n5"):
            lost.append(repr(received))
            return
        answered.append(1)
        if b"connection: close" in received:
            connection.close()
            connection = None


@pytest.mark.parametrize("drain_delay", ["0", "0.5"])
@pytest.mark.extended
async def test_nothing_committed_goes_unanswered(database_url: str, tmp_path: Path, drain_delay: str) -> None:
    """Row 164: each row that is there after a stop under load belongs to a 201 that its client has read."""
    answered: list[str] = []
    stop = threading.Event()
    variables = {"DATABASE_URL": database_url, "REQUEST_TIMEOUT": "10", "GRACE_PERIOD": "5", "DRAIN_DELAY": drain_delay}

    def load_and_stop() -> int:
        with launched(SLOW, tmp_path, variables) as server:
            clients = [threading.Thread(target=add_items, args=(server, number, stop, answered)) for number in range(8)]
            for client in clients:
                client.start()
            for _ in range(200):
                if len(answered) > 20:
                    break
                time.sleep(0.1)
            server.process.send_signal(signal.SIGTERM)
            code = server.process.wait(15)
            stop.set()
            for client in clients:
                client.join()
        return code

    code = await asyncio.to_thread(load_and_stop)
    async with running(make_service(database_url)), db.read() as session:
        stored = set(await session.scalars(select(Item.name)))

    assert stored == set(answered)
    assert len(answered) > 20
    assert code == 0


def add_items(server: Launched, number: int, stop: threading.Event, answered: list[str]) -> None:
    """Post over a connection that is kept while it lasts, and note what was answered."""
    connection: socket.socket | None = None
    for count in itertools.count():
        if stop.is_set():
            return
        name = f"{number} {count}"
        try:
            connection = connection or connect(server.address)
            body = json.dumps({"name": name}).encode()
            connection.sendall(request("POST", "/items", "Content-Type: application/json", body=body))
            received = connection.recv(4096)
        except OSError:
            received = b""
        if received.startswith(b"HTTP/1.1 201 "):
            answered.append(name)
        if connection is not None and (not received or b"connection: close" in received):
            connection.close()
            connection = None
        if not received:
            time.sleep(0.02)


@pytest.mark.extended
def test_exit_code_of_a_failed_start(tmp_path: Path) -> None:
    """Row 114: a service that does not start exits with 1, and the last line says why."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        command = [*LIGAND, "--app", BUSY, "serve", "--port", str(other.getsockname()[1])]
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "LIGAND_ENVIRONMENT": "local"}
        ended = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=30)

    assert ended.returncode == 1
    assert "it is in use; choose another port" in ended.stderr.splitlines()[-1]
