"""`@operation`: a typed handler, from the request to the response.

A request passes through this file in order: the view reads the inputs, the services and the unit of work run the
handler, its return value becomes the response, and then the unit commits.
"""

from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import nullcontext
from functools import wraps
from typing import Any, Protocol, TypeVar, cast, overload

from pydantic import BaseModel
from pydantic.errors import PydanticUndefinedAnnotation, PydanticUserError
from quart import Request, Response, current_app, request, url_for
from quart.globals import request_ctx
from sqlalchemy.exc import SQLAlchemyError
from werkzeug.wrappers import Response as WerkzeugResponse

from ligand_async.auth import enforcement_of
from ligand_async.context import current_deadline, current_principal, service_of
from ligand_async.data import Database, UnitOfWork
from ligand_async.errors import Problem
from ligand_async.marks import SessionMode
from ligand_async.tasks import run_until_deadline, this_app
from ligand_async.web.conditional import (
    IS_CONDITIONAL,
    SAFE_METHODS,
    add_validators,
    expect_preconditions,
    preconditions_var,
)
from ligand_async.web.endpoint import Operation, binding_of, stamp_operation
from ligand_async.web.fields import refuse_unknown
from ligand_async.web.idempotency import attempt_var, read_attempt
from ligand_async.web.inputs import Binding, Inputs, OperationError, read_inputs
from ligand_async.web.lists.page import Page
from ligand_async.web.output import RESPONSES, Answer, Output
from ligand_async.web.plan import ErrorReturned, Plan
from ligand_async.web.problems import check_status
from ligand_async.web.services import current_services

R = TypeVar("R", bound=Answer)
_View = Callable[..., Coroutine[Any, Any, Response]]


class _OperationDecorator(Protocol):
    """The type of `operation(...)` with options."""

    def __call__(self, handler: Callable[..., Coroutine[Any, Any, R]], /) -> _View: ...


@overload
def operation(handler: Callable[..., Coroutine[Any, Any, R]], /) -> _View: ...
@overload
def operation(
    *,
    status: int | None = None,
    raises: Sequence[type[Problem]] = (),
    location: str | None = None,
    session: SessionMode | None = None,
    retry_safe: bool = False,
) -> _OperationDecorator: ...
def operation(
    handler: Callable[..., Coroutine[Any, Any, Any]] | None = None,
    /,
    *,
    status: int | None = None,
    raises: Sequence[type[Problem]] = (),
    location: str | None = None,
    session: SessionMode | None = None,
    retry_safe: bool = False,
) -> Any:
    """Make a view of an async handler, a function or a method of a `MethodView`, by its annotations.

    Path variables are passed by name, validated by their annotations. `AsyncSession`, `Principal`, Quart's `Request`
    and the types given to `create_app(provide=…)` are passed by annotation. Of the other parameters a model is the
    body, and one that a text can hold is a query parameter. `query_args`, `headers` and `cookies` are pydantic models
    of what their names say; `Body()` and `Form()` mark what the types do not tell. With a session, the handler is a
    unit of work: handler, flush, response, commit.

    Args:
        handler: A coroutine function; without it, as in `@operation(status=201)`, a decorator is returned.
        status: The status of success, 200 to 399; by default 200, or 204 if nothing is returned.
        raises: Problems that the handler raises itself, for the documentation.
        location: The endpoint whose path is sent as `Location` on success. With a leading dot it is in the same
            blueprint as the operation, also if that is registered under another name.
        session: `"read"`, `"write"`, `"snapshot"` or `"replica"`; by default safe methods read and others write.
        retry_safe: Run the unit again, up to 3 times in all, when the database could not serialize it.

    Raises:
        OperationError: The signature cannot be served; raised at decoration, so at import.
    """

    def decorate(handler: Callable[..., Coroutine[Any, Any, Any]]) -> _View:
        inputs = read_inputs(handler)
        output = _output_of(handler, inputs, status)
        if any(problem.code is None for problem in raises):
            raise OperationError(f"{handler.__qualname__}: raises=[Problem] has no status; name a subclass of Problem")
        operation = Operation(handler, inputs, output, tuple(raises), location, session, retry_safe)

        @wraps(handler)
        async def view(*instance: Any, **path: Any) -> Response:
            return await _serve(operation, view, instance, path)

        stamp_operation(view, operation)
        return view

    return decorate if handler is None else decorate(handler)


