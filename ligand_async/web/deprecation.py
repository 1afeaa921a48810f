"""Deprecation: what will go, announced with every response and in the OpenAPI document (RFC 9745, RFC 8594)."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any, TypeVar

from quart import Quart, Response, request
from werkzeug.http import http_date

from ligand_async.marks import owners_of
from ligand_async.web.dispatch import hook_where
from ligand_async.web.endpoint import Endpoint, Feature, add_headers

_DEPRECATED = "_ligand_deprecated"

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _Deprecation:
    """The arguments of `deprecated`, its times in UTC."""

    since: datetime
    sunset: datetime | None = None
    link: str | None = None


def deprecated(*, since: date | str, sunset: date | str | None = None, link: str | None = None) -> Callable[[T], T]:
    """Announce that a view, a class or the views of a blueprint will go (RFC 9745, RFC 8594).

    A decorator of a view, of a class or of its methods, above or below the others. For a blueprint write
    `deprecated(since="2026-01-01")(blueprint)`. The nearest one decides. Every response carries `Deprecation`, and
    `Sunset` and `Link` if they are given. The OpenAPI document says the same.

    Args:
        since: When clients should stop adopting it: a date, which begins at midnight UTC, a time with an offset, or
            either as ISO 8601 text.
        sunset: When it may be removed, written as above.
        link: The URL of a page that says what to use instead.

    Raises:
        ValueError: A time has no offset or cannot be read, the sunset is before the deprecation, or the link has
            characters that a header cannot carry.
    """
    begin, end = _moment(since), None if sunset is None else _moment(sunset)
    if end is not None and end < begin:
        raise ValueError(f"sunset={sunset} is before since={since}; it cannot be removed before it is deprecated")
    if link is not None and (not link.isascii() or not link.isprintable() or set(link) & set(' <>"')):
        raise ValueError("link has characters that a header cannot carry; write a URL like https://example.org/news")
    mark = _Deprecation(begin, end, link)

    def stamp(marked: T) -> T:
        setattr(marked, _DEPRECATED, mark)
        return marked

    return stamp


def _moment(value: date | str) -> datetime:
    if isinstance(value, str):
        value = datetime.fromisoformat(value) if len(value) > len("2026-01-01") else date.fromisoformat(value)
    if not isinstance(value, datetime):
        return datetime(value.year, value.month, value.day, tzinfo=UTC)
    if value.utcoffset() is None:
        raise ValueError(f"{value} has no offset; write it as in 2026-01-01T00:00:00+00:00")
    return value.astimezone(UTC)


def _deprecation_of(app: Quart, endpoint: str, method: str) -> _Deprecation | None:
    """Return the nearest mark of a route, or None."""
    marks = (getattr(owner, _DEPRECATED, None) for _, owner in owners_of(app, endpoint, method))
    return next((mark for mark in marks if isinstance(mark, _Deprecation)), None)


def init_deprecation(app: Quart) -> None:
    """Add the headers of deprecation to the responses of an app."""

    def is_deprecated(endpoint: str, method: str) -> bool:
        return _deprecation_of(app, endpoint, method) is not None

    async def announce(response: Response) -> Response:
        if request.endpoint is None or request.routing_exception is not None:
            return response
        mark = _deprecation_of(app, request.endpoint, request.method)
        for name, value in ({} if mark is None else _headers_of(mark)).items():
            others = response.headers.getlist(name) if name == "Link" else []
            response.headers[name] = ", ".join([*others, value])
        return response

    app.after_request(hook_where(announce, is_deprecated))


def _headers_of(mark: _Deprecation) -> dict[str, str]:
    headers = {"Deprecation": f"@{int(mark.since.timestamp())}"}
    if mark.sunset is not None:
        headers["Sunset"] = http_date(mark.sunset)
    if mark.link is not None:
        headers["Link"] = f'<{mark.link}>; rel="deprecation"'
    return headers


_DEPRECATION = {
    "description": "Since when it is deprecated, as seconds since 1970 (RFC 9745).",
    "required": True,
    "schema": {"type": "string", "pattern": "^@-?[0-9]+$"},
}
_SUNSET = {
    "description": "From when on it may be gone (RFC 8594).",
    "required": True,
    "schema": {"type": "string"},
}
_LINK = {
    "description": 'What to use instead: `rel="deprecation"` (RFC 9745 section 3).',
    "required": True,
    "schema": {"type": "string"},
}


def _describe(endpoint: Endpoint, described: dict[str, Any]) -> None:
    mark = _deprecation_of(endpoint.app, endpoint.name, endpoint.method)
    if mark is None:
        return
    described["description"] = "\n\n".join(filter(None, (described["description"], _in_words(mark))))
    described["deprecated"] = True
    sent = _describe_headers(mark)
    # The guard answers before the route is known, so its responses have none of these headers.
    loose = {name: {**header, "required": False} for name, header in sent.items()}
    for status, response in described["responses"].items():
        headers = dict(loose if status == "default" else sent)
        known = response.get("headers", {})
        if "Link" in known and "Link" in headers:
            both = f"{known['Link']['description']} {_LINK['description']}"
            headers["Link"] = {**headers["Link"], "description": both}
        described["responses"][status] = add_headers(response, headers)


def _in_words(mark: _Deprecation) -> str:
    words = f"Deprecated since {mark.since:%Y-%m-%d}"
    words += f", gone from {mark.sunset:%Y-%m-%d} on." if mark.sunset is not None else "."
    return f"{words} [Read more](<{mark.link}>)." if mark.link is not None else words


def _describe_headers(mark: _Deprecation) -> dict[str, Any]:
    sunset = {} if mark.sunset is None else {"Sunset": _SUNSET}
    return {"Deprecation": _DEPRECATION, **sunset, **({} if mark.link is None else {"Link": _LINK})}


DEPRECATION = Feature(describe=_describe)
