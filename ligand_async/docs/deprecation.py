"""How deprecation is documented (RFC 9745, RFC 8594)."""

from typing import Any

from quart import Quart

from ligand_async.docs.endpoints import Endpoint
from ligand_async.marks import DeprecationMark
from ligand_async.web.deprecation import deprecation_of

DEPRECATION = {
    "description": "Since when it is deprecated, as seconds since 1970 (RFC 9745).",
    "required": True,
    "schema": {"type": "string", "pattern": "^@-?[0-9]+$"},
}
SUNSET = {
    "description": "From when on it may be gone (RFC 8594).",
    "required": True,
    "schema": {"type": "string"},
}
LINK = {
    "description": 'What to use instead: `rel="deprecation"` (RFC 9745 section 3).',
    "required": True,
    "schema": {"type": "string"},
}


def deprecation_mark_of(app: Quart, endpoint: Endpoint) -> DeprecationMark | None:
    """Return what `deprecated` says of an endpoint, or None."""
    return deprecation_of(app, endpoint.name, endpoint.method)


def describe_deprecation(mark: DeprecationMark) -> str:
    """Return when something goes, in words of CommonMark."""
    words = f"Deprecated since {mark.since:%Y-%m-%d}"
    words += f", gone from {mark.sunset:%Y-%m-%d} on." if mark.sunset is not None else "."
    return f"{words} [Read more](<{mark.link}>)." if mark.link is not None else words


def deprecation_headers(mark: DeprecationMark) -> dict[str, Any]:
    """Describe the headers of every answer of what is deprecated."""
    sunset = {} if mark.sunset is None else {"Sunset": SUNSET}
    return {"Deprecation": DEPRECATION, **sunset, **({} if mark.link is None else {"Link": LINK})}


def tell_deprecation(responses: dict[str, Any], mark: DeprecationMark) -> None:
    """Add the headers to descriptions of answers; a `Link` with other pages has both in it."""
    for status, response in responses.items():
        # The guard, which answers before the route is known, tells nobody.
        loose = {name: {**header, "required": False} for name, header in deprecation_headers(mark).items()}
        headers = loose if status == "default" else deprecation_headers(mark)
        known = response.get("headers", {})
        if "Link" in known and "Link" in headers:
            both = f"{known['Link']['description']} {LINK['description']}"
            headers["Link"] = {**headers["Link"], "description": both}
        responses[status] = {**response, "headers": dict(sorted({**known, **headers}.items()))}