def _output_of(handler: Callable[..., Any], inputs: Inputs, status: int | None) -> Output:
    try:
        return Output(inputs.returns, status, handler.__qualname__)
    except (PydanticUserError, PydanticUndefinedAnnotation, TypeError, ValueError) as error:
        raise OperationError(f"{handler.__qualname__}: its return annotation cannot be a response: {error}") from error


async def _serve(
    operation: Operation, view: Callable[..., Any], instance: tuple[Any, ...], path: dict[str, Any]
) -> Response:
    """Serve the current request; the decorators of features have marked the view."""
    current: Request = request_ctx.request
    preconditions_var.set(expect_preconditions() if getattr(view, IS_CONDITIONAL, False) else None)
    binding = binding_of(this_app(), operation, current.url_rule, path)
    plan = binding.plan
    _check_caller(operation.inputs, plan)
    attempt_var.set(None if current.method in SAFE_METHODS else await read_attempt(view, binding))
    arguments = await _read_arguments(operation.inputs, binding, path, current)
    if plan is None and not operation.takes_session:
        return _make_response(operation, await operation.handler(*instance, **arguments))
    return await run_until_deadline(_run_unit(operation, instance, arguments, plan), current_deadline())


def _check_caller(inputs: Inputs, plan: Plan | None) -> None:
    """Refuse a request without a caller where one is needed: 401 comes before 400 and 422."""
    needs_principal = inputs.principal is not None and inputs.principal_required
    if (needs_principal or (plan is not None and plan.needs_principal)) and current_principal() is None:
        raise enforcement_of(this_app()).refuse()


async def _read_arguments(inputs: Inputs, binding: Binding, path: dict[str, Any], current: Request) -> dict[str, Any]:
    """Read principal, path, query string, headers, cookies and body, in this order."""
    arguments: dict[str, Any] = {}
    if inputs.principal is not None:
        arguments[inputs.principal] = current_principal()
    if binding.path is not None:
        path = path | binding.path.read_path(path)
    if binding.query is not None:
        query = binding.query.read(current.args)
        arguments.update({name: getattr(query, name) for name in binding.query_names})
        if binding.takes_query_args:
            arguments["query_args"] = query
    elif current.query_string and current.args:
        raise refuse_unknown(current.args)
    if binding.headers is not None:
        read = binding.headers.read_known(current.headers)
        arguments.update({name: _member_of(read, name, "headers") for name in binding.header_names})
    if binding.cookies is not None:
        read = binding.cookies.read_known(current.cookies)
        arguments.update({name: _member_of(read, name, "cookies") for name in binding.cookie_names})
    if binding.body is not None:
        body = await binding.body.reader.read()
        if binding.body.is_whole:
            arguments[binding.body.names[0]] = body
        else:
            arguments.update({name: getattr(body, name) for name in binding.body.names})
    if inputs.request is not None:
        arguments[inputs.request] = current
    arguments.update(path)
    return arguments


def _member_of(read: BaseModel, name: str, whole: str) -> Any:
    return read if name == whole else getattr(read, name)


async def _run_unit(
    operation: Operation, instance: tuple[Any, ...], arguments: dict[str, Any], plan: Plan | None
) -> Response:
    """Run the handler and its services, in a unit of work if one of them takes a session."""
    if not operation.takes_session and (plan is None or not plan.takes_session):
        async with current_deadline().limit():
            return await _run_handler(operation, instance, arguments, plan, None)

    preconditions, attempt, database = preconditions_var.get(), attempt_var.get(), _database_of_app()

    async def work(unit: UnitOfWork) -> Response:
        if attempt is not None and (reply := await attempt.find_reply(unit.session, database)) is not None:
            return reply
        if preconditions is not None:
            preconditions.begin()
        response = await _run_handler(operation, instance, arguments, plan, unit)
        if response.status_code >= 400:
            unit.abandon()
        elif attempt is not None:
            await attempt.keep_reply(unit.session, database, response)
        return response

    mode = operation.session or ("read" if request.method in SAFE_METHODS else "write")
    try:
        with nullcontext() if attempt is None else attempt.in_flight():
            return await database.run(work, mode=mode, retry_safe=operation.retry_safe)  # commits when work returns
    except SQLAlchemyError as error:
        problem = None if preconditions is None else preconditions.problem_of(error, database.metadata)
        if problem is None:
            raise
        raise problem from error


