"""FAULTS 5 to 10, 15, 18, 20: what is raised where nobody expects it."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from quart import Quart, Response, websocket
from sqlalchemy.ext.asyncio import AsyncSession

from ligand_async import Conflict, NotFound, on_commit, operation, public
from ligand_async.web import LigandQuart
from tests.http import RawAnswer, exchange, head
from tests.servers import serving
from tests.services import Item, app_of, count_checked_out, count_items, db, make_service, running

STRAY = [asyncio.CancelledError, SystemExit, GeneratorExit, BaseException]
GET = head("GET", "/")


def errors_in(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    """Return the error lines of the service itself."""
    return [record for record in caplog.records if record.levelno >= logging.ERROR and record.exc_info]


def raising(error: type[BaseException] | BaseException) -> Callable[..., Any]:
    """Make a function that raises."""

    async def fail(*_: Any) -> Any:
        raise error

    return fail


async def fine() -> str:
    """Be well."""
    return "fine"


async def ask(app: Quart, raw: bytes = GET) -> RawAnswer:
    """Ask once, and then see that the server still serves."""
    async with serving(app) as port:
        answer = await exchange(port, raw)
        assert (await exchange(port, head("GET", "/livez"))).status == 200
        return answer


@pytest.mark.parametrize("status", [99, 600, 100, 199, 999])
async def test_a_status_that_is_none_is_500(status: int) -> None:
    """Row 5: a status that no final answer has is a fault of the service: a 500."""
    app = app_of(("GET", "/view", returning(("x", status))))
    inner = app.asgi_app

    async def middleware(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http" and scope["path"] == "/middleware":
            await send({"type": "http.response.start", "status": status, "headers": []})
            await send({"type": "http.response.body", "body": b"x"})
            return
        await inner(scope, receive, send)

    app.asgi_app = middleware  # type: ignore[method-assign]  # as Quart documents for middleware
    for path in ("/view", "/middleware"):
        answer = await ask(app, head("GET", path))
        assert (answer.status, answer.is_problem) == (500, True)


def returning(value: Any) -> Callable[..., Any]:
    """Make a view that returns a value."""

    async def view() -> Any:
        return value

    return view


@pytest.mark.parametrize("error", [ZeroDivisionError, *STRAY])
@pytest.mark.parametrize("level", ["teardown_request", "teardown_appcontext"])
async def test_a_teardown_that_fails_takes_nothing_back(
    level: str, error: type[BaseException], caplog: pytest.LogCaptureFixture
) -> None:
    """Row 6: the answer is kept, the error is logged once, and the other teardown functions run."""
    app, ran = app_of(("GET", "/", fine)), list[str]()

    async def note(_: BaseException | None) -> None:
        ran.append("other")

    for function in (note, raising(error), note):
        getattr(app, level)(function)
    async with serving(app) as port:
        ran.clear()
        caplog.clear()
        answer = await exchange(port, GET)
        assert (answer.status, answer.body, ran) == (200, b"fine", ["other", "other"])
        assert len(errors_in(caplog)) == 1


@pytest.mark.parametrize("error", [ZeroDivisionError("s3cret"), asyncio.CancelledError(), SystemExit(3)])
async def test_a_function_after_the_view_that_fails_is_500(
    error: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    """Row 7: it is a 500, logged once, with the headers of the guard and of the other functions."""
    app = app_of(("GET", "/", fine))

    async def mark(response: Response) -> Response:
        response.headers["X-Mark"] = "marked"
        return response

    app.after_request(mark)
    app.after_request(raising(error))
    async with serving(app) as port:
        answer = await exchange(port, GET)

    assert (answer.status, answer.is_problem, b"s3cret" in answer.body) == (500, True, False)
    assert (answer.headers["x-mark"], answer.headers["x-content-type-options"]) == ("marked", "nosniff")
    assert len(errors_in(caplog)) == 1


async def test_a_problem_of_a_function_after_the_view_is_the_answer() -> None:
    """Row 7: what is raised on purpose means there what it means in a view."""
    app = app_of(("GET", "/", fine))
    app.after_request(raising(Conflict("no")))
    async with serving(app) as port:
        answer = await exchange(port, GET)
    assert (answer.status, answer.is_problem, answer.json["detail"]) == (409, True, "no")


@pytest.mark.parametrize("handled", [409, 500, Exception])
@pytest.mark.parametrize("error", [ZeroDivisionError("s3cret"), SystemExit(3)])
async def test_an_error_handler_that_fails_is_500(handled: Any, error: BaseException) -> None:
    """Row 8: the handler of an error raises, even the one for 500: a 500."""
    app = app_of(("GET", "/", raising(Conflict() if handled == 409 else KeyError())))
    app.register_error_handler(handled, raising(error))
    answer = await ask(app)
    assert (answer.status, answer.is_problem, b"s3cret" in answer.body) == (500, True, False)


@pytest.mark.parametrize("error", STRAY)
@pytest.mark.parametrize("place", ["view", "operation", "before_request", "middleware"])
async def test_what_ends_a_process_ends_one_request(
    place: str, error: type[BaseException], caplog: pytest.LogCaptureFixture
) -> None:
    """Rows 9 and 10: wherever it is raised, it is a 500, logged once, and the server lives."""
    app = app_of(("GET", "/", fine))
    fail = raising(error)
    if place in {"view", "operation"}:

        async def view() -> None:
            raise error

        decorated: Any = operation(view) if place == "operation" else view
        app.add_url_rule("/fail", "fail", public(decorated))
    elif place == "before_request":

        @app.before_request
        async def before() -> None:
            from quart import request

            if request.path == "/fail":
                raise error
    else:
        inner = app.asgi_app

        async def middleware(scope: Any, receive: Any, send: Any) -> None:
            if scope["type"] == "http" and scope["path"] == "/fail":
                await fail()
            await inner(scope, receive, send)

        app.asgi_app = middleware  # type: ignore[method-assign]  # as Quart documents for middleware
    answer = await ask(app, head("GET", "/fail"))

    assert (answer.status, answer.is_problem) == (500, True)
    assert len(errors_in(caplog)) == 1


@pytest.mark.parametrize("error", STRAY)
async def test_a_stray_exit_in_a_unit_rolls_back(sqlite_url: str, error: type[BaseException]) -> None:
    """Rows 9 and 10: in the task of a unit of work too; nothing is stored, and the connection is back."""

    @operation(status=201)
    async def fail(session: AsyncSession) -> None:
        """Store an item, and fail."""
        session.add(Item(name="cup"))
        await session.flush()
        raise error

    app = make_service(sqlite_url, ("POST", "/fail", fail))
    async with serving(app) as port, app.app_context():
        await db.create_tables()
        answer = await exchange(port, head("POST", "/fail", "Content-Length: 0"))

        assert (answer.status, answer.is_problem) == (500, True)
        assert (await count_items(), count_checked_out()) == (0, 0)


@pytest.mark.parametrize("error", STRAY)
async def test_a_stray_exit_after_the_commit_changes_nothing(sqlite_url: str, error: type[BaseException]) -> None:
    """Row 10: nor can a callback after the commit end the server."""

    @operation(status=201)
    async def add(session: AsyncSession) -> None:
        """Store an item."""
        session.add(Item(name="cup"))
        on_commit(raising(error))

    app = make_service(sqlite_url, ("POST", "/add", add))
    async with serving(app) as port, app.app_context():
        await db.create_tables()
        assert (await exchange(port, head("POST", "/add", "Content-Length: 0"))).status == 201
        assert await count_items() == 1


async def test_a_background_task_cannot_end_the_server(caplog: pytest.LogCaptureFixture) -> None:
    """Row 10: it is logged as any other failure of one."""
    app = app_of()

    @app.get("/")
    @public
    async def begin() -> str:
        app.add_background_task(raising(SystemExit(3)))
        return "begun"

    assert (await ask(app)).status == 200
    assert len(errors_in(caplog)) == 1


async def test_a_websocket_cannot_end_the_server() -> None:
    """Row 10: before it is accepted the answer is a problem, after it the connection ends."""
    app = app_of()

    @app.websocket("/early")
    @public
    async def early() -> None:
        raise SystemExit(3)

    @app.websocket("/late")
    @public
    async def late() -> None:
        await websocket.accept()
        raise SystemExit(3)

    upgrade = (
        "Upgrade: websocket",
        "Connection: Upgrade",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: " + "A" * 22 + "==",
    )
    refused = await ask(app, head("GET", "/early", *upgrade))
    assert (refused.status, refused.is_problem) == (500, True)
    assert (await ask(app, head("GET", "/late", *upgrade))).status == 101


async def test_a_websocket_is_refused_with_a_problem() -> None:
    """Row 4: the guard, a route that is missing and a view refuse a websocket as they refuse a request."""
    app = app_of()

    @app.websocket("/text")
    @public
    async def text() -> tuple[str, int]:
        return "<b>no</b>", 403

    upgrade = (
        "Upgrade: websocket",
        "Connection: Upgrade",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: " + "A" * 22 + "==",
    )
    for target, status in (("/text", 403), ("/nowhere", 404), ("/%ff", 400)):
        answer = await ask(app, head("GET", target, *upgrade))
        assert (answer.status, answer.is_problem) == (status, True)


async def test_middleware_stands_inside_the_guard() -> None:
    """Rows 4 and 7: what is put around `asgi_app` sees what is let in, and its errors are problems."""
    app, seen = app_of(("GET", "/", fine)), list[str]()
    inner = app.asgi_app

    async def middleware(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await inner(scope, receive, send)
            return
        seen.append(scope["path"])
        if scope["path"] == "/html":
            await send({"type": "http.response.start", "status": 403, "headers": [(b"content-type", b"text/html")]})
            await send({"type": "http.response.body", "body": b"<b>no</b>"})
        elif scope["path"] == "/error":
            raise ZeroDivisionError("s3cret")
        elif scope["path"] != "/nothing":
            await inner(scope, receive, send)

    app.asgi_app = middleware  # type: ignore[method-assign]  # as Quart documents for middleware
    async with serving(app) as port:
        for target, status in (("/html", 403), ("/error", 500), ("/nothing", 500), ("/%ff", 400)):
            answer = await exchange(port, head("GET", target))
            assert (answer.status, answer.is_problem) == (status, True)
            assert answer.headers["x-content-type-options"] == "nosniff"
            assert b"s3cret" not in answer.body
        assert (await exchange(port, GET)).status == 200
    assert seen == ["/html", "/error", "/nothing", "/"]


@pytest.mark.parametrize("mode", [{"DEBUG": True}, {"TESTING": True}])
async def test_debug_shows_nothing(mode: dict[str, bool]) -> None:
    """Row 20: whatever fails and wherever, a client never sees a traceback."""
    app = app_of(("GET", "/", raising(ZeroDivisionError("s3cret"))), config=mode)
    app.register_error_handler(ZeroDivisionError, raising(KeyError("s3cret")))
    answer = await ask(app)
    assert (answer.status, answer.is_problem, b"s3cret" in answer.body) == (500, True, False)


def streaming(mimetype: str, error: type[BaseException] | None, pause: float = 0.0) -> Callable[..., Any]:
    """Make a view that streams two lines, and fails or pauses in between."""

    async def lines() -> AsyncIterator[bytes]:
        yield b'{"n":1}\n'
        await asyncio.sleep(pause)
        if error is not None:
            raise error
        yield b'{"n":2}\n'

    async def view() -> Response:
        return Response(lines(), mimetype=mimetype)

    return view


@pytest.mark.parametrize(("error", "status"), [(ZeroDivisionError(), 500), (NotFound("no such line"), 404)])
@pytest.mark.parametrize("mimetype", ["text/plain", "application/x-ndjson"])
async def test_a_stream_that_fails_before_its_first_part_is_a_problem(
    mimetype: str, error: Exception, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    """Row 15: as long as nothing has been sent, the answer is the error's."""

    async def lines() -> AsyncIterator[bytes]:
        raise error
        yield b"never"

    async def view() -> Response:
        return Response(lines(), mimetype=mimetype)

    answer = await ask(app_of(("GET", "/", view)))
    assert (answer.status, answer.is_problem) == (status, True)
    assert len(errors_in(caplog)) == (1 if status == 500 else 0)


