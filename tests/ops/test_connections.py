"""Connections: when they end, how many there may be, and what they may hold."""

import asyncio
import errno
import logging
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from ligand_async.ops import Connections, Limits
from tests.http import request
from tests.ops.plain import ask, held, serving_ours, serving_stock

OK = request("GET", "/ok")


async def open_and_ask(port: int, sent: bytes = OK) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Connect, and have a request answered if there is one."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(sent)
    if sent:
        await reader.readuntil(b"ok")
    return reader, writer


async def is_closed(reader: asyncio.StreamReader, seconds: float = 2.0) -> bool:
    """Return whether a connection ends in time."""
    try:
        async with asyncio.timeout(seconds):
            return await reader.read() == b""
    except TimeoutError:
        return False
    except ConnectionError:
        return True


async def settle(connections: Connections, count: int = 0) -> None:
    """Wait until so many connections are open."""
    async with asyncio.timeout(3):
        while len(connections.open) != count:  # noqa: ASYNC110  (the connections tell nobody)
            await asyncio.sleep(0.01)


async def test_connection_ends_with_its_client() -> None:
    """Row 162: a connection that its client has closed is closed at once; hypercorn keeps it for five seconds more."""
    made: list[Connections] = []
    async with serving_ours(made=made.append) as port:
        _, writer = await open_and_ask(port)
        assert len(made[0].open) == 1
        writer.close()
        await settle(made[0])


async def test_descriptor_is_free_before_the_app_has_ended() -> None:
    """Row 162: an app that is still busy for a client that has left holds no descriptor."""
    async with serving_ours() as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(request("GET", "/late"))
        await asyncio.sleep(0.05)
        writer.write_eof()
        start = asyncio.get_running_loop().time()
        assert await reader.read() == b""
        assert asyncio.get_running_loop().time() - start < 0.1


async def test_oldest_idle_connection_makes_room() -> None:
    """Beyond the limit the connection that has been idle for longest is closed for a new one."""
    async with serving_ours(limits=Limits(connections=3)) as port:
        first, _ = await open_and_ask(port)
        second, writer = await open_and_ask(port)
        third, _ = await open_and_ask(port)
        writer.write(OK)  # the first and the third have been idle for longer now
        await second.readuntil(b"ok")
        await open_and_ask(port)
        assert await is_closed(first)
        await open_and_ask(port)
        assert await is_closed(third)
        assert not await is_closed(second, 0.1)


async def test_busy_connections_are_not_closed_for_others() -> None:
    """Where none is idle a new connection waits until one ends."""
    async with serving_ours(limits=Limits(connections=2)) as port:
        waiting = [await asyncio.open_connection("127.0.0.1", port) for _ in range(2)]
        for _, writer in waiting:
            writer.write(request("GET", "/hold"))
        await asyncio.sleep(0.1)
        late = asyncio.create_task(open_and_ask(port))
        await asyncio.sleep(0.2)
        assert not late.done()
        waiting[0][1].close()
        await asyncio.wait_for(late, 2)
        assert len(held) == 1
        waiting[1][1].close()


async def test_client_that_does_not_read_is_left(caplog: pytest.LogCaptureFixture) -> None:
    """Row 163: its connection is aborted in time, its task ends, and one line says so."""
    caplog.set_level(logging.INFO, logger="ligand_async.ops.connections")
    made: list[Connections] = []
    async with serving_ours(made=made.append, limits=Limits(stall_timeout=0.3)) as port:
        running = len(asyncio.all_tasks())
        with socket.create_connection(("127.0.0.1", port)) as client:
            client.sendall(request("GET", "/endless"))
            await asyncio.sleep(0.2)
            assert len(made[0].open) == 1
            await settle(made[0])
        await asyncio.sleep(0.1)
        assert (len(asyncio.all_tasks()), held) == (running, [])

    assert caplog.messages.count("a connection was aborted: its client did not read") == 1


