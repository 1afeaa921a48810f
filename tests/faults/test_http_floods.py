"""FAULTS 121, 122, 123, 125, 162, 163: what is asked of the server before any request exists, of real processes."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import pytest

from tests.faults.floods import (
    BUSY,
    COMPRESSED,
    VARIABLES,
    compressed_zeros,
    connect,
    connect_websocket,
    descriptors,
    flood,
    frames_of,
    holding_bodies,
    memory,
    reset_streams,
    seconds_open,
    unfinished_heads,
    watching,
    websocket_frame,
)
from tests.servers import Launched, launched

pytestmark = pytest.mark.extended  # floods take seconds

ASK = b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Launched]:
    """The busy service under `ligand serve`, with HTTP/2."""
    with launched(BUSY, tmp_path_factory.mktemp("floods"), VARIABLES) as server:
        yield server


# Made when they are sent: this module is imported also where its tests are not run.
FLOODS = {
    "priorities": partial(frames_of, "priority", 20_000),
    "pings": partial(frames_of, "ping", 20_000),
    "settings": partial(frames_of, "settings", 20_000),
    "windows": partial(frames_of, "window", 20_000),
    "requests taken back": partial(reset_streams, 2_000, "/nap/1.0"),
}


@pytest.mark.parametrize("name", FLOODS)
def test_frames_that_ask_for_nothing(server: Launched, name: str) -> None:
    """Row 121: 20,000 such frames on one connection keep nobody waiting; hypercorn was busy for a minute."""
    frames = FLOODS[name]()
    with watching(server.address) as waits:
        flood(server.address, frames)

    assert max(waits) < 2
    assert server.process.poll() is None


def test_bodies_that_nobody_takes(server: Launched, figure: Callable[[int, int], int]) -> None:
    """Row 122: ten connections that ask 90 times for 1.7 MB and open no window cost little; it was 600 MB and more."""
    before = memory(server.process.pid)
    with holding_bodies(server.address, "/bundle", connections=figure(10, 100), requests=90):
        time.sleep(1)
        grown = memory(server.process.pid) - before

    assert grown < figure(40, 200)


def test_heads_that_do_not_end(server: Launched) -> None:
    """Row 123: whatever does not become a request is closed after five seconds, over HTTP/1 and HTTP/2."""
    heads = unfinished_heads()
    with ThreadPoolExecutor(len(heads)) as pool:
        took = pool.map(lambda head: seconds_open(server.address, head, at_most=20), heads.values())
    wrong = {name: seconds for name, seconds in zip(heads, took, strict=True) if not 4 < seconds < 8}

    assert wrong == {}


def test_compressed_zeros(server: Launched, figure: Callable[[int, int], int]) -> None:
    """Row 125: websockets with 61 kB of compressed zeros each cost what they send; it was 3.6 GB and half a minute."""
    count, payload = figure(31, 310), compressed_zeros(60_000_000)
    before = memory(server.process.pid)
    with ExitStack() as stack, watching(server.address) as waits:
        for _ in range(count):
            connection, head = connect_websocket(server.address, "/echo", COMPRESSED, timeout=60)
            stack.enter_context(connection)
            connection.sendall(websocket_frame(payload, rsv1=True))
            assert b"permessage-deflate" not in head
            assert connection.recv(100)[:4] == b"\x88\x02\x03\xea"  # 1002

    assert memory(server.process.pid) - before < 100
    assert max(waits) < 2


def test_short_connections(tmp_path: Path, figure: Callable[[int, int], int]) -> None:
    """Row 162: 300 connections a second, closed by their clients, with 1,024 descriptors: none is refused."""
    with launched(BUSY, tmp_path, descriptors=1024) as server:
        refused: list[str] = []
        most = 0
        start = time.monotonic()
        for number in range(figure(1500, 9000)):
            time.sleep(max(0.0, start + number / 300 - time.monotonic()))
            try:
                with connect(server.address, 5) as connection:
                    connection.sendall(ASK)
                    if not connection.recv(1000).startswith(b"HTTP/1.1 200 "):
                        refused.append("no answer")
            except OSError as error:
                refused.append(str(error))
            if number % 100 == 0:
                most = max(most, descriptors(server.process.pid))
        code, _ = server.stop()
        log = server.log.read_text()

    assert (refused, code) == ([], 0)
    assert most < 100
    assert "cannot accept" not in log


def test_more_connections_than_descriptors(tmp_path: Path) -> None:
    """Row 162: where 300 idle connections fill 256 descriptors the oldest make room, and a new client is served."""
    with launched(BUSY, tmp_path, descriptors=256) as server, ExitStack() as stack:
        for _ in range(300):
            stack.enter_context(connect(server.address)).sendall(ASK)
        with connect(server.address, 5) as connection:
            connection.sendall(ASK)
            assert connection.recv(1000).startswith(b"HTTP/1.1 200 ")
        log = server.log.read_text()

    assert log.count("cannot accept connections") <= 2


def test_client_that_reads_nothing(server: Launched) -> None:
    """Row 163: a client that reads nothing is aborted at RESPONSE_TIMEOUT, 2 s here, and nothing of it remains."""
    before = descriptors(server.process.pid)
    with ExitStack() as stack:
        for _ in range(10):
            stack.enter_context(connect(server.address)).sendall(ASK.replace(b"/ ", b"/flood "))
        deadline = time.monotonic() + 15
        time.sleep(0.5)
        assert descriptors(server.process.pid) >= before + 10
        while descriptors(server.process.pid) > before and time.monotonic() < deadline:
            time.sleep(0.1)
        assert descriptors(server.process.pid) <= before
