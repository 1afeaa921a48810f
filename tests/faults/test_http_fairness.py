"""Fairness: many connections at once, each of which asks again as soon as it is answered."""

import asyncio
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.http import request
from tests.servers import launched

PLAIN = "tests.faults.plain_service:create_hostile_app"
ASKED = request("GET", "/echo/hello")


async def ask_until(port: int, ends_at: float, waits: list[float]) -> None:
    """Connect, and ask on and on; the first wait begins with connecting."""
    start = time.monotonic()
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        while time.monotonic() < ends_at:
            writer.write(ASKED)
            head = await reader.readuntil(b"\r\n\r\n")
            assert (head[:13], await reader.readexactly(5)) == (b"HTTP/1.1 200 ", b"hello")
            waits.append(time.monotonic() - start)
            start = time.monotonic()
            if b"connection: close" in head:  # it has served as many requests as one may
                return
    finally:
        writer.transport.abort()


@pytest.mark.extended
async def test_nobody_waits_long(tmp_path: Path, figure: Callable[[int, int], int]) -> None:
    """With many connections that come at once, no request waits ten times as long as half of them do."""
    waits: list[float] = []
    with launched(PLAIN, tmp_path, {"LIGAND_MAX_REQUESTS": "2000"}) as server:
        ends_at = time.monotonic() + figure(3, 10)
        count = figure(256, 1024)
        async with asyncio.TaskGroup() as clients:
            for _ in range(count):
                clients.create_task(ask_until(urlsplit(server.address).port or 0, ends_at, waits))

    assert len(waits) >= 2 * count
    assert max(waits) < 10 * statistics.median(waits)
