"""Clients that ask for too much before any request exists: rows 121, 122, 123, 125, 162, 163.

Each function takes the address of a served app. `python -m tests.faults.floods` prints what they cost a server.
"""

import base64
import os
import socket
import struct
import sys
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import urlsplit

from hpack import Encoder
from hyperframe.frame import (
    ContinuationFrame,
    Frame,
    HeadersFrame,
    PingFrame,
    PriorityFrame,
    RstStreamFrame,
    SettingsFrame,
    WindowUpdateFrame,
)

from tests.servers import launched

BUSY = "tests.faults.busy_service:create_busy_app"
VARIABLES = {"LIGAND_HTTP2_CLEARTEXT": "true"}
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_INITIAL_WINDOW_SIZE = 4  # RFC 9113 section 6.5.2


def connect(address: str, timeout: float = 10.0) -> socket.socket:
    """Connect to a served app."""
    url = urlsplit(address)
    return socket.create_connection((url.hostname or "", url.port or 0), timeout)


def connect_http2(address: str, *, window: int | None = None, timeout: float = 10.0) -> socket.socket:
    """Connect, and send HTTP/2's preface and settings.

    Args:
        address: Of the served app.
        window: The initial window of its streams, in bytes; None leaves 65,535.
        timeout: Of every operation, in seconds.
    """
    connection = connect(address, timeout)
    settings = {} if window is None else {_INITIAL_WINDOW_SIZE: window}
    connection.sendall(PREFACE + SettingsFrame(0, settings=settings).serialize())
    return connection


def head_frame(encoder: Encoder, stream: int, path: str, *, method: str = "GET", flags: tuple[str, ...] = ()) -> Frame:
    """Make the frame of a request's head."""
    fields = [(":method", method), (":path", path), (":scheme", "http"), (":authority", "127.0.0.1")]
    frame = HeadersFrame(stream, data=encoder.encode(fields))
    for flag in flags or ("END_HEADERS", "END_STREAM"):
        frame.flags.add(flag)
    return frame


def frames_of(kind: str, count: int) -> bytes:
    """Make frames that ask for nothing."""
    make: dict[str, Callable[[int], Frame]] = {
        # All depend on the root: to move one among 900 took hypercorn's tree more than a millisecond.
        "priority": lambda number: PriorityFrame(1 + 2 * (number % 900), stream_weight=number % 256),
        "ping": lambda number: PingFrame(0, opaque_data=struct.pack(">Q", number)),
        "settings": lambda number: SettingsFrame(0, settings={3: number}),
        "window": lambda _number: WindowUpdateFrame(0, window_increment=1),
    }
    return b"".join(make[kind](number).serialize() for number in range(count))


def reset_streams(count: int, path: str = "/") -> bytes:
    """Make requests that are each taken back at once (CVE-2023-44487)."""
    encoder = Encoder()
    parts = []
    for number in range(count):
        stream = 1 + 2 * number
        parts += [head_frame(encoder, stream, path).serialize(), RstStreamFrame(stream, error_code=8).serialize()]
    return b"".join(parts)


def flood(address: str, data: bytes, *, seconds: float = 60.0) -> None:
    """Send bytes as HTTP/2 on one connection, and read whatever comes, until the server has taken or refused them."""
    with connect_http2(address, timeout=seconds) as connection:
        reader = threading.Thread(target=_read_all, args=(connection,), daemon=True)
        reader.start()
        try:
            connection.sendall(data)
            connection.sendall(PingFrame(0, opaque_data=b"the last").serialize())
            connection.shutdown(socket.SHUT_WR)
        except OSError:
            pass
        reader.join(seconds)


def _read_all(connection: socket.socket) -> None:
    try:
        while connection.recv(65536):
            pass
    except OSError:
        pass


