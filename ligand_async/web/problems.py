"""Errors of a request, raised or returned, become problem documents and are reported to error trackers."""

import functools
import inspect
import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from pydantic import ValidationError
from quart import Quart, Response, current_app, has_request_context, has_websocket_context, request, websocket
from quart.typing import ResponseReturnValue
from quart_schema import RequestSchemaValidationError
from quart_schema.validation import QuerystringValidationError, RequestHeadersValidationError
from sqlalchemy import MetaData
from sqlalchemy.exc import SQLAlchemyError
from werkzeug.exceptions import HTTPException, SecurityError, default_exceptions
from werkzeug.wrappers import Response as WerkzeugResponse

from ligand_async.auth import add_challenges
from ligand_async.context import current_request_id, state_of
from ligand_async.data import DatabaseUnreachable, problem_of
from ligand_async.errors import PROBLEM_JSON, InternalServerError, Problem, problem_bytes, problem_for
from ligand_async.protocols import ProblemRenderer
from ligand_async.web.invalid import Place, refuse
from ligand_async.web.pointers import locate

logger = logging.getLogger(__name__)

_HEADERS_OF_THE_BODY = frozenset(
    {"content-type", "content-length", "content-encoding", "content-disposition"}
    | {"etag", "last-modified", "transfer-encoding", "trailer"}
)


def is_of_the_body(header: str) -> bool:
    """Return True if a header describes the body, so that it goes when a problem takes the body's place.

    `Content-Range` stays: a 416 says by it how long the resource is (RFC 9110 section 14.4).
    """
    return header.lower() in _HEADERS_OF_THE_BODY


def render_problem(problem: Problem) -> Response:
    """Write a problem as `application/problem+json` (RFC 9457), with its headers and the request's id."""
    body = problem_bytes(problem, request_id=current_request_id())
    response: Response = current_app.response_class(body, status=problem.status, content_type=PROBLEM_JSON)
    for name, value in problem.headers:
        response.headers.add(name, value)
    return response


def renderer_of(app: Quart) -> ProblemRenderer:
    """Return the function that makes the response of each problem of an app."""
    chosen = state_of(app).find(_Renderer)
    return render_problem if chosen is None else chosen.render


@dataclass(frozen=True, slots=True)
class _Renderer:
    """The renderer of one app."""

    render: ProblemRenderer


def problem_of_http(error: HTTPException) -> Problem:
    """Return an HTTP exception as a problem, with the exception's own headers."""
    if isinstance(error, Problem):
        return error
    if isinstance(error, RequestSchemaValidationError) and isinstance(error.validation_error, ValidationError):
        return refuse(error.validation_error, place=_place_of(error))
    status = (error.response.status_code if error.response is not None else error.code) or 500
    problem = problem_for(status, _own_words(error))
    headers = error.response.headers if error.response is not None else error.get_headers()
    for name, value in headers.items() if hasattr(headers, "items") else headers:
        if not is_of_the_body(name):
            problem.headers.add(name, value)
    return problem


def _own_words(error: HTTPException) -> str | None:
    # Only the service's own sentence: werkzeug's say nothing, and one repeats the host that was sent.
    words = vars(error).get("description")
    return words if isinstance(words, str) and not isinstance(error, SecurityError) else None


def _place_of(error: RequestSchemaValidationError) -> Place:
    match error:
        case QuerystringValidationError():
            return "parameter"
        case RequestHeadersValidationError():
            return "header"
        case _:
            return "pointer"


def init_problems(app: Quart, *, metadata: MetaData, renderer: ProblemRenderer = render_problem) -> None:
    """Answer HTTP exceptions, errors of the database and unhandled exceptions as problems.

    A service's own `@app.errorhandler` goes before these, for a class and for a status, whatever the error was at
    first. Other errors are rendered here.

    Args:
        app: The app.
        metadata: The tables, to name the fields of a broken constraint.
        renderer: Makes the response of each problem. The problem has its title and the request's id, and the headers
            of the problem that the response lacks are added to it.

    Raises:
        TypeError: The renderer is a coroutine function.
    """

    async def answer_http_exception(error: HTTPException) -> ResponseReturnValue:
        return await answer(problem_of_http(error))

    async def answer_database_error(error: SQLAlchemyError) -> ResponseReturnValue:
        problem = problem_of(error, metadata)
        if problem is None:
            raise error  # a fault of ours: logged with its traceback, answered as a 500
        if problem.status >= 500:
            reason = str(error) if isinstance(error, DatabaseUnreachable) else type(error).__name__
            logger.warning("database: %s (%s)", problem.detail, reason)
        return await answer(await locate(problem, error, app))

    async def answer(problem: Problem) -> ResponseReturnValue:
        own = _handler_of(app, problem)
        if own is None or own is answer_http_exception:
            return render(problem)
        result: ResponseReturnValue = await app.ensure_async(own)(problem)
        return result

    if _is_async(renderer):
        name = getattr(renderer, "__qualname__", type(renderer).__name__)
        raise TypeError(f"problem_renderer={name} is a coroutine function; it must be a plain one: it only writes")

    def render(problem: Problem) -> Response:
        add_challenges(app, problem)
        problem.request_id = current_request_id()
        response = renderer(problem)
        if renderer is render_problem:
            return response
        if not isinstance(response, Response):
            name = getattr(renderer, "__qualname__", type(renderer).__name__)
            raise TypeError(f"problem_renderer={name} returned {type(response).__name__}; it must return a Response")
        own = set(response.headers.keys())
        for header, value in problem.headers:
            if header not in own and not is_of_the_body(header):  # such as WWW-Authenticate, Allow and Retry-After
                response.headers.add(header, value)
        return response

    state_of(app).put(_Renderer(render))
    app.register_error_handler(HTTPException, answer_http_exception)
    app.register_error_handler(SQLAlchemyError, answer_database_error)
    for status in HTTPStatus:
        if status >= HTTPStatus.BAD_REQUEST:  # quart.abort() knows fewer
            app.aborter.mapping.setdefault(status.value, type(status.name, (HTTPException,), {"code": status.value}))


