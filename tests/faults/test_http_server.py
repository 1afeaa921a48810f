"""What never becomes a request of the app is answered by the server: over a real socket, under `ligand serve`."""

import json
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.http import PROBLEM, WireReply, exchange_now, request
from tests.servers import served

APP = "tests.faults.plain_service:create_hostile_app"
CHUNKED = "Transfer-Encoding: chunked"
UPGRADE = ("Connection: Upgrade", "Upgrade: websocket")
KEY = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the server of this module keeps its log."""
    return tmp_path_factory.mktemp("hostile")


@pytest.fixture(scope="module")
def address(directory: Path) -> Iterator[str]:
    """The hostile service, under our server."""
    with served(APP, directory, by_ligand=True) as address:
        yield address


def check_problem(reply: WireReply, status: int) -> None:
    """Check that a reply is a problem document with an id, which closes the connection."""
    assert reply.status == status, reply.text
    assert reply.headers["content-type"] == PROBLEM
    assert reply.headers["content-length"] == str(len(reply.body))
    assert reply.headers["connection"] == "close"
    assert reply.headers["x-content-type-options"] == "nosniff"
    assert reply.headers["cache-control"] == "no-store"
    assert "server" not in reply.headers
    assert reply.document["status"] == status
    assert reply.document["request_id"] == reply.headers["x-request-id"]
    assert reply.closed


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        pytest.param(request("GET", "/", host=None), 400, id="no Host"),
        pytest.param(request("GET", "/", "Host: other"), 400, id="two Hosts"),
        pytest.param(request("POST", "/length", "Content-Length: -1"), 400, id="negative Content-Length"),
        pytest.param(request("POST", "/length", "Content-Length: 1", "Content-Length: 2"), 400, id="two lengths"),
        pytest.param(request("POST", "/length", "Transfer-Encoding: gzip"), 501, id="unknown Transfer-Encoding"),
        pytest.param(request("POST", "/length", CHUNKED, CHUNKED), 501, id="two Transfer-Encodings"),
        pytest.param(b"hello\r\n\r\n", 400, id="garbage"),
        pytest.param(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400, id="TLS"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: a\r\nX y: z\r\n\r\n", 400, id="space in a field's name"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: a\r\nX: a\x00b\r\n\r\n", 400, id="NUL in a field"),
        pytest.param(b"GET /\xff HTTP/1.1\r\nHost: a\r\n\r\n", 400, id="bytes beyond ASCII in the target"),
    ],
)
def test_malformed_requests(address: str, sent: bytes, status: int) -> None:
    """Row 13: what h11 refuses is answered with a problem, and the connection is closed."""
    check_problem(exchange_now(address, sent, until_closed=True), status)


def test_malformed_chunk(address: str) -> None:
    """Row 13: so is a body whose chunks cannot be told apart."""
    reply = exchange_now(address, request("POST", "/length", CHUNKED), b"zz\r\n\r\n", until_closed=True)

    check_problem(reply, 400)


@pytest.mark.parametrize(
    "fields",
    [
        pytest.param((KEY, "Sec-WebSocket-Version: 8"), id="bad version"),
        pytest.param((KEY,), id="no version"),
        pytest.param(("Sec-WebSocket-Version: 13",), id="no key"),
    ],
)
def test_bad_websocket_handshake(address: str, fields: tuple[str, ...]) -> None:
    """Row 14: a websocket that cannot be opened is a problem that says which version would do."""
    reply = exchange_now(address, request("GET", "/talk", *UPGRADE, *fields), until_closed=True)

    check_problem(reply, 400)
    assert reply.headers["sec-websocket-version"] == "13"
    assert reply.document["detail"] == "the websocket handshake is not valid"


def test_good_websocket_handshake(address: str) -> None:
    """Row 14: a good one is accepted."""
    reply = exchange_now(address, request("GET", "/talk", *UPGRADE, KEY, "Sec-WebSocket-Version: 13"), timeout=2)

    assert reply.text.startswith(b"HTTP/1.1 101 ")


@pytest.mark.parametrize("length", [20_000, 60_000, 100_000, 500_000])
def test_long_header_fields(address: str, length: int) -> None:
    """Row 26: header fields beyond the limit are a 431, whoever counts them: the guard, or h11 before it."""
    reply = exchange_now(address, request("GET", "/", "X-Long: " + "a" * length), until_closed=True)

    assert (reply.status, reply.headers["content-type"]) == (431, PROBLEM)
    assert reply.closed


@pytest.mark.parametrize("length", [20_000, 60_000, 100_000, 500_000])
def test_long_target(address: str, length: int) -> None:
    """Row 27: a target beyond the limit is a 414, whoever counts it."""
    reply = exchange_now(address, request("GET", "/" + "a" * length), until_closed=True)

    assert (reply.status, reply.headers["content-type"]) == (414, PROBLEM)
    assert reply.closed


@pytest.mark.extended
def test_slow_head(address: str) -> None:
    """Row 54: a head that trickles in, byte by byte, is a 408 after five seconds and not a connection for ever."""
    url = urlsplit(address)
    start = time.monotonic()
    received = b""
    with socket.create_connection((url.hostname or "", url.port or 0), 1) as connection:
        connection.settimeout(0.25)
        for byte in request("GET", "/" + "a" * 100):
            try:
                connection.sendall(bytes([byte]))
                received += connection.recv(65536)
            except TimeoutError:
                continue
            break
    took = time.monotonic() - start

    assert 4 < took < 8
    assert received.startswith(b"HTTP/1.1 408 ")
    assert f"content-type: {PROBLEM}".encode() in received


@pytest.mark.extended
def test_silent_connection(address: str) -> None:
    """Row 54: a connection on which nothing comes is closed without an answer."""
    reply = exchange_now(address, until_closed=True)

    assert (reply.text, reply.closed) == (b"", True)


def test_no_server_header(address: str) -> None:
    """Row 64: no answer says what made it."""
    reply = exchange_now(address, request("GET", "/"))

    assert reply.status == 200
    assert "server" not in reply.headers


def test_upgrade_to_cleartext_http2_is_ignored(address: str) -> None:
    """Row 13: `Upgrade: h2c`, by which requests get past a proxy's rules, changes nothing."""
    upgrade = ("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQAAP__")
    reply = exchange_now(address, request("GET", "/", *upgrade))

    assert (reply.status, reply.body) == (200, b"index")


