"""What decorators stamp on handlers, for others to read: on functions and on the methods of a `MethodView`."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

from pydantic import BaseModel

from ligand_async.problem import Problem
from ligand_async.quotas import Quota, read_quotas

SessionMode = Literal["read", "write", "snapshot", "replica"]

OPERATION_ATTRIBUTE = "_ligand_operation"
LIMIT_ATTRIBUTE = "_ligand_limit"

T = TypeVar("T")


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
