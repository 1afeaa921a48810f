"""Handshakes of websockets over a socket, as RFC 6455 section 4 has them, with credentials of a browser."""

import asyncio
import base64
import hashlib
import os

import pytest
from quart import Quart

from tests.auth.test_browser import APP, COOKIE, EVIL, OWN, app_of
from tests.docs.browser import serving

GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455 section 1.3


async def shake(address: str, path: str, *lines: str) -> tuple[int, dict[str, list[str]], str]:
    """Send a handshake; return the status, the headers and the first message or the body."""
    host, _, port = address.removeprefix("http://").partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    key = base64.b64encode(os.urandom(16)).decode()
    head = [f"GET {path} HTTP/1.1", f"Host: {host}:{port}", "Upgrade: websocket", "Connection: Upgrade"]
    head += [f"Sec-WebSocket-Key: {key}", "Sec-WebSocket-Version: 13", *lines, "", ""]
    writer.write("\r\n".join(head).encode())
    first, *fields = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
    headers: dict[str, list[str]] = {}
    for name, _, value in (field.partition(":") for field in fields if field):
        headers.setdefault(name.lower(), []).append(value.strip())
    status = int(first.split(" ")[1])
    if status == 101:
        accept = base64.b64encode(hashlib.sha1((key + GUID).encode(), usedforsecurity=False).digest()).decode()
        assert headers["sec-websocket-accept"] == [accept]
        frame = await reader.readexactly(2)
        said = (await reader.readexactly(frame[1])).decode()
    else:
        said = (await asyncio.wait_for(reader.read(), 5)).decode()
    writer.close()
    return status, headers, said


def make(_: str) -> Quart:
    return app_of(settings={"browser_origins": [APP]})


ORIGIN = f"Origin: {OWN}"


@pytest.mark.parametrize(
    ("path", "lines", "chosen", "said"),
    [
        ("/talk", [ORIGIN, "Sec-WebSocket-Protocol: access_token, user"], ["access_token"], "ada []"),
        ("/talk", [f"Origin: {APP}", "Sec-WebSocket-Protocol: access_token,user"], ["access_token"], "ada []"),
        ("/talk", [ORIGIN, "Sec-WebSocket-Protocol: x, access_token, user"], ["access_token"], "ada ['x']"),
        ("/chat", [ORIGIN, "Sec-WebSocket-Protocol: chat.v1, access_token, user"], ["chat.v1"], "ada ['chat.v1']"),
        ("/talk", [ORIGIN, f"Cookie: {COOKIE}=user"], None, "ada []"),
        ("/talk", [ORIGIN, f"Cookie: {COOKIE}=user", "Sec-WebSocket-Protocol: chat.v1"], None, "ada ['chat.v1']"),
        ("/lobby", [ORIGIN, "Sec-WebSocket-Protocol: chat.v1"], None, "None ['chat.v1']"),
        ("/lobby", [ORIGIN, "Sec-WebSocket-Protocol: access_token, user"], ["access_token"], "ada []"),
        ("/talk", ["Authorization: Bearer user"], None, "ada []"),
    ],
)
async def test_the_handshake_is_answered(path: str, lines: list[str], chosen: list[str] | None, said: str) -> None:
    """With one subprotocol that was offered, which is never the token; with none if none was agreed on."""
    async with serving(make) as address:
        status, headers, heard = await shake(address, path, *lines)

    assert (status, headers.get("sec-websocket-protocol"), heard) == (101, chosen, said)


@pytest.mark.parametrize(
    ("lines", "status"),
    [
        (["Sec-WebSocket-Protocol: access_token, user"], 403),
        ([f"Origin: {EVIL}", "Sec-WebSocket-Protocol: access_token, user"], 403),
        ([f"Origin: {OWN}", f"Origin: {EVIL}", "Sec-WebSocket-Protocol: access_token, user"], 403),
        ([f"Origin: {EVIL}", f"Cookie: {COOKIE}=user"], 403),
        ([f"Cookie: {COOKIE}=user"], 403),
        ([ORIGIN, "Sec-WebSocket-Protocol: access_token, bad"], 401),
        ([ORIGIN, f"Cookie: {COOKIE}=bad"], 401),
        ([ORIGIN, "Sec-WebSocket-Protocol: access_token"], 400),
        ([ORIGIN, f"Cookie: {COOKIE}=user; {COOKIE}=user"], 400),
    ],
)
async def test_the_handshake_is_refused(lines: list[str], status: int) -> None:
    """Before the websocket is accepted, with a problem; nothing that was sent is answered."""
    async with serving(make) as address:
        found, headers, said = await shake(address, "/talk", *lines)

    assert (found, headers["content-type"]) == (status, ["application/problem+json"])
    assert "sec-websocket-protocol" not in headers
    assert "user" not in said
