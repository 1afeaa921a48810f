"""What an operation answers: its successes and its problems, by status."""

from http import HTTPStatus
from typing import Any

from quart import Quart
from typing_extensions import is_typeddict

from ligand_async.auth.access import Access
from ligand_async.docs.conditional import conditional_problems, is_page, not_modified_response, validator_headers
from ligand_async.docs.endpoints import Endpoint
from ligand_async.docs.idempotency import REPLAYED, idempotency_problems
from ligand_async.docs.limits import tell_limits
from ligand_async.docs.messages import LOCATION, model_headers, page_headers, success_response
from ligand_async.docs.problems import (
    OTHER_PROBLEMS,
    access_problems,
    input_problems,
    outage_problems,
    problem_responses,
)
from ligand_async.docs.returns import parts_of
from ligand_async.docs.schemas import Schemas
from ligand_async.errors import Problem, TooManyRequests
from ligand_async.web.limits import is_limited
from ligand_async.web.output import BODILESS

UNDECLARED = {"default": {"description": "Not declared."}}


def describe_answers(app: Quart, endpoint: Endpoint, schemas: Schemas, access: Access | None) -> dict[str, Any]:
    """Describe every answer of an operation, by status.

    Args:
        app: The app.
        endpoint: The operation.
        schemas: The schemas of the document.
        access: Who may call it; None where nobody is asked.
    """
    is_rated = is_limited(app, endpoint.name, endpoint.method)
    problems = problems_of(app, endpoint, access) | ({TooManyRequests} if is_rated else set())
    answers = problem_responses(problems, retried={HTTPStatus.CONFLICT} if endpoint.idempotency else set())
    for status, (type_, headers_model) in endpoint.responses.items():
        schema = None if type_ is None else schemas.schema_of(type_, "serialization")
        headers = {} if headers_model is None else headers_of(headers_model, schemas)
        if endpoint.mark and status < HTTPStatus.BAD_REQUEST:
            headers |= promised_headers(endpoint, status, type_)
            if "ETag" in headers and endpoint.method == "GET":
                answers[304] = not_modified_response(headers)
        media_types = () if status in BODILESS else endpoint.media_types
        answers[status] = success_response(status, schema, headers, media_types)
    described = {str(status): answers[status] for status in sorted(answers)}
    if is_rated:
        tell_limits(described)
    return described | (OTHER_PROBLEMS if endpoint.responses else UNDECLARED)


def problems_of(app: Quart, endpoint: Endpoint, access: Access | None) -> set[type[Problem]]:
    """Return the problems that an operation may end with itself: those that it names, and those of its marks."""
    named = set(endpoint.mark.raises) if endpoint.mark else set()
    return named.union(
        input_problems(endpoint),
        access_problems(access),
        outage_problems(endpoint, access),
        conditional_problems(app, endpoint),
        idempotency_problems(endpoint),
    )


def promised_headers(endpoint: Endpoint, status: int, shown: Any) -> dict[str, Any]:
    """Describe the headers that the framework adds to a success of an operation.

    Args:
        endpoint: The operation.
        status: One of its successes.
        shown: The type of the body; None without one.
    """
    return {
        **({"Location": LOCATION} if endpoint.mark and endpoint.mark.location else {}),
        **(page_headers(endpoint.query_model) if any(map(is_page, parts_of(shown))) else {}),
        **validator_headers(endpoint, status, shown),
        **({"Idempotency-Replayed": REPLAYED} if endpoint.idempotency else {}),
    }


def headers_of(model: Any, schemas: Schemas) -> dict[str, Any]:
    """Describe the headers that an operation sends itself."""
    return model_headers(schemas.resolved(model, "serialization"), dashed=not is_typeddict(model))
