"""What decorators stamp on functions, classes and blueprints, for others to read."""

from collections.abc import Callable
from dataclasses import dataclass
from types import FunctionType
from typing import Any, Literal, TypeVar
from weakref import ReferenceType, WeakKeyDictionary, WeakSet, ref

from pydantic import BaseModel
from quart import Blueprint, Quart

from ligand_async.problem import Problem
from ligand_async.quotas import Quota, read_quotas
from ligand_async.requirement import Requirement
from ligand_async.wrapping import behind

SessionMode = Literal["read", "write", "snapshot", "replica"]

OPERATION_ATTRIBUTE = "_ligand_operation"
LIMIT_ATTRIBUTE = "_ligand_limit"
ACCESS_ATTRIBUTE = "_ligand_access"

T = TypeVar("T")
M = TypeVar("M", bound=Callable[..., Any] | Blueprint)


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
    return stamp_access(marked, AccessMark(None))


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
    return lambda marked: stamp_access(marked, mark)


def stamp_access(marked: M, mark: AccessMark) -> M:
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
        setattr(marked, ACCESS_ATTRIBUTE, mark)
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
    mark = attributes.get(ACCESS_ATTRIBUTE) if own else getattr(marked, ACCESS_ATTRIBUTE, None)
    return mark if isinstance(mark, AccessMark) else None
