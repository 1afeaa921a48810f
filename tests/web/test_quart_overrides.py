"""The faults of Quart 0.22 and werkzeug 3.1 that `web/quart.py` answers, shown on a stock `Quart`.

Where a test fails, Quart has mended the fault: remove the override that the test names.
"""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from pydantic import TypeAdapter
from quart import Quart, Response, abort, websocket
from quart.testing import QuartClient
from quart.testing.connections import WebsocketResponseError
from werkzeug.exceptions import Conflict

SECRET = "do-not-log-this"


def app_of(view: Callable[..., Any], **config: Any) -> Quart:
    """Make a stock app with one view."""
    app = Quart(__name__, static_folder=None)
    app.config.update(config)
    app.add_url_rule("/", "view", view)
    return app


async def hello() -> str:
    return "hello"


async def fail(*_: Any) -> Any:
    raise ZeroDivisionError


async def leave(*_: Any) -> Any:
    raise SystemExit


def be_quiet() -> None:
    """Let the loop not print the exceptions of tasks that nobody awaits: they are what the test provokes."""
    asyncio.get_running_loop().set_exception_handler(lambda *_: None)


async def answer_of(app: Quart, path: str = "/", **options: Any) -> Response:
    response: Response = await app.test_client().open(path, **options)
    return response


async def test_offered_subprotocols_are_dropped_by_the_test_client() -> None:
    """`LigandClient.websocket`."""

    async def tell() -> None:
        await websocket.send(str(websocket.requested_subprotocols))

    app = Quart(__name__, static_folder=None)
    app.add_websocket("/", "tell", tell)
    async with app.test_client().websocket("/", subprotocols=["chat"]) as connection:
        assert await connection.receive() == "[]"


async def run_scope(app: Quart, kind: str) -> list[Any]:
    """Run one scope of ASGI without a client, and return what the app sends."""
    sent: list[Any] = []
    received = [{"type": "websocket.connect" if kind == "websocket" else "http.request", "body": b""}]

    async def receive() -> Any:
        return received.pop() if received else await asyncio.Event().wait()

    async def send(message: Any) -> None:
        sent.append(message)

    scope: Any = {"type": kind, "scheme": "ws" if kind == "websocket" else "http", "http_version": "1.1", "asgi": {}}
    scope |= {"method": "GET", "path": "/", "query_string": b"", "headers": []}
    await app(scope, receive, send)
    return sent


async def test_make_response() -> None:
    """A status of 400 or more that a view returns stays HTML."""

    async def refuse() -> tuple[str, int]:
        return "no", 403

    assert (await answer_of(app_of(refuse))).mimetype == "text/html"


async def test_dispatch_request() -> None:
    """A view has no time limit: RESPONSE_TIMEOUT begins when it has returned. The functions before it have none."""

    async def wait() -> None:
        await asyncio.sleep(0.05)

    async def wait_and_answer() -> str:
        await wait()
        return "late"

    app = app_of(wait_and_answer, RESPONSE_TIMEOUT=0.02)
    app.before_request(wait)
    assert (await answer_of(app)).status_code == 200


def add_view(app: Quart) -> None:
    app.view_functions["view"] = leave


def add_error_handler(app: Quart) -> None:
    app.view_functions["view"] = fail
    app.register_error_handler(ZeroDivisionError, leave)


def add_handler_of_500(app: Quart) -> None:
    app.view_functions["view"] = fail
    app.register_error_handler(500, leave)


def add_background_task(app: Quart) -> None:
    @app.before_request
    async def begin() -> None:
        app.add_background_task(leave)


