"""The marks that decorators stamp on functions, classes and blueprints, and the search for them."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import partial
from types import CellType, FunctionType, MethodType
from typing import Any, Literal, TypeVar, overload
from weakref import ReferenceType, WeakKeyDictionary, WeakSet, ref

from pydantic import BaseModel
from quart import Blueprint, Quart
from quart.views import MethodView
from werkzeug.local import LocalProxy

from ligand_async.errors import Problem
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

_OPERATION = "_ligand_operation"


@dataclass(frozen=True, slots=True)
class OperationMark:
    """What `@operation` promises about a handler.

    Attributes:
        status: The status of success.
        raises: Problems that the handler raises itself.
        location: The endpoint that the `Location` header of success names.
        session: The session's mode, or None for the method's default.
        retry_safe: Whether a failed serialization may run the handler again.
        response_type: What success is made of, `None` for an empty answer, `Response` for one made by hand.
        cookies_model: What is read from cookies.
        body_media_types: What the body may be sent as; empty when there is no body.
    """

    status: int
    raises: tuple[type[Problem], ...] = ()
    location: str | None = None
    session: SessionMode | None = None
    retry_safe: bool = False
    response_type: Any = None
    cookies_model: type[BaseModel] | None = None
    body_media_types: tuple[str, ...] = ()


def stamp_operation(view: Callable[..., Any], mark: OperationMark) -> None:
    """Put the mark on a view."""
    setattr(view, _OPERATION, mark)


def operation_mark(view: Callable[..., Any]) -> OperationMark | None:
    """Return the mark of a view, or None where there is none."""
    mark = getattr(view, _OPERATION, None)
    return mark if isinstance(mark, OperationMark) else None


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


V = TypeVar("V", bound=Callable[..., Any])


def _stamp_layers(view: V, attribute: str, mark: Any) -> V:
    """Stamp a handler, and the operation below the decorators that may be in between.

    Raises:
        TypeError: It is none.
    """
    if not callable(view) or isinstance(view, type):
        name = attribute.removeprefix("_ligand_")
        raise TypeError(f"@{name} marks single handlers; put it on the functions and methods that change something")
    layer: Any = view
    while True:
        setattr(layer, attribute, mark)
        below = getattr(layer, "__wrapped__", None)
        if below is None or operation_mark(below) is None:
            return view
        layer = below


_CONDITIONAL = "_ligand_conditional"


def conditional(view: V) -> V:
    """Let an operation change only what its caller has seen (RFC 9110 section 13).

    A decorator of an operation, a function or a method of a `MethodView`, above or below the others. The handler calls
    `check_preconditions(entity)` before it changes anything; where it does not, nothing is committed. PUT, PATCH and
    DELETE without a precondition are answered 428, those that come too late 412.

    Raises:
        TypeError: What is marked is no function.
    """
    return _stamp_layers(view, _CONDITIONAL, True)


def is_conditional(view: Any) -> bool:
    """Tell whether a view, or the handler that it was made of, is marked."""
    return getattr(view, _CONDITIONAL, False) is True


_IDEMPOTENT = "_ligand_idempotent"


@dataclass(frozen=True, slots=True)
class IdempotentMark:
    """What `@idempotent` says of an operation.

    Attributes:
        required: Whether a request must have a key.
        expires: How long a reply is kept.
    """

    required: bool = False
    expires: timedelta = timedelta(hours=24)


@overload
def idempotent(view: V, /) -> V: ...
@overload
def idempotent(*, required: bool = False, expires: timedelta = ...) -> Callable[[V], V]: ...
def idempotent(view: Any = None, /, *, required: bool = False, expires: timedelta = timedelta(hours=24)) -> Any:
    """Do the work of a POST or PATCH once, however often it is sent (draft-ietf-httpapi-idempotency-key-header).

    A decorator of an operation, a function or a method of a `MethodView`, above or below the others. A request that
    names a key in `Idempotency-Key` has its reply stored in the transaction of its work; the same request again, by the
    same caller, is answered with that reply.

    Args:
        view: The operation; without it, as in `@idempotent(required=True)`, a decorator is returned.
        required: Refuse requests without a key.
        expires: How long the reply is kept.

    Raises:
        TypeError: What is marked is no function.
        ValueError: The replies would expire at once.
    """
    if expires <= timedelta():
        raise ValueError(f"expires={expires} is no time to keep a reply for; 24 hours are usual")
    mark = IdempotentMark(required, expires)

    def stamp(view: V) -> V:
        return _stamp_layers(view, _IDEMPOTENT, mark)

    return stamp if view is None else stamp(view)


def idempotent_mark(view: Any) -> IdempotentMark | None:
    """Return the mark of a view, or None where there is none."""
    mark = getattr(view, _IDEMPOTENT, None)
    return mark if isinstance(mark, IdempotentMark) else None


_DEPRECATED = "_ligand_deprecated"


@dataclass(frozen=True, slots=True)
class DeprecationMark:
    """What `deprecated` says of a handler, of a class or of a blueprint.

    Attributes:
        since: From when on nobody should begin to use it.
        sunset: From when on it may be gone, or None.
        link: Where more is said about it, or None.
    """

    since: datetime
    sunset: datetime | None = None
    link: str | None = None


def deprecated(*, since: date | str, sunset: date | str | None = None, link: str | None = None) -> Callable[[T], T]:
    """Tell callers that something will go (RFC 9745, RFC 8594).

    A decorator of a view, of a class or of its methods, above or below the others; a blueprint is marked by
    `deprecated(since="2026-01-01")(blueprint)`. The nearest mark decides. Every answer carries `Deprecation`, and
    `Sunset` and `Link` where they are known; the OpenAPI document says so.

    Args:
        since: From when on nobody should begin to use it: a date, which begins in UTC, a time with its offset, or
            either as ISO 8601 text.
        sunset: From when on it may be gone, as above.
        link: The address of a page that says what to use instead.

    Raises:
        ValueError: A time is without offset or cannot be read, the sunset is before the deprecation, or the link
            cannot be sent.
    """
    begin, end = _moment(since), None if sunset is None else _moment(sunset)
    if end is not None and end < begin:
        raise ValueError(f"sunset={sunset} is before since={since}; what is gone is not deprecated later")
    if link is not None and (not link.isascii() or not link.isprintable() or set(link) & set(' <>"')):
        raise ValueError("link is no address that a header can carry; write it as in https://example.org/news")
    mark = DeprecationMark(begin, end, link)

    def stamp(marked: T) -> T:
        setattr(marked, _DEPRECATED, mark)
        return marked

    return stamp


def deprecation_mark(marked: Any) -> DeprecationMark | None:
    """Return what is stamped on a handler, a class or a blueprint itself, or None."""
    mark = getattr(marked, _DEPRECATED, None)
    return mark if isinstance(mark, DeprecationMark) else None


def _moment(value: date | str) -> datetime:
    """Return a moment in UTC.

    Raises:
        ValueError: It is none, or a time without offset.
    """
    if isinstance(value, str):
        value = datetime.fromisoformat(value) if len(value) > len("2026-01-01") else date.fromisoformat(value)
    if not isinstance(value, datetime):
        return datetime(value.year, value.month, value.day, tzinfo=UTC)
    if value.utcoffset() is None:
        raise ValueError(f"{value} has no offset; write it as in 2026-01-01T00:00:00+00:00")
    return value.astimezone(UTC)


_TAGS = "_ligand_tags"


@dataclass(frozen=True, slots=True)
class TagMark:
    """One tag.

    Attributes:
        name: What it is called; None for the name of the blueprint that it is on.
        description: What its operations have in common, in CommonMark.
    """

    name: str | None
    description: str | None = None


def tag(name: str | None = None, *, description: str | None = None) -> Callable[[M], M]:
    """File operations under a tag of the OpenAPI document.

    A decorator of a view, of a class or of its methods, above or below the others; a blueprint is marked by
    `tag(description="Pets, and who keeps them.")(blueprint)`. An operation has the tags of its own and those of every
    blueprint around it; without any, the name of its blueprint is its tag.

    Args:
        name: The tag; a blueprint whose name will do needs a description only.
        description: What is filed under it, in CommonMark; said once.

    Raises:
        TypeError: There is neither name nor description, or a description without a name is on no blueprint.
    """
    if name is None and description is None:
        raise TypeError('tag() says a name, a description or both, such as tag("pets", description="All about pets.")')

    def stamp(marked: M) -> M:
        if name is None and not isinstance(marked, Blueprint):
            raise TypeError("tag(description=…) without a name is for blueprints, which have one")
        setattr(marked, _TAGS, (TagMark(name, description), *tag_marks(marked)))
        return marked

    return stamp


def tag_marks(marked: Any) -> tuple[TagMark, ...]:
    """Return what is stamped on a handler, a class or a blueprint itself."""
    found: tuple[TagMark, ...] = getattr(marked, _TAGS, ())
    return found


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
