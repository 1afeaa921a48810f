"""Who may call: what `public` and `requires` say."""

from collections.abc import Callable
from dataclasses import dataclass
from types import FunctionType
from typing import Any, TypeVar
from weakref import ReferenceType, WeakKeyDictionary, WeakSet, ref

from quart import Blueprint, Quart

from ligand_async.requirement import Requirement
from ligand_async.wrapping import behind

ATTRIBUTE = "_ligand_access"

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
        setattr(marked, ATTRIBUTE, mark)
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
    mark = attributes.get(ATTRIBUTE) if own else getattr(marked, ATTRIBUTE, None)
    return mark if isinstance(mark, AccessMark) else None
