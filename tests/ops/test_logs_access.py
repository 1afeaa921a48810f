"""The access log: what a line holds when things go wrong."""

import asyncio
import contextlib
import logging
from typing import Any

import pytest

from ligand_async.ops.logs import FIELDS, AccessLog, path_of

SCOPE = {"type": "http", "method": "GET", "raw_path": b"/pets/?q=1", "http_version": "2", "client": ["::1", 5]}


async def served(app: Any, caplog: pytest.LogCaptureFixture, *received: str) -> dict[str, Any]:
    """Serve one request, to which these messages belong, and return the fields of its line."""
    messages = [{"type": kind} for kind in received]

    async def receive() -> Any:
        return messages.pop(0)

    async def send(message: Any) -> None: ...

    with (
        caplog.at_level(logging.INFO, logger="ligand_async.ops.access"),
        contextlib.suppress(RuntimeError, asyncio.CancelledError),
    ):
        await AccessLog(app)(SCOPE, receive, send)
    [record] = caplog.records
    fields: dict[str, Any] = getattr(record, FIELDS)
    return fields


async def fail(scope: Any, receive: Any, send: Any) -> None:
    raise RuntimeError("no answer")


async def read(scope: Any, receive: Any, send: Any) -> None:
    await receive()


async def cancel(scope: Any, receive: Any, send: Any) -> None:
    raise asyncio.CancelledError


async def stream(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"X-Request-ID", b"abc\r\n1")]})
    await send({"type": "http.response.body", "body": b"abc", "more_body": True})
    await send({"type": "http.response.body", "body": b"de"})


async def refuse(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "websocket.close"})


async def accept(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "websocket.accept"})
    await send({"type": "websocket.close"})


@pytest.mark.parametrize(
    ("app", "received", "status"),
    [
        pytest.param(fail, (), 500, id="the app fails"),
        pytest.param(read, ("http.request",), 500, id="the app does not answer"),
        pytest.param(read, ("http.disconnect",), None, id="the client leaves"),
        pytest.param(cancel, (), None, id="the request is cancelled"),
        pytest.param(stream, (), 200, id="an answer"),
        pytest.param(refuse, (), 403, id="a refused websocket"),
        pytest.param(accept, (), 101, id="an accepted one"),
    ],
)
async def test_status_is_what_the_client_gets(
    app: Any, received: tuple[str, ...], status: int | None, caplog: pytest.LogCaptureFixture
) -> None:
    """Each request has one line, also one that has no answer."""
    assert (await served(app, caplog, *received)).get("status") == status


async def test_stream_is_counted_to_its_end(caplog: pytest.LogCaptureFixture) -> None:
    """The bytes of all parts, and an id in which nothing ends the line."""
    fields = await served(stream, caplog)

    assert (fields["bytes"], fields["request_id"], fields["client"]) == (5, "abc\\x0d\\x0a1", "::1")


@pytest.mark.parametrize(
    ("raw", "path"),
    [
        (b"/a%0ab?c=d", "/a%0ab"),
        (b"/a\nb\x1b\xff", "/a\\x0ab\\x1b\\xff"),
        (b"http://user:password@host/", "-"),
        (b"", "-"),
        (b"/" + b"a" * 5000, "/" + "a" * 1023),
    ],
)
def test_path_is_printable_and_short(raw: bytes, path: str) -> None:
    """Row 60: whatever a client sends as a path, it ends no line and holds no password."""
    assert path_of({"raw_path": raw}) == path


async def test_line_that_nobody_writes_is_not_made(caplog: pytest.LogCaptureFixture) -> None:
    """Where the access log is off, the app gets the server's own functions."""
    seen: list[Any] = []

    async def receive() -> Any: ...

    async def send(message: Any) -> None: ...

    async def app(scope: Any, *functions: Any) -> None:
        seen.extend(functions)

    with caplog.at_level(logging.WARNING, logger="ligand_async.ops.access"):
        await AccessLog(app)(SCOPE, receive, send)

    assert seen == [receive, send]
