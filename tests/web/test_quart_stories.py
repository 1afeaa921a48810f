"""What Quart documents about tests, websockets, bodies and clients that leave holds for our app, too.

Each story is told with a stock `Quart` and with ours; what it notes must be the same.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextvars import ContextVar
from typing import Any

import pytest
from quart import Quart, Response, g, request, session, websocket

from ligand_async import public
from tests.web.test_quart_behaviour import Log, noting, ours, stock, view_of


async def hold_context(app: Quart, log: Log) -> None:
    async def view() -> str:
        session["kept"] = "kept"
        return "done"

    app.add_url_rule("/view", "view", public(view))
    client = app.test_client()
    async with client as held:
        await held.get("/view")
        log.append((request.path, session["kept"]))
    async with app.test_request_context("/view?x=1", method="POST", headers={"X-Given": "1"}):
        log.append((request.path, request.args["x"], request.headers["X-Given"], request.endpoint, request.method))
        session["new"] = 1
        log.append((await app.full_dispatch_request()).status_code)  # 405: the method is wrong
    async with app.test_request_context("/view"):
        response: Any = await app.full_dispatch_request()
        log.append((await response.get_data(), await app.preprocess_request()))
    async with client.session_transaction() as transaction:
        log.append(transaction.get("kept"))
        transaction["by hand"] = 1


async def serve_before(app: Quart, log: Log) -> None:
    app.before_serving(noting(log, "before serving"))
    app.after_serving(noting(log, "after serving"))

    @app.while_serving
    async def lifespan() -> AsyncGenerator[None]:
        log.append("begin")
        yield
        log.append("end")

    app.add_url_rule("/", "view", view_of(log))
    async with app.test_app() as test_app:
        response = await test_app.test_client().get("/")
        log.append(response.status_code)


async def talk(app: Quart, log: Log) -> None:
    app.before_websocket(noting(log, "before"))
    app.after_websocket(noting(log, "after"))
    app.teardown_websocket(noting(log, "teardown"))

    async def echo(name: str) -> None:
        session["seen"] = True
        while True:
            message: Any = await websocket.receive()
            await websocket.send(f"{name} {message} {websocket.path}")

    async def refuse() -> Any:
        return "no", 299

    app.add_websocket("/echo/<name>", "echo", public(echo))
    app.add_websocket("/refuse", "refuse", public(refuse))
    async with app.test_client().websocket("/echo/ada") as connection:
        await connection.send("hello")
        log.append(await connection.receive())


async def send_in_parts(app: Quart, log: Log) -> None:
    async def take() -> str:
        parts = [part async for part in request.body]
        return b"".join(parts).decode()

    async def whole() -> str:
        text: Any = await request.get_data(as_text=True)
        return f"{text} {await request.get_json(force=True)}"

    app.add_url_rule("/parts", "parts", public(take), methods=["POST"])
    app.add_url_rule("/whole", "whole", public(whole), methods=["POST"])
    client = app.test_client()
    for path, parts in (("/parts", [b"a", b"b", b"c"]), ("/whole", [b'{"a"', b": 1}"])):
        async with client.request(path, method="POST") as connection:
            for part in parts:
                await connection.send(part)
                await asyncio.sleep(0.01)
            await connection.send_complete()
        log.append(await (await connection.as_response()).get_data())


async def leave_early(app: Quart, log: Log) -> None:
    async def wait() -> str:
        try:
            await asyncio.sleep(5)
        except asyncio.CancelledError:
            log.append("cancelled")
            raise
        return "late"

    async def teardown(error: BaseException | None) -> None:
        log.append(type(error).__name__)

    app.teardown_request(teardown)
    app.add_url_rule("/", "wait", public(wait))
    async with app.test_client().request("/") as connection:
        await connection.send_complete()
        await asyncio.sleep(0.01)
        await connection.disconnect()
        await asyncio.sleep(0.3)


async def leave_a_stream(app: Quart, log: Log) -> None:
    async def stream() -> Response:
        async def parts() -> AsyncIterator[bytes]:
            try:
                while True:
                    yield b"part"
                    await asyncio.sleep(0.01)
            finally:
                log.append("closed")

        return Response(parts())

    app.add_url_rule("/", "stream", public(stream))
    async with app.test_client().request("/") as connection:
        await connection.send_complete()
        log.append(await connection.receive())
        await connection.disconnect()
        await asyncio.sleep(0.3)


own_var: ContextVar[str] = ContextVar("own")


async def call_oneself(app: Quart, log: Log) -> None:
    """A request inside another one, in the same task, leaves the outer one as it was."""

    async def inner() -> str:
        g.inner = True
        session["inner"] = True
        own_var.set("inner")
        return f"inner {request.path}"

    async def outer() -> str:
        own_var.set("outer")
        sent: list[Any] = []
        received = [{"type": "http.request", "body": b"", "more_body": False}]

        async def receive() -> Any:
            return received.pop() if received else await asyncio.Event().wait()

        async def send(message: Any) -> None:
            sent.append(message)

        scope: Any = {**request.scope, "path": "/inner", "raw_path": b"/inner"}
        scope.pop("_quart._preserve_context", None)
        await app(scope, receive, send)
        body = b"".join(message.get("body", b"") for message in sent).decode()
        log.append(own_var.get())
        return f"{body}, outer {request.path} {request.endpoint} {'inner' in session}"

    app.add_url_rule("/inner", "inner", public(inner))
    app.add_url_rule("/outer", "outer", public(outer))
    log.append(await (await app.test_client().get("/outer")).get_data())


@pytest.mark.parametrize(
    "story",
    [hold_context, serve_before, talk, send_in_parts, leave_early, leave_a_stream, call_oneself],
    ids=lambda story: story.__name__,
)
@pytest.mark.ligand_conformance("off", reason="the routes are Quart's own")
async def test_told_as_in_quart(story: Callable[[Quart, Log], Awaitable[None]]) -> None:
    """A story that needs more than requests goes the same way on a stock Quart."""
    logs: list[Log] = []
    for make in (stock, ours):
        log: Log = []
        await story(make({}), log)
        logs.append(log)

    assert logs[1] == logs[0]
    assert logs[0]
