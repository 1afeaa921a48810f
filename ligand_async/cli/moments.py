"""Moments on the command line."""

import re
from datetime import UTC, datetime, timedelta

import click

AGO = re.compile(r"(\d{1,6})([smhdw])")
SPANS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def read_moment(text: str) -> datetime:
    """Read a date or a time in ISO 8601, in UTC unless it says otherwise; or how long ago, as `90d`.

    Raises:
        BadParameter: It is neither.
    """
    try:
        if ago := AGO.fullmatch(text):
            return datetime.now(UTC) - timedelta(**{SPANS[ago[2]]: int(ago[1])})
        moment = datetime.fromisoformat(text)
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise click.BadParameter(
            f"{text!r} is no moment; write 2026-01-31, 2026-01-31T12:00:00+01:00, or 90d for so long ago"
        ) from error
