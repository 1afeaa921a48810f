"""How often a caller may ask: what `limit` says."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from ligand_async.quotas import Quota, read_quotas

ATTRIBUTE = "_ligand_limit"

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
        setattr(marked, ATTRIBUTE, mark)
        return marked

    return stamp


def limit_mark(marked: Any) -> LimitMark | None:
    """Return what is stamped on a handler, a class or a blueprint itself, or None."""
    mark = getattr(marked, ATTRIBUTE, None)
    return mark if isinstance(mark, LimitMark) else None
