"""How entity tags, idempotency keys, rate limits and deprecation are documented (RFC 9745, RFC 8594)."""

from http import HTTPStatus
from typing import Any

from pydantic import BaseModel
from quart import Quart

from ligand_async.context import find_service
from ligand_async.data import Timestamped, is_flat
from ligand_async.docs.endpoints import Endpoint, parts_of
from ligand_async.errors import (
    BadRequest,
    IdempotencyKeyReused,
    PreconditionFailed,
    PreconditionRequired,
    Problem,
    RequestInProgress,
    title_of,
)
from ligand_async.marks import DeprecationMark
from ligand_async.web import HEADER, MAX_KEY, REQUIRING, TAGGED, deprecation_of
from ligand_async.web.lists import Page

_ETAG = {
    "description": "The entity tag of what is answered: send it as If-Match to change that, as If-None-Match to read "
    "it only if it has changed.",
    "schema": {"type": "string"},
}
_LAST_MODIFIED = {
    "description": "When what is answered was last changed, to the second (RFC 9110 section 8.8.2).",
    "schema": {"type": "string"},
}
_EXPECTED = {
    "If-Match": "Change the resource only if this is still its ETag.",
    "If-None-Match": "Create the resource only if there is none: `*`.",
    "If-Unmodified-Since": "Change the resource only if it is unchanged since this date (RFC 9110 section 5.6.7).",
}
_KNOWN = {"If-None-Match": "Read the resource only if this is no more its ETag."}


def validator_headers(endpoint: Endpoint, status: int, shown: Any) -> dict[str, Any]:
    """Describe what a success says of the state that it shows (RFC 9110 section 8.8).

    Reads, conditional changes and what shows one versioned entity have a tag, but for what was deleted. What shows
    nothing but columns of one entity can say when that was last changed.

    Args:
        endpoint: The operation.
        status: The status of the success.
        shown: The type of its body; None without one.
    """
    if endpoint.mark is None or endpoint.method == "DELETE" or status not in TAGGED:
        return {}
    parts = [*parts_of(shown)]
    is_read = endpoint.method == "GET" and status == HTTPStatus.OK and bool(parts)
    is_dated = any(_may_be_dated(part, stored=endpoint.is_stored) for part in parts)
    if not (is_read or endpoint.is_conditional or is_dated or any(map(_is_versioned, parts))):
        return {}
    return {"ETag": _ETAG, **({"Last-Modified": _LAST_MODIFIED} if is_dated else {})}


def _is_versioned(shown: Any) -> bool:
    """Tell whether what is shown is derived from a model that counts its versions."""
    model = getattr(shown, "__ligand_model__", None)
    return model is not None and model.__mapper__.version_id_col is not None


def _may_be_dated(shown: Any, *, stored: bool) -> bool:
    """Tell whether what is shown may be nothing but columns of one entity that knows when it was changed.

    Args:
        shown: The type.
        stored: Whether there is a session: what is derived from no model may be filled from any.
    """
    model = getattr(shown, "__ligand_model__", None)
    if model is not None:
        return _is_versioned(shown) and issubclass(model, Timestamped) and is_flat(shown, model.__mapper__)
    if shown is Any:
        return stored
    is_model = isinstance(shown, type) and issubclass(shown, BaseModel) and not is_page(shown)
    return stored and is_model and not shown.model_computed_fields


def is_page(shown: Any) -> bool:
    """Tell whether what is shown is a page of a list."""
    return isinstance(shown, type) and issubclass(shown, Page)


def not_modified_response(headers: dict[str, Any]) -> dict[str, Any]:
    """Describe the answer to who has it already: with what the whole answer says of itself and of other pages.

    Args:
        headers: Those of the whole answer.
    """
    kept = {name: header for name, header in headers.items() if name in {"ETag", "Link", "X-Pagination"}}
    return {"description": title_of(304), "headers": dict(sorted(kept.items()))}


def conditional_parameters(endpoint: Endpoint) -> list[dict[str, Any]]:
    """Describe the conditional headers of a marked operation, but for those that its handler reads itself."""
    if not endpoint.is_conditional:
        return []
    headers = _KNOWN if endpoint.method == "GET" else _EXPECTED
    return [
        {"name": name, "in": "header", "required": False, "description": words, "schema": {"type": "string"}}
        for name, words in headers.items()
    ]


