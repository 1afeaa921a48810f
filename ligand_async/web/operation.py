"""`@operation`: a typed handler, from the request's bytes to the response's."""

from collections.abc import Callable, Coroutine, Mapping, Sequence, Set
from dataclasses import Field
from datetime import date, time, timedelta
from decimal import Decimal
from enum import Enum
from functools import wraps
from typing import Any, ClassVar, Protocol, TypeVar, overload
from uuid import UUID

from pydantic import BaseModel
from pydantic.errors import PydanticUndefinedAnnotation, PydanticUserError
from quart import Response
from quart_schema.validation import (
    QUART_SCHEMA_HEADERS_ATTRIBUTE,
    QUART_SCHEMA_QUERYSTRING_ATTRIBUTE,
    QUART_SCHEMA_REQUEST_ATTRIBUTE,
    QUART_SCHEMA_RESPONSE_ATTRIBUTE,
)
from werkzeug.wrappers import Response as WerkzeugResponse

from ligand_async.errors import Problem
from ligand_async.marks import OperationMark, SessionMode, stamp_operation
from ligand_async.web.inputs import Inputs, OperationError, read_inputs
from ligand_async.web.output import Output
from ligand_async.web.run import Run


class DataclassInstance(Protocol):
    """Any dataclass."""

    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]


Scalar = str | int | float | bool | Decimal | UUID | date | time | timedelta | Enum | None
Answer = (
    BaseModel
    | DataclassInstance
    | Response
    | WerkzeugResponse
    | Scalar
    | Mapping[str, Any]
    | Set[Scalar]
    | Sequence["Answer"]
)
R = TypeVar("R", bound=Answer)
Handler = Callable[..., Coroutine[Any, Any, R]]
View = Callable[..., Coroutine[Any, Any, Response]]


class OperationDecorator(Protocol):
    """What `operation(...)` with options returns."""

    def __call__(self, handler: Callable[..., Coroutine[Any, Any, R]], /) -> View:
        """Make the view of a handler."""


@overload
def operation(handler: Callable[..., Coroutine[Any, Any, R]], /) -> View: ...
@overload
def operation(
    *,
    status: int | None = None,
    raises: Sequence[type[Problem]] = (),
    location: str | None = None,
    session: SessionMode | None = None,
    retry_safe: bool = False,
) -> OperationDecorator: ...
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

    def decorate(handler: Callable[..., Coroutine[Any, Any, Any]]) -> View:
        inputs = read_inputs(handler)
        output = output_of(handler, inputs, status)
        check_raises(handler, raises)
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
        run = Run(handler, inputs, output, mark)

        @wraps(handler)
        async def view(*instance: Any, **path: Any) -> Response:
            return await run(instance, path, view)

        stamp_operation(view, mark)
        stamp_for_quart_schema(view, inputs, output)
        view.__dict__[INPUTS_ATTRIBUTE] = inputs
        return view

    return decorate if handler is None else decorate(handler)


INPUTS_ATTRIBUTE = "_ligand_inputs"


def output_of(handler: Callable[..., Any], inputs: Inputs, status: int | None) -> Output:
    """Make what turns a handler's return values into responses.

    Raises:
        OperationError: The return annotation or the status cannot be served.
    """
    try:
        return Output(inputs.returns, status, handler.__qualname__)
    except (PydanticUserError, PydanticUndefinedAnnotation, TypeError, ValueError) as error:
        raise OperationError(f"{handler.__qualname__}: what it returns cannot be an answer: {error}") from error


def check_raises(handler: Callable[..., Any], raises: Sequence[type[Problem]]) -> None:
    """Refuse `raises` without a status: the documentation files them by it.

    Raises:
        OperationError: `Problem` itself is named.
    """
    if any(problem.code is None for problem in raises):
        raise OperationError(f"{handler.__qualname__}: raises names Problem, which has no status; name a subclass")


def stamp_for_quart_schema(view: View, inputs: Inputs, output: Output) -> None:
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
