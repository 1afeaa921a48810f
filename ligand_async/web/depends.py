"""`Depends`, and how the parameters of factories are read: the vocabulary of services."""

import functools
import inspect
from collections.abc import Callable, Collection, Hashable, Iterable, Iterator, Sequence
from typing import Annotated, Any, get_args, get_origin, get_type_hints

from ligand_async.errors import Problem

Factory = Callable[..., Any]
Way = tuple[Any, ...]  # from the handler's name through types and functions to the one that is looked at


class ServiceError(TypeError):
    """Services that do not fit together; the message shows the way to the mistake and the remedy."""


class Depends:
    """Make one parameter of a handler with a function: `invoice: Annotated[Invoice, Depends(load_own_invoice)]`.

    The function runs once per request, however many parameters and functions depend on it.

    Args:
        factory: A function, a coroutine function, an (async) generator function, a class or another object that can be
            called. It may take variables of the path by name, the request's `AsyncSession`, the `Principal`,
            `Settings`, provided services, and parameters with `Depends` of their own.
        raises: Problems that it raises, for the documentation of each operation that uses it.
    """

    __slots__ = ("factory", "raises")

    def __init__(self, factory: Factory, *, raises: Sequence[type[Problem]] = ()) -> None:
        if not callable(factory):
            raise TypeError(f"Depends() takes a function, not a {type(factory).__name__}")
        if not isinstance(factory, Hashable):
            name = type(factory).__name__
            raise TypeError(f"Depends() takes a function or an object that has a hash; give {name} one, as by eq=False")
        self.factory = factory
        self.raises = tuple(raises)


def dependency_of(hint: Any) -> Depends | None:
    """Return the `Depends` in an annotation, or None."""
    metadata = get_args(hint)[1:] if get_origin(hint) is Annotated else ()
    return next((extra for extra in metadata if isinstance(extra, Depends)), None)


def parameters_of_dependencies(hints: Iterable[Any]) -> Iterator[tuple[str, inspect.Parameter, Any]]:
    """Yield the parameters of the functions in `Depends`, and of those that these depend on.

    Yields:
        The name of the function, the parameter, and its annotation.

    Raises:
        ServiceError: A parameter without a default has no annotation, or an annotation cannot be resolved.
    """
    for function in functions_of_dependencies(hints):
        signature = inspect.signature(function)
        for name, (hint, _) in parameters_of(function, (function,)).items():
            yield name_of(function), signature.parameters[name], hint


def functions_of_dependencies(hints: Iterable[Any]) -> Iterator[Factory]:
    """Yield the functions in `Depends`, and those that these depend on, each once.

    Raises:
        ServiceError: A parameter without a default has no annotation, or an annotation cannot be resolved.
    """
    hints, seen = list(hints), set[Factory]()
    for hint in hints:
        depends = dependency_of(hint)
        if depends is None or depends.factory in seen:
            continue
        seen.add(depends.factory)
        hints.extend(hint for hint, _ in parameters_of(depends.factory, (depends.factory,)).values())
        yield depends.factory


def parameters_of(factory: Factory, way: Way, given: Collection[str] | None = ()) -> dict[str, tuple[Any, bool]]:
    """Return the parameters of a factory: the annotation of each, and whether it has no default.

    Args:
        factory: The factory.
        way: For errors.
        given: The parameters that need no annotation; None for all.

    Raises:
        ServiceError: A parameter without a default has no annotation, or an annotation cannot be resolved.
    """
    try:
        signature = inspect.signature(factory)
    except (TypeError, ValueError):  # a class in C, which says nothing of its parameters
        return {}
    parameters = {}
    hints = _hints_of(factory, way)
    for name, parameter in signature.parameters.items():
        if parameter.kind in {parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD}:
            continue
        is_required = parameter.default is parameter.empty
        if name in hints:
            parameters[name] = hints[name], is_required
        elif is_required and given is not None and name not in given:
            raise ServiceError(
                f"{describe_way(way)}: parameter {name!r} has no annotation; write the type that it takes"
            )
    return parameters


def _hints_of(factory: Factory, way: Way) -> dict[str, Any]:
    function: Any = factory
    while isinstance(function, functools.partial):
        function = function.func
    if isinstance(function, type):
        function = function.__init__  # type: ignore[misc]  # only its annotations are read
    elif not inspect.isroutine(function):
        function = type(function).__call__
    try:
        return get_type_hints(inspect.unwrap(function), include_extras=True)
    except (NameError, AttributeError, TypeError, SyntaxError) as error:
        raise ServiceError(
            f"{describe_way(way)}: an annotation cannot be resolved ({error}); import the name at run time, "
            "at the top of the module, and not under TYPE_CHECKING"
        ) from error


def describe_way(way: Way) -> str:
    """Return the names on the way, for errors."""
    return " -> ".join(map(name_of, way))


def describe_cycle(way: Way, kind: Any) -> str:
    """Return the error text for a service that needs itself."""
    circle = describe_way((*way[way.index(kind) :], kind))
    return f"{circle}: these services need each other; let one of them take a function that makes the other"


def name_of(kind: Any) -> str:
    """Return the name of a type, a function or another factory."""
    if isinstance(kind, str):
        return kind
    return str(getattr(kind, "__qualname__", None) or getattr(kind, "__name__", None) or kind)
