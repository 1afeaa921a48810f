"""The validators of an answer (RFC 9110 section 8.8), and what a client gets that has it already."""

from dataclasses import replace
from typing import Any

from quart import Response, request
from quart.wrappers.response import DataBody
from werkzeug.http import remove_entity_headers

from ligand_async.data.versions import Origin, digest, origin_of, origin_of_entity
from ligand_async.errors import PreconditionFailed
from ligand_async.web.conditional import CHANGED, preconditions_var
from ligand_async.web.conditions import Conditions, Selected

READS = frozenset({"GET", "HEAD"})
TAGGED = frozenset({200, 201, 204})


def validate(response: Response, value: Any, *, from_replica: bool) -> Response:
    """Add validators to an answer, and answer 304 where the client has it (RFC 9110 section 13.2.2).

    A strong tag where the value was read from one versioned thing, or such a thing was checked; on other reads a weak
    one of the body. A tag that the handler set stays, and what it sets to `no-store` gets none.

    Args:
        response: Made by us of bytes, or empty.
        value: What the handler returned.
        from_replica: Whether it was read from one: that may be behind, so its tag must not serve as a precondition.

    Raises:
        PreconditionFailed: A precondition of a read is not fulfilled.
    """
    if "no-store" in response.headers.get("Cache-Control", ""):
        return response
    if "ETag" in response.headers:
        tag, weak = response.get_etag()
        selected = Selected(tag, bool(weak), changed_at=response.last_modified)
    else:
        selected = select(response, value, from_replica=from_replica)
        if selected.tag is None:
            return response
        response.set_etag(selected.tag, selected.weak)
        if selected.changed_at is not None and "Last-Modified" not in response.headers:
            response.last_modified = selected.changed_at
    if request.method in READS and response.status_code == 200:
        return answer_read(response, selected)
    return response


def select(response: Response, value: Any, *, from_replica: bool) -> Selected:
    """Return what represents an answer; without a tag where it gets none."""
    status, method = response.status_code, request.method
    if method == "DELETE" or status not in TAGGED:
        return Selected()
    body = response.response.data if isinstance(response.response, DataBody) else b""
    origin = None if from_replica else origin_of(value) or origin_checked()
    if origin is not None:
        selected = Selected.of_origin(origin, body)
        return replace(selected, tag=selected.state) if status == 204 else selected
    if method in READS and status == 200 and body:
        return Selected(digest(body), weak=True)
    return Selected()


def origin_checked() -> Origin | None:
    """Return the origin of the entity that the handler checked; what else the answer shows, nobody knows."""
    preconditions = preconditions_var.get()
    origin = None if preconditions is None else origin_of_entity(preconditions.entity)
    return None if origin is None else replace(origin, changed_at=None)


def answer_read(response: Response, selected: Selected) -> Response:
    """Answer a read with what was made for it, or with 304 (RFC 9110 section 15.4.5).

    Raises:
        PreconditionFailed: It asks for another state.
    """
    conditions = Conditions.of_headers(request.headers)
    if conditions.are_stale(selected):
        raise PreconditionFailed(CHANGED)
    if conditions.have_seen(selected):
        response.status_code = 304
        response.set_data(b"")
        remove_entity_headers(response.headers)
    return response
