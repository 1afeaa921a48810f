"""Values that JSON, or a database that stores it, cannot hold: NaN, Infinity, numbers beyond a double, and U+0000."""

import math
import sys
from decimal import Decimal
from typing import Any, NamedTuple


class Flaw(NamedTuple):
    """A value that cannot be held.

    Attributes:
        path: The keys and positions that lead to it. A key with U+0000 in it is reported at its mapping.
        code: A word for programs, as pydantic has it for the same mistake.
        detail: A sentence for people, without the value.
    """

    path: tuple[str | int, ...]
    code: str
    detail: str


NOT_FINITE = ("finite_number", "Input should be a finite number")
_NUL_CHARACTER = ("nul_character", "Input should not contain U+0000")
_NUL = "\0"


def find_flaw(value: Any, *, in_text: bool = True) -> Flaw | None:
    """Return the first value in plain data that cannot be held, or None.

    Args:
        value: Text, numbers, and mappings and lists of these; other objects are ignored.
        in_text: Whether to look for U+0000 too. JSON can hold it, PostgreSQL cannot store it.
    """
    match value:
        case str():
            return Flaw((), *_NUL_CHARACTER) if in_text and _NUL in value else None
        case bool() | None:
            return None
        case int() | float() | Decimal():
            return None if is_finite(value) else Flaw((), *NOT_FINITE)
        case dict():
            if in_text and any(isinstance(key, str) and _NUL in key for key in value):
                return Flaw((), *_NUL_CHARACTER)
            items: Any = value.items()
        case list() | tuple() | set() | frozenset():
            items = enumerate(value)
        case _:
            return None
    for key, part in items:
        flaw = find_flaw(part, in_text=in_text)
        if flaw is not None:
            return flaw._replace(path=(key, *flaw.path))
    return None


def is_finite(number: int | float | Decimal) -> bool:
    """Return whether a number is finite, and an integer not beyond a double (RFC 7493 section 2.2)."""
    if isinstance(number, int):
        return abs(number) <= sys.float_info.max
    return number.is_finite() if isinstance(number, Decimal) else math.isfinite(number)
