"""How errors are documented: one problem schema, and a response for each status that an operation can end with."""

from collections.abc import Iterable, Set
from typing import Any

from pydantic.json_schema import JsonSchemaValue

from ligand_async.auth.access import Access
from ligand_async.docs.endpoints import Endpoint
from ligand_async.docs.limits import RETRY_AFTER
from ligand_async.docs.schemas import PREFIX
from ligand_async.problem import PROBLEM_JSON, Problem, title_of
from ligand_async.problem_types import PREFIX as PREFIX_OF_TYPES

INVALID_PART: JsonSchemaValue = {
    "description": "One part of a request that was refused; one of pointer, parameter, header and cookie names it.",
    "type": "object",
    "properties": {
        "detail": {"type": "string"},
        "pointer": {"type": "string", "format": "json-pointer", "description": "Into the body (RFC 6901)."},
        "parameter": {"type": "string", "description": "In the path or the query string."},
        "header": {"type": "string"},
        "cookie": {"type": "string"},
        "code": {"type": "string", "description": "What was wrong with it, for programs."},
    },
    "required": ["detail", "code"],
}
PROBLEM: JsonSchemaValue = {
    "description": "What went wrong (RFC 9457). A problem may have members of its own.",
    "type": "object",
    "properties": {
        "type": {
            "type": "string",
            "format": "uri-reference",
            "description": "The kind of problem.",
            "examples": ["about:blank", PREFIX_OF_TYPES + "validation"],
        },
        "title": {"type": "string", "description": "The kind of problem, for a human."},
        "status": {"type": "integer", "minimum": 400, "maximum": 599},
        "detail": {"type": "string", "description": "What happened this time."},
        "instance": {"type": "string", "format": "uri-reference", "description": "This occurrence."},
        "request_id": {"type": "string", "description": "Quote it when you ask for help."},
        "errors": {"type": "array", "items": {"$ref": PREFIX + "InvalidPart"}},
    },
    "required": ["type", "title", "status"],
}
CHALLENGE = {
    "description": "How to show who one is (RFC 9110 section 11.6.1, RFC 6750 section 3).",
    "required": True,
    "schema": {"type": "string"},
}
COMPONENTS = {"InvalidPart": INVALID_PART, "Problem": PROBLEM}


def problem_responses(endpoint: Endpoint, more: Set[int] = frozenset()) -> dict[int, dict[str, Any]]:
    """Describe every error that an operation answers itself: those it names, and those of what it reads.

    Args:
        endpoint: The operation.
        more: The statuses of errors that follow from its other marks.
    """
    titles = {status: {title_of(status)} for status in input_statuses(endpoint) | more}
    for problem in endpoint.mark.raises if endpoint.mark else ():
        titles.setdefault(problem.code, set()).add(title_with_type(problem))
    described = {status: problem_response(sorted(names)) for status, names in titles.items()}
    if 401 in described:
        described[401]["headers"] = {"WWW-Authenticate": CHALLENGE}
    for status in {429, 503} | ({409} if endpoint.idempotency else set()):
        if status in described:
            described[status]["headers"] = {"Retry-After": RETRY_AFTER}
    return described


def input_statuses(endpoint: Endpoint) -> set[int]:
    """Return the errors that follow from what an operation reads."""
    statuses = {404} if endpoint.rule.arguments else set()
    models = (endpoint.query_model, endpoint.headers_model, endpoint.cookies_model)
    # An operation that reads no query string refuses one.
    if endpoint.mark is not None or any(model is not None for model in models):
        statuses |= {422}
    if endpoint.body is not None:
        statuses |= {400, 413, 422}
    if endpoint.body is not None and endpoint.mark is not None:
        statuses |= {415}  # quart-schema's decorators answer 400
    return statuses


def access_statuses(access: Access | None) -> set[int]:
    """Return the errors of callers who may not.

    A public operation has none of them, though it refuses a bad token, too: its callers need not send one.
    """
    if access is None or access.is_public:
        return set()
    return {401} if access.requirement is None else {401, 403}


def outage_statuses(endpoint: Endpoint, access: Access | None) -> set[int]:
    """Return 503 for what needs a database, other services, or to know who is calling."""
    asked = access is not None and not access.is_public
    return {503} if asked or endpoint.can_be_down else set()


def title_with_type(problem: type[Problem]) -> str:
    """Return a problem's title, and its type where it has one of its own."""
    title = problem.title or title_of(problem.code)
    return title if problem.type == "about:blank" else f"{title} (`{problem.type}`)"


def problem_response(titles: Iterable[str]) -> dict[str, Any]:
    """Describe one answer that holds a problem."""
    return {"description": "; ".join(titles), "content": {PROBLEM_JSON: {"schema": {"$ref": PREFIX + "Problem"}}}}


# What every operation may answer: a target or a header that is malformed, a deadline, a fault.
OTHER_PROBLEMS = {"default": problem_response(["Any other problem"])}
