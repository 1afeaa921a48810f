"""One request on its way from the server: the body, a client that leaves, and a response that is not taken."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from quart import Quart, request
from quart.asgi import ASGIHTTPConnection

from ligand_async.web.connection import HTTPConnection
from tests.services import app_of

Message = dict[str, Any]
BEGINNING = {"type": "http.request", "body": b"be", "more_body": True}
END = {"type": "http.request", "body": b"end", "more_body": False}
EMPTY = {"type": "http.request", "body": b"", "more_body": False}
LEFT = {"type": "http.disconnect"}


class Server:
    """A server of ASGI whose client sends messages, each after some seconds, and takes the response as it likes."""

    def __init__(self, *messages: tuple[float, Message], patience: float = 0.0) -> None:
        self.messages = list(messages)
        self.patience = patience
        self.sent: list[Message] = []
        self.receiving = 0

    async def receive(self) -> Any:
        self.receiving += 1
        assert self.receiving == 1, "two tasks receive at once"
        try:
            if not self.messages:
                await asyncio.Event().wait()
            seconds, message = self.messages[0]
            await asyncio.sleep(seconds)
            del self.messages[0]
            return message
        finally:
            self.receiving -= 1

    async def send(self, message: Any) -> None:
        await asyncio.sleep(self.patience)
        self.sent.append(message)

    @property
    def status(self) -> int | None:
        return self.sent[0]["status"] if self.sent else None

    @property
    def body(self) -> bytes:
        return b"".join(message.get("body", b"") for message in self.sent)

    async def serve(self, app: Quart, **members: Any) -> None:
        scope: Any = {
            "type": "http",
            "asgi": {},
            "http_version": "1.1",
            "method": "POST",
            "scheme": "http",
            "path": "/",
            "raw_path": b"/",
            "query_string": b"",
            "root_path": "",
            "headers": [(b"host", b"a.test")],
            "client": ("127.0.0.1", 1),
            "server": ("127.0.0.1", 80),
            "extensions": {},
            **members,
        }
        async with app.test_app():
            await app(scope, self.receive, self.send)
            await asyncio.sleep(0)
        assert len([task for task in asyncio.all_tasks() if not task.done()]) == 1, "a task was left behind"


async def read() -> Any:
    return await request.get_data()


async def read_later() -> Any:
    await asyncio.sleep(0.2)  # the client is watched by now
    return await request.get_data()


async def read_in_parts() -> Any:
    return b"".join([part async for part in request.body])


async def read_twice_at_once() -> Any:
    parts: Any = await asyncio.gather(request.get_data(), request.get_data())
    return b"".join(parts)


async def read_in_another_task() -> Any:
    return await asyncio.create_task(request.get_data())


async def give_up_and_read() -> Any:
    try:
        async with asyncio.timeout(0.05):
            await request.get_data()
    except TimeoutError:
        rest: Any = await request.get_data()
        return b"after a while: " + rest
    return b"at once"


@pytest.mark.parametrize(
    ("view", "body"),
    [
        (read, b"beend"),
        (read_later, b"beend"),
        (read_in_parts, b"beend"),
        (read_twice_at_once, b"beendbeend"),
        (read_in_another_task, b"beend"),
        (give_up_and_read, b"after a while: beend"),
    ],
)
async def test_a_body_that_comes_slowly(view: Callable[[], Awaitable[Any]], body: bytes) -> None:
    """A body is read whole, whoever reads it; only one task receives at a time, and none is left behind."""
    server = Server((0, BEGINNING), (0.15, END))
    await server.serve(app_of(("POST", "/", view)))

    assert (server.status, server.body) == (200, body)


async def test_a_body_that_nobody_reads_is_not_waited_for() -> None:
    """A handler that does not want the body answers before it has come."""

    async def answer() -> str:
        return "at once"

    server = Server((0, BEGINNING), (60, END))
    await server.serve(app_of(("POST", "/", answer)))

    assert (server.status, server.body) == (200, b"at once")


async def test_a_body_that_does_not_come() -> None:
    """It is a 408 after `body_timeout`."""
    server = Server((0, BEGINNING), (60, END))
    await server.serve(app_of(("POST", "/", read), settings={"body_timeout": 0.1}))

    assert server.status == 408


async def test_a_body_that_is_too_large_is_refused_before_its_end() -> None:
    """It is a 413 once it is larger than the limit, and the rest is not waited for."""
    server = Server((0, {**BEGINNING, "body": b"x" * 2000}), (60, END))
    await server.serve(app_of(("POST", "/", read), settings={"max_body_bytes": 1024}))

    assert server.status == 413


@pytest.mark.parametrize("wait", [read, lambda: asyncio.sleep(60)], ids=["for the body", "for something else"])
async def test_a_client_that_leaves(wait: Callable[[], Awaitable[Any]]) -> None:
    """The handler is cancelled soon, also while it waits for the body; nothing is sent and no task is left behind."""
    ended: list[str] = []

    async def view() -> Any:
        try:
            return await wait()
        except asyncio.CancelledError:
            ended.append("cancelled")
            raise

    server = Server((0, BEGINNING), (0.01, LEFT))
    async with asyncio.timeout(5):
        await server.serve(app_of(("POST", "/", view)))

    assert (ended, server.sent) == (["cancelled"], [])


async def test_a_handler_that_stays_when_its_client_leaves() -> None:
    """The cancellation that it swallows is not left in the server's task."""

    async def view() -> Any:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            return "late"

    server = Server((0, EMPTY), (0.01, LEFT))
    await server.serve(app_of(("POST", "/", view)))
    task = asyncio.current_task()

    assert task is not None
    assert task.cancelling() == 0


