"""Marks: what `public`, `requires` and `limit` attach to functions, classes and blueprints, and the search for them.

`requires` cannot be lost. It returns a function that checks, whenever it is called while a request is served, that
enforcement has decided its mark for this request. A decorator above it can hide the mark from the route; then the call
decides. What is never called, because a decorator stands above the route's, is found at start, in `auth/checks.py`.
"""

import functools
import gc
import inspect
import logging
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import FunctionType, MethodType, ModuleType
from typing import Any, Literal, TypeVar
from weakref import WeakKeyDictionary, WeakSet, ref

from quart import Blueprint, Quart
from quart.views import MethodView

from ligand_async.context import request_state_var
from ligand_async.errors import Forbidden, Unauthorized
from ligand_async.principal import Requirement, meets
from ligand_async.settings import Quota, read_quotas

logger = logging.getLogger(__name__)

_ACCESS = "_ligand_access"

M = TypeVar("M", bound=Callable[..., Any] | Blueprint)


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class AccessMark:
    """The mark of `public` and `requires`. Each decorated object has a mark of its own, which equals no other.

    Attributes:
        requirement: The requirement that the principal must meet; None for `public`.
    """

    requirement: Requirement | None

    def __str__(self) -> str:
        return "public" if self.requirement is None else f"requires({self.requirement})"

    def says_the_same(self, other: "AccessMark") -> bool:
        """Return whether another mark has the same requirement."""
        return self.requirement == other.requirement


marked_for_access: "WeakSet[Any]" = WeakSet()
"""The decorated objects, for the check at start that no mark is lost."""


def public(marked: M) -> M:
    """Let anyone call, authenticated or not; without an access decorator a principal is needed.

    A decorator of a view, of a class or of its methods, above or below the others. For a blueprint write
    `public(blueprint)`. The nearest one decides: the method's, its class's, the view's, then the blueprints' from the
    inside out.

    Raises:
        TypeError: The object has another access decorator, or cannot have one.
    """
    return _stamp_access(marked, None)


def requires(requirement: Requirement) -> Callable[[M], M]:
    """Let only principals call that meet a requirement; placed as `public` is.

    The decorated function checks at each call that the requirement was decided for the request. If it was not, because
    another handler calls the function or a decorator hides the mark, the call decides, and raises `Unauthorized` or
    `Forbidden`. Outside a request, as in scripts and tests, it is called as it is. The methods of a decorated class,
    and of classes below it, check in the same way.

    Args:
        requirement: Such as `role("user") | scope("pets:write")`.

    Raises:
        TypeError: The argument is not a requirement, or the object has another access decorator or cannot have one.
    """
    if not isinstance(requirement, Requirement):
        raise TypeError('requires() takes a requirement, such as requires(role("admin"))')
    return lambda marked: _stamp_access(marked, requirement)


def _stamp_access(marked: M, requirement: Requirement | None) -> M:
    """Set the mark. Two different ones are refused: their order must not decide."""
    if isinstance(marked, Quart | staticmethod) or not (callable(marked) or isinstance(marked, Blueprint)):
        raise TypeError(
            "public and requires() decorate views, classes, their methods and blueprints; put @staticmethod above them"
        )
    name = getattr(marked, "__qualname__", None) or getattr(marked, "name", None) or type(marked).__name__
    mark, present = AccessMark(requirement), access_mark(marked, own=True)
    if present is not None and not mark.says_the_same(present):
        raise TypeError(f"{name} has two access decorators (@public and @requires); keep one")
    if present is not None:
        return marked
    try:
        setattr(marked, _ACCESS, mark)
        marked_for_access.add(marked)
        if isinstance(marked, type):
            _guard_methods_below(marked, mark)
    except (AttributeError, TypeError) as error:
        raise TypeError(f"{name} cannot have an access decorator; decorate the function itself") from error
    if isinstance(marked, type | Blueprint):
        return marked
    made: Any = marked if requirement is None else _guard(marked, mark)
    marked_for_access.add(made)
    for inner in behind(marked):
        if inner is not marked and callable(inner):
            _note_around(inner, made, mark)
    return made  # type: ignore[no-any-return]  # it is called as `marked` is


def access_mark(marked: Any, *, own: bool = False) -> AccessMark | None:
    """Return the access mark of a handler, a class or a blueprint, or None.

    Args:
        marked: The handler, class or blueprint.
        own: Whether to leave out a mark that a class inherits.
    """
    attributes = getattr(marked, "__dict__", {})
    mark = attributes.get(_ACCESS) if own else getattr(marked, _ACCESS, None)
    return mark if isinstance(mark, AccessMark) else None


# The functions that check. `_guarded` has the function behind each of them; `_copies` those of inherited methods.
_guarded: "WeakKeyDictionary[FunctionType, Any]" = WeakKeyDictionary()
_copies: "WeakSet[FunctionType]" = WeakSet()
_reported: "WeakSet[AccessMark]" = WeakSet()


