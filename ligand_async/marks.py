"""The marks that decorators stamp on functions, classes and blueprints, and the search for them."""

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
    """Who may call: what `public` and `requires` say of a handler, of a class or of a blueprint.

    Attributes:
        requirement: What the principal must be; None where nobody has to be authenticated.
    """

    requirement: Requirement | None

    def __str__(self) -> str:
        return "public" if self.requirement is None else f"requires({self.requirement})"


# For the check at start that no mark is lost: all that carries one, and what a function that carries one is put around.
marked_for_access: "WeakSet[Any]" = WeakSet()
marked_around: "WeakKeyDictionary[FunctionType, list[tuple[ReferenceType[Any], AccessMark]]]" = WeakKeyDictionary()


def public(marked: M) -> M:
    """Let anyone call, authenticated or not; without a mark a principal is needed.

    A decorator of a view, of a class or of its methods, above or below the others; a blueprint is marked by
    `public(blueprint)`. The nearest mark decides: a method's own, its class's, the view's, then the blueprints' from
    the inside out.

    Raises:
        TypeError: It has another mark already, or is nothing that can carry one.
    """
    return _stamp_access(marked, AccessMark(None))


def requires(requirement: Requirement) -> Callable[[M], M]:
    """Let only those call who meet a requirement; placed as `public` is.

    Args:
        requirement: Such as `role("user") | scope("pets:write")`.

    Raises:
        TypeError: It is no requirement; or what is decorated has another mark already, or can carry none.
    """
    if not isinstance(requirement, Requirement):
        raise TypeError('requires() takes a requirement, such as requires(role("admin"))')
    mark = AccessMark(requirement)
    return lambda marked: _stamp_access(marked, mark)


def _stamp_access(marked: M, mark: AccessMark) -> M:
    """Put the mark on it, unless it has one: which of two would hold, should not hang on their order.

    Raises:
        TypeError: It has another mark, or is nothing that can carry one.
    """
    if isinstance(marked, Quart | staticmethod) or not (callable(marked) or isinstance(marked, Blueprint)):
        raise TypeError(
            "public and requires() mark views, classes, their methods and blueprints; a @staticmethod goes above them"
        )
    name = getattr(marked, "__qualname__", None) or getattr(marked, "name", None) or type(marked).__name__
    if access_mark(marked, own=True) not in (None, mark):
        raise TypeError(f"{name} has two marks of who may call; leave one")
    try:
        setattr(marked, _ACCESS, mark)
        marked_for_access.add(marked)
    except (AttributeError, TypeError) as error:
        raise TypeError(f"{name} cannot carry a mark of who may call; mark the function itself") from error
    if not isinstance(marked, type | Blueprint):
        for inner in behind(marked):
            if inner is not marked and isinstance(inner, FunctionType):
                marked_around.setdefault(inner, []).append((ref(marked), mark))
    return marked


def access_mark(marked: Any, *, own: bool = False) -> AccessMark | None:
    """Return what is stamped on a handler, a class or a blueprint, or None.

    Args:
        marked: What may carry a mark.
        own: Whether what a class inherits does not count.
    """
    attributes = getattr(marked, "__dict__", {})
    mark = attributes.get(_ACCESS) if own else getattr(marked, _ACCESS, None)
    return mark if isinstance(mark, AccessMark) else None


SessionMode = Literal["read", "write", "snapshot", "replica"]

_LIMIT = "_ligand_limit"

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class LimitMark:
    """What `limit` says of a handler, of a class or of a blueprint.

    Attributes:
        quotas: How many requests a caller has; none where nothing is limited.
    """

    quotas: tuple[Quota, ...] = ()


def limit(quotas: str | None) -> Callable[[T], T]:
    """Limit how often a caller may ask.

    A decorator of a view, of a class or of its methods, above or below the others; a blueprint is marked by
    `limit("100/minute")(blueprint)`. The nearest mark decides: a method's own, its class's, the view's, then the
    blueprints' from the inside out, then the setting `rate_limit`. All requests that one mark decides are counted
    together, each caller's by itself; over the quota they are answered 429.

    Args:
        quotas: Such as `10/minute` or `10/second; 1000 per 2 hours`; None lifts the limits.

    Raises:
        ValueError: The quotas are written otherwise.
    """
    mark = LimitMark(() if quotas is None else read_quotas(quotas))

    def stamp(marked: T) -> T:
        setattr(marked, _LIMIT, mark)
        return marked

    return stamp


def limit_mark(marked: Any) -> LimitMark | None:
    """Return what is stamped on a handler, a class or a blueprint itself, or None."""
    mark = getattr(marked, _LIMIT, None)
    return mark if isinstance(mark, LimitMark) else None


def owners_of(app: Quart, endpoint: str, method: str) -> Iterator[tuple[str, Any]]:
    """Yield what may carry a mark for a route, the nearest first, each with a name of its own.

    Args:
        app: The app.
        endpoint: The route's endpoint, such as `pets.list_pets`.
        method: The HTTP method in capitals; what answers HEAD is what answers GET, where nothing else does.
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


_OTHERS = (type, Quart, LocalProxy)  # can be called, and are put around nothing


def copied_from(function: Any) -> Iterator[Any]:
    """Yield a function and those behind it as far as `functools.wraps` tells."""
    seen: set[int] = set()
    while function is not None and id(function) not in seen:
        seen.add(id(function))
        yield function
        function = getattr(function, "__dict__", {}).get("__wrapped__")


def behind(function: Any) -> Iterator[Any]:
    """Yield a function and all that it may call: what it wraps, what its closure and its attributes hold.

    A decorator that does without `functools.wraps` holds its function in one of these.
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
    """Yield what a callable holds, whatever it is."""
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
    """Return what a cell of a closure holds; None where it is still empty."""
    try:
        return cell.cell_contents
    except ValueError:
        return None
