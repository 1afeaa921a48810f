"""Requests changed by chance, and what two servers make of them.

The same bytes, in the same pieces, go to a server that reads HTTP/1 with httptools and to one that reads it with h11.
"""

import asyncio
import contextlib
import hashlib
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

from tests.http import request
from tests.servers import serving_own

_UPGRADE = ("Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==")
_CHUNKS = b"5\r\nhello\r\n6;a=b\r\n world\r\n0\r\nX-Sum: 1\r\n\r\n"
SMUGGLED = request("GET", "/smuggled")

SEEDS: tuple[bytes, ...] = (
    request("GET", "/a?b=c"),
    request("GET", "/%41%2f..;x=1", "Accept: */*", "X-Empty:", "X-Spaces:   a  b \t"),
    request("POST", "/a", "Content-Type: text/plain", body=b"hello"),
    request("POST", "/a", body=SMUGGLED),
    request("PUT", "/a", "Connection: close", body=b"hello"),
    request("HEAD", "/a"),
    request("OPTIONS", "*"),
    request("DELETE", "http://127.0.0.1/absolute"),
    request("M-SEARCH", "/a"),
    request("get", "/a"),
    request("GET", "/204"),
    request("GET", "/304"),
    request("GET", "/chunks"),
    request("HEAD", "/chunks"),
    request("GET", "/close"),
    request("POST", "/early", body=b"hello"),
    request("POST", "/broken", body=b"hello"),
    request("GET", "/short"),
    request("GET", "/bad-header"),
    request("GET", "/two-lengths"),
    b"GET /a HTTP/1.0\r\n\r\n",
    b"GET /chunks HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
    b"POST /a HTTP/1.0\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello",
    request("POST", "/a", "Transfer-Encoding: chunked") + _CHUNKS,
    request("POST", "/a", "Transfer-Encoding: chunked", "Content-Length: 5") + _CHUNKS,
    request("POST", "/a", "Transfer-Encoding: gzip, chunked") + _CHUNKS,
    request("POST", "/a", "Content-Length: 5", "Content-Length: 5") + b"hello",
    request("POST", "/a", "Content-Length: 5, 5") + b"hello",
    request("POST", "/a", "Content-Length: 005") + b"hello",
    request("POST", "/a", "Expect: 100-continue", body=b"hello"),
    request("GET", "/", *_UPGRADE, "Sec-WebSocket-Version: 13"),
    request("POST", "/a", "Connection: upgrade", "Upgrade: other", body=SMUGGLED),
    request("POST", "/a", "Connection: upgrade", body=SMUGGLED),
    request("GET", "/a", "Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQAAP__"),
    request("CONNECT", "127.0.0.1:80"),
    b"GET /a HTTP/1.1\nHost: a\n\n",
    b"GET /a HTTP/1.1\r\nHost: a\r\nX: b\r\n folded\r\n\r\n",
    b"\r\n" + request("GET", "/a"),
    b"GET  /a  HTTP/1.1\r\nHost: a\r\n\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"SOURCE /a ICE/1.0\r\nHost: a\r\n\r\n",
    b"hello\r\n\r\n",
)
_PIECES: tuple[bytes, ...] = (
    *(b"\r", b"\n", b"\r\n", b"\r\n\r\n", b"\n\n", b" ", b"\t", b"\0", b"\x0b", b"\x7f", b"\x80", b":", b",", b"#"),
    *(b"0", b"5", b"-1", b"+5", b"0x5", b"99999999999999999999", b"HTTP/1.1", b"HTTP/1.0", b"HTTP/2.0", b"HTTP/0.9"),
    *(b"Content-Length: 3\r\n", b"Content-Length:5\r\n", b"content-length : 5\r\n", b"Transfer-Encoding: chunked\r\n"),
    *(b"Transfer-Encoding : chunked\r\n", b"Transfer-Encoding: identity\r\n", b"Host: b\r\n", b"Connection: close\r\n"),
    *(
        b"Connection: keep-alive, Upgrade\r\n",
        b"Connection: close, x\r\n",
        b"Upgrade: h2c\r\n",
        b"Expect: 100-continue\r\n",
    ),
    *(b"Expect: x\r\n", b"X" * 3000, b"GET ", b"POST ", b"HEAD ", b"/chunks", b"/early", SMUGGLED),
)


def mutate(chance: Random) -> tuple[bytes, ...]:
    """Return one to three requests on one connection, changed in a few places, in one or more pieces."""
    text = bytearray(b"".join(chance.choices(SEEDS, k=chance.choice((1, 1, 2, 3)))))
    for _ in range(chance.choice((0, 1, 1, 1, 2, 3))):
        _change(text, chance)
    cuts = sorted(chance.choices(range(len(text) + 1), k=chance.choice((0, 0, 0, 1, 2, 4))))
    return tuple(
        bytes(text[start:end]) for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True) if start < end
    )


