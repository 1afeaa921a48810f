"""The values of claims: read strictly where they decide, leniently where they only add."""

import math
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any

from ligand_async.auth.refusals import InvalidToken

MAX_TEXT = 255
LAST_SECOND = 253_402_300_799  # of the year 9999, the last that `datetime` knows


def text_in(claims: Mapping[str, Any], name: str) -> str | None:
    """Return a name, or None where there is none.

    Raises:
        InvalidToken: It is no text, it is empty or long, or it holds what cannot be printed.
    """
    if name not in claims:
        return None
    value = claims[name]
    if not isinstance(value, str) or not 0 < len(value) <= MAX_TEXT or not value.isprintable():
        raise InvalidToken(name)
    return value


def time_in(claims: Mapping[str, Any], name: str) -> float | None:
    """Return a time, or None where there is none.

    Raises:
        InvalidToken: It is no number of seconds, or beyond all calendars.
    """
    if name not in claims:
        return None
    value = claims[name]
    # True is an int too, and nan compares false.
    if type(value) not in (int, float) or not 0 <= value <= LAST_SECOND:
        raise InvalidToken(name)
    return float(value)


def find_claim(claims: Any, path: str) -> Any:
    """Return a claim: one of that very name, else one inside an object that its beginning names; None for none."""
    if not isinstance(claims, Mapping):
        return None
    if path in claims:
        return claims[path]
    for index in [place for place, character in enumerate(path) if character == "."][::-1]:
        found = find_claim(claims.get(path[:index]), path[index + 1 :])
        if found is not None:
            return found
    return None


def words_of(value: Any, *, may_be_text: bool = False) -> Iterator[str]:
    """Yield the words of a list, or of a text with spaces where that is a form of it."""
    if isinstance(value, str) and may_be_text:
        value = value.split(" ")
    if isinstance(value, list | tuple):
        yield from (word for word in value if isinstance(word, str) and word)


def freeze(value: Any) -> Any:
    """Return a JSON value that nobody can change: one principal serves many requests.

    Raises:
        InvalidToken: A number in it is not finite.
    """
    if isinstance(value, Mapping):
        return MappingProxyType({name: freeze(item) for name, item in value.items()})
    if isinstance(value, list | tuple):
        return tuple(map(freeze, value))
    if isinstance(value, float) and not math.isfinite(value):
        raise InvalidToken("number")
    return value
