"""`RangeResponse`, the class of responses: it answers requests for a part of a body (RFC 9110 section 14).

It overrides Quart 0.22, which answers several ranges, an unknown unit and a malformed `Range` with 416; takes a suffix
such as `bytes=-500` for a mistake; answers HEAD with 206; sends a part to a client that has the whole (section 13.2.2:
`If-None-Match` comes first); takes weak entity tags in `If-Range`; and sends a 416 without the length.
`tests/web/test_response.py` tests them against a stock Quart.

A `quart.Response` that a view makes itself is Quart's own; `current_app.response_class` is this one.
"""

import re
from datetime import datetime
from typing import Any

from quart import Request, Response
from werkzeug.datastructures import ContentRange
from werkzeug.exceptions import RequestedRangeNotSatisfiable
from werkzeug.http import parse_date

_UNIT = "bytes"
_RANGES = re.compile(r"bytes[ \t]*=[ \t]*(.*)", re.IGNORECASE)
_RANGE = re.compile(r"([0-9]*)-([0-9]*)")
_MOST_DIGITS = 19


class RangeResponse(Response):
    """A `quart.Response` whose parts follow RFC 9110.

    One range of a GET is answered with 206, and one that begins past the end with 416. For anything else the whole is
    sent, as section 14.2 allows: several ranges, ranges that are malformed or in another unit, and ranges with an
    `If-Range` that does not match exactly.
    """

    async def make_conditional(
        self, request: Request, accept_ranges: bool | str = False, complete_length: int | None = None
    ) -> Response:
        """Answer with 304 or 412, or with the part that the request asks for.

        Args:
            request: The request.
            accept_ranges: Whether the body has parts.
            complete_length: The length of the whole body in bytes.

        Raises:
            RequestedRangeNotSatisfiable: The range begins past the end.
        """
        response: Response = await super().make_conditional(request)
        if not accept_ranges or accept_ranges == "none" or complete_length is None:
            return response
        self.headers["Accept-Ranges"] = _UNIT
        if request.method != "GET" or self.status_code != 200 or not self._is_current(request):
            return response
        ranges = _read_ranges(request.headers.get("Range", ""))
        if not ranges:
            return response
        found = [part for one in ranges if (part := _within(one, complete_length)) is not None]
        if not found:
            # The headers of the file stay away: the problem has a body of its own.
            raise RequestedRangeNotSatisfiable(complete_length, units=_UNIT)
        if len(found) == 1:
            await self._cut(*found[0], complete_length)
        return response

    def _is_current(self, request: Request) -> bool:
        """Return whether the client has parts of this very body: by a strong comparison (RFC 9110 section 13.1.5)."""
        condition = request.headers.get("If-Range")
        if condition is None:
            return True
        if condition.endswith('"'):
            return condition.startswith('"') and condition == self.headers.get("ETag")
        date = parse_date(condition)
        modified: datetime | None = self.last_modified
        return date is not None and date == modified

    async def _cut(self, begin: int, end: int, length: int) -> None:
        if not hasattr(self.response, "make_conditional"):
            await self.make_sequence()
        body: Any = self.response
        await body.make_conditional(begin, end)
        self.content_length = end - begin
        self.content_range = ContentRange(_UNIT, begin, end, length)
        self.status_code = 206


def _read_ranges(value: str) -> list[tuple[int | None, int | None]]:
    """Return the first and the last position of each range; none if one is malformed, or if the unit is not bytes."""
    matched = _RANGES.fullmatch(value.strip(" \t"))
    ranges: list[tuple[int | None, int | None]] = []
    for text in matched[1].split(",") if matched is not None else ():
        stripped = text.strip(" \t")
        if not stripped:  # an empty member of a list is ignored (section 5.6.1)
            continue
        found = _RANGE.fullmatch(stripped)
        if found is None or not (found[1] or found[2]) or max(len(found[1]), len(found[2])) > _MOST_DIGITS:
            return []
        first, last = (int(digits) if digits else None for digits in found.groups())
        if first is not None and last is not None and last < first:
            return []
        ranges.append((first, last))
    return ranges


def _within(one: tuple[int | None, int | None], length: int) -> tuple[int, int] | None:
    """Return where a range begins and ends in a body of some length, the end not included; None if it has no byte."""
    first, last = one
    if first is None:
        begin, end = max(length - (last or 0), 0), length
    else:
        begin, end = first, length if last is None else min(last + 1, length)
    return (begin, end) if begin < end else None
