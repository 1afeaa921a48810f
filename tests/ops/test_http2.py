"""HTTP/2: what it may ask for, in which time, and how it ends; and that hypercorn's own still needs replacing."""

import asyncio
import contextlib
import json

import pytest
from h2.errors import ErrorCodes
from h2.events import ResponseReceived
from h2.settings import SettingCodes
from hpack import Encoder
from hyperframe.frame import DataFrame, GoAwayFrame, HeadersFrame, RstStreamFrame, SettingsFrame

from ligand_async.ops import Connections, Limits
from tests.faults.floods import PREFACE, frames_of, head_frame, seconds_open, unfinished_heads, websocket_frame
from tests.http import PROBLEM
from tests.ops.plain import LARGE, closed_with, fields, h2_client, held, read_frames, serving_ours, serving_stock


async def test_http2_without_an_answer_is_a_problem() -> None:
    """HTTP/2 has the same document, and no `connection` field: it would make the reply malformed."""
    async with h2_client() as client:
        headers, body = await client.answer(await client.send(*fields(b"/silent")))

    assert headers[b":status"] == b"500"
    assert headers[b"content-type"] == PROBLEM.encode()
    assert b"connection" not in headers
    assert json.loads(body)["request_id"] == headers[b"x-request-id"].decode()


@pytest.mark.parametrize(
    ("bad", "status"),
    [
        pytest.param(fields(b"/\xff"), b"400", id="bytes beyond ASCII in the path"),
        pytest.param(fields(b"/", b"G\xffT"), b"400", id="in the method"),
        pytest.param(((b":method", b"CONNECT"), (b":authority", b"127.0.0.1")), b"501", id="no path"),
    ],
)
async def test_http2_requests_that_hypercorn_fails_on(bad: tuple[tuple[bytes, bytes], ...], status: bytes) -> None:
    """A stream that ends the whole connection in hypercorn is refused, and the others of its connection go on."""
    async with h2_client() as client:
        headers, body = await client.answer(await client.send(*bad))
        good, _ = await client.answer(await client.send(*fields(b"/ok")))

    assert (headers[b":status"], headers[b"content-type"]) == (status, PROBLEM.encode())
    assert json.loads(body)["status"] == int(status)
    assert good[b":status"] == b"200"
    async with h2_client(serving_stock) as client:
        with pytest.raises(AssertionError, match="the server closed the connection"):
            await client.answer(await client.send(*bad))


def late_data(stream: int) -> bytes:
    frame = DataFrame(stream, data=b"late")
    frame.flags.add("END_STREAM")
    return frame.serialize()


async def test_http2_body_after_its_answer() -> None:
    """What comes of a body after its answer is dropped; in hypercorn it ends the other streams of the connection."""
    async with h2_client() as client:
        stream = await client.send(*fields(b"/ok", b"POST"), end=False)
        await client.answer(stream)
        client.writer.write(late_data(stream))
        headers, body = await client.answer(await client.send(*fields(b"/ok")))

    assert (headers[b":status"], body) == (b"200", b"ok")
    async with h2_client(serving_stock) as client:
        stream = await client.send(*fields(b"/ok", b"POST"), end=False)
        await client.answer(stream)
        client.writer.write(late_data(stream))
        with pytest.raises(AssertionError, match="the server closed the connection"):
            await client.answer(await client.send(*fields(b"/ok")))


async def test_streams_beyond_the_limit_are_refused() -> None:
    """Row 122: a request too many is refused, so that the client may try it again, and the others go on."""
    async with h2_client(h2_max_concurrent_streams=3) as client:
        streams = [await client.send(*fields(b"/late")) for _ in range(5)]
        await client.read_until(lambda: client.ended == {*streams[:3]})
        again, _ = await client.answer(await client.send(*fields(b"/ok")))

    assert client.resets == dict.fromkeys(streams[3:], ErrorCodes.REFUSED_STREAM)
    assert again[b":status"] == b"200"


