"""A client that sends one request over a socket of its own and shows what came back."""

import asyncio
import http.client
from collections.abc import Mapping

from werkzeug.datastructures import Headers

from tests.web.serving import Answer

PROBLEM = "application/problem+json"


async def talk(
    port: int, path: str, *, method: str = "GET", body: bytes | None = None, headers: Mapping[str, str] | None = None
) -> Answer:
    """Send a request and return the answer."""
    return await asyncio.to_thread(talk_now, port, method, path, body, headers or {})


def talk_now(port: int, method: str, path: str, body: bytes | None, headers: Mapping[str, str]) -> Answer:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        connection.request(method, path, body, dict(headers))
        response = connection.getresponse()
        return Answer(response.status, Headers(response.getheaders()), response.read())
    finally:
        connection.close()


def is_problem(answer: Answer, status: int) -> bool:
    """Tell whether an answer is the problem document of a status, named like its request."""
    if answer.status != status or answer.headers["Content-Type"] != PROBLEM:
        return False
    document = answer.json
    return bool(document["status"] == status and document["request_id"] == answer.headers["X-Request-ID"])
