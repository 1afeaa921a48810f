"""Every error is a problem document, and a service's own handlers go first."""

import logging
from http import HTTPStatus
from typing import Any
from uuid import UUID

import pytest
import quart
from pydantic import BaseModel, Field
from quart import Blueprint, Quart, Response, got_request_exception
from quart_schema import DataSource, validate_headers, validate_querystring, validate_request
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession
from werkzeug.exceptions import HTTPException, ServiceUnavailable

from ligand_async import Conflict, NotFound, Problem, abort, operation, public
from ligand_async.errors import InvalidPart, TooManyRequests, problem_for
from tests.services import NEVER_OPENED, Answer, Item, app_of, ask, make_app, routes, running, send

PROBLEM = "application/problem+json"
REQUEST_ID = "01a1f9e7-fa37-71d8-a37f-a311868d9912"
ERRORS = [status for status in HTTPStatus if status >= HTTPStatus.BAD_REQUEST]


class OutOfStock(Problem):
    code = 409
    type = "https://shop.example/out-of-stock"
    title = "Out of Stock"


def raising(error: Exception) -> Any:
    @operation
    async def fail() -> None:
        raise error

    return fail


async def test_the_document() -> None:
    """Type, title, status, detail, instance, request id, errors and members of its own."""
    error = OutOfStock("3 left", errors=[InvalidPart("too many", "max", pointer="/n")], left=3)

    answer = await ask(raising(error), "/pets/é", rule="/pets/é", headers={"X-Request-ID": REQUEST_ID})

    assert (answer.status, answer.headers["Content-Type"]) == (409, PROBLEM)
    assert answer.json == {
        "type": "https://shop.example/out-of-stock",
        "title": "Out of Stock",
        "status": 409,
        "detail": "3 left",
        "instance": f"urn:uuid:{REQUEST_ID}",
        "request_id": REQUEST_ID,
        "errors": [{"detail": "too many", "pointer": "/n", "code": "max"}],
        "left": 3,
    }


async def test_an_id_that_is_no_uuid_is_no_instance() -> None:
    """A caller's own id need not be one; then `instance` is left out, and the id is said all the same."""
    answer = await ask(raising(NotFound()), headers={"X-Request-ID": "abc-1"})

    assert ("instance" in answer.json, answer.json["request_id"]) == (False, "abc-1")


@pytest.mark.parametrize("status", ERRORS, ids=str)
async def test_every_error_of_http_can_be_aborted_with(status: HTTPStatus) -> None:
    """From our `abort` with members, and from Quart's own, which knows fewer."""

    @operation
    async def ours() -> None:
        abort(status, "because", colour="red")

    async def theirs() -> str:
        quart.abort(status, description="because")

    app = app_of(("GET", "/ours", ours), ("GET", "/theirs", theirs))
    for path, members in (("/ours", {"colour": "red"}), ("/theirs", {})):
        answer = await send(app, "GET", path)
        assert (answer.status, answer.headers["Content-Type"]) == (status, PROBLEM)
        assert answer.json | members == answer.json
        assert (answer.json["status"], answer.json["detail"]) == (status, "because")


async def test_routing_errors() -> None:
    """404 and 405, the latter with Allow."""
    app = app_of(("GET", "/known", raising(NotFound())))

    missing, wrong = await send(app, "GET", "/unknown"), await send(app, "POST", "/known")

    assert (missing.status, missing.headers["Content-Type"], "detail" in missing.json) == (404, PROBLEM, False)
    assert (wrong.status, wrong.headers["Content-Type"]) == (405, PROBLEM)
    assert set(wrong.headers["Allow"].split(", ")) == {"GET", "HEAD", "OPTIONS"}


@pytest.mark.parametrize(
    ("error", "header", "value"),
    [
        (TooManyRequests(headers={"Retry-After": "7"}), "Retry-After", "7"),
        (ServiceUnavailable(retry_after=7), "Retry-After", "7"),
        (Problem(headers={"X-Any": "thing"}), "X-Any", "thing"),
    ],
)
async def test_headers_of_an_error_are_kept(error: Exception, header: str, value: str) -> None:
    """Of our problems and of werkzeug's exceptions."""
    assert (await ask(raising(error))).headers[header] == value


async def test_words_of_an_http_exception_are_kept() -> None:
    """What the service itself said; werkzeug's stock sentences are not."""
    assert (await ask(raising(ServiceUnavailable("back at five")))).json["detail"] == "back at five"
    assert "detail" not in (await ask(raising(ServiceUnavailable()))).json


