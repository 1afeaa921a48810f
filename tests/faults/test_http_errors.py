"""What the fault matrix says of errors: section A, however an error comes about."""

import logging
from collections.abc import AsyncIterator, Callable, Iterator
from http import HTTPStatus
from typing import Any

import pytest
import quart
from pydantic import BaseModel
from quart import Quart, Response, got_request_exception, request, websocket
from quart.signals import request_tearing_down
from quart.testing.connections import WebsocketDisconnectError
from quart_schema import validate_response
from sqlalchemy.ext.asyncio import AsyncSession
from werkzeug.exceptions import HTTPException, RequestedRangeNotSatisfiable
from werkzeug.exceptions import abort as werkzeug_abort

import ligand_async
from ligand_async import Conflict, NotFound, Problem, Settings, abort, operation, public
from ligand_async.context import request_state
from ligand_async.errors import problem_for
from tests.http import PROBLEM, is_problem, talk
from tests.servers import serving
from tests.services import Item, app_of, ask, count_items, make_app, routes, running, send

ERRORS = [status.value for status in HTTPStatus if status >= HTTPStatus.BAD_REQUEST]
SECRET = "s3cret-word"
HTML = f"<html><b>{SECRET}</b></html>"
MODES: dict[str, dict[str, bool]] = {"production": {}, "debug": {"DEBUG": True}, "testing": {"TESTING": True}}


class Meant(Exception):
    """What an error handler turns into a status."""


def by_abort(status: int) -> Any:
    abort(status, "because", colour="red")


def by_raising(status: int) -> Any:
    raise problem_for(status, "because")


def by_quart(status: int) -> Any:
    quart.abort(status, description="because")


def by_werkzeug(status: int) -> Any:
    werkzeug_abort(Response(HTML, status, content_type="text/html"))


def by_status(status: int) -> Any:
    return "because", status


def by_page(status: int) -> Any:
    return HTML, status


def by_headers(status: int) -> Any:
    return HTML, status, {"X-Any": "thing"}


def by_response(status: int) -> Any:
    return Response(HTML, status)


def by_aborting_a_response(status: int) -> Any:
    quart.abort(Response(HTML, status))


def by_returning_an_exception(status: int) -> Any:
    return problem_for(status)


def by_stream(status: int) -> Any:
    async def parts() -> AsyncIterator[str]:
        yield HTML

    return parts(), status


def by_error_handler(status: int) -> Any:
    raise Meant


WAYS: dict[str, Callable[[int], Any]] = {
    function.__name__.removeprefix("by_").replace("_", "-"): function
    for function in (
        by_abort,
        by_raising,
        by_quart,
        by_werkzeug,
        by_status,
        by_page,
        by_headers,
        by_response,
        by_aborting_a_response,
        by_returning_an_exception,
        by_stream,
        by_error_handler,
    )
}
HOOKS = (
    "before-raising",
    "before-returning",
    "after-raising",
    "after-changing",
    "after-replacing",
    "middleware",
)


def settings_of(mode: str) -> Settings:
    """Return settings of the environment that has this mode."""
    if mode != "production":
        return Settings.load("testing")
    url = "https://failing.example"
    more = {"service_public_url": url, "service_private_url": url, "secret_key": "0123456789abcdefghijklmnopqrstuv"}
    return Settings.load("prod", database_url="postgresql://user:password@database.example/db", **more)


def make_failing_app(mode: str) -> Quart:
    """Make an app that answers `/<way>/<status>` with that status, by that way."""
    app = ligand_async.create_app(
        __name__, title="Failing", version="1", settings=settings_of(mode), config=MODES[mode]
    )

    @app.get("/<way>/<int:status>")
    @public
    async def fail(way: str, status: int) -> Any:
        return WAYS[way](status) if way in WAYS else "fine"

    @app.errorhandler(Meant)
    async def handle(_: Meant) -> Any:
        abort((request.view_args or {})["status"])

    @app.before_request
    async def before() -> Any:
        way, status = request.path.split("/")[1:]
        if way == "before-raising":
            abort(int(status))
        return (HTML, int(status)) if way == "before-returning" else None

    @app.after_request
    async def after(response: Response) -> Response:
        way, status = request.path.split("/")[1:]
        if way == "after-raising":
            abort(int(status))
        if way == "after-changing":
            response.status_code = int(status)
        return Response(HTML, int(status)) if way == "after-replacing" else response

    app.asgi_app = middleware(app.asgi_app)  # type: ignore[method-assign]  # as Quart documents
    return app