async def test_a_stream_of_events_begins_before_its_first_event() -> None:
    """The head of an event stream is sent at once: its client waits for it to know that it is connected."""
    first = asyncio.Event()

    async def events() -> AsyncIterator[bytes]:
        await first.wait()
        yield b"data: 1\n\n"

    async def view() -> Response:
        return Response(events(), mimetype="text/event-stream")

    async with serving(app_of(("GET", "/", view))) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(head("GET", "/"))
        async with asyncio.timeout(5):
            assert (await reader.readline()).startswith(b"HTTP/1.1 200")
        first.set()
        writer.close()


@pytest.mark.parametrize("error", [ZeroDivisionError, SystemExit, asyncio.CancelledError])
async def test_a_stream_that_fails_is_cut(error: type[BaseException], caplog: pytest.LogCaptureFixture) -> None:
    """Row 15: what has been sent cannot be taken back: the body ends too early, it is logged once and counted."""
    app = app_of(("GET", "/", streaming("text/plain", error)))
    with pytest.raises(asyncio.IncompleteReadError):
        await ask(app)
    assert isinstance(app, LigandQuart)
    assert app.guard.counts["stream_failed"] == 1
    assert len(errors_in(caplog)) == 1


async def test_a_stream_of_records_ends_with_an_error() -> None:
    """Row 15: NDJSON has a last record that says so."""
    answer = await ask(app_of(("GET", "/", streaming("application/x-ndjson", ZeroDivisionError))))
    records = [json.loads(line) for line in answer.body.splitlines() if line]
    assert records[0] == {"n": 1}
    assert (records[-1]["status"], records[-1]["request_id"]) == (500, answer.headers["x-request-id"])


