"""What will go, and when: what `deprecated` says."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any, TypeVar

ATTRIBUTE = "_ligand_deprecated"

T = TypeVar("T")


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
    begin, end = moment(since), None if sunset is None else moment(sunset)
    if end is not None and end < begin:
        raise ValueError(f"sunset={sunset} is before since={since}; what is gone is not deprecated later")
    if link is not None and (not link.isascii() or not link.isprintable() or set(link) & set(' <>"')):
        raise ValueError("link is no address that a header can carry; write it as in https://example.org/news")
    mark = DeprecationMark(begin, end, link)

    def stamp(marked: T) -> T:
        setattr(marked, ATTRIBUTE, mark)
        return marked

    return stamp


def deprecation_mark(marked: Any) -> DeprecationMark | None:
    """Return what is stamped on a handler, a class or a blueprint itself, or None."""
    mark = getattr(marked, ATTRIBUTE, None)
    return mark if isinstance(mark, DeprecationMark) else None


def moment(value: date | str) -> datetime:
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