def _is_async(renderer: Any) -> bool:
    called = renderer.func if isinstance(renderer, functools.partial) else renderer
    return inspect.iscoroutinefunction(called) or inspect.iscoroutinefunction(getattr(called, "__call__", None))  # noqa: B004  (its type)


def _handler_of(app: Quart, problem: Problem) -> Callable[[Any], Any] | None:
    """Find the handler of a problem that Quart did not see raised, or that it saw as another error.

    The order is Quart's: by status and then by class, blueprints first. A handler of werkzeug's class of the status
    counts too; Quart ignores it for a problem class of a service's own.
    """
    kinds = [*type(problem).__mro__, default_exceptions.get(problem.status)]
    names = [*blueprints_of_current(), None]
    maps = (app.error_handler_spec[name][status] for status in (problem.status, None) for name in names)
    return next((handlers[kind] for handlers in maps for kind in kinds if kind in handlers), None)


def blueprints_of_current() -> list[str]:
    """Return the blueprints of the current request or websocket, from the inside out."""
    if has_request_context():
        return list(request.blueprints)
    return list(websocket.blueprints) if has_websocket_context() else []


_LONGEST_DETAIL = 500  # characters; what is longer is a page


class InvalidStatus(RuntimeError):
    """A view returned a status that a final response cannot have."""


def check_status(status: int) -> None:
    """Refuse a status that a final response cannot have (RFC 9110 section 15).

    Raises:
        InvalidStatus: It is below 200 or above 599.
    """
    if not 200 <= status <= 599:
        raise InvalidStatus(f"the response has the status {status}; return one from 200 to 599")


def problem_of_answer(result: Any, response: Response | WerkzeugResponse) -> Problem | None:
    """Return the problem for an error response that is not JSON, or None if the response can stay as it is.

    Args:
        result: The value that the view or the error handler returned.
        response: The response that Quart made of it.

    Raises:
        InvalidStatus: Its status is not from 200 to 599.
    """
    check_status(response.status_code)
    if response.status_code < 400:
        return None
    if isinstance(result, HTTPException) and result.response is None:
        return problem_of_http(result)
    if _is_json(response):
        return None
    problem = problem_for(response.status_code, _detail_of(result))
    for name, value in response.headers:
        if not is_of_the_body(name):
            problem.headers.add(name, value)
    return problem


def _is_json(response: Response | WerkzeugResponse) -> bool:
    mimetype = response.mimetype or ""
    return mimetype == "application/json" or (mimetype.startswith("application/") and mimetype.endswith("+json"))


def _detail_of(result: Any) -> str | None:
    # The sentence of a view, as in `return "no such room", 404`; a page of HTML is not one.
    text = result[0] if isinstance(result, tuple) else None
    if isinstance(text, str) and 0 < len(text) <= _LONGEST_DETAIL and not text.lstrip().startswith("<"):
        return text
    return None


def last_answer() -> Response:
    """Make a plain 500, for when making another response failed."""
    body = problem_bytes(InternalServerError(), request_id=current_request_id())
    return Response(body, 500, content_type=PROBLEM_JSON)


@contextmanager
def named_to_trackers() -> Iterator[None]:
    """Tag the events that Sentry captures in the block with the request's id, if `sentry-sdk` is imported."""
    sentry = sys.modules.get("sentry_sdk")
    request_id = current_request_id()
    if sentry is None or request_id is None or not hasattr(sentry, "new_scope"):
        yield
        return
    with sentry.new_scope() as scope:
        scope.set_tag("request_id", request_id)
        yield