def _change(text: bytearray, chance: Random) -> None:
    place = chance.randrange(len(text) + 1)
    match chance.randrange(6):
        case 0:
            text[place:place] = chance.choice(_PIECES)
        case 1:
            text[place : place + chance.choice((1, 1, 2, 10))] = b""
        case 2:
            text[place : place + 1] = bytes([chance.randrange(256)])
        case 3:
            lines = text.split(b"\r\n")
            lines.insert(chance.randrange(len(lines) + 1), chance.choice(lines))
            text[:] = b"\r\n".join(lines)
        case 4:
            lines = text.split(b"\r\n")
            lines.insert(chance.randrange(len(lines) + 1), bytearray(chance.choice(_PIECES).strip()))
            text[:] = b"\r\n".join(lines)
        case _:
            text[place : place + 8] = text[place : place + 8].swapcase()


async def mirror(scope: Any, receive: Any, send: Any) -> None:
    """Answer with what arrived, as the path says."""
    if scope["type"] != "http":
        await send({"type": "websocket.close"})
        return
    body, more = b"", scope["path"] not in {"/early", "/broken"}
    status = {"/204": 204, "/304": 304}.get(scope["path"], 200)
    try:
        async with asyncio.timeout(0.3):
            while more:
                message = await receive()
                if message["type"] == "http.disconnect":
                    return
                body += message["body"]
                more = message["more_body"]
    except TimeoutError:
        status = 408
    if scope["path"] == "/broken":
        raise RuntimeError("broken")
    members = ("method", "http_version", "path", "scheme", "root_path")
    seen = {name: scope[name] for name in members} | {
        "target": [scope["raw_path"].decode("latin-1"), scope["query_string"].decode("latin-1")],
        "headers": [[name.decode("latin-1"), value.decode("latin-1")] for name, value in scope["headers"]],
        "body": hashlib.sha256(body).hexdigest(),
        "length": len(body),
    }
    document = json.dumps(seen).encode()
    length = (b"content-length", b"%d" % len(document))
    fields = {
        "/chunks": [],
        "/204": [],
        "/304": [(b"etag", b'"a"')],
        "/close": [length, (b"connection", b"close")],
        "/short": [(b"content-length", b"1")],
        "/bad-header": [length, (b"x", b"a\r\nb: c")],
        "/two-lengths": [length, (b"content-length", b"1")],
    }.get(scope["path"], [length])
    await send({"type": "http.response.start", "status": status, "headers": fields})
    for start in (0, len(document) // 2) if scope["path"] == "/chunks" else (0,):
        end = len(document) if start or scope["path"] != "/chunks" else len(document) // 2
        await send({"type": "http.response.body", "body": document[start:end], "more_body": end < len(document)})


@dataclass(frozen=True)
class Outcome:
    """What one server sent to the end of the connection, without what differs between any two responses."""

    text: bytes
    closed: bool


_ANY = re.compile(rb"(?<=\r\ndate: )[^\r]*|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


async def send_pieces(port: int, pieces: Sequence[bytes], pause: float = 0.01) -> Outcome:
    """Send the pieces one after the other, with a pause of so many seconds, and read to the end."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    received, closed = b"", True
    try:
        with contextlib.suppress(ConnectionError):
            for piece in pieces:
                if writer.is_closing():
                    break
                writer.write(piece)
                await asyncio.sleep(pause if len(pieces) > 1 else 0)
        try:
            async with asyncio.timeout(5):
                while part := await reader.read(65536):
                    received += part
        except TimeoutError:
            closed = False
        except ConnectionError:
            pass
    finally:
        writer.transport.abort()
    return Outcome(_normalise(received), closed)


def _normalise(received: bytes) -> bytes:
    heads = _ANY.sub(b"-", received).split(b"\r\n\r\n")
    for number, head in enumerate(heads):
        line, *fields = head.split(b"\r\n")
        if b"HTTP/1.1 " in line:
            named = [field.partition(b":") for field in fields]
            heads[number] = b"\r\n".join([line, *sorted(name.lower() + b":" + value for name, _, value in named)])
    return b"\r\n\r\n".join(heads)


async def compare(
    count: int, seed: int, make: Callable[[Random], tuple[bytes, ...]] = mutate, *, at_once: int = 50
) -> list[tuple[tuple[bytes, ...], Outcome, Outcome]]:
    """Send as many mutants to both servers; return those whose outcomes differ, that with httptools first."""
    chance = Random(seed)  # noqa: S311  (not a secret)
    differing: list[tuple[tuple[bytes, ...], Outcome, Outcome]] = []
    slots = asyncio.Semaphore(at_once)
    async with (
        serving_own(mirror, reader="httptools", keep_alive_timeout=1.0) as plain,
        serving_own(mirror, reader="h11", keep_alive_timeout=1.0) as other,
    ):

        async def send(pieces: tuple[bytes, ...]) -> None:
            for pause in (0.01, 0.05, 0.25):  # on a busy machine two pieces may arrive as one, which is chance
                async with slots:
                    first, second = await asyncio.gather(
                        send_pieces(plain, pieces, pause), send_pieces(other, pieces, pause)
                    )
                if first == second:
                    return
            differing.append((pieces, first, second))

        async with asyncio.TaskGroup() as group:
            for _ in range(count):
                group.create_task(send(make(chance)))
    return differing
