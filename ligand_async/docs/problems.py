"""How errors are documented: one problem schema, and a response for each status that an operation can end with."""

import re
from collections.abc import Iterable, Set
from typing import Any

from pydantic.json_schema import JsonSchemaValue

from ligand_async.auth.access import Access
from ligand_async.docs.endpoints import Endpoint
from ligand_async.docs.limits import RETRY_AFTER
from ligand_async.docs.schemas import PREFIX
from ligand_async.errors import PREFIX as PREFIX_OF_TYPES
from ligand_async.errors import (
    PROBLEM_JSON,
    ContentTooLarge,
    DatabaseUnavailable,
    Forbidden,
    MalformedBody,
    NotFound,
    Problem,
    ServiceUnavailable,
    Unauthorized,
    UnsupportedMediaType,
    ValidationFailed,
    title_of,
)

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
BLANK = "about:blank"
SCHEMA = {"$ref": PREFIX + "Problem"}
COMPONENTS = {"InvalidPart": INVALID_PART, "Problem": PROBLEM}


def problem_responses(problems: Iterable[type[Problem]], *, retried: Set[int] = frozenset()) -> dict[int, Any]:
    """Describe every error that an operation answers itself, by status.

    Args:
        problems: What it may end with; one that is a kind of another is told beside it.
        retried: The statuses that may say when to ask again, besides 429 and 503.
    """
    kinds: dict[int, set[type[Problem]]] = {}
    for problem in problems:
        kinds.setdefault(problem.code, set()).add(problem)
    described = {status: problem_response(found) for status, found in kinds.items()}
    if 401 in described:
        described[401]["headers"] = {"WWW-Authenticate": CHALLENGE}
    for status in {429, 503} | retried:
        if status in described:
            described[status]["headers"] = {"Retry-After": RETRY_AFTER}
    return described


def input_problems(endpoint: Endpoint) -> set[type[Problem]]:
    """Return the errors that follow from what an operation reads."""
    problems: set[type[Problem]] = {NotFound} if endpoint.rule.arguments else set()
    models = (endpoint.query_model, endpoint.headers_model, endpoint.cookies_model)
    # An operation that reads no query string refuses one.
    if endpoint.mark is not None or any(model is not None for model in models):
        problems |= {ValidationFailed}
    if endpoint.body is not None:
        problems |= {MalformedBody, ContentTooLarge, ValidationFailed}
    if endpoint.body is not None and endpoint.mark is not None:
        problems |= {UnsupportedMediaType}  # quart-schema's decorators answer 400
    return problems


def access_problems(access: Access | None) -> set[type[Problem]]:
    """Return the errors of callers who may not.

    A public operation has none of them, though it refuses a bad token, too: its callers need not send one.
    """
    if access is None or access.is_public:
        return set()
    return {Unauthorized} if access.requirement is None else {Unauthorized, Forbidden}


def outage_problems(endpoint: Endpoint, access: Access | None) -> set[type[Problem]]:
    """Return the outages of what an operation needs: a database, other services, or who knows who is calling."""
    asked = access is not None and not access.is_public
    problems: set[type[Problem]] = {ServiceUnavailable} if asked or endpoint.services else set()
    return problems | ({DatabaseUnavailable} if endpoint.is_stored else set())


def problem_response(problems: Iterable[type[Problem]]) -> dict[str, Any]:
    """Describe one answer that holds one of some problems, each with an example."""
    kinds = {(problem.type, problem.title or title_of(problem.code), problem.code) for problem in problems}
    # The words of the status come before those that say more.
    told = sorted(kinds, key=lambda kind: (kind[0] != BLANK, kind))
    examples: dict[str, Any] = {}
    for type_, title, status in told:
        name = example_name(type_, title) or f"problem-{status}"
        name = name if name not in examples else f"{name}-{len(examples) + 1}"
        examples[name] = {"value": {"type": type_, "title": title, "status": status}}
    return {
        "description": "; ".join(title if type_ == BLANK else f"{title} (`{type_}`)" for type_, title, _ in told),
        "content": {PROBLEM_JSON: {"schema": SCHEMA, "examples": examples}},
    }


def example_name(type_: str, title: str) -> str:
    """Return what the example of a problem is called: plain characters, as everything with a name in a document."""
    name = title if type_ == BLANK else type_.removeprefix(PREFIX_OF_TYPES)
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-").lower()


# What every operation may answer: a target or a header that is malformed, a deadline, a fault.
OTHER_PROBLEMS = {"default": {"description": "Any other problem", "content": {PROBLEM_JSON: {"schema": SCHEMA}}}}