def _check_at_call(mark: AccessMark) -> None:
    """Check that a mark was decided for the request being served; decide it here if not.

    Raises:
        Unauthorized: It was not decided, and nobody was authenticated.
        Forbidden: It was not decided, and the principal does not meet its requirement.
    """
    state = request_state_var.get()
    if state is None or state.decided is None or mark in state.decided:
        return
    if mark not in _reported:
        _reported.add(mark)
        logger.warning(
            "%s was decided at a call: another handler calls the function, or a decorator hides the mark from the route"
            " (let your decorators use functools.wraps)",
            mark,
        )
    requirement, principal = mark.requirement, state.principal
    if principal is None:
        raise Unauthorized("credentials are required")
    if requirement is not None and not meets(principal, requirement):
        raise Forbidden(f"this needs {requirement}") if state.forbid is None else state.forbid(principal, requirement)


def _guard(function: Callable[..., Any], mark: AccessMark) -> Callable[..., Any]:
    """Return a function that checks the mark and calls `function`."""
    check, kind = _check_at_call, type(function)

    async def call_async(*arguments: Any, **named: Any) -> Any:
        check(mark)
        return await function(*arguments, **named)

    def call(*arguments: Any, **named: Any) -> Any:
        check(mark)
        return function(*arguments, **named)

    is_async = inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(getattr(kind, "__call__", None))  # noqa: B004  (its type)
    template = call_async if is_async else call
    if kind is not FunctionType:
        made: Any = functools.wraps(function)(template)
        made.__name__ = getattr(function, "__name__", kind.__name__)
    else:
        # The two have one `__dict__`: what decorators above set on the one is found on the other, which may be the one
        # that is registered. So `__wrapped__` cannot lead from one to the other, and the globals, by which annotations
        # are resolved, must be the function's own.
        made = FunctionType(template.__code__, function.__globals__, function.__name__, None, template.__closure__)
        for attribute in functools.WRAPPER_ASSIGNMENTS:
            if hasattr(function, attribute):
                setattr(made, attribute, getattr(function, attribute))
        if "__wrapped__" not in vars(function):
            function.__signature__ = inspect.signature(function)  # type: ignore[attr-defined]  # `inspect` reads it
        made.__dict__ = function.__dict__
    _guarded[made] = function
    return made  # type: ignore[no-any-return]  # a function


def _guard_methods_below(marked: type, mark: AccessMark) -> None:
    """Let the methods of a class check its mark, also those of the classes that will be below it."""
    _guard_methods(marked, mark)
    below = marked.__dict__.get("__init_subclass__")

    def begin(cls: Any, /, **options: Any) -> None:
        if below is not None:
            below.__func__(cls, **options)
        else:
            bound: Any = super(marked, cls)
            bound.__init_subclass__(**options)
        if access_mark(cls) is mark:
            _guard_methods(cls, mark)

    setattr(marked, "__init_subclass__", classmethod(begin))  # noqa: B010  (mypy takes an assignment for a redefinition)


def _guard_methods(cls: type, mark: AccessMark) -> None:
    """Let the methods of a class check its mark, inherited ones too. One with a mark of its own is left alone."""
    for name in {name for base in cls.__mro__ for name in vars(base)}:
        found = _find_method(cls, name)
        function = _function_of(found)
        is_special = name.startswith("__") and name != "__call__"
        if function is None or is_special or access_mark(function) or (function.__module__ or "").startswith("quart."):
            continue
        is_own = vars(cls).get(name) is found
        original = _guarded.get(function, function)
        if mark.requirement is not None:
            made: Any = _guard(original, mark)
        elif is_own:
            made = original
        else:
            continue  # what a class above requires is decided with the route, where it does not hide its class
        if not is_own:
            _copies.add(made)
        setattr(cls, name, made if found is function else type(found)(made))


def _find_method(cls: type, name: str) -> Any:
    # What the class or a base defines itself: a copy of an inherited method would hide a sibling's.
    for base in cls.__mro__:
        if name in vars(base) and _function_of(vars(base)[name]) not in _copies:
            return vars(base)[name]
    return None


def _function_of(found: Any) -> FunctionType | None:
    inner = found.__func__ if type(found) in {staticmethod, classmethod} else found
    return inner if type(inner) is FunctionType else None


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


_FAILURES = "_ligand_limit_failures"