async def _run_handler(
    operation: Operation,
    instance: tuple[Any, ...],
    arguments: dict[str, Any],
    plan: Plan | None,
    unit: UnitOfWork | None,
) -> Response:
    """Make the services, run the handler, close the services, and make the response."""
    inputs, handler = operation.inputs, operation.handler
    session = None if unit is None else unit.session
    own = arguments if inputs.session is None else arguments | {inputs.session: session}
    if plan is None:
        return await _answer(operation, await handler(*instance, **own), unit)
    # Services may have asked for inputs that the handler does not take.
    own = {name: value for name, value in own.items() if name in inputs.parameters}
    known = current_services().known(session, current_principal(), arguments)
    known[Request] = request_ctx.request

    async def check(returned: Any) -> None:
        response = await _answer(operation, returned, unit)
        if response.status_code >= 400:
            raise ErrorReturned(response)

    try:
        returned = await plan.run(lambda services: handler(*instance, **own, **services), known, check)
    except ErrorReturned as error:
        return error.response
    return await _answer(operation, returned, unit)  # anew: the services may have written something


async def _answer(operation: Operation, returned: Any, unit: UnitOfWork | None) -> Response:
    """Flush, make the response, and decide the preconditions: all that may still fail but the commit."""
    if unit is None:
        return _make_response(operation, returned)
    if not _is_error(returned):
        await unit.flush()
    response = _make_response(operation, returned)
    preconditions = preconditions_var.get()
    if preconditions is not None and response.status_code < 400:
        preconditions.check_were_checked(operation.handler.__qualname__)
        await preconditions.confirm(unit.session)
    return response


def _is_error(returned: Any) -> bool:
    """Return whether a handler returned an error: its changes are rolled back, so they need no flush."""
    match returned:
        case Response() | WerkzeugResponse():
            return returned.status_code >= 400
        case (_, int() as status, *_) if type(returned) is tuple:  # a NamedTuple is a value
            return status >= 400
        case _:
            return False


def _make_response(operation: Operation, returned: Any) -> Response:
    """Turn the return value of a handler into a response, before anything is committed."""
    if isinstance(returned, RESPONSES):
        check_status(returned.status_code)
        return cast(Response, returned)
    result = operation.output.take_apart(returned)
    check_status(result.status)
    if isinstance(result.value, RESPONSES):
        result.value.status_code = result.status
        result.value.headers.update(result.headers)
        return cast(Response, result.value)
    response = operation.output.make_response(result)
    if operation.location is not None and "Location" not in response.headers:
        response.headers["Location"] = _build_location(operation.location, result.value)
    if isinstance(result.value, Page):
        for name, value in result.value.headers.items():
            response.headers.setdefault(name, value)
    return add_validators(response, result.value, request_ctx.request, from_replica=operation.session == "replica")


class LocationError(RuntimeError):
    """The `Location` of a response cannot be built; the message names the missing variables."""


def _build_location(endpoint: str, value: Any) -> str:
    """Return the path of an endpoint for a value that was just made (RFC 9110 section 10.2.2).

    Each variable of the endpoint's rule is taken from the current request's path, else from the value's attribute or
    key of that name, else from `id` for a variable such as `pet_id`. Of several rules, the first one is used whose
    variables are all found.

    Args:
        endpoint: As in `url_for`. One that begins with a dot is in the blueprint of the current request, under the name
            and the prefix that this blueprint is registered with.
        value: The value that the handler returned.

    Raises:
        LocationError: A variable is found nowhere.
    """
    name = f"{request.blueprint}{endpoint}" if endpoint.startswith(".") and request.blueprint else endpoint
    missing: list[str] = []
    for rule in current_app.url_map.iter_rules(name):
        found = {variable: _find_variable(variable, value) for variable in sorted(rule.arguments)}
        missing = [variable for variable, known in found.items() if known is None]
        if not missing:
            return url_for(name, **found)
    raise LocationError(f"location={endpoint!r}: {type(value).__name__} has no {', '.join(missing)} for the path")


def _find_variable(variable: str, value: Any) -> Any:
    known = (request.view_args or {}).get(variable)
    names = (variable, "id") if variable.endswith("_id") else (variable,)
    for name in names if known is None else ():
        known = value.get(name) if isinstance(value, Mapping) else getattr(value, name, None)
        if known is not None:
            break
    return known


def _database_of_app() -> Database:
    database = service_of(this_app()).database
    if not isinstance(database, Database):
        raise RuntimeError("the handler takes an AsyncSession but the app has none; give create_app() a database")
    return database
