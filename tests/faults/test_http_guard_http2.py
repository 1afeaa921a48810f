"""FAULTS 19, 26, 27, 31, 35, 51, 84 over HTTP/2."""

import asyncio
import json
from typing import Any
from uuid import UUID

import h2.config
import h2.connection
import h2.events
import pytest
from quart import Quart, request

from tests.http import PROBLEM
from tests.servers import serving
from tests.services import app_of

Fields = list[tuple[str, str]]


async def ask(port: int, method: str, path: str, *fields: tuple[str, str], body: bytes = b"") -> tuple[int, Any, Any]:
    """Ask once over HTTP/2 without TLS; return status, headers and document."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    # What a client library would refuse to send is sent: others do.
    config = h2.config.H2Configuration(
        client_side=True, validate_outbound_headers=False, normalize_outbound_headers=False
    )
    connection = h2.connection.H2Connection(config)
    connection.initiate_connection()
    given = {name for name, _ in fields}
    head = [(":method", method), (":path", path), (":scheme", "http"), (":authority", "127.0.0.1")]
    connection.send_headers(1, [field for field in head if field[0] not in given] + [*fields], end_stream=not body)
    if body:
        connection.send_data(1, body, end_stream=True)
    writer.write(connection.data_to_send())
    headers: dict[str, str] = {}
    data = b""
    try:
        async with asyncio.timeout(10):
            while True:
                received = await reader.read(65536)
                assert received, "the connection ended without an answer"
                for event in connection.receive_data(received):
                    if isinstance(event, h2.events.ResponseReceived):
                        headers = {bytes(name).decode(): bytes(value).decode() for name, value in event.headers or []}
                    elif isinstance(event, h2.events.DataReceived):
                        data += event.data or b""
                    elif isinstance(event, h2.events.StreamEnded):
                        return int(headers[":status"]), headers, json.loads(data) if data else None
                    elif isinstance(event, h2.events.StreamReset | h2.events.ConnectionTerminated):
                        raise AssertionError(f"no answer: {event}")
                writer.write(connection.data_to_send())
    finally:
        writer.transport.abort()


async def show_version() -> dict[str, str]:
    """Say which HTTP it is."""
    return {"version": request.http_version, "host": request.host}


async def dawdle() -> str:
    """Take long."""
    await asyncio.sleep(5)
    return "late"


def make_service(**settings: Any) -> Quart:
    """Make a service that takes little."""
    return app_of(
        ("GET", "/", show_version),
        ("POST", "/", show_version),
        ("GET", "/slow", dawdle),
        settings={"max_body_bytes": 1000, "request_timeout": 0.3, **settings},
    )


async def test_http2_is_served_with_an_id() -> None:
    """Row 28: version 2 is one that is spoken; `:authority` is the host; the answer has the request's id."""
    async with serving(make_service()) as port:
        status, headers, document = await ask(port, "GET", "/")
    assert (status, document) == (200, {"version": "2", "host": "127.0.0.1"})
    assert UUID(headers["x-request-id"]).version == 7


REFUSED: dict[str, tuple[str, Fields, int]] = {
    "nowhere": ("/nowhere", [], 404),
    "long body": ("/", [("content-length", "1001")], 413),
    "many fields": ("/", [(f"x-{number}", "1") for number in range(100)], 431),
    "large fields": ("/", [(f"x-{number}", "s3cret" * 300) for number in range(10)], 431),
    "long target": ("/" + "s3cret" * 1500, [], 414),
    "not UTF-8": ("/%ff", [], 400),
    "two authorizations": ("/", [("authorization", "s3cret"), ("authorization", "s3cret")], 400),
    "no host": ("/", [(":authority", "s3cret/x")], 400),
    "other host": ("/", [(":authority", "evil.example")], 421),
    "slow": ("/slow", [], 504),
}


@pytest.mark.parametrize("name", REFUSED)
async def test_http2_is_as_strict(name: str) -> None:
    """Rows 19, 26, 27, 31, 32, 35, 51, 84: what HTTP/1.1 is refused, HTTP/2 is refused, without `connection` fields."""
    path, fields, expected = REFUSED[name]
    body = b"x" * 1001 if name == "long body" else b""
    async with serving(make_service(trusted_hosts=("127.0.0.1",))) as port:
        status, headers, document = await ask(port, "POST" if body else "GET", path, *fields, body=body)
    assert (status, headers["content-type"], document["status"]) == (expected, PROBLEM, expected)
    assert document["request_id"] == headers["x-request-id"]
    assert "connection" not in headers
    assert "s3cret" not in json.dumps(document)
