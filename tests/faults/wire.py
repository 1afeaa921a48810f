"""A client that sends any bytes at all to a server in another process, and reads what comes back."""

import json
import socket
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

PROBLEM = "application/problem+json"
BODILESS = frozenset({101, 204, 304})


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


def exchange(address: str, *parts: bytes, timeout: float = 10.0, until_closed: bool = False) -> WireReply:
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
        while not closed and (until_closed or not is_whole(received, is_head=is_head)):
            try:
                chunk = connection.recv(65536)
            except TimeoutError:
                break
            except ConnectionError:
                chunk = b""
            closed = chunk == b""
            received += chunk
        return parse(received, closed=closed)


def request(method: str, target: str, *fields: str, body: bytes = b"", host: str | None = "127.0.0.1") -> bytes:
    """Write a request; `Content-Length` is there where there is a body."""
    lines = [f"{method} {target} HTTP/1.1"]
    lines += [f"Host: {host}"] if host is not None else []
    lines += fields
    lines += [f"Content-Length: {len(body)}"] if body else []
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


def is_whole(received: bytes, *, is_head: bool) -> bool:
    """Tell whether there is an answer to its end, as far as its head says where that is."""
    reply = parse(received, closed=False)
    if reply.status is None:
        return False
    if is_head or reply.status in BODILESS:
        return True
    if "transfer-encoding" in reply.headers:
        return reply.body.endswith(b"0\r\n\r\n")
    length = reply.headers.get("content-length")
    return length is not None and len(reply.body) >= int(length)


def parse(received: bytes, *, closed: bool) -> WireReply:
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
