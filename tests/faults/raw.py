"""Bytes to a server and what comes back, with nothing between that would mend them."""

import asyncio
import json
from dataclasses import dataclass
from typing import Any

PROBLEM = "application/problem+json"


@dataclass(frozen=True)
class Answer:
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


async def exchange(port: int, *parts: bytes, pause: float = 0.0, wait: float = 10.0) -> Answer:
    """Send the parts of a request, one after the other, and read one answer and whether the connection ends."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        for part in parts:
            writer.write(part)
            await asyncio.sleep(pause)
        async with asyncio.timeout(wait):
            answer = await read_answer(reader, is_head=parts[0].startswith(b"HEAD "))
        try:
            async with asyncio.timeout(0.2):
                closed = await reader.read(1) == b""
        except TimeoutError:
            closed = False
        except ConnectionError:
            closed = True
        return Answer(*answer, closed)
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
        return status, headers, await read_chunks(reader)
    return status, headers, await reader.read()


async def read_chunks(reader: asyncio.StreamReader) -> bytes:
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
