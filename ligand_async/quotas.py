"""Quotas: how many requests in how many seconds."""

import re
from dataclasses import dataclass

SECONDS = {"second": 1, "minute": 60, "hour": 3600, "day": 86400}
PART = re.compile(r"\s*([0-9]{1,9})\s*(?:/|\s+per\s+)\s*([0-9]{1,4})?\s*(second|minute|hour|day)s?\s*", re.IGNORECASE)


@dataclass(frozen=True, slots=True, order=True)
class Quota:
    """So many requests in a window.

    Attributes:
        seconds: How long a window is.
        amount: How many requests it takes.
    """

    seconds: int
    amount: int


def read_quotas(text: str) -> tuple[Quota, ...]:
    """Read quotas, such as `10/minute` or `10 per 5 minutes; 1000/day`; return them with the shortest window first.

    Raises:
        ValueError: The text is something else, a number in it is 0, or two windows are of the same length.
    """
    found = [PART.fullmatch(part) for part in re.split("[;,]", text)]
    quotas = sorted(
        Quota(int(match[2] or 1) * SECONDS[match[3].lower()], int(match[1])) for match in found if match is not None
    )
    lengths = {quota.seconds for quota in quotas}
    if len(lengths) != len(found) or not all(quota.amount and quota.seconds for quota in quotas):
        raise ValueError("write it as 10/minute, or 10 per 5 minutes; 1000/day, each window once")
    return tuple(quotas)
