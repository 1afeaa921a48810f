"""Numbers that JSON cannot write, or that no double holds (RFC 8259 section 6)."""

import math
import sys
from collections.abc import Iterable
from decimal import Decimal
from typing import Any

Path = tuple[str | int, ...]


def find_infinite(value: Any) -> Path | None:
    """Return where in plain data the first number is that is not finite, or None."""
    match value:
        case float():
            return None if math.isfinite(value) else ()
        case bool():
            return None
        case int():
            return None if abs(value) <= sys.float_info.max else ()
        case Decimal():
            return None if value.is_finite() else ()
        case dict():
            return find_among(value.items())
        case list() | tuple() | set() | frozenset():
            return find_among(enumerate(value))
        case _:
            return None


def find_among(items: Iterable[tuple[Any, Any]]) -> Path | None:
    """Return where among values the first number is that is not finite, or None."""
    for key, value in items:
        path = find_infinite(value)
        if path is not None:
            return (key, *path)
    return None