async def test_requests_taken_back_count_until_the_app_has_ended() -> None:
    """A client that takes requests back (CVE-2023-44487) has no more tasks of the app than one that waits."""
    async with h2_client(h2_max_concurrent_streams=3) as client:
        running = len(asyncio.all_tasks())
        for _ in range(20):
            client.connection.reset_stream(await client.send(*fields(b"/late")), ErrorCodes.CANCEL)
        await client.flush()
        await asyncio.sleep(0.1)
        assert len(asyncio.all_tasks()) - running <= 3
        await asyncio.sleep(0.3)
        headers, _ = await client.answer(await client.send(*fields(b"/ok")))

    assert headers[b":status"] == b"200"


async def test_body_goes_out_as_the_window_allows() -> None:
    """Row 122: of a body no more leaves the app's hands than the client has room for, and all of it arrives."""
    async with h2_client() as client:
        client.connection.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: 1000})
        await client.flush()
        await client.answer(await client.send(*fields(b"/ok")))  # the server has read the setting
        note, client.note = client.note, lambda event: None  # type: ignore[method-assign]  # noqa: ARG005  (nothing is acknowledged)
        stream = await client.send(*fields(b"/large"))
        received = b""
        for event in client.connection.receive_data(await client.reader.read(65536)):
            if isinstance(event, ResponseReceived):
                note(event)
            received += getattr(event, "data", b"")
        assert len(received) <= 1000
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(client.reader.read(65536), 0.2)
        client.note = note  # type: ignore[method-assign]  # it is acknowledged again
        client.connection.increment_flow_control_window(2**20, stream)
        client.connection.increment_flow_control_window(2**20)
        await client.flush()
        _, rest = await client.answer(stream)

    assert received + rest == LARGE


async def test_client_that_opens_no_window_is_left() -> None:
    """Row 163: a response that a client does not take within the time is reset, and its task ends."""
    async with h2_client(limits=Limits(stall_timeout=0.2, http2_cleartext=True)) as client:
        client.connection.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: 0})
        running = len(asyncio.all_tasks())
        stream = await client.send(*fields(b"/endless"))
        await client.read_until(lambda: stream in client.resets)
        await asyncio.sleep(0.1)

        assert client.resets == {stream: ErrorCodes.CANCEL}
        assert len(asyncio.all_tasks()) <= running


async def test_cut_response_is_reset() -> None:
    """A response that ends before its body does is an error for its client; hypercorn leaves it waiting."""
    async with h2_client() as client:
        stream = await client.send(*fields(b"/cut"))
        await client.read_until(lambda: stream in client.resets)

    assert client.resets == {stream: ErrorCodes.INTERNAL_ERROR}


@pytest.mark.parametrize("name", [name for name in unfinished_heads() if name != "half a head"])
async def test_head_has_its_time(name: str) -> None:
    """Row 123: what does not become a request in time ends, whichever part of HTTP/2 it is; pings buy no time."""
    async with serving_ours(keep_alive_timeout=0.3) as port:
        took = await asyncio.to_thread(seconds_open, f"http://127.0.0.1:{port}", unfinished_heads()[name], at_most=3)

    assert 0.2 < took < 1.5


async def test_head_has_its_time_beside_other_streams() -> None:
    """Row 123: that also holds where another request keeps the connection from being idle."""
    async with h2_client(keep_alive_timeout=0.3) as client:
        await client.send(*fields(b"/hold"))
        frame = HeadersFrame(3, data=b"\x82")
        client.writer.write(frame.serialize())
        async with asyncio.timeout(2):
            while await client.reader.read(65536):
                pass
    assert held == []


@pytest.mark.parametrize("kind", ["priority", "ping", "settings", "window"])
async def test_frames_that_ask_for_nothing_have_a_budget(kind: str) -> None:
    """Row 121: a connection that sends thousands of them ends, with the reason."""
    async with serving_ours() as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(PREFACE + SettingsFrame(0).serialize() + frames_of(kind, 5000))
        frames = await read_frames(reader)
        writer.close()

    [end] = [frame for frame in frames if isinstance(frame, GoAwayFrame)]
    assert end.error_code == ErrorCodes.ENHANCE_YOUR_CALM


async def test_reader_has_no_budget_to_keep() -> None:
    """A client that reads much opens many windows, and goes on reading."""
    async with h2_client() as client:
        for _ in range(20):
            _, body = await client.answer(await client.send(*fields(b"/large")))
            assert body == LARGE


