"""`@operation`: a typed handler, from the request to the response, with its services and its unit of work.

The `Location` of what was created: RFC 9110 section 10.2.2.
"""

from collections.abc import Callable, Coroutine, Mapping, Sequence, Set
from contextlib import nullcontext
from dataclasses import Field, dataclass
from datetime import date, time, timedelta
from decimal import Decimal
from enum import Enum
from functools import wraps
from typing import Any, ClassVar, Protocol, TypeVar, cast, overload
from uuid import UUID

from pydantic import BaseModel
from pydantic.errors import PydanticUndefinedAnnotation, PydanticUserError
from quart import Quart, Response, current_app, request, url_for
from quart_schema.validation import (
    QUART_SCHEMA_HEADERS_ATTRIBUTE,
    QUART_SCHEMA_QUERYSTRING_ATTRIBUTE,
    QUART_SCHEMA_REQUEST_ATTRIBUTE,
    QUART_SCHEMA_RESPONSE_ATTRIBUTE,
)
from sqlalchemy.exc import SQLAlchemyError
from werkzeug.wrappers import Response as WerkzeugResponse

from ligand_async.auth import enforcement_of
from ligand_async.context import current_deadline, current_principal, service_of
from ligand_async.data import Database, UnitOfWork
from ligand_async.errors import Problem
from ligand_async.marks import OperationMark, SessionMode, idempotent_mark, is_conditional, stamp_operation
from ligand_async.tasks import run_until_deadline
from ligand_async.web.conditional import SAFE_METHODS, expect_preconditions, preconditions_var, validate
from ligand_async.web.fields import refuse_unknown
from ligand_async.web.idempotency import attempt_var, read_attempt
from ligand_async.web.inputs import Inputs, OperationError, read_inputs
from ligand_async.web.lists.page import Page
from ligand_async.web.output import RESPONSES, Output
from ligand_async.web.problems import check_status
from ligand_async.web.services import current_services


class _DataclassInstance(Protocol):
    """Any dataclass."""

    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]


_Scalar = str | int | float | bool | Decimal | UUID | date | time | timedelta | Enum | None
_Answer = (
    BaseModel
    | _DataclassInstance
    | Response
    | WerkzeugResponse
    | _Scalar
    | Mapping[str, Any]
    | Set[_Scalar]
    | Sequence["_Answer"]
)
R = TypeVar("R", bound=_Answer)
_Handler = Callable[..., Coroutine[Any, Any, R]]
_View = Callable[..., Coroutine[Any, Any, Response]]