async def test_unread_rest_of_a_response_does_not_hold_the_connection() -> None:
    """Row 163: nor does what is left of a response when its app has ended."""
    made: list[Connections] = []
    async with serving_ours(made=made.append, limits=Limits(stall_timeout=0.3), keep_alive_timeout=0.3) as port:
        with socket.socket() as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.connect(("127.0.0.1", port))
            client.sendall(request("GET", "/large"))
            await asyncio.sleep(0.1)
            await settle(made[0])


async def test_slow_reader_gets_everything() -> None:
    """A client that reads slowly, but reads, is served to the end."""
    async with serving_ours(limits=Limits(stall_timeout=0.5)) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1024)
        writer.write(request("GET", "/large", "Connection: close"))
        received = 0
        while part := await reader.read(100_000):
            received += len(part)
            await asyncio.sleep(0.01)

    assert received > 2_000_000


async def test_response_is_not_lost_to_what_the_client_still_sends() -> None:
    """RFC 9112 section 9.6: a connection with unread data is not reset before its client can read the response."""
    async with serving_ours() as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"hello\r\n\r\n")
        for _ in range(20):
            writer.write(bytes(10_000))
            await asyncio.sleep(0.01)
        assert (await reader.read()).startswith(b"HTTP/1.1 400 ")


@contextmanager
def failing_accept(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """Let accepting fail as it does where no more files can be opened; yields the times it was tried."""
    tried: list[int] = []

    def accept(_listener: socket.socket) -> Any:
        tried.append(1)
        raise OSError(errno.EMFILE, "Too many open files")

    with monkeypatch.context() as patch:
        patch.setattr(socket.socket, "accept", accept)
        yield tried


async def test_failures_to_accept_are_logged_once_a_second(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Row 162: a failing accept is logged once a second, idle connections make room, and it goes on afterwards."""
    async with serving_ours() as port:
        idle, _ = await open_and_ask(port)
        with failing_accept(monkeypatch) as tried:
            waiting = asyncio.create_task(open_and_ask(port))
            await asyncio.sleep(1.5)
        assert 5 <= len(tried) <= 60
        await asyncio.wait_for(waiting, 2)
        assert await is_closed(idle)

    lines = [message for message in caplog.messages if message.startswith("cannot accept connections: Too many open")]
    assert len(lines) == 2


async def test_end_waits_for_what_is_being_served() -> None:
    """A connection that is told to end is closed when it is idle, or once its request is answered."""
    made: list[Connections] = []
    async with serving_ours(made=made.append) as port:
        idle, _ = await open_and_ask(port)
        busy = asyncio.create_task(ask(port, request("GET", "/late"), until_closed=True))
        await asyncio.sleep(0.1)
        await made[0].end()
        assert await is_closed(idle)
        reply = await busy
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", port)

    assert (reply.status, reply.headers["connection"], reply.closed) == (200, "close", True)


async def test_pipelined_request_after_the_last_response_is_not_served() -> None:
    """Row 164: no request is read after the response that ends the connection."""
    made: list[Connections] = []
    async with serving_ours(made=made.append) as port:
        await made[0].announce_end()
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(request("GET", "/late") + request("GET", "/hold"))
        received = await reader.read()
        await settle(made[0])

    assert received.count(b"HTTP/1.1 200 ") == 1
    assert held == []


async def test_abort_ends_everything() -> None:
    """Row 161: what has not ended by itself is ended, and the app's tasks with it."""
    made: list[Connections] = []
    async with serving_ours(made=made.append) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(request("GET", "/hold"))
        await asyncio.sleep(0.1)
        assert await made[0].abort() == 1
        assert await is_closed(reader)
        await settle(made[0])
    assert held == []


async def test_http2_without_tls_needs_a_setting() -> None:
    """HTTP/2 with prior knowledge is refused where the limits do not allow it; hypercorn always serves it."""
    preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(9)
    async with serving_ours(limits=Limits()) as port:
        reply = await ask(port, preface, until_closed=True)
    async with serving_stock(graceful_timeout=0.3) as port:
        stock = await ask(port, preface, timeout=1)

    assert (reply.status, reply.document["detail"]) == (505, "HTTP/2 is not served without TLS here")
    assert stock.status is None
