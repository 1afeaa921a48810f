"""The strict scan of a JSON body, before pydantic reads it.

It finds what pydantic lets pass: duplicate keys, NaN, numbers beyond a double, U+0000. It is a second reading of the
same bytes. `bench/scan.py` measures what it costs: for a pet of 97 bytes 1.6 µs, and its validation takes 0.9 µs; with
a text of 4 kB 8 µs and 1.4 µs; for 10,000 pets (1 MB) 6.4 ms and 12.2 ms.
"""

import math
import re
import sys
from collections.abc import Iterable
from decimal import Decimal
from typing import Any

import jiter

from ligand_async.errors import MalformedBody
from ligand_async.web.invalid import refuse_part

_POSITION = re.compile(r"at line \d+ column \d+$")

# Only with three digits in its exponent, or with hundreds in all, can a number be beyond a double. With one sign for
# all digits that is found eight times faster than by a regular expression.
_SHAPE = bytes(ord("0") if chr(byte).isdigit() else ord("e") if byte in b"eE" else byte for byte in range(128)) + bytes(
    128
)
_LARGE = (b"0e000", b"0e+000", b"0" * 200)
_ESCAPED_NUL = b"\\u0000"  # a bare one is malformed


def scan(raw: bytes) -> Any:
    """Return a JSON text as plain data.

    Raises:
        MalformedBody: It is not JSON, or JSON that two parsers would read differently.
        ValidationFailed: It holds a number beyond a double, or U+0000.
    """
    if not raw:
        raise MalformedBody("the body is empty; JSON was expected")
    try:
        document = jiter.from_json(raw, catch_duplicate_keys=True, allow_inf_nan=False, cache_mode="keys")
    except ValueError as error:
        raise MalformedBody(_describe_malformed(str(error))) from None  # its text may hold a key that was sent
    path = find_infinite(document) if _may_overflow(raw) else None
    if path is not None:
        raise refuse_part("Input should be a finite number", "finite_number", path)
    path = find_nul(document) if _ESCAPED_NUL in raw else None
    if path is not None:
        raise refuse_part("Input should not contain U+0000", "nul_character", path)
    return document


def _may_overflow(raw: bytes) -> bool:
    """Tell whether a number in a JSON text can be beyond a double."""
    shape = raw.translate(_SHAPE)
    return any(large in shape for large in _LARGE)


def _describe_malformed(words: str) -> str:
    """Say what is malformed and where, without what was sent."""
    position = _POSITION.search(words)
    where = f" {position[0]}" if position else ""
    what = "has a duplicate key" if words.startswith("Detected duplicate key") else "is not well-formed JSON"
    return f"the body {what}{where}"


_Path = tuple[str | int, ...]


def find_infinite(value: Any) -> _Path | None:
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
            return _find_among(value.items())
        case list() | tuple() | set() | frozenset():
            return _find_among(enumerate(value))
        case _:
            return None


def _find_among(items: Iterable[tuple[Any, Any]]) -> _Path | None:
    """Return where among values the first number is that is not finite, or None."""
    for key, value in items:
        path = find_infinite(value)
        if path is not None:
            return (key, *path)
    return None


_NUL = "\0"


def find_nul(value: Any) -> _Path | None:
    """Return where in plain data the first text is that holds U+0000, or None; of a key, where its mapping is."""
    match value:
        case str():
            return () if _NUL in value else None
        case dict():
            if any(isinstance(key, str) and _NUL in key for key in value):
                return ()
            items = list(value.items())
        case list():
            items = list(enumerate(value))
        case _:
            return None
    for key, part in items:
        path = find_nul(part)
        if path is not None:
            return (key, *path)
    return None
