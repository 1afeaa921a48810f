"""Websockets: what they may cost, how long they may be silent, and how they end."""

import asyncio
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from wsproto.frame_protocol import CloseReason

from ligand_async.ops import Connections
from tests.faults.floods import COMPRESSED, HANDSHAKE, compressed_zeros, websocket_frame
from tests.ops.plain import closed_with, serving_ours, serving_stock


class Client:
    """A websocket of a client that does only what the test does."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self.head = b""

    async def open(self, path: str, *fields: str) -> None:
        lines = [f"GET {path} HTTP/1.1", "Host: 127.0.0.1", *HANDSHAKE, *fields, "", ""]
        self.writer.write("\r\n".join(lines).encode())
        self.head = await self.reader.readuntil(b"\r\n\r\n")

    async def read(self) -> tuple[int, bytes]:
        """Read one frame; return its opcode and payload."""
        async with asyncio.timeout(5):
            first, length = await self.reader.readexactly(2)
            if length == 126:
                length = struct.unpack(">H", await self.reader.readexactly(2))[0]
            return first & 15, await self.reader.readexactly(length)

    async def read_close(self) -> int:
        """Read to the close frame; return its code."""
        while True:
            opcode, payload = await self.read()
            if opcode == 8:
                code: int = struct.unpack(">H", payload[:2])[0]
                return code

    async def is_closed(self) -> bool:
        """Wait for the end of the connection."""
        async with asyncio.timeout(5):
            return await self.reader.read(1) == b""


@asynccontextmanager
async def websocket(
    path: str = "/echo", *fields: str, serve: Any = serving_ours, **options: Any
) -> AsyncIterator[Client]:
    """Open a websocket to the app under our protocol, or under hypercorn's own."""
    closed_with.clear()
    async with serve(**options) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        client = Client(reader, writer)
        await client.open(path, *fields)
        try:
            yield client
        finally:
            writer.transport.abort()


async def test_messages_are_not_compressed() -> None:
    """Row 125: compression is not agreed to, and a compressed frame is an error; hypercorn inflates it all."""
    async with websocket("/echo", COMPRESSED) as client:
        assert b"sec-websocket-extensions" not in client.head.lower()
        client.writer.write(websocket_frame(compressed_zeros(1_000_000), rsv1=True))
        assert await client.read_close() == CloseReason.PROTOCOL_ERROR
    async with websocket("/echo", COMPRESSED, serve=serving_stock) as client:
        assert b"permessage-deflate" in client.head


async def test_message_beyond_the_limit_ends_the_websocket() -> None:
    """Close code 1009, the app is told, and what the client goes on sending is dropped and not collected."""
    async with websocket(websocket_max_message_size=1000) as client:
        client.writer.write(websocket_frame(bytes(600), opcode=2, fin=False))
        client.writer.write(websocket_frame(bytes(600), opcode=0, fin=False))
        assert await client.read_close() == CloseReason.MESSAGE_TOO_BIG
        for _ in range(100):
            client.writer.write(websocket_frame(bytes(60_000), opcode=0, fin=False))
        assert await client.is_closed()

    assert closed_with == [1009]


async def test_silent_client_is_left() -> None:
    """Row 123: a client that answers no ping is gone, and the app hears of it; hypercorn keeps both."""
    async with websocket(websocket_ping_interval=0.2) as client:
        opcode, _ = await client.read()
        assert opcode == 9
        assert await client.reader.read() == b""
    assert closed_with == [1006]


async def test_client_that_answers_pings_stays() -> None:
    """A client that has nothing to say but answers pings is served on."""
    async with websocket(websocket_ping_interval=0.1) as client:
        for _ in range(5):
            opcode, payload = await client.read()
            assert opcode == 9
            client.writer.write(websocket_frame(payload, opcode=10))
        client.writer.write(websocket_frame(b"hello", opcode=1))
        assert (1, b"5") in [await client.read(), await client.read()]


async def test_server_that_stops_says_so() -> None:
    """Row 158: the client gets 1001, and the app its disconnect."""
    made: list[Connections] = []
    async with websocket(made=made.append) as client:
        await made[0].end()
        assert await client.read_close() == CloseReason.GOING_AWAY
        client.writer.write(websocket_frame(struct.pack(">H", 1001), opcode=8))
        assert await client.is_closed()
        await asyncio.wait_for(made[0].wait_until_empty(), 3)

    assert closed_with == [1001]


@pytest.mark.parametrize("tail", [websocket_frame(b"late", opcode=1), b"\xff\xff\xff"], ids=["frame", "garbage"])
async def test_frames_after_the_close_are_dropped(tail: bytes, caplog: pytest.LogCaptureFixture) -> None:
    """What follows a close frame has no effect and no traceback."""
    async with websocket() as client:
        close = websocket_frame(struct.pack(">H", 1000), opcode=8)
        client.writer.write(close + tail)
        assert await client.read_close() == 1000
        client.writer.write(tail)
        assert await client.is_closed()

    assert closed_with == [1006]
    assert [record for record in caplog.records if record.exc_info] == []