FORGING = request(
    "GET", "/echo/a%0a%0d%1b[31mforged%E2%80%A8line?token=tell-no-one", "Authorization: Bearer tell-no-one"
)
IDENTIFIED = request("GET", "/echo/hello?secret=tell-no-one", "X-Request-ID: abc-1", "Cookie: session=tell-no-one")


@pytest.fixture(scope="module")
def access_log(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The log of the hostile service in the environment `prod`, after four requests."""
    directory = tmp_path_factory.mktemp("prod")
    variables = {
        "LIGAND_ENVIRONMENT": "prod",
        "LIGAND_DATABASE_URL": "sqlite+aiosqlite:///hostile.db",
        "LIGAND_SERVICE_PUBLIC_URL": "https://api.example.org",
        "LIGAND_SERVICE_PRIVATE_URL": "http://127.0.0.1",
        "LIGAND_SECRET_KEY": "0123456789abcdefghijklmnopqrstuv",
    }
    with served(APP, directory, variables, by_ligand=True) as address:
        for one in (FORGING, IDENTIFIED, request("HEAD", "/"), b"hello\r\n\r\n"):
            exchange_now(address, one)
    return (directory / "server.log").read_text()


def split_log(log: str) -> list[str]:
    """Return the lines of a log but those of the liveness check."""
    return [line for line in log.split("\n") if line and "/livez" not in line]


def test_forged_lines_in_json(access_log: str) -> None:
    """Row 60: a line break in a path ends no line of the JSON log, and the path stands there as it was sent."""
    lines = [json.loads(line) for line in split_log(access_log)]

    [line] = [line for line in lines if "forged" in line.get("path", "")]
    assert line["path"] == "/echo/a%0a%0d%1b[31mforged%E2%80%A8line"


def test_forged_lines_in_text(address: str, directory: Path) -> None:
    """Row 60: nor of the readable log."""
    exchange_now(address, FORGING)
    deadline = time.monotonic() + 10
    lines: list[str] = []
    while not any("forged" in line for line in lines) and time.monotonic() < deadline:
        time.sleep(0.02)
        lines = split_log((directory / "server.log").read_text())

    assert [line for line in lines if line.startswith("forged")] == []
    [line] = [line for line in lines if "forged" in line]
    assert "GET /echo/a%0a%0d%1b[31mforged%E2%80%A8line " in line
    assert "\x1b" not in line


def test_access_log_has_its_own_fields(access_log: str) -> None:
    """Row 61: a line says what was asked and answered; no header, no query string, nothing of the environment."""
    lines = [json.loads(line) for line in split_log(access_log)]
    # In any order: a line is written when its app has ended, which may be after the next response.
    by_path = {line.get("path", ""): line for line in lines if "duration_ms" in line}
    refused, head, forged, answered = (by_path[path] for path in sorted(by_path))

    assert answered.pop("duration_ms") >= 0
    assert answered.pop("timestamp")
    assert answered.pop("event").startswith("GET /echo/hello 200 ")
    assert answered == {
        "method": "GET",
        "path": "/echo/hello",
        "status": 200,
        "bytes": 5,
        "client": "127.0.0.1",
        "request_id": "abc-1",
        "http_version": "1.1",
        "level": "info",
        "logger": "ligand_async.ops.access",
    }
    assert (head["method"], head["status"], head["bytes"]) == ("HEAD", 200, 0)
    assert (refused["status"], refused["client"], "path" in refused) == (400, "127.0.0.1", False)
    assert forged["path"].startswith("/echo/a%0a")
    assert "tell-no-one" not in access_log