@pytest.mark.parametrize(
    "prepare",
    [
        pytest.param(add_view, id="dispatch_request"),
        pytest.param(lambda app: app.before_request(leave), id="preprocess_request"),
        pytest.param(lambda app: app.after_request(leave), id="process_response"),
        pytest.param(add_error_handler, id="handle_user_exception"),
        pytest.param(add_handler_of_500, id="handle_exception"),
        pytest.param(lambda app: app.teardown_request(leave), id="do_teardown_request"),
        pytest.param(lambda app: app.teardown_appcontext(leave), id="do_teardown_appcontext"),
        pytest.param(add_background_task, id="add_background_task"),
    ],
)
def test_system_exit(prepare: Callable[[Quart], Any]) -> None:
    """A `SystemExit` of the service's code ends the event loop, and so the server."""
    app = app_of(hello)
    prepare(app)

    async def serve() -> None:
        be_quiet()
        await answer_of(app)
        await asyncio.sleep(0.1)

    with pytest.raises(SystemExit):
        asyncio.run(serve())


@pytest.mark.parametrize(
    "prepare",
    [
        pytest.param(lambda app: app.before_websocket(leave), id="preprocess_websocket"),
        pytest.param(lambda app: app.add_websocket("/", "socket", leave), id="dispatch_websocket"),
        pytest.param(lambda app: app.teardown_websocket(leave), id="do_teardown_websocket"),
    ],
)
def test_system_exit_of_websocket(prepare: Callable[[Quart], Any]) -> None:
    """It does from a websocket too."""
    app = Quart(__name__, static_folder=None)
    prepare(app)
    if "socket" not in app.view_functions:
        app.add_websocket("/", "socket", hello)

    async def serve() -> None:
        be_quiet()
        await run_scope(app, "websocket")

    with pytest.raises(SystemExit):
        asyncio.run(serve())


async def test_startup() -> None:
    """An app with a `while_serving` function starts once; when a start fails, no function after serving runs."""
    app = Quart(__name__)
    closed: list[str] = []
    app.after_serving(lambda: closed.append("closed"))

    @app.while_serving
    async def live() -> Any:
        yield

    await app.startup()
    await app.shutdown()
    closed.clear()
    with pytest.raises(StopAsyncIteration):
        await app.startup()
    assert closed == []


async def test_redirect() -> None:
    """The redirect for a missing slash goes to the host that the client wrote."""
    app = Quart(__name__, static_folder=None)
    app.add_url_rule("/pets/", "view", hello)
    response = await answer_of(app, "/pets", headers={"Host": "evil.example"})
    assert (response.status_code, response.headers["Location"]) == (308, "http://evil.example/pets/")


async def test_redirect_of_a_websocket() -> None:
    """And so does that of a handshake: `dispatch_websocket`."""
    app = Quart(__name__, static_folder=None)
    app.add_websocket("/talk/", "talk", hello)
    with pytest.raises(WebsocketResponseError) as refused:
        async with app.test_client().websocket("/talk", headers={"Host": "evil.example"}) as connection:
            await connection.receive()
    assert refused.value.response.headers["Location"] == "ws://evil.example/talk/"


def test_compile_builder() -> None:
    """werkzeug compiles the functions that build the URLs of a rule before anybody asks for one."""
    app = app_of(hello)
    [rule] = app.url_map.iter_rules()
    assert rule._build.__func__.__code__.co_filename == "<werkzeug routing>"  # type: ignore[attr-defined]  # a method


async def test_make_default_options_response() -> None:
    """OPTIONS is answered with 200 and an empty page."""
    response = await answer_of(app_of(hello), method="OPTIONS")
    assert (response.status_code, response.mimetype) == (200, "text/html")


async def test_process_response() -> None:
    """A function after the view that fails runs again for the error's response, which lacks the others' headers."""
    calls = []

    async def secure(response: Response) -> Response:
        response.headers["X-Secure"] = "yes"
        return response

    async def break_down(_: Response) -> Response:
        calls.append(1)
        raise ZeroDivisionError

    app = app_of(hello)
    app.after_request(secure)
    app.after_request(break_down)
    response = await answer_of(app)
    assert (response.status_code, len(calls), "X-Secure" in response.headers) == (500, 2, False)


async def test_handle_exception_of_http() -> None:
    """An HTTP exception of a function after the view is answered 500."""

    async def refuse(_: Response) -> Response:
        abort(409)

    app = app_of(hello)
    app.after_request(refuse)
    assert (await answer_of(app)).status_code == 500