async def test_a_response_that_is_not_taken(caplog: pytest.LogCaptureFixture) -> None:
    """A response that is not sent within RESPONSE_TIMEOUT ends, and the log says so."""

    async def answer() -> str:
        return "here"

    server = Server((0, EMPTY), patience=60)
    app = app_of(("POST", "/", answer))
    app.config["RESPONSE_TIMEOUT"] = 0.1
    async with asyncio.timeout(5):
        await server.serve(app)

    assert server.sent == []
    assert "the response was not sent within 0.1 s" in caplog.text


async def test_a_response_of_bytes_is_two_messages() -> None:
    """Its head, and its only part."""

    async def answer() -> str:
        return "here"

    server = Server((0, EMPTY))
    await server.serve(app_of(("POST", "/", answer)))

    assert [message["type"] for message in server.sent] == ["http.response.start", "http.response.body"]
    assert server.sent[1] == {"type": "http.response.body", "body": b"here", "more_body": False}


@pytest.mark.parametrize(
    "members",
    [
        {},
        {"client": None},
        {"headers": [(b"host", b"a"), (b"x-own-name", b"\xe9"), (b"accept", b"1"), (b"accept", b"2")]},
        {"headers": [(b"content-length", b"3")], "query_string": b"a=1&b=%C3%A9"},
        {"headers": [(b"transfer-encoding", b"chunked"), (b"content-length", b"3")]},
        {"http_version": "1.0", "headers": []},
        {"http_version": "2", "scheme": "https"},
        {"root_path": "/under", "path": "/under/this"},
        {"path": "http://other.test/path"},
    ],
)
async def test_a_request_is_as_quart_makes_it(members: dict[str, Any]) -> None:
    """The request has the attributes, the headers and the length that Quart's connection gives it."""
    app = app_of()
    scope: Any = {"type": "http", "http_version": "1.1", "method": "GET", "scheme": "http", "path": "/a/é"}
    scope |= {"query_string": b"", "headers": [(b"host", b"a.test")], "client": ("10.0.0.1", 5), **members}
    made = [kind(app, dict(scope))._create_request_from_scope(None) for kind in (HTTPConnection, ASGIHTTPConnection)]  # type: ignore[arg-type]  # never sent

    ours, stock = ({name: str(value) for name, value in vars(one).items() if name not in UNIQUE} for one in made)
    assert ours == stock
    assert [*made[0].headers] == [*made[1].headers]
    assert [getattr(made[0], name) for name in DERIVED] == [getattr(made[1], name) for name in DERIVED]


UNIQUE = ("body", "content_length", "_parsing_lock", "_send_push_promise")
DERIVED = ("content_length", "host", "url", "args", "remote_addr", "is_secure", "mimetype")
