"""Times as text: a number is none, though pydantic would count seconds from 1970, which no document says."""

from datetime import date, datetime, time, timedelta
from typing import Any, get_args

from pydantic import AwareDatetime, FutureDate, FutureDatetime, NaiveDatetime, PastDate, PastDatetime

MOMENTS = {datetime, AwareDatetime, FutureDatetime, NaiveDatetime, PastDatetime}
TIMES = frozenset({date, FutureDate, PastDate, time, timedelta} | MOMENTS)
NUMBERS = frozenset({int, float, complex, str, Any})
NO_TIME = "a number"


def takes_time(annotation: Any) -> bool:
    """Tell whether an annotation is a time, looking through unions and lists, and no number or text besides."""
    inside = set(parts_of(annotation))
    return not inside.isdisjoint(TIMES) and inside.isdisjoint(NUMBERS)


def parts_of(annotation: Any) -> list[Any]:
    """Return an annotation and all that it is made of."""
    return [annotation, *(part for inner in get_args(annotation) if inner is not Any for part in parts_of(inner))]


def without_numbers(value: str | list[str]) -> str | list[str]:
    """Return a text, or each of several, with what no time begins with where it is a number."""
    if isinstance(value, list):
        return [NO_TIME if is_number(one) else one for one in value]
    return NO_TIME if is_number(value) else value


def is_number(text: str) -> bool:
    """Tell whether a text is a number."""
    try:
        float(text)
    except ValueError:
        return False
    return True