def middleware(inner: Any) -> Any:
    """Stand around an app, and answer some requests with HTML."""

    async def serve(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http" or not scope["path"].startswith("/middleware/"):
            await inner(scope, receive, send)
            return
        status = int(scope["path"].rpartition("/")[2])
        await send({"type": "http.response.start", "status": status, "headers": [(b"content-type", b"text/html")]})
        await send({"type": "http.response.body", "body": HTML.encode()})

    return serve


def every_way_and_mode() -> Iterator[Any]:
    """Every way in one mode and every mode by one way; `make test-all` has the others."""
    for number, way in enumerate((*WAYS, *HOOKS)):
        for other, mode in enumerate(MODES):
            yield pytest.param(way, mode, marks=[pytest.mark.extended] if number and other else [])


@pytest.mark.parametrize(("way", "mode"), list(every_way_and_mode()))
async def test_every_status_by_every_way(way: str, mode: str) -> None:
    """Rows 2, 3, 4, 20: every status of HTTP from 400, whoever makes it, is a problem over a real socket."""
    async with serving(make_failing_app(mode)) as port:
        answers = {status: await talk(port, f"/{way}/{status}") for status in ERRORS}

    assert [status for status, answer in answers.items() if not is_problem(answer, status)] == []
    assert [status for status, answer in answers.items() if SECRET.encode() in answer.raw] == []


async def test_routing_errors_keep_their_headers() -> None:
    """Row 1: 404 and 405 are problems, 405 with `Allow`, also for a method that nobody has heard of."""
    app = app_of(("POST", "/known", operation(status=204)(nothing)))
    async with serving(app) as port:
        missing = await talk(port, "/unknown")
        wrong = [await talk(port, "/known", method=method) for method in ("GET", "PATCH", "TRACE", "BREW")]

    assert is_problem(missing, 404)
    assert all(is_problem(answer, 405) for answer in wrong)
    assert [set(answer.headers["Allow"].split(", ")) for answer in wrong] == [{"POST", "OPTIONS"}] * 4


async def nothing() -> None:
    """Do nothing."""


@pytest.mark.parametrize(
    ("error", "name", "value"),
    [
        (RequestedRangeNotSatisfiable(length=10, units="bytes"), "Content-Range", "bytes */10"),
        (HTTPException(response=Response(HTML, 503, {"Retry-After": "7"})), "Retry-After", "7"),
        (Problem(headers={"X-Any": "thing"}), "X-Any", "thing"),
    ],
)
async def test_headers_of_an_exception_are_kept(error: Exception, name: str, value: str) -> None:
    """Row 1: all but those that described another body."""
    answer = await ask(raising(error))

    assert (answer.headers.getlist(name), answer.headers["Content-Type"]) == ([value], PROBLEM)


async def test_headers_of_a_returned_error_are_kept() -> None:
    """Row 4: a cookie or a hint stays, the length of the page does not."""

    async def view() -> Any:
        return HTML, 403, {"X-Any": "thing", "ETag": '"1"'}

    answer = await ask(view)

    assert (answer.headers["X-Any"], "ETag" in answer.headers) == ("thing", False)
    assert int(answer.headers["Content-Length"]) == len(answer.raw)


@pytest.mark.parametrize(("text", "detail"), [("no such room", "no such room"), (HTML, None), ("x" * 501, None)])
async def test_a_sentence_that_was_returned_is_the_detail(text: str, detail: str | None) -> None:
    """Row 4: what a view says with a status is kept, unless it is a page."""

    async def view() -> Any:
        return text, 404

    assert (await ask(view)).json.get("detail") == detail


async def test_json_that_was_returned_is_left_alone() -> None:
    """Row 4: an error that is JSON already may have a shape of its own."""

    async def view() -> Any:
        return {"mine": True}, 409

    answer = await ask(view)

    assert (answer.status, answer.headers["Content-Type"], answer.json) == (409, "application/json", {"mine": True})


def raising(error: BaseException) -> Any:
    async def fail() -> Any:
        raise error

    return fail


@pytest.mark.parametrize("status", [0, 99, 100, 199, 600, 999])
@pytest.mark.parametrize("form", ["status", "response", "operation", "operation's response"])
async def test_a_status_that_is_none_is_a_500(
    sqlite_url: str, form: str, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    """Row 5: it is logged, and where there is a unit of work nothing of it is kept."""

    async def plain() -> Any:
        return ("x", status) if form == "status" else Response("x", status)

    async def store(session: AsyncSession) -> Any:
        session.add(Item(name="cup"))
        return ("x", status) if form == "operation" else Response("x", status)

    store.__annotations__["return"] = str if form == "operation" else Response
    view = operation(store) if form.startswith("operation") else plain
    async with running(make_app(sqlite_url, routes(("POST", "/", view)))) as client:
        response = await client.post("/")

        assert (response.status_code, response.content_type) == (500, PROBLEM)
        assert await count_items() == 0
    assert [record for record in caplog.records if record.levelno >= logging.ERROR and record.exc_info]


async def test_a_teardown_that_fails_changes_no_answer(sqlite_url: str, caplog: pytest.LogCaptureFixture) -> None:
    """Row 6: the answer that was committed is sent; every failure is logged, and the other functions run."""
    ran: list[str] = []

    @operation(status=201)
    async def store(session: AsyncSession) -> str:
        session.add(Item(name="cup"))
        return "done"

    app = make_app(sqlite_url, routes(("POST", "/", store)))

    @app.teardown_request
    async def last(_: BaseException | None) -> None:
        ran.append("request")

    @app.teardown_request
    async def fail(_: BaseException | None) -> None:
        raise ZeroDivisionError("first")

    @app.teardown_appcontext
    async def fail_too(_: BaseException | None) -> None:
        raise ZeroDivisionError("second")

    async def receive(_: Quart, **__: Any) -> None:
        raise ZeroDivisionError("third")

    with request_tearing_down.connected_to(receive, app):
        async with running(app) as client:
            response = await client.post("/")

            assert (response.status_code, await response.get_data()) == (201, b'"done"')
            assert await count_items() == 1
    assert ran == ["request"]
    assert all(word in caplog.text for word in ("first", "second", "third"))


async def test_an_after_request_function_that_fails_is_a_500() -> None:
    """Row 7: the answer is a problem and has the headers that every answer has."""
    app = app_of(("GET", "/", operation(nothing)))

    @app.after_request
    async def fail(_: Response) -> Response:
        raise ZeroDivisionError(SECRET)

    async with serving(app) as port:
        answer = await talk(port, "/")

    assert is_problem(answer, 500)
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert SECRET.encode() not in answer.raw


class Unspeakable:
    """An id that cannot be said."""

    def __str__(self) -> str:
        raise ZeroDivisionError(SECRET)


async def failing_handler(_: Any) -> Any:
    raise ZeroDivisionError(SECRET)


def failing_renderer(_: Problem) -> Response:
    raise ZeroDivisionError(SECRET)


async def unspeakable_id() -> None:
    request_state().request_id = Unspeakable()  # type: ignore[assignment]  # the fault


def untouched(_: Quart) -> None:
    """Leave an app as it is."""


FAILURES: dict[str, tuple[Exception, Callable[[Quart], Any]]] = {
    "the handler of a status": (NotFound(), lambda app: app.register_error_handler(404, failing_handler)),
    "the handler of an exception": (KeyError(), lambda app: app.register_error_handler(KeyError, failing_handler)),
    "the handler of 500": (KeyError(), lambda app: app.register_error_handler(500, failing_handler)),
    "the renderer, of a status": (NotFound(), untouched),
    "the renderer, of an exception": (KeyError(), untouched),
    "a member that is no JSON": (Conflict(left=object()), untouched),
    "a member that is no number": (Conflict(left=float("nan")), untouched),
    "the request's id": (NotFound(), lambda app: app.before_request(unspeakable_id)),
}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", FAILURES)
async def test_an_error_on_the_way_to_an_answer_is_a_500(
    name: str, mode: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Row 8: whatever fails while an error is answered, there is a problem, and a traceback in the log."""
    error, break_it = FAILURES[name]
    more = {"problem_renderer": failing_renderer} if name.startswith("the renderer") else {}
    app = app_of(("GET", "/", raising(error)), config=MODES[mode], **more)
    break_it(app)

    async with serving(app) as port:
        answer = await talk(port, "/")

    assert (answer.status, answer.headers["Content-Type"], answer.json["status"]) == (500, PROBLEM, 500)
    assert SECRET.encode() not in answer.raw
    assert [record for record in caplog.records if record.levelno >= logging.ERROR and record.exc_info]


async def test_a_receiver_that_fails_hides_no_exception(caplog: pytest.LogCaptureFixture) -> None:
    """Row 8: the exception itself is logged and answered, although the one who wanted to hear of it failed."""
    app = app_of(("GET", "/", raising(KeyError("the first"))))

    async def receive(_: Quart, **__: Any) -> None:
        raise ZeroDivisionError

    with got_request_exception.connected_to(receive, app):
        answer = await send(app, "GET", "/")

    assert (answer.status, answer.headers["Content-Type"]) == (500, PROBLEM)
    assert "the first" in caplog.text


@pytest.mark.parametrize("mode", MODES)
async def test_no_mode_shows_a_traceback(mode: str) -> None:
    """Row 20: what is not handled is a 500 that says nothing, in every mode."""
    async with serving(app_of(("GET", "/", raising(KeyError(SECRET))), config=MODES[mode])) as port:
        answer = await talk(port, "/")

    assert is_problem(answer, 500)
    assert b"KeyError" not in answer.raw
    assert SECRET.encode() not in answer.raw


class Age(BaseModel):
    age: int


async def misread() -> Any:
    Age.model_validate({"age": SECRET})


async def misread_chained() -> Any:
    try:
        Age.model_validate({"age": SECRET})
    except ValueError as error:
        raise RuntimeError("the row is odd") from error


async def misread_in_a_group() -> Any:
    try:
        Age.model_validate({"age": SECRET})
    except ValueError as error:
        raise ExceptionGroup("several", [error]) from None


@validate_response(Age)
async def misanswer() -> Any:
    return {"age": SECRET}


@pytest.mark.parametrize("view", [misread, misread_chained, misread_in_a_group, misanswer])
async def test_a_validation_error_tells_no_value(view: Any, caplog: pytest.LogCaptureFixture) -> None:
    """Row 21: an unhandled one is a 500; the log says where and why, neither the answer nor the log what it was."""
    answer = await ask(view)

    assert (answer.status, answer.headers["Content-Type"]) == (500, PROBLEM)
    assert SECRET.encode() not in answer.raw
    assert SECRET not in caplog.text
    assert "int_parsing" in caplog.text


async def test_a_background_task_that_fails_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """Row 21: the answer has gone; what the task raises is logged once, without values."""

    async def view() -> str:
        app.add_background_task(misread)
        return "fine"

    app = app_of(("GET", "/", view))

    assert (await send(app, "GET", "/")).status == 200
    assert caplog.text.count("Traceback") == 1
    assert SECRET not in caplog.text


@pytest.mark.parametrize("status", ERRORS)
async def test_a_refused_websocket_is_a_problem(status: int) -> None:
    """Rows 2, 3, 4: before it is accepted, a websocket is refused with the status that it was refused with."""
    app = app_of()

    @app.websocket("/raising")
    @public
    async def raise_it() -> None:
        abort(status, "because")

    @app.websocket("/returning")
    @public
    async def return_it() -> Any:
        return HTML, status

    @app.websocket("/responding")
    @public
    async def respond() -> Any:
        return Response(HTML, status)

    async with app.test_app():
        for path in ("/raising", "/returning", "/responding"):
            with pytest.raises(Exception, match=str(status)) as refused:
                async with app.test_client().websocket(path) as connection:
                    await connection.receive()
            response = refused.value.response  # type: ignore[attr-defined]  # WebsocketResponseError
            assert (response.status_code, response.content_type) == (status, PROBLEM)
            assert SECRET.encode() not in await response.get_data()


@pytest.mark.parametrize(
    ("fail", "code"),
    [(by_abort, 1008), (by_status, 1008), (by_error_handler, 1011)],
    ids=["abort", "return", "unhandled"],
)
async def test_an_open_websocket_is_closed_with_a_reason(fail: Callable[[int], Any], code: int) -> None:
    """Row 4: after it was accepted there is no status; 1008 says that the client was refused, 1011 that we failed."""
    app = app_of()

    @app.websocket("/")
    @public
    async def talk_and_fail() -> Any:
        await websocket.send("hello")
        return fail(403)

    async with app.test_app():
        with pytest.raises(WebsocketDisconnectError) as closed:
            async with app.test_client().websocket("/") as connection:
                assert await connection.receive() == "hello"
                await connection.receive()

    assert closed.value.args == (code,)
