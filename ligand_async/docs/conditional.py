"""How entity tags and preconditions are documented."""

from typing import Any

from quart import Quart

from ligand_async.context import EXTENSION, Service
from ligand_async.docs.endpoints import Endpoint
from ligand_async.problem import title_of
from ligand_async.web.conditional import REQUIRING

ETAG = {
    "description": "The entity tag of what is answered: send it as If-Match to change that, as If-None-Match to read "
    "it only if it has changed.",
    "schema": {"type": "string"},
}
EXPECTED = {
    "If-Match": "Change the resource only if this is still its ETag.",
    "If-None-Match": "Create the resource only if there is none: `*`.",
    "If-Unmodified-Since": "Change the resource only if it is unchanged since this date (RFC 9110 section 5.6.7).",
}
KNOWN = {"If-None-Match": "Read the resource only if this is no more its ETag."}


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
    headers = KNOWN if endpoint.method == "GET" else EXPECTED
    return [
        {"name": name, "in": "header", "required": False, "description": words, "schema": {"type": "string"}}
        for name, words in headers.items()
    ]


def conditional_statuses(app: Quart, endpoint: Endpoint) -> set[int]:
    """Return the errors that follow from preconditions."""
    if not endpoint.is_conditional or endpoint.method == "GET":
        return set()
    service = app.extensions.get(EXTENSION)
    required = not isinstance(service, Service) or service.settings.require_preconditions
    return {412, 428} if required and endpoint.method in REQUIRING else {412}
