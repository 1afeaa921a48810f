"""The signature of a handler, read once, when it is decorated: where each parameter comes from."""

import inspect
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, is_dataclass
from types import MappingProxyType
from typing import Any, get_origin, get_type_hints

from pydantic import BaseModel, ConfigDict, create_model
from pydantic.errors import PydanticUndefinedAnnotation, PydanticUserError
from sqlalchemy.ext.asyncio import AsyncSession

from ligand_async.annotations import without_none
from ligand_async.principal import Principal
from ligand_async.settings import Settings
from ligand_async.web.body import Body, make_body
from ligand_async.web.depends import ServiceError, dependency_of, parameters_of_dependencies
from ligand_async.web.fields import Fields

NAMED_INPUTS = frozenset({"data", "query_args", "headers", "cookies"})


class OperationError(TypeError):
    """A handler cannot be an operation; the message names it, its parameter and the remedy."""


@dataclass(frozen=True, slots=True)
class Inputs:
    """The source of each parameter of a handler.

    Attributes:
        data: The body, or None.
        query: The query string, or None.
        query_scalars: The annotations of the single query parameters, by name.
        takes_query_args: Whether the handler takes the query string as a whole, too.
        headers: The headers, or None.
        cookies: The cookies, or None.
        session: The name of the parameter that takes the `AsyncSession`, or None.
        principal: The name of the parameter that takes the `Principal`, or None.
        principal_required: Whether an anonymous request is refused.
        others: Path variables and services; which of the two depends on the route.
        own: The names of the handler's parameters; services may take more of what is read.
        annotations: Those of `data`, `query_args`, `headers`, `cookies` and of single query parameters, by name.
        returns: The return annotation.
    """

    data: Body | None
    query: Fields | None
    query_scalars: dict[str, Any]
    takes_query_args: bool
    headers: Fields | None
    cookies: Fields | None
    session: str | None
    principal: str | None
    principal_required: bool
    others: dict[str, Any]
    own: frozenset[str]
    annotations: Mapping[str, Any]
    returns: Any


def read_inputs(handler: Callable[..., Any], of_services: Mapping[str, Any] = MappingProxyType({})) -> Inputs:
    """Read a handler's signature.

    Args:
        handler: The coroutine function.
        of_services: `data`, `query_args`, `headers` and `cookies` that only services take, with their annotations.

    Raises:
        OperationError: It is not a coroutine function, an annotation is missing or cannot be resolved, or a parameter
            cannot come from a request.
    """
    name = handler.__qualname__
    if not inspect.iscoroutinefunction(handler):
        raise OperationError(f"{name} is not a coroutine function; write `async def {handler.__name__}`")
    hints = _resolve_hints(handler)
    if "return" not in hints:
        raise OperationError(f"{name} has no return annotation; annotate the body of its response, or `-> None`")
    parameters = [
        parameter
        for position, parameter in enumerate(inspect.signature(handler).parameters.values())
        if not (position == 0 and parameter.name == "self")
    ]
    named: dict[str, Any] = {}
    injected: dict[type, tuple[str, bool]] = {}
    scalars: dict[str, tuple[Any, Any]] = {}
    absent: tuple[Any, ...] = ()
    others: dict[str, Any] = {}
    for parameter in parameters:
        if parameter.kind not in {parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY}:
            raise OperationError(
                f"{name}: parameter {parameter} cannot be passed by name; make it an ordinary parameter"
            )
        if parameter.name not in hints:
            raise OperationError(f"{name}: parameter {parameter.name!r} has no annotation")
        hint = hints[parameter.name]
        kind, optional = without_none(hint)
        if parameter.name in NAMED_INPUTS:
            named[parameter.name] = hint
            if parameter.name == "data" and parameter.default is not parameter.empty:
                absent = (parameter.default,)
            elif parameter.name == "data" and optional:
                absent = (None,)
        elif kind in {AsyncSession, Principal}:
            if kind in injected:
                raise OperationError(f"{name}: two parameters are annotated {kind.__name__}; a request has one")
            injected[kind] = (parameter.name, optional)
        elif dependency_of(hint) is not None:
            others[parameter.name] = hint
        elif parameter.default is not parameter.empty:
            scalars[parameter.name] = (hint, parameter.default)
        else:
            others[parameter.name] = hint
    own = frozenset(parameter.name for parameter in parameters)
    for function, parameter, hint in _parameters_of_dependencies(name, others):
        _join_dependency(name, function, parameter, hint, named, scalars)
    named.update(of_services)
    if "data" in named and "data" not in own and without_none(named["data"])[1]:
        absent = (None,)
    principal, anyone = injected.get(Principal, (None, False))
    return Inputs(
        data=_body_of(name, named["data"], absent) if "data" in named else None,
        query=_query_fields(handler, named.get("query_args"), scalars),
        query_scalars={name: hint for name, (hint, _) in scalars.items()},
        takes_query_args="query_args" in named,
        headers=_model_fields(named.get("headers"), name, "headers"),
        cookies=_model_fields(named.get("cookies"), name, "cookies"),
        session=injected[AsyncSession][0] if AsyncSession in injected else None,
        principal=principal,
        principal_required=not anyone,
        others=others,
        own=own,
        annotations=named | {name: hint for name, (hint, _) in scalars.items()},
        returns=hints["return"],
    )