async def test_priorities_are_ignored() -> None:
    """Row 121: a request that depends on another does not wait for it (RFC 9113 section 5.3.2)."""
    async with h2_client() as client:
        waiting = await client.send(*fields(b"/hold"))
        stream = client.connection.get_next_available_stream_id()
        client.connection.send_headers(
            stream, list(fields(b"/ok")), end_stream=True, priority_depends_on=waiting, priority_exclusive=True
        )
        await client.flush()
        headers, _ = await client.answer(stream)

    assert headers[b":status"] == b"200"


@pytest.mark.parametrize("method", [b"GET", b"get", b"M-SEARCH"])
async def test_method_is_as_it_was_sent(method: bytes) -> None:
    """A method is case-sensitive (RFC 9110 section 9.1)."""
    async with h2_client() as client:
        _, body = await client.answer(await client.send(*fields(b"/method", method)))

    assert body == method


async def test_method_is_a_token() -> None:
    """A method is a token, so that it is one word in every log."""
    async with h2_client() as client:
        headers, _ = await client.answer(await client.send(*fields(b"/method", b"GE T")))

    assert headers[b":status"] == b"400"


async def test_end_is_announced_and_kept() -> None:
    """Row 164: GOAWAY says first that the end is near and then which requests were taken; those are answered."""
    connections: list[Connections] = []
    async with serving_ours(made=connections.append) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        encoder = Encoder()

        def ask(stream: int, path: str) -> None:
            writer.write(head_frame(encoder, stream, path).serialize())

        writer.write(PREFACE + SettingsFrame(0).serialize())
        ask(1, "/late")
        await asyncio.sleep(0.05)
        await connections[0].announce_end()
        ask(3, "/late")
        await asyncio.sleep(0.05)
        await connections[0].end()
        ask(5, "/ok")
        frames = await read_frames(reader)
        writer.close()

    assert [frame.last_stream_id for frame in frames if isinstance(frame, GoAwayFrame)] == [2**31 - 1, 3]
    assert [frame.stream_id for frame in frames if isinstance(frame, DataFrame) and frame.data == b"ok"] == [1, 3]
    assert [(frame.stream_id, frame.error_code) for frame in frames if isinstance(frame, RstStreamFrame)] == [
        (5, ErrorCodes.REFUSED_STREAM)
    ]


async def test_websocket_over_http2() -> None:
    """RFC 8441: a websocket is a stream of its own, and ends with it."""
    closed_with.clear()
    head = [*fields(b"/echo", b"CONNECT"), (b":protocol", b"websocket"), (b"sec-websocket-version", b"13")]
    async with h2_client() as client:
        stream = await client.send(*head, end=False)
        await client.read_until(lambda: stream in client.headers)  # a client may not send before
        client.connection.send_data(stream, websocket_frame(b"hello", opcode=1))
        await client.flush()
        await client.read_until(lambda: b"5" in client.bodies.get(stream, b""))
        client.connection.end_stream(stream)
        await client.flush()
        await client.answer(await client.send(*fields(b"/ok")))

    assert closed_with == [1006]


async def test_resets_buy_no_time() -> None:
    """Row 123: a connection without requests has its time, whatever is said about those that have ended."""
    async with h2_client(keep_alive_timeout=0.4) as client:
        stream = await client.send(*fields(b"/ok"))
        await client.answer(stream)
        start = asyncio.get_running_loop().time()
        while not client.reader.at_eof() and asyncio.get_running_loop().time() - start < 3:
            client.writer.write(RstStreamFrame(stream, error_code=8).serialize())
            with contextlib.suppress(TimeoutError, ConnectionError):
                await asyncio.wait_for(client.reader.read(100), 0.1)

        assert asyncio.get_running_loop().time() - start < 2


async def test_upload() -> None:
    """A body arrives whole; its windows open as the app reads it."""
    async with h2_client() as client:
        stream = await client.send(*fields(b"/length", b"POST"), end=False)
        left = 300_000
        while left:
            room = min(left, client.connection.local_flow_control_window(stream), 16_384)
            if room:
                client.connection.send_data(stream, bytes(room), end_stream=room == left)
                left -= room
                await client.flush()
            else:
                await client.read_until(lambda: client.connection.local_flow_control_window(stream) > 0)
        _, body = await client.answer(stream)

    assert body == b"300000"
