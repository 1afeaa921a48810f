"""A client that sends the headers it is told to, also twice, and shows everything that came back."""

import asyncio
import http.client
import json
from dataclasses import dataclass
from typing import Any

from werkzeug.datastructures import Headers


@dataclass(frozen=True)
class Seen:
    """An answer as it came over the wire."""

    status: int
    headers: Headers
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


async def ask(port: int, path: str, *headers: tuple[str, str], method: str = "GET", source: str = "127.0.0.1") -> Seen:
    """Send one request over a connection of its own, from an address of this machine."""
    return await asyncio.to_thread(ask_now, port, path, headers, method, source)


def ask_now(port: int, path: str, headers: tuple[tuple[str, str], ...], method: str, source: str) -> Seen:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10, source_address=(source, 0))
    try:
        has_host = any(name.lower() == "host" for name, _ in headers)
        connection.putrequest(method, path, skip_host=has_host, skip_accept_encoding=True)
        for name, value in headers:
            connection.putheader(name, value)
        connection.endheaders()
        response = connection.getresponse()
        return Seen(response.status, Headers(response.getheaders()), response.read())
    finally:
        connection.close()