async def test_an_unhandled_error_is_logged_once_and_signalled(caplog: pytest.LogCaptureFixture) -> None:
    """With its traceback; the answer says nothing of it."""
    seen: list[BaseException] = []
    app = app_of(("GET", "/", raising(ZeroDivisionError("s3cret"))))

    async def look(_: Quart, exception: BaseException) -> None:
        seen.append(exception)

    with got_request_exception.connected_to(look, app):
        answer = await send(app, "GET", "/")

    assert (answer.status, answer.json["title"], "detail" in answer.json) == (500, "Internal Server Error", False)
    assert b"s3cret" not in answer.raw
    assert [type(error) for error in seen] == [ZeroDivisionError]
    logged = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert [record.exc_info[0] for record in logged if record.exc_info] == [ZeroDivisionError]


@pytest.mark.parametrize("mode", [{"DEBUG": True}, {"TESTING": True}, {"PROPAGATE_EXCEPTIONS": True}], ids=str)
async def test_debug_and_testing_change_nothing(mode: dict[str, bool]) -> None:
    """No HTML, no traceback, nothing is raised through."""
    answer = await send(app_of(("GET", "/", raising(ZeroDivisionError("s3cret"))), config=mode), "GET", "/")

    assert (answer.status, answer.headers["Content-Type"]) == (500, PROBLEM)
    assert b"s3cret" not in answer.raw


async def test_a_problem_is_not_an_incident(caplog: pytest.LogCaptureFixture) -> None:
    """What a handler raises on purpose is not logged as an error."""
    await ask(raising(Conflict("no")))

    assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []


async def test_a_member_that_json_cannot_write_is_a_500(caplog: pytest.LogCaptureFixture) -> None:
    """Never invalid JSON."""
    answer = await ask(raising(Conflict("no", left=float("nan"))))

    assert (answer.status, answer.headers["Content-Type"]) == (500, PROBLEM)


async def mine(error: HTTPException) -> tuple[str, int]:
    return f"mine: {type(error).__name__}", error.code or 0


OWN_HANDLERS: dict[str, tuple[Any, Exception, str]] = {
    "a status, our class": (404, NotFound(), "mine: NotFound"),
    "a status, a problem of ours": (409, Conflict(), "mine: Conflict"),
    "a status, a problem of the service": (409, OutOfStock(), "mine: OutOfStock"),
    "a status, werkzeug's class": (503, ServiceUnavailable(), "mine: ServiceUnavailable"),
    "a class, the same": (NotFound, NotFound(), "mine: NotFound"),
    "a class, below it": (Problem, OutOfStock(), "mine: OutOfStock"),
    "werkzeug's class, our problem": (ServiceUnavailable, problem_for(503), "mine: ServiceUnavailable"),
    "a class of the service": (OutOfStock, OutOfStock(), "mine: OutOfStock"),
    "every HTTP exception": (HTTPException, OutOfStock(), "mine: OutOfStock"),
    "a status, an unhandled error": (500, ZeroDivisionError(), "mine: InternalServerError"),
}


@pytest.mark.parametrize("level", ["app", "blueprint"])
@pytest.mark.parametrize("name", OWN_HANDLERS)
async def test_a_handler_of_the_service_goes_first(name: str, level: str) -> None:
    """For a status, for a class, for what is above it; on the app and on a blueprint."""
    handled, error, expected = OWN_HANDLERS[name]

    blueprint = routes(("GET", "/", raising(error)))
    if level == "blueprint":
        blueprint.register_error_handler(handled, mine)
    app = make_app(NEVER_OPENED, blueprint, database=None)
    if level == "app":
        app.register_error_handler(handled, mine)

    assert (await send(app, "GET", "/")).json["detail"] == expected


async def test_a_blueprint_answers_for_itself_only() -> None:
    """Another blueprint's errors are problems as ever."""
    own, other = Blueprint("own", __name__, url_prefix="/own"), Blueprint("other", __name__, url_prefix="/other")
    own.register_error_handler(409, mine)
    for blueprint in (own, other):
        public(blueprint).get("/")(raising(OutOfStock()))
    app = app_of()
    app.register_blueprint(own)
    app.register_blueprint(other)

    assert (await send(app, "GET", "/own/")).json["detail"] == "mine: OutOfStock"
    assert "detail" not in (await send(app, "GET", "/other/")).json


@operation(status=201)
async def add_item(session: AsyncSession) -> str:
    session.add(Item(name="cup"))
    return "done"