class _OperationDecorator(Protocol):
    """What `operation(...)` with options returns."""

    def __call__(self, handler: Callable[..., Coroutine[Any, Any, R]], /) -> _View:
        """Make the view of a handler."""


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

    Path variables come by name. `data`, `query_args`, `headers` and `cookies` are the body and what their names say,
    each a pydantic model. A parameter with a default is a query parameter. `AsyncSession`, `Principal` and the types
    that `create_app(provide=…)` knows come by annotation. With a session, the handler is a unit of work: handler,
    flush, answer to bytes, commit.

    Args:
        handler: A coroutine function; without it, as in `@operation(status=201)`, a decorator is returned.
        status: The status of success, 200 to 399; by default 200, or 204 where nothing is returned.
        raises: Problems that the handler raises itself, for the documentation.
        location: The endpoint whose path is sent as `Location` on success. With a leading dot it is in the same
            blueprint as the operation, also where that is registered under another name.
        session: `"read"`, `"write"`, `"snapshot"` or `"replica"`; by default safe methods read and others write.
        retry_safe: Run the unit again, up to 3 times in all, when the database could not serialize it.

    Raises:
        OperationError: The signature cannot be served; at decoration, so at import.
    """

    def decorate(handler: Callable[..., Coroutine[Any, Any, Any]]) -> _View:
        inputs = read_inputs(handler)
        output = _output_of(handler, inputs, status)
        _check_raises(handler, raises)
        mark = OperationMark(
            status=output.status,
            raises=tuple(raises),
            location=location,
            session=session,
            retry_safe=retry_safe,
            response_type=output.type,
            cookies_model=inputs.cookies.model if inputs.cookies else None,
            body_media_types=inputs.data.media_types if inputs.data else (),
        )
        run = _Run(handler, inputs, output, mark)

        @wraps(handler)
        async def view(*instance: Any, **path: Any) -> Response:
            return await run(instance, path, view)

        stamp_operation(view, mark)
        _stamp_for_quart_schema(view, inputs, output)
        view.__dict__[INPUTS_ATTRIBUTE] = inputs
        return view

    return decorate if handler is None else decorate(handler)


INPUTS_ATTRIBUTE = "_ligand_inputs"


def _output_of(handler: Callable[..., Any], inputs: Inputs, status: int | None) -> Output:
    """Make what turns a handler's return values into responses.

    Raises:
        OperationError: The return annotation or the status cannot be served.
    """
    try:
        return Output(inputs.returns, status, handler.__qualname__)
    except (PydanticUserError, PydanticUndefinedAnnotation, TypeError, ValueError) as error:
        raise OperationError(f"{handler.__qualname__}: what it returns cannot be an answer: {error}") from error


def _check_raises(handler: Callable[..., Any], raises: Sequence[type[Problem]]) -> None:
    """Refuse `raises` without a status: the documentation files them by it.

    Raises:
        OperationError: `Problem` itself is named.
    """
    if any(problem.code is None for problem in raises):
        raise OperationError(f"{handler.__qualname__}: raises names Problem, which has no status; name a subclass")


def _stamp_for_quart_schema(view: _View, inputs: Inputs, output: Output) -> None:
    """Tell quart-schema what it would know from its own decorators."""
    if inputs.data is not None:
        setattr(view, QUART_SCHEMA_REQUEST_ATTRIBUTE, (inputs.data.schema, inputs.data.source))
    if inputs.query is not None:
        setattr(view, QUART_SCHEMA_QUERYSTRING_ATTRIBUTE, inputs.query.model)
    if inputs.headers is not None:
        setattr(view, QUART_SCHEMA_HEADERS_ATTRIBUTE, inputs.headers.model)
    if not output.empty and output.type is not Response:
        others = getattr(view, QUART_SCHEMA_RESPONSE_ATTRIBUTE, {})  # of `document_response`, nearer to the handler
        setattr(view, QUART_SCHEMA_RESPONSE_ATTRIBUTE, {**others, output.status: (output.type, None)})


@dataclass(frozen=True, slots=True)
class _Run:
    """One handler at work."""

    handler: Callable[..., Coroutine[Any, Any, Any]]
    inputs: Inputs
    output: Output
    mark: OperationMark

    async def __call__(self, instance: tuple[Any, ...], path: dict[str, Any], view: Callable[..., Any]) -> Response:
        """Serve the current request, as the marks of its view say."""
        preconditions_var.set(expect_preconditions() if is_conditional(view) else None)
        mark = idempotent_mark(view)
        attempt_var.set(None if mark is None else await read_attempt(mark))
        arguments = await self.read_arguments(path)
        services = {name: kind for name, kind in self.inputs.others.items() if name not in path}
        if not services and self.inputs.session is None:
            return self.answer(await self.handler(*instance, **arguments))
        return await run_until_deadline(self.run_with_services(instance, arguments, services), current_deadline())

    async def read_arguments(self, path: dict[str, Any]) -> dict[str, Any]:
        """Read what comes from the request: principal, query string, headers, cookies, body; 401 comes before 422."""
        inputs, arguments = self.inputs, dict[str, Any]()
        if inputs.principal is not None:
            principal = current_principal()
            if principal is None and inputs.principal_required:
                raise enforcement_of(_current_app_itself()).refuse()
            arguments[inputs.principal] = principal
        if inputs.query is not None:
            if path and (hidden := inputs.query_scalars.keys() & path.keys() & request.args.keys()):
                raise refuse_unknown(sorted(hidden))  # under this rule they are variables of the path
            query = inputs.query.read(request.args)
            arguments.update({name: getattr(query, name) for name in inputs.query_scalars})
            if inputs.takes_query_args:
                arguments["query_args"] = query
        elif request.query_string and request.args:
            raise refuse_unknown(request.args)
        if inputs.headers is not None:
            arguments["headers"] = inputs.headers.read_known(request.headers)
        if inputs.cookies is not None:
            arguments["cookies"] = inputs.cookies.read_known(request.cookies)
        if inputs.data is not None:
            arguments["data"] = await inputs.data.read()
        arguments.update(path)
        return arguments

    async def run_with_services(
        self, instance: tuple[Any, ...], arguments: dict[str, Any], services: dict[str, Any]
    ) -> Response:
        """Make the services, run the unit of work, close the services."""
        if not services:
            return await self.run_with_session(instance, arguments)
        async with current_services().container() as container:
            async with current_deadline().limit():
                made = {name: await container.aget(kind) for name, kind in services.items()}
            return await self.run_with_session(instance, arguments | made)

    async def run_with_session(self, instance: tuple[Any, ...], arguments: dict[str, Any]) -> Response:
        """Run the handler in a unit of work, where it takes a session."""
        name = self.inputs.session
        if name is None:
            async with current_deadline().limit():
                return self.answer(await self.handler(*instance, **arguments))

        preconditions, attempt, database = preconditions_var.get(), attempt_var.get(), _database_of_app()

        async def work(unit: UnitOfWork) -> Response:
            if attempt is not None and (reply := await attempt.find_reply(unit.session, database)) is not None:
                return reply
            if preconditions is not None:
                preconditions.begin()
            returned = await self.handler(*instance, **arguments, **{name: unit.session})
            if not _is_error(returned):
                await unit.flush()
            response = self.answer(returned)
            if response.status_code >= 400:
                unit.abandon()
                return response
            if preconditions is not None:
                preconditions.check_were_checked(self.handler.__qualname__)
                await preconditions.confirm(unit.session)
            if attempt is not None:
                await attempt.keep_reply(unit.session, database, response)
            return response

        mode = self.mark.session or ("read" if request.method in SAFE_METHODS else "write")
        try:
            with nullcontext() if attempt is None else attempt.in_flight():
                return await database.run(work, mode=mode, retry_safe=self.mark.retry_safe)
        except SQLAlchemyError as error:
            problem = None if preconditions is None else preconditions.problem_of(error, database.metadata)
            if problem is None:
                raise
            raise problem from error

    def answer(self, returned: Any) -> Response:
        """Turn what the handler returned into a response, before anything is committed."""
        if isinstance(returned, RESPONSES):
            check_status(returned.status_code)
            return cast(Response, returned)
        result = self.output.take_apart(returned)
        check_status(result.status)
        if isinstance(result.value, RESPONSES):
            result.value.status_code = result.status
            result.value.headers.update(result.headers)
            return cast(Response, result.value)
        response = self.output.make_response(result)
        if self.mark.location is not None and "Location" not in response.headers:
            response.headers["Location"] = _build_location(self.mark.location, result.value)
        if isinstance(result.value, Page):
            for name, value in result.value.headers.items():
                response.headers.setdefault(name, value)
        return validate(response, result.value, from_replica=self.mark.session == "replica")


def _is_error(returned: Any) -> bool:
    """Tell whether a handler returned an error: nothing of it is kept, so the database is not asked about it."""
    match returned:
        case Response() | WerkzeugResponse():
            return returned.status_code >= 400
        case (_, int() as status, *_):
            return status >= 400
        case _:
            return False


def _database_of_app() -> Database:
    """Return the current app's database.

    Raises:
        RuntimeError: It has none.
    """
    database = service_of(_current_app_itself()).database
    if not isinstance(database, Database):
        raise RuntimeError("a handler asks for an AsyncSession; give create_app() a database")
    return database


def _current_app_itself() -> Quart:
    """Return the current app itself."""
    app: Quart = current_app._get_current_object()  # type: ignore[attr-defined]  # a LocalProxy
    return app


class LocationError(RuntimeError):
    """The address of what was created cannot be built; the message says what it lacks."""


def _build_location(endpoint: str, value: Any) -> str:
    """Return the path of an endpoint for a value that was just made.

    Each variable of the endpoint's rule is taken from the current request's path, else from the value's attribute or
    key of that name, else from `id` for a variable such as `pet_id`. Of several rules the first whose variables are all
    found counts.

    Args:
        endpoint: As in `url_for`; one that begins with a dot is in the same blueprint, under the name and the prefix
            that the current request came by.
        value: What the handler returned.

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
    """Find the value of a path variable: in the current path, else in what was returned."""
    known = (request.view_args or {}).get(variable)
    names = (variable, "id") if variable.endswith("_id") else (variable,)
    for name in names if known is None else ():
        known = value.get(name) if isinstance(value, Mapping) else getattr(value, name, None)
        if known is not None:
            break
    return known