def conditional_problems(app: Quart, endpoint: Endpoint) -> set[type[Problem]]:
    """Return the errors that follow from preconditions."""
    if not endpoint.is_conditional or endpoint.method == "GET":
        return set()
    service = find_service(app)
    required = service is None or service.settings.require_preconditions
    return (
        {PreconditionFailed, PreconditionRequired}
        if required and endpoint.method in REQUIRING
        else {PreconditionFailed}
    )


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


def deprecation_mark_of(app: Quart, endpoint: Endpoint) -> DeprecationMark | None:
    """Return what `deprecated` says of an endpoint, or None."""
    return deprecation_of(app, endpoint.name, endpoint.method)


def describe_deprecation(mark: DeprecationMark) -> str:
    """Return when something goes, in words of CommonMark."""
    words = f"Deprecated since {mark.since:%Y-%m-%d}"
    words += f", gone from {mark.sunset:%Y-%m-%d} on." if mark.sunset is not None else "."
    return f"{words} [Read more](<{mark.link}>)." if mark.link is not None else words


def _deprecation_headers(mark: DeprecationMark) -> dict[str, Any]:
    """Describe the headers of every answer of what is deprecated."""
    sunset = {} if mark.sunset is None else {"Sunset": _SUNSET}
    return {"Deprecation": _DEPRECATION, **sunset, **({} if mark.link is None else {"Link": _LINK})}


def tell_deprecation(responses: dict[str, Any], mark: DeprecationMark) -> None:
    """Add the headers to descriptions of answers; a `Link` with other pages has both in it."""
    for status, response in responses.items():
        # The guard, which answers before the route is known, tells nobody.
        loose = {name: {**header, "required": False} for name, header in _deprecation_headers(mark).items()}
        headers = loose if status == "default" else _deprecation_headers(mark)
        known = response.get("headers", {})
        if "Link" in known and "Link" in headers:
            both = f"{known['Link']['description']} {_LINK['description']}"
            headers["Link"] = {**headers["Link"], "description": both}
        responses[status] = {**response, "headers": dict(sorted({**known, **headers}.items()))}


_PATTERN = rf'^("[ !#-\[\]-~]{{1,{MAX_KEY}}}"|[!#-+\--:<-~]{{1,{MAX_KEY}}})$'
REPLAYED = {
    "description": "There, and `true`, where the answer is that of an earlier request with the same key.",
    "schema": {"type": "string", "enum": ["true"]},
}


def idempotency_parameters(endpoint: Endpoint) -> list[dict[str, Any]]:
    """Describe the key of an idempotent operation."""
    mark = endpoint.idempotency
    if mark is None:
        return []
    words = "Names this request: sent again with the same key, it is answered again and not served again. "
    words += "A quoted string, such as a new UUID for each request."  # an example would be sent by the docs page
    schema = {"type": "string", "pattern": _PATTERN}
    return [{"name": HEADER, "in": "header", "required": mark.required, "description": words, "schema": schema}]


def idempotency_problems(endpoint: Endpoint) -> set[type[Problem]]:
    """Return the errors that follow from a key: malformed or missing, in use, or another request's."""
    return set() if endpoint.idempotency is None else {BadRequest, RequestInProgress, IdempotencyKeyReused}


RETRY_AFTER = {
    "description": "When to ask again: in so many seconds, or at this date (RFC 9110 section 10.2.3).",
    "schema": {"type": "string"},
}
_LIMIT_HEADERS: dict[str, Any] = {
    "RateLimit": {
        "description": "What is left of each quota: `r` requests for `t` seconds "
        "(draft-ietf-httpapi-ratelimit-headers-10).",
        "schema": {"type": "string"},
    },
    "RateLimit-Policy": {
        "description": "The quotas that hold: `q` requests in `w` seconds.",
        "schema": {"type": "string"},
    },
}


def tell_limits(responses: dict[str, Any]) -> None:
    """Add the headers of a quota to the descriptions of answers: success, 304 and 429 always carry them."""
    for status, response in responses.items():
        if status < "4" or status == "429":
            headers = {**response.get("headers", {}), **_LIMIT_HEADERS}
            responses[status] = {**response, "headers": dict(sorted(headers.items()))}
