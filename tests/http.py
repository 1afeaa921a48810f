"""Clients over sockets of their own: HTTP as it is meant, and any bytes at all."""

import asyncio
import http.client
import json
import socket
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from werkzeug.datastructures import Headers

from tests.services import Answer

PROBLEM = "application/problem+json"
BODILESS = frozenset({101, 204, 304})


async def talk(
    port: int,
    path: str,
    *fields: tuple[str, str],
    method: str = "GET",
    body: bytes | None = None,
    headers: Mapping[str, str] | None = None,
    source: str = "127.0.0.1",
) -> Answer:
    """Send one request over a connection of its own and return the answer.

    Args:
        port: Of a server on this machine.
        path: The target.
        *fields: Header fields, which may be repeated.
        method: Any.
        body: Sent with its `Content-Length`.
        headers: More header fields.
        source: The address of this machine that the request comes from.
    """
    return await asyncio.to_thread(_talk, port, method, path, body, (*fields, *(headers or {}).items()), source)


def _talk(
    port: int, method: str, path: str, body: bytes | None, fields: tuple[tuple[str, str], ...], source: str
) -> Answer:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20, source_address=(source, 0))
    names = {name.lower() for name, _ in fields}
    try:
        connection.putrequest(method, path, skip_host="host" in names, skip_accept_encoding=True)
        if "content-length" not in names and (body is not None or method in {"POST", "PUT", "PATCH"}):
            connection.putheader("Content-Length", str(len(body or b"")))
        for name, value in fields:
            connection.putheader(name, value)
        connection.endheaders(body)
        response = connection.getresponse()
        return Answer(response.status, Headers(response.getheaders()), response.read())
    finally:
        connection.close()


def is_problem(answer: Answer, status: int) -> bool:
    """Return whether an answer is the problem document of a status, with the id of its request."""
    if answer.status != status or answer.headers["Content-Type"] != PROBLEM:
        return False
    document = answer.json
    return bool(document["status"] == status and document["request_id"] == answer.headers["X-Request-ID"])


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


@dataclass(frozen=True)
class RawAnswer:
    """One answer over HTTP/1.1."""

    status: int
    headers: dict[str, str]
    body: bytes
    closed: bool

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def is_problem(self) -> bool:
        """Whether it is a problem document of its own status, with an id."""
        if self.headers.get("content-type") != PROBLEM:
            return False
        return bool(self.json["status"] == self.status and self.json["request_id"] == self.headers["x-request-id"])


def head(method: str, target: str, *fields: str, host: str | None = "127.0.0.1", version: str = "1.1") -> bytes:
    """Write the head of a request."""
    hosts = [] if host is None else [f"Host: {host}"]
    return "\r\n".join([f"{method} {target} HTTP/{version}", *hosts, *fields, "", ""]).encode("latin-1")


async def exchange(
    port: int, *parts: bytes, pause: float = 0.0, wait: float = 10.0, until_closed: bool = False
) -> RawAnswer:
    """Send the parts of a request, one after the other, and read one answer.

    Args:
        port: Of a server on this machine.
        *parts: Sent one after the other.
        pause: Seconds between two parts.
        wait: Seconds to wait for the answer.
        until_closed: Wait two seconds, at most, for the end of the connection after the answer.
    """
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        for part in parts:
            writer.write(part)
            await asyncio.sleep(pause)
        async with asyncio.timeout(wait):
            answer = await read_answer(reader, is_head=parts[0].startswith(b"HEAD "))
        closed = False
        try:
            async with asyncio.timeout(2 if until_closed else 0):
                closed = await reader.read(1) == b""
        except TimeoutError:
            closed = False
        except ConnectionError:
            closed = True
        return RawAnswer(*answer, closed)
    finally:
        writer.transport.abort()