async def test_handle_exception() -> None:
    """When the handler of 500 raises, there is no response: the server gets the exception."""
    app = app_of(fail)
    app.register_error_handler(500, fail)
    with pytest.raises(ZeroDivisionError):
        await answer_of(app)


async def test_handle_websocket_exception() -> None:
    """The server gets it from a websocket too."""
    app = Quart(__name__, static_folder=None)
    app.add_websocket("/", "socket", fail)
    app.register_error_handler(500, fail)
    with pytest.raises(ZeroDivisionError):
        await run_scope(app, "websocket")


async def test_log_exception(caplog: pytest.LogCaptureFixture) -> None:
    """The log of a pydantic error holds the value that was refused."""

    async def read() -> str:
        return str(TypeAdapter(int).validate_python(SECRET))

    await answer_of(app_of(read))
    assert SECRET in caplog.text


async def test_finalize_websocket() -> None:
    """An open websocket that ends in an error is closed with 1000, as if all were well."""

    async def refuse() -> None:
        await websocket.accept()
        raise Conflict

    app = Quart(__name__, static_folder=None)
    app.add_websocket("/", "socket", refuse)
    sent = await run_scope(app, "websocket")
    assert sent[-1] == {"type": "websocket.close", "code": 1000}


@pytest.mark.parametrize("kind", ["teardown_request", "teardown_appcontext"])
async def test_do_teardown(kind: str) -> None:
    """A teardown function that fails keeps the others from running, and the response from being sent."""
    calls: list[Any] = []
    app = app_of(hello)
    register = getattr(app, kind)
    first, second = (fail, calls.append) if kind == "teardown_appcontext" else (calls.append, fail)
    register(first)
    register(second)
    with pytest.raises(ZeroDivisionError):
        await answer_of(app)
    assert not calls


async def test_do_teardown_websocket() -> None:
    """A teardown function of a websocket does the same."""
    calls: list[Any] = []
    app = Quart(__name__, static_folder=None)
    app.add_websocket("/", "socket", hello)
    app.teardown_websocket(calls.append)
    app.teardown_websocket(fail)
    with pytest.raises(ZeroDivisionError):
        await run_scope(app, "websocket")
    assert not calls


async def test_http_connection(caplog: pytest.LogCaptureFixture) -> None:
    """A response that takes longer than RESPONSE_TIMEOUT ends without its last part and without a word."""

    async def stream() -> Response:
        async def parts() -> Any:
            yield b"first"
            await asyncio.sleep(5)

        return Response(parts())

    sent = await run_scope(app_of(stream, RESPONSE_TIMEOUT=0.05), "http")
    assert sent[-1] == {"type": "http.response.body", "body": b"first", "more_body": True}
    assert not caplog.records


def test_test_client() -> None:
    """The test client cannot raise what nothing handled while the app answers 500, as it does in production."""
    with pytest.raises(TypeError, match="raise_unhandled"):
        QuartClient(Quart(__name__), raise_unhandled=True)  # type: ignore[call-arg]  # the point of the test


@pytest.mark.parametrize(("converter", "text"), [("int", "٣"), ("float", "٣.٣")])
async def test_converters(converter: str, text: str) -> None:
    """Numbers in a path may be written in the digits of any script."""

    async def read(number: float) -> str:
        return str(number)

    app = Quart(__name__, static_folder=None)
    app.add_url_rule(f"/<{converter}:number>", "view", read)
    response = await answer_of(app, f"/{text}")
    assert await response.get_data() in {b"3", b"3.3"}


async def test_websocket_connection() -> None:
    """Messages that a websocket's handler does not receive are collected without limit."""
    app = Quart(__name__, static_folder=None)
    scope: Any = {"type": "websocket"}
    connection: Any = app.asgi_websocket_class(app, scope)
    messages = [{"type": "websocket.receive", "bytes": b"", "text": "x" * 1_000_000}] * 100

    async def receive() -> Any:
        return messages.pop() if messages else {"type": "websocket.disconnect"}

    await connection.handle_messages(receive)
    assert connection.queue.qsize() == 100
