"""What decorators stamp on handlers, for others to read: on functions and on the methods of a `MethodView`."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal, TypeVar, overload

from pydantic import BaseModel

from ligand_async.problem import Problem
from ligand_async.quotas import Quota, read_quotas

SessionMode = Literal["read", "write", "snapshot", "replica"]

OPERATION_ATTRIBUTE = "_ligand_operation"
LIMIT_ATTRIBUTE = "_ligand_limit"
CONDITIONAL_ATTRIBUTE = "_ligand_conditional"
IDEMPOTENT_ATTRIBUTE = "_ligand_idempotent"

T = TypeVar("T")
V = TypeVar("V", bound=Callable[..., Any])


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
    setattr(view, OPERATION_ATTRIBUTE, mark)


def operation_mark(view: Callable[..., Any]) -> OperationMark | None:
    """Return the mark of a view, or None where there is none."""
    mark = getattr(view, OPERATION_ATTRIBUTE, None)
    return mark if isinstance(mark, OperationMark) else None


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
        setattr(marked, LIMIT_ATTRIBUTE, mark)
        return marked

    return stamp


def limit_mark(marked: Any) -> LimitMark | None:
    """Return what is stamped on a handler, a class or a blueprint itself, or None."""
    mark = getattr(marked, LIMIT_ATTRIBUTE, None)
    return mark if isinstance(mark, LimitMark) else None


def conditional(view: V) -> V:
    """Let an operation change only what its caller has seen (RFC 9110 section 13).

    A decorator of an operation, a function or a method of a `MethodView`, above or below the others. The handler calls
    `check_preconditions(entity)` before it changes anything; where it does not, nothing is committed. PUT, PATCH and
    DELETE without a precondition are answered 428, those that come too late 412.

    Raises:
        TypeError: What is marked is no function.
    """
    return stamp_layers(view, CONDITIONAL_ATTRIBUTE, True)


def is_conditional(view: Any) -> bool:
    """Tell whether a view, or the handler that it was made of, is marked."""
    return getattr(view, CONDITIONAL_ATTRIBUTE, False) is True


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
        return stamp_layers(view, IDEMPOTENT_ATTRIBUTE, mark)

    return stamp if view is None else stamp(view)


def idempotent_mark(view: Any) -> IdempotentMark | None:
    """Return the mark of a view, or None where there is none."""
    mark = getattr(view, IDEMPOTENT_ATTRIBUTE, None)
    return mark if isinstance(mark, IdempotentMark) else None


def stamp_layers(view: V, attribute: str, mark: Any) -> V:
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
