"""Telling callers what will go (RFC 9745, RFC 8594)."""

from quart import Quart, Response, current_app, request
from werkzeug.http import http_date

from ligand_async.marks import DeprecationMark, deprecation_mark, owners_of


def deprecation_of(app: Quart, endpoint: str, method: str) -> DeprecationMark | None:
    """Return the nearest mark of a route, or None.

    Args:
        app: The app.
        endpoint: The route's endpoint.
        method: The HTTP method in capitals.
    """
    marks = (deprecation_mark(owner) for _, owner in owners_of(app, endpoint, method))
    return next((mark for mark in marks if mark is not None), None)


def _headers_of(mark: DeprecationMark) -> dict[str, str]:
    """Return what is said with each answer."""
    headers = {"Deprecation": f"@{int(mark.since.timestamp())}"}
    if mark.sunset is not None:
        headers["Sunset"] = http_date(mark.sunset)
    if mark.link is not None:
        headers["Link"] = f'<{mark.link}>; rel="deprecation"'
    return headers


def init_deprecation(app: Quart) -> None:
    """Let an app tell its callers what is deprecated."""
    known: dict[tuple[str, str], dict[str, str]] = {}

    async def tell(response: Response) -> Response:
        if request.endpoint is None or request.routing_exception is not None:
            return response
        key = (request.endpoint, request.method)
        if key not in known:
            mark = deprecation_of(current_app, *key)
            known[key] = {} if mark is None else _headers_of(mark)
        for name, value in known[key].items():
            others = response.headers.getlist(name) if name == "Link" else []
            response.headers[name] = ", ".join([*others, value])
        return response

    app.after_request(tell)