async def test_an_answer_that_takes_too_long_is_cut(caplog: pytest.LogCaptureFixture) -> None:
    """Row 18: at RESPONSE_TIMEOUT it ends too early, which is logged, in one line without a traceback, and counted."""
    app = app_of(("GET", "/", streaming("text/plain", None, pause=5)), config={"RESPONSE_TIMEOUT": 0.1})
    with pytest.raises(asyncio.IncompleteReadError):
        await ask(app)
    assert isinstance(app, LigandQuart)
    assert app.guard.counts == {"response_timeout": 1}
    assert [record.getMessage() for record in caplog.records if record.name == "ligand_async.web.guard"] == [
        "the response was not sent within 0.1 s"
    ]
    assert errors_in(caplog) == []


async def test_a_stream_of_events_may_last() -> None:
    """Row 18: server-sent events are exempt."""
    app = app_of(("GET", "/", streaming("text/event-stream", None, pause=0.3)), config={"RESPONSE_TIMEOUT": 0.1})
    assert (await ask(app)).body.count(b"\n") == 2


async def test_a_real_cancellation_is_one(sqlite_url: str) -> None:
    """Row 9: a client that leaves cancels its request, and that is no error."""
    began, ended = asyncio.Event(), list[str]()

    async def wait() -> str:
        began.set()
        try:
            await asyncio.sleep(30)
        except asyncio.CancelledError:
            ended.append("cancelled")
            raise
        return "late"

    async with serving(app_of(("GET", "/", wait))) as port:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(GET)
        await asyncio.wait_for(began.wait(), 5)
        writer.transport.abort()
        for _ in range(100):
            if ended:
                break
            await asyncio.sleep(0.02)
    assert ended == ["cancelled"]


async def test_the_test_client_goes_through_the_guard() -> None:
    """Row 4: what a test sees is what a client sees."""
    async with running(app_of(("GET", "/", returning(("<b>", 403)))), tables=False) as client:
        assert (await client.get("/")).content_type == "application/problem+json"