def _parameters_of_dependencies(handler: str, others: dict[str, Any]) -> Iterator[tuple[str, inspect.Parameter, Any]]:
    try:
        yield from parameters_of_dependencies(others.values())
    except ServiceError as error:
        raise OperationError(f"{handler} -> {error}") from error


def _join_dependency(
    handler: str,
    function: str,
    parameter: inspect.Parameter,
    hint: Any,
    named: dict[str, Any],
    scalars: dict[str, tuple[Any, Any]],
) -> None:
    """Add a parameter of a function in `Depends` to what the operation reads, if it is read from the request.

    Raises:
        OperationError: The handler, or another function, takes the same input as something else.
    """
    name, default = parameter.name, parameter.default
    kind, _ = without_none(hint)
    known: Any
    if name in NAMED_INPUTS:
        known = named.setdefault(name, hint)
        is_same = known == hint
    elif default is parameter.empty or kind in {AsyncSession, Principal, Settings} or dependency_of(hint) is not None:
        return
    else:
        known = scalars.setdefault(name, (hint, default))
        is_same = known == (hint, default)
    if not is_same:
        raise OperationError(
            f"{handler} -> {function}: parameter {name!r} is read once for the request, and is declared otherwise "
            "elsewhere; give it the same annotation and default, or another name"
        )


def _resolve_hints(handler: Callable[..., Any]) -> dict[str, Any]:
    try:
        return get_type_hints(handler, include_extras=True)
    except (NameError, AttributeError, TypeError, SyntaxError) as error:
        raise OperationError(
            f"{handler.__qualname__}: an annotation cannot be resolved ({error}); "
            "import the name at run time, at the top of the module, and not under TYPE_CHECKING"
        ) from error


def _body_of(handler: str, hint: Any, absent: tuple[Any, ...]) -> Body:
    try:
        return make_body(hint, absent)
    except (PydanticUserError, PydanticUndefinedAnnotation, TypeError) as error:
        raise OperationError(f"{handler}: parameter 'data' cannot be read from a body: {error}") from error


def _query_fields(handler: Callable[..., Any], model: Any, scalars: dict[str, tuple[Any, Any]]) -> Fields | None:
    """Join a query model and single parameters into one model: the query string is validated once, as a whole.

    Raises:
        OperationError: A single parameter cannot be read from text, or the model has a field of its name.
    """
    handler_name = handler.__qualname__
    base = _check_model(model, handler_name, "query_args")
    if not scalars:
        return Fields(base, "parameter") if base is not None else None
    for name, (hint, _) in scalars.items():
        if base is not None and name in base.model_fields:
            raise OperationError(f"{handler_name}: {name!r} is a field of query_args and a parameter; keep one of them")
        if _is_structure(hint):
            raise OperationError(
                f"{handler_name}: parameter {name!r} has a default, so it is a query parameter, and those are single "
                "values and lists; name it query_args, or remove the default to have it injected"
            )
    words = "".join(word.title() for word in handler.__name__.split("_"))
    config: dict[str, Any] = {"__config__": ConfigDict(extra="forbid")} if base is None else {"__base__": base}
    fields: dict[str, Any] = scalars
    try:
        with warnings.catch_warnings(action="ignore", category=UserWarning):  # a parameter may be called `json`
            joined: type[BaseModel] = create_model(f"{words}Query", __module__=handler.__module__, **config, **fields)
    except (PydanticUserError, NameError, TypeError) as error:
        names = ", ".join(map(repr, scalars))
        raise OperationError(f"{handler_name}: {names} cannot be read from a query string: {error}") from error
    return Fields(joined, "parameter")


def _is_structure(hint: Any) -> bool:
    """Return whether a type has members of its own, which a single query parameter cannot carry."""
    kind, _ = without_none(hint)
    kind = get_origin(kind) or kind
    return isinstance(kind, type) and (issubclass(kind, BaseModel | dict) or is_dataclass(kind))


def _model_fields(model: Any, handler: str, name: str) -> Fields | None:
    found = _check_model(model, handler, name)
    if found is None:
        return None
    return Fields(found, "header" if name == "headers" else "cookie")


def _check_model(model: Any, handler: str, name: str) -> type[BaseModel] | None:
    if model is None:
        return None
    if not (isinstance(model, type) and issubclass(model, BaseModel)):
        raise OperationError(f"{handler}: {name} needs a pydantic model as its annotation")
    return model
