"""How entity tags and preconditions are documented."""

from http import HTTPStatus
from typing import Any

from pydantic import BaseModel
from quart import Quart

from ligand_async.context import EXTENSION, Service
from ligand_async.data.models import Timestamped
from ligand_async.data.versions import is_flat
from ligand_async.docs.endpoints import Endpoint
from ligand_async.docs.returns import parts_of
from ligand_async.errors import PreconditionFailed, PreconditionRequired, Problem, title_of
from ligand_async.web.conditional import REQUIRING, TAGGED
from ligand_async.web.lists.page import Page

ETAG = {
    "description": "The entity tag of what is answered: send it as If-Match to change that, as If-None-Match to read "
    "it only if it has changed.",
    "schema": {"type": "string"},
}
LAST_MODIFIED = {
    "description": "When what is answered was last changed, to the second (RFC 9110 section 8.8.2).",
    "schema": {"type": "string"},
}
EXPECTED = {
    "If-Match": "Change the resource only if this is still its ETag.",
    "If-None-Match": "Create the resource only if there is none: `*`.",
    "If-Unmodified-Since": "Change the resource only if it is unchanged since this date (RFC 9110 section 5.6.7).",
}
KNOWN = {"If-None-Match": "Read the resource only if this is no more its ETag."}


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
    is_dated = any(may_be_dated(part, stored=endpoint.is_stored) for part in parts)
    if not (is_read or endpoint.is_conditional or is_dated or any(map(is_versioned, parts))):
        return {}
    return {"ETag": ETAG, **({"Last-Modified": LAST_MODIFIED} if is_dated else {})}


def is_versioned(shown: Any) -> bool:
    """Tell whether what is shown is derived from a model that counts its versions."""
    model = getattr(shown, "__ligand_model__", None)
    return model is not None and model.__mapper__.version_id_col is not None


def may_be_dated(shown: Any, *, stored: bool) -> bool:
    """Tell whether what is shown may be nothing but columns of one entity that knows when it was changed.

    Args:
        shown: The type.
        stored: Whether there is a session: what is derived from no model may be filled from any.
    """
    model = getattr(shown, "__ligand_model__", None)
    if model is not None:
        return is_versioned(shown) and issubclass(model, Timestamped) and is_flat(shown, model.__mapper__)
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
    headers = KNOWN if endpoint.method == "GET" else EXPECTED
    return [
        {"name": name, "in": "header", "required": False, "description": words, "schema": {"type": "string"}}
        for name, words in headers.items()
    ]


def conditional_problems(app: Quart, endpoint: Endpoint) -> set[type[Problem]]:
    """Return the errors that follow from preconditions."""
    if not endpoint.is_conditional or endpoint.method == "GET":
        return set()
    service = app.extensions.get(EXTENSION)
    required = not isinstance(service, Service) or service.settings.require_preconditions
    return (
        {PreconditionFailed, PreconditionRequired}
        if required and endpoint.method in REQUIRING
        else {PreconditionFailed}
    )