@pytest.mark.parametrize("handled", [IntegrityError, 409, Conflict, Problem])
@pytest.mark.parametrize("level", ["app", "blueprint"])
async def test_database_errors_have_handlers_too(sqlite_url: str, handled: Any, level: str) -> None:
    """For SQLAlchemy's class and for what it is to a client."""
    blueprint = routes(("POST", "/", add_item))
    if level == "blueprint":
        blueprint.register_error_handler(handled, lambda error: (type(error).__name__, 418))
    app = make_app(sqlite_url, blueprint)
    if level == "app":
        app.register_error_handler(handled, lambda error: (type(error).__name__, 418))

    async with running(app) as client:
        await client.post("/")
        response = await client.post("/")

    assert response.status_code == 418
    found = await response.get_json(force=True)
    assert found["detail"] == ("IntegrityError" if handled is IntegrityError else "AlreadyExists")


async def test_a_handler_that_fails_is_a_500() -> None:
    """The error of an error handler is a problem too."""
    app = app_of(("GET", "/", raising(NotFound())))

    @app.errorhandler(404)
    async def fail(_: HTTPException) -> str:
        raise ZeroDivisionError

    answer = await send(app, "GET", "/")

    assert (answer.status, answer.headers["Content-Type"]) == (500, PROBLEM)


@pytest.mark.ligand_conformance("off", reason="a renderer of its own writes another content type")
async def test_the_renderer_can_be_replaced(sqlite_url: str) -> None:
    """It makes the response of every problem, whatever the error was."""

    def render(problem: Problem) -> Response:
        return Response(f'"{problem.status}!"', problem.status, content_type="application/json")

    app = make_app(
        sqlite_url,
        routes(("POST", "/", add_item), ("GET", "/bug", raising(ZeroDivisionError()))),
        problem_renderer=render,
    )
    async with running(app) as client:
        await client.post("/")
        answers = [
            await client.post("/"),
            await client.get("/bug"),
            await client.get("/nowhere"),
            await client.put("/"),
        ]
        assert [await answer.get_data() for answer in answers] == [b'"409!"', b'"500!"', b'"404!"', b'"405!"']


class Pet(BaseModel):
    age: int
    name: str = Field("rex", max_length=5)


@pytest.mark.parametrize(
    ("decorator", "request_", "place"),
    [
        (validate_request(Pet), {"method": "POST", "json": {"age": "s3cret"}}, ("/age", "int_parsing")),
        (validate_request(Pet), {"method": "POST", "json": {}}, ("/age", "missing")),
        (validate_request(Pet, source=DataSource.FORM), {"method": "POST", "form": {}}, ("/age", "missing")),
        (validate_querystring(Pet), {"path": "/?age=s3cret"}, ("age", "int_parsing")),
        (validate_headers(Pet), {"headers": {"Age": "s3cret"}}, ("age", "int_parsing")),
    ],
    ids=["body", "missing", "form", "query", "headers"],
)
async def test_quart_schemas_own_decorators(decorator: Any, request_: dict[str, Any], place: tuple[str, str]) -> None:
    """What they refuse is a 422 that names the part."""

    async def view(**_: Any) -> str:
        return "fine"

    path = request_.pop("path", "/")
    answer = await ask(decorator(view), path, **request_)

    assert (answer.status, answer.headers["Content-Type"], answer.errors) == (422, PROBLEM, [place])
    assert b"s3cret" not in answer.raw
    kind = {"/": "pointer"}.get(place[0][0]) or ("header" if "headers" in request_ else "parameter")
    assert kind in answer.json["errors"][0]


async def test_plain_views_have_problems_too() -> None:
    """Nothing of it needs `@operation`."""

    async def view(pet_id: UUID) -> str:
        raise NotFound(f"no pet {pet_id}")

    answer: Answer = await ask(view, f"/{UUID(int=1)}", rule="/<uuid:pet_id>")

    assert (answer.status, answer.headers["Content-Type"]) == (404, PROBLEM)


async def test_a_refused_websocket_is_answered() -> None:
    """An error before the handshake ends has no request, and is a problem all the same."""
    app = app_of()

    @app.websocket("/ws")
    @public
    async def socket() -> None:
        raise NotFound("no such room")

    async with app.test_app():
        with pytest.raises(Exception, match="404") as refused:
            async with app.test_client().websocket("/ws") as connection:
                await connection.receive()

    assert refused.value.response.content_type == PROBLEM  # type: ignore[attr-defined]  # WebsocketResponseError
