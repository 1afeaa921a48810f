"""Marks: what `public`, `requires` and `limit` attach to functions, classes and blueprints, and the search for them."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from types import CellType, FunctionType, MethodType
from typing import Any, Literal, TypeVar
from weakref import ReferenceType, WeakKeyDictionary, WeakSet, ref

from quart import Blueprint, Quart
from quart.views import MethodView
from werkzeug.local import LocalProxy

from ligand_async.principal import Requirement
from ligand_async.settings import Quota, read_quotas

_ACCESS = "_ligand_access"

M = TypeVar("M", bound=Callable[..., Any] | Blueprint)


@dataclass(frozen=True, slots=True)
class AccessMark:
    """The mark of `public` and `requires`.

    Attributes:
        requirement: The requirement that the principal must meet; None for `public`.
    """

    requirement: Requirement | None

    def __str__(self) -> str:
        return "public" if self.requirement is None else f"requires({self.requirement})"


# For the check at start that no mark is lost: the marked objects, and the functions that a marked function wraps.
marked_for_access: "WeakSet[Any]" = WeakSet()
marked_around: "WeakKeyDictionary[FunctionType, list[tuple[ReferenceType[Any], AccessMark]]]" = WeakKeyDictionary()


def public(marked: M) -> M:
    """Let anyone call, authenticated or not; without an access decorator a principal is needed.

    A decorator of a view, of a class or of its methods, above or below the others. For a blueprint write
    `public(blueprint)`. The nearest one decides: the method's, its class's, the view's, then the blueprints' from the
    inside out.

    Raises:
        TypeError: The object has another access decorator, or cannot have one.
    """
    return _stamp_access(marked, AccessMark(None))


def requires(requirement: Requirement) -> Callable[[M], M]:
    """Let only principals call that meet a requirement; placed as `public` is.

    Args:
        requirement: Such as `role("user") | scope("pets:write")`.

    Raises:
        TypeError: The argument is not a requirement, or the object has another access decorator or cannot have one.
    """
    if not isinstance(requirement, Requirement):
        raise TypeError('requires() takes a requirement, such as requires(role("admin"))')
    mark = AccessMark(requirement)
    return lambda marked: _stamp_access(marked, mark)


def _stamp_access(marked: M, mark: AccessMark) -> M:
    """Set the mark. Two different ones are refused: their order must not decide."""
    if isinstance(marked, Quart | staticmethod) or not (callable(marked) or isinstance(marked, Blueprint)):
        raise TypeError(
            "public and requires() decorate views, classes, their methods and blueprints; put @staticmethod above them"
        )
    name = getattr(marked, "__qualname__", None) or getattr(marked, "name", None) or type(marked).__name__
    if access_mark(marked, own=True) not in (None, mark):
        raise TypeError(f"{name} has two access decorators (@public and @requires); keep one")
    try:
        setattr(marked, _ACCESS, mark)
        marked_for_access.add(marked)
    except (AttributeError, TypeError) as error:
        raise TypeError(f"{name} cannot have an access decorator; decorate the function itself") from error
    if not isinstance(marked, type | Blueprint):
        for inner in behind(marked):
            if inner is not marked and isinstance(inner, FunctionType):
                marked_around.setdefault(inner, []).append((ref(marked), mark))
    return marked


def access_mark(marked: Any, *, own: bool = False) -> AccessMark | None:
    """Return the access mark of a handler, a class or a blueprint, or None.

    Args:
        marked: The handler, class or blueprint.
        own: Whether to leave out a mark that a class inherits.
    """
    attributes = getattr(marked, "__dict__", {})
    mark = attributes.get(_ACCESS) if own else getattr(marked, _ACCESS, None)
    return mark if isinstance(mark, AccessMark) else None


SessionMode = Literal["read", "write", "snapshot", "replica"]

_LIMIT = "_ligand_limit"

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class LimitMark:
    """The mark of `limit`.

    Attributes:
        quotas: The requests that a caller has; empty for no limit.
    """

    quotas: tuple[Quota, ...] = ()


def limit(quotas: str | None) -> Callable[[T], T]:
    """Limit the number of requests of a caller.

    A decorator of a view, of a class or of its methods, above or below the others. For a blueprint write
    `limit("100/minute")(blueprint)`. The nearest one decides: the method's, its class's, the view's, then the
    blueprints' from the inside out, then the setting `rate_limit`. All requests that one decorator decides are counted
    together, for each caller apart. Requests over the quota are answered 429.

    Args:
        quotas: Such as `10/minute` or `10/second; 1000 per 2 hours`; None for no limit.

    Raises:
        ValueError: The quotas cannot be read.
    """
    mark = LimitMark(() if quotas is None else read_quotas(quotas))

    def stamp(marked: T) -> T:
        setattr(marked, _LIMIT, mark)
        return marked

    return stamp


def limit_mark(marked: Any) -> LimitMark | None:
    """Return the limit of a handler, a class or a blueprint itself, or None."""
    mark = getattr(marked, _LIMIT, None)
    return mark if isinstance(mark, LimitMark) else None


def owners_of(app: Quart, endpoint: str, method: str) -> Iterator[tuple[str, Any]]:
    """Yield the objects that may have a mark for a route, the nearest first, each with a name of its own.

    Args:
        app: The app.
        endpoint: The route's endpoint, such as `pets.list_pets`.
        method: The HTTP method in capitals. HEAD is answered by `get`, unless the class has `head`.
    """
    view: Callable[..., Any] = app.view_functions[endpoint]
    view_class = getattr(view, "view_class", None)
    if view_class is not None:
        if issubclass(view_class, MethodView):
            own = getattr(view_class, method.lower(), None)
            if own is None and method == "HEAD":
                own, method = getattr(view_class, "get", None), "GET"
            yield f"{endpoint}.{method.lower()}", own
        yield endpoint, view_class.dispatch_request
        yield endpoint, view_class
    yield endpoint, view
    names = endpoint.split(".")[:-1]
    for depth in range(len(names), 0, -1):
        path = ".".join(names[:depth])
        yield path, app.blueprints.get(path)


_OTHERS = (type, Quart, LocalProxy)  # can be called, but wrap nothing


def copied_from(function: Any) -> Iterator[Any]:
    """Yield a function and those that it wraps, as far as `functools.wraps` records them."""
    seen: set[int] = set()
    while function is not None and id(function) not in seen:
        seen.add(id(function))
        yield function
        function = getattr(function, "__dict__", {}).get("__wrapped__")


def behind(function: Any) -> Iterator[Any]:
    """Yield a function and the functions in its `__wrapped__`, its closure and its attributes.

    A decorator without `functools.wraps` keeps its function in one of these.
    """
    seen: set[int] = set()
    waiting = [function]
    while waiting:
        found = waiting.pop()
        if id(found) in seen or not callable(found) or isinstance(found, _OTHERS):
            continue
        seen.add(id(found))
        yield found
        waiting += _held_by(found)


def _held_by(function: Any) -> Iterator[Any]:
    match function:
        case FunctionType():
            yield from map(_content_of, function.__closure__ or ())
            yield function.__dict__.get("__wrapped__")
        case MethodType():
            yield function.__func__
        case partial():
            yield from (function.func, *function.args, *function.keywords.values())
        case _:
            yield from getattr(function, "__dict__", {}).values()


def _content_of(cell: CellType) -> Any:
    try:
        return cell.cell_contents
    except ValueError:
        return None