@contextmanager
def watching(address: str) -> Iterator[list[float]]:
    """Ask for a small page meanwhile, over and over, and collect how many seconds each answer took."""
    waits: list[float] = []
    stop = threading.Event()

    def ask() -> None:
        while not stop.is_set():
            start = time.monotonic()
            with connect(address, 60) as connection:
                connection.sendall(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
                _read_all(connection)
            waits.append(time.monotonic() - start)
            time.sleep(0.01)

    watcher = threading.Thread(target=ask, daemon=True)
    watcher.start()
    time.sleep(0.3)
    try:
        yield waits
    finally:
        stop.set()
        watcher.join(60)


@contextmanager
def holding_bodies(address: str, path: str, *, connections: int, requests: int) -> Iterator[None]:
    """Ask for a large body many times over HTTP/2, and take nothing of it."""
    with ExitStack() as stack:
        for _ in range(connections):
            connection = stack.enter_context(connect_http2(address, window=0))
            encoder = Encoder()
            frames = [head_frame(encoder, 1 + 2 * number, path) for number in range(requests)]
            connection.sendall(b"".join(frame.serialize() for frame in frames))
        yield


HANDSHAKE = (
    "Connection: Upgrade",
    "Upgrade: websocket",
    "Sec-WebSocket-Key: " + base64.b64encode(b"0123456789abcdef").decode(),
    "Sec-WebSocket-Version: 13",
)


def connect_websocket(address: str, path: str, *fields: str, timeout: float = 10.0) -> tuple[socket.socket, bytes]:
    """Open a websocket; return it with the head of the answer."""
    connection = connect(address, timeout)
    lines = [f"GET {path} HTTP/1.1", "Host: 127.0.0.1", *HANDSHAKE, *fields, "", ""]
    connection.sendall("\r\n".join(lines).encode())
    received = b""
    while b"\r\n\r\n" not in received:
        part = connection.recv(4096)
        if not part:
            break
        received += part
    return connection, received


COMPRESSED = "Sec-WebSocket-Extensions: permessage-deflate"


def websocket_frame(payload: bytes, *, opcode: int = 2, rsv1: bool = False, fin: bool = True) -> bytes:
    """Make a masked frame of a client; the mask is zero, which changes nothing."""
    first = (0x80 if fin else 0) | (0x40 if rsv1 else 0) | opcode
    if len(payload) < 126:
        length = bytes([0x80 | len(payload)])
    elif len(payload) < 65536:
        length = b"\xfe" + struct.pack(">H", len(payload))
    else:
        length = b"\xff" + struct.pack(">Q", len(payload))
    return bytes([first]) + length + bytes(4) + payload


def compressed_zeros(size: int) -> bytes:
    """Compress so many zero bytes as permessage-deflate does (RFC 7692)."""
    deflate = zlib.compressobj(9, zlib.DEFLATED, -15)
    return (deflate.compress(bytes(size)) + deflate.flush(zlib.Z_SYNC_FLUSH))[:-4]


def unfinished_heads() -> dict[str, bytes]:
    """Return what begins like a request and never becomes one."""
    encoder = Encoder()
    settings = SettingsFrame(0).serialize()
    open_head = head_frame(encoder, 1, "/", flags=("END_STREAM",)).serialize()
    more = ContinuationFrame(1, data=encoder.encode([("x-more", "1")])).serialize()
    return {
        "nothing": b"",
        "half a head": b"GET / HTTP/1.1\r\nHo",
        "half a preface": PREFACE[:10],
        "preface only": PREFACE,
        "settings only": PREFACE + settings,
        "HEADERS without end": PREFACE + settings + open_head,
        "CONTINUATION without end": PREFACE + settings + open_head + more,
        "pings": PREFACE + settings + PingFrame(0, opaque_data=bytes(8)).serialize(),
    }


def seconds_open(address: str, data: bytes, *, at_most: float) -> float:
    """Send bytes, and return for how many seconds the server then keeps the connection."""
    start = time.monotonic()
    with connect(address, at_most) as connection:
        connection.sendall(data)
        connection.settimeout(at_most)
        try:
            while connection.recv(65536):
                connection.settimeout(max(0.01, at_most - (time.monotonic() - start)))
        except OSError:
            pass
    return time.monotonic() - start


def peak_memory(pid: int) -> int:
    """Return the most memory that a process has had, in MB."""
    return _status(pid, "VmHWM")


def memory(pid: int) -> int:
    """Return the memory of a process, in MB."""
    return _status(pid, "VmRSS")


def _status(pid: int, field: str) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) // 1024
    raise LookupError(field)


def descriptors(pid: int) -> int:
    """Return how many file descriptors a process has open."""
    return len(os.listdir(f"/proc/{pid}/fd"))


def _measure() -> None:
    """Print what each flood costs a server of its own."""
    for name in sys.argv[1:] or _MEASURES:
        with (
            TemporaryDirectory() as directory,
            launched(BUSY, Path(directory), VARIABLES) as one,
        ):
            address, pid = one.address, one.process.pid
            before = memory(pid)
            text = _MEASURES[name](address)
            print(f"{name}: {text}; memory {before} -> {memory(pid)} MB, at most {peak_memory(pid)}", flush=True)


def _wait_during(make: Callable[..., bytes], *arguments: object) -> Callable[[str], str]:
    def measure(address: str) -> str:
        data = make(*arguments)
        with watching(address) as waits:
            start = time.monotonic()
            flood(address, data)
            took = time.monotonic() - start
        return f"others waited {max(waits):.2f} s at most, {len(waits)} requests in {took:.1f} s"

    return measure


def _measure_bodies(address: str) -> str:
    with holding_bodies(address, "/bundle", connections=10, requests=90):
        time.sleep(1.5)
    return "10 connections x 90 GET of 1.7 MB, window 0"


def _measure_zeros(address: str) -> str:
    payload = compressed_zeros(60_000_000)
    start = time.monotonic()
    with ExitStack() as stack:
        opened = []
        for _ in range(31):
            connection, head = connect_websocket(
                address, "/echo", "Sec-WebSocket-Extensions: permessage-deflate", timeout=90
            )
            opened.append(stack.enter_context(connection))
        for connection in opened:
            with suppress(OSError):
                connection.sendall(websocket_frame(payload, rsv1=True))
        for connection in opened:
            _read_until_closed_or_quiet(connection, 30)
    extension = "accepted" if b"permessage-deflate" in head else "not accepted"
    return f"31 websockets x {len(payload) // 1000} kB, compression {extension}, {time.monotonic() - start:.1f} s"


def _read_until_closed_or_quiet(connection: socket.socket, seconds: float) -> None:
    connection.settimeout(seconds)
    with suppress(OSError):
        connection.recv(65536)


def _measure_heads(address: str) -> str:
    results: dict[str, float] = {}

    def measure(name: str, data: bytes) -> None:
        results[name] = seconds_open(address, data, at_most=20)

    threads = [threading.Thread(target=measure, args=item) for item in unfinished_heads().items()]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return ", ".join(f"{name} {seconds:.1f} s" for name, seconds in results.items())


_MEASURES: dict[str, Callable[[str], str]] = {
    "priorities": _wait_during(frames_of, "priority", 20_000),
    "pings": _wait_during(frames_of, "ping", 200_000),
    "settings": _wait_during(frames_of, "settings", 100_000),
    "windows": _wait_during(frames_of, "window", 100_000),
    "resets": _wait_during(reset_streams, 5_000, "/nap/1.0"),
    "bodies": _measure_bodies,
    "zeros": _measure_zeros,
    "heads": _measure_heads,
}

if __name__ == "__main__":
    _measure()
