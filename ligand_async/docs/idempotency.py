"""How idempotency keys are documented."""

from typing import Any

from ligand_async.docs.endpoints import Endpoint
from ligand_async.errors import BadRequest, IdempotencyKeyReused, Problem, RequestInProgress
from ligand_async.web.idempotency import HEADER, MAX_KEY

PATTERN = rf'^("[ !#-\[\]-~]{{1,{MAX_KEY}}}"|[!#-+\--:<-~]{{1,{MAX_KEY}}})$'
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
    schema = {"type": "string", "pattern": PATTERN}
    return [{"name": HEADER, "in": "header", "required": mark.required, "description": words, "schema": schema}]


def idempotency_problems(endpoint: Endpoint) -> set[type[Problem]]:
    """Return the errors that follow from a key: malformed or missing, in use, or another request's."""
    return set() if endpoint.idempotency is None else {BadRequest, RequestInProgress, IdempotencyKeyReused}