async def read_answer(reader: asyncio.StreamReader, *, is_head: bool) -> tuple[int, dict[str, str], bytes]:
    """Read one answer, its body by Content-Length, by chunks or to the end of the connection."""
    lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:-2])}
    status = int(lines[0].split()[1])
    if is_head or status in {204, 304}:
        return status, headers, b""
    if "content-length" in headers:
        return status, headers, await reader.readexactly(int(headers["content-length"]))
    if headers.get("transfer-encoding") == "chunked":
        return status, headers, await _read_chunks(reader)
    return status, headers, await reader.read()


async def _read_chunks(reader: asyncio.StreamReader) -> bytes:
    """Read a chunked body; it raises IncompleteReadError where the connection ends first."""
    body = b""
    while True:
        size = int(await reader.readuntil(b"\r\n"), 16)
        body += (await reader.readexactly(size + 2))[:-2]
        if size == 0:
            return body


def chunk(data: bytes) -> bytes:
    """Write one chunk."""
    return b"%x\r\n%s\r\n" % (len(data), data)


@dataclass(frozen=True, slots=True)
class WireReply:
    """What came back on a connection: the answer on it, and how the connection is left.

    Attributes:
        status: None where nothing was answered.
        headers: By name in lower case; the last of each name.
        body: What follows the head.
        closed: Whether the server closed the connection.
        text: Everything.
    """

    status: int | None
    headers: dict[str, str]
    body: bytes
    closed: bool
    text: bytes

    @property
    def document(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)


def exchange_now(address: str, *parts: bytes, timeout: float = 10.0, until_closed: bool = False) -> WireReply:
    """Send bytes over a connection of its own, and read one answer.

    Args:
        address: As `served` yields it.
        *parts: Sent one after the other, whatever the server says meanwhile.
        timeout: Seconds to wait for more of the answer.
        until_closed: Read on after a whole answer, until the server closes or the time is over.
    """
    url = urlsplit(address)
    with socket.create_connection((url.hostname or "", url.port or 0), timeout) as connection:
        for part in parts:
            with suppress(ConnectionError):  # it may have answered and closed before it read everything
                connection.sendall(part)
        received, closed = b"", False
        is_head = any(part.startswith(b"HEAD ") for part in parts)
        while not closed and (until_closed or not _is_whole(received, is_head=is_head)):
            try:
                chunk = connection.recv(65536)
            except TimeoutError:
                break
            except ConnectionError:
                chunk = b""
            closed = chunk == b""
            received += chunk
        return _parse(received, closed=closed)


def request(method: str, target: str, *fields: str, body: bytes = b"", host: str | None = "127.0.0.1") -> bytes:
    """Write a request; `Content-Length` is there where there is a body."""
    lines = [f"{method} {target} HTTP/1.1"]
    lines += [f"Host: {host}"] if host is not None else []
    lines += fields
    lines += [f"Content-Length: {len(body)}"] if body else []
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


def _is_whole(received: bytes, *, is_head: bool) -> bool:
    """Return whether an answer is there to its end, as far as its head says where that is."""
    reply = _parse(received, closed=False)
    if reply.status is None:
        return False
    if is_head or reply.status in BODILESS:
        return True
    if "transfer-encoding" in reply.headers:
        return reply.body.endswith(b"0\r\n\r\n")
    length = reply.headers.get("content-length")
    return length is not None and len(reply.body) >= int(length)


def _parse(received: bytes, *, closed: bool) -> WireReply:
    """Take an answer apart; `100 Continue` before it is passed over."""
    text = received
    while received.startswith(b"HTTP/1.1 100 "):
        received = received.partition(b"\r\n\r\n")[2]
    head, separator, body = received.partition(b"\r\n\r\n")
    if not separator:
        return WireReply(None, {}, b"", closed, text)
    line, *fields = head.decode("latin-1").split("\r\n")
    headers = {name.lower(): value for name, _, value in (field.partition(": ") for field in fields)}
    return WireReply(int(line.split()[1]), headers, body, closed, text)