def limit_failures(quotas: str) -> Callable[[T], T]:
    """Limit the failures of a network on a public route that checks a secret itself, such as a login.

    A decorator of a view, of a class or of its methods, above or below the others; for a blueprint write
    `limit_failures("5/minute")(blueprint)`. The nearest one decides. A response of 400 to 499 is a failure. A request
    is counted before the handler runs, by the network of the caller's address (/24, of IPv6 /64), and taken back when
    it does not fail: also a thousand at once get no further. Requests over the quota are answered 429. A websocket's
    handshake fails if it is refused with such a status; what happens after it is accepted does not count.

    Args:
        quotas: Such as `5/minute; 30/hour`.

    Raises:
        ValueError: The quotas cannot be read.
    """
    mark = LimitMark(read_quotas(quotas))

    def stamp(marked: T) -> T:
        setattr(marked, _FAILURES, mark)
        return marked

    return stamp


def failures_mark(marked: Any) -> LimitMark | None:
    """Return the limit of failures of a handler, a class or a blueprint itself, or None."""
    mark = getattr(marked, _FAILURES, None)
    return mark if isinstance(mark, LimitMark) else None


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
    elif isinstance(view, MethodType):
        yield endpoint, view.__func__
        yield endpoint, view.__self__ if isinstance(view.__self__, type) else type(view.__self__)
    elif not isinstance(view, FunctionType):
        yield endpoint, type(view).__call__
        yield endpoint, view
        yield endpoint, type(view)
    yield endpoint, view
    names = endpoint.split(".")[:-1]
    for depth in range(len(names), 0, -1):
        path = ".".join(names[:depth])
        yield path, app.blueprints.get(path)


def marks_of(owner: Any) -> Iterator[AccessMark]:
    """Yield the access marks of a handler, a class or a blueprint; of a class its bases' too, the nearest first."""
    for one in owner.__mro__ if isinstance(owner, type) else (owner,):
        mark = access_mark(one, own=isinstance(owner, type))
        if mark is not None:
            yield mark


def copied_from(function: Any) -> Iterator[Any]:
    """Yield a function and those that it wraps, as far as `functools.wraps` and `requires` record them."""
    seen: set[int] = set()
    waiting = [function]
    while waiting:
        found = waiting.pop()
        if id(found) not in seen:
            seen.add(id(found))
            yield found
            behind_it = [getattr(found, "__dict__", {}).get("__wrapped__")]
            if type(found) is FunctionType:
                behind_it.append(_guarded.get(found))
            waiting += [one for one in behind_it if one is not None]


_MOST = 10_000  # objects that one search looks at
_CLOSED = (type, ModuleType, Quart, Blueprint, str, bytes, int, float, type(None))  # nothing is behind them


def behind(function: Any) -> Iterator[Any]:
    """Yield a function and what it holds: in its closure, defaults and attributes, in containers and slots there.

    The nearest come first. Nothing is called, compared or asked for an attribute, so that proxies of extensions, which
    may do anything then, are left alone.
    """
    seen: dict[int, Any] = {}
    waiting = deque([function])
    while waiting and len(seen) < _MOST:
        found = waiting.popleft()
        if id(found) not in seen and not issubclass(type(found), _CLOSED):
            seen[id(found)] = found
            yield found
            waiting += _held_by(found)


def _held_by(found: Any) -> list[Any]:
    if type(found) is not FunctionType:
        return gc.get_referents(found)
    cells = found.__closure__ or ()
    contents = [content for cell in cells for content in gc.get_referents(cell)]  # an empty cell has none
    return [*contents, *(found.__defaults__ or ()), found.__kwdefaults__, found.__dict__]


_registered: "WeakSet[AccessMark]" = WeakSet()


def note_registered(view: Any) -> None:
    """Note that a view is registered with an app, and so has its mark there."""
    mark = access_mark(view)
    if mark is not None:
        _registered.add(mark)


def is_registered(mark: AccessMark) -> bool:
    """Return whether a view with this mark was registered with an app of the process."""
    return mark in _registered


_Around = list[tuple[Callable[[], Any], AccessMark]]
_around: dict[int, tuple[Callable[[], Any], _Around]] = {}


def _forget(around: dict[int, Any], key: int, _: Any) -> None:
    around.pop(key, None)


def _note_around(inner: Any, outer: Any, mark: AccessMark) -> None:
    """Note that a marked object is around another, which may be the one that is registered."""
    key = id(inner)
    try:
        reference: Callable[[], Any] = ref(inner, functools.partial(_forget, _around, key))
    except TypeError:  # an object with `__slots__`

        def reference() -> Any:
            return inner

    known = _around.get(key)
    entries: _Around = [] if known is None or known[0]() is not inner else known[1]
    entries[:] = [one for one in entries if one[0]() is not None or not one[1].says_the_same(mark)]
    entries.append((ref(outer), mark))
    _around[key] = (reference if known is None or known[0]() is not inner else known[0], entries)


def marks_around(registered: Any) -> list[tuple[Any, AccessMark]]:
    """Return the marked objects around a registered one, each with its mark; None for one that is gone."""
    known = _around.get(id(registered))
    if known is None or known[0]() is not registered:
        return []
    return [(outer(), mark) for outer, mark in known[1]]
