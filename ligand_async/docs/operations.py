"""What the document says of an operation: its parameters, its bodies, its answers and its problems."""

import re
from collections.abc import Iterable, Set
from http import HTTPStatus
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import JsonSchemaValue
from quart import Quart
from quart_schema.validation import DataSource
from typing_extensions import is_typeddict
from werkzeug.routing.converters import AnyConverter, BaseConverter, IntegerConverter, NumberConverter, UUIDConverter

from ligand_async.auth import Access
from ligand_async.docs.endpoints import Endpoint, parts_of
from ligand_async.docs.features import (
    REPLAYED,
    RETRY_AFTER,
    conditional_problems,
    idempotency_problems,
    is_page,
    not_modified_response,
    tell_limits,
    validator_headers,
)
from ligand_async.docs.schemas import PREFIX, Schemas
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
    TooManyRequests,
    Unauthorized,
    UnsupportedMediaType,
    ValidationFailed,
    title_of,
)
from ligand_async.web import BODILESS, Place, alias_of, is_limited, wire_name
from ligand_async.web.lists import OffsetParams, PageParams

_UNDECLARED = {"default": {"description": "Not declared."}}


def describe_answers(app: Quart, endpoint: Endpoint, schemas: Schemas, access: Access | None) -> dict[str, Any]:
    """Describe every answer of an operation, by status.

    Args:
        app: The app.
        endpoint: The operation.
        schemas: The schemas of the document.
        access: Who may call it; None where nobody is asked.
    """
    is_rated = is_limited(app, endpoint.name, endpoint.method)
    problems = _problems_of(app, endpoint, access) | ({TooManyRequests} if is_rated else set())
    answers = _problem_responses(problems, retried={HTTPStatus.CONFLICT} if endpoint.idempotency else set())
    for status, (type_, headers_model) in endpoint.responses.items():
        schema = None if type_ is None else schemas.schema_of(type_, "serialization")
        headers = {} if headers_model is None else headers_of(headers_model, schemas)
        if endpoint.mark and status < HTTPStatus.BAD_REQUEST:
            headers |= _promised_headers(endpoint, status, type_)
            if "ETag" in headers and endpoint.method == "GET":
                answers[304] = not_modified_response(headers)
        media_types = () if status in BODILESS else endpoint.media_types
        answers[status] = _success_response(status, schema, headers, media_types)
    described = {str(status): answers[status] for status in sorted(answers)}
    if is_rated:
        tell_limits(described)
    return described | (_OTHER_PROBLEMS if endpoint.responses else _UNDECLARED)


def _problems_of(app: Quart, endpoint: Endpoint, access: Access | None) -> set[type[Problem]]:
    """Return the problems that an operation may end with itself: those that it names, and those of its marks."""
    named = set(endpoint.mark.raises) if endpoint.mark else set()
    return named.union(
        _input_problems(endpoint),
        _access_problems(access),
        _outage_problems(endpoint, access),
        conditional_problems(app, endpoint),
        idempotency_problems(endpoint),
    )


def _promised_headers(endpoint: Endpoint, status: int, shown: Any) -> dict[str, Any]:
    """Describe the headers that the framework adds to a success of an operation.

    Args:
        endpoint: The operation.
        status: One of its successes.
        shown: The type of the body; None without one.
    """
    return {
        **({"Location": _LOCATION} if endpoint.mark and endpoint.mark.location else {}),
        **(_page_headers(endpoint.query_model) if any(map(is_page, parts_of(shown))) else {}),
        **validator_headers(endpoint, status, shown),
        **({"Idempotency-Replayed": REPLAYED} if endpoint.idempotency else {}),
    }


def headers_of(model: Any, schemas: Schemas) -> dict[str, Any]:
    """Describe the headers that an operation sends itself."""
    return _model_headers(schemas.resolved(model, "serialization"), dashed=not is_typeddict(model))


MEDIA_TYPES = {
    DataSource.JSON: "application/json",
    DataSource.FORM: "application/x-www-form-urlencoded",
    DataSource.FORM_MULTIPART: "multipart/form-data",
}
_LOCATION = {
    "description": "Where the result is.",
    "required": True,
    "schema": {"type": "string", "format": "uri-reference"},
}

_LINK = {
    "description": "Other pages (RFC 8288): `first`, `prev`, `next` and `last`, relative to the request's address.",
    "schema": {"type": "string"},
}
_X_PAGINATION = {
    "description": "Of a page by number, as JSON: where it is, and how many there are.",
    "schema": {"type": "string", "contentMediaType": "application/json"},
}


def _page_headers(params: Any) -> dict[str, Any]:
    """Describe the headers of a page, by the model that says which it is."""
    numbered = isinstance(params, type) and issubclass(params, OffsetParams | PageParams)
    return {"Link": _LINK, **({"X-Pagination": _X_PAGINATION} if numbered else {})}


def request_body(schema: JsonSchemaValue, media_types: tuple[str, ...]) -> dict[str, Any]:
    """Describe what a request must carry."""
    return {"required": True, "content": {media_type: {"schema": schema} for media_type in media_types}}


def _success_response(
    status: int, schema: JsonSchemaValue | None, headers: dict[str, Any], media_types: tuple[str, ...] = ()
) -> dict[str, Any]:
    """Describe a declared answer.

    Args:
        status: Its status.
        schema: Its body, None where it is empty or made by hand.
        headers: Its headers, by name.
        media_types: What a body that is made by hand may be.
    """
    response: dict[str, Any] = {"description": title_of(status)}
    if headers:
        response["headers"] = dict(sorted(headers.items()))
    if schema is not None:
        media_type = "application/problem+json" if status >= HTTPStatus.BAD_REQUEST else "application/json"
        response["content"] = {media_type: {"schema": schema}}
    elif media_types:
        response["content"] = {media_type: {"schema": _media_schema(media_type)} for media_type in media_types}
    return response


def _media_schema(media_type: str) -> JsonSchemaValue:
    """Return what a body that is made by hand is: text, any JSON, or bytes."""
    subtype = media_type.partition(";")[0].partition("/")[2]
    if media_type.startswith("text/"):
        return {"type": "string"}
    return {} if subtype == "json" or subtype.endswith("+json") else {"type": "string", "format": "binary"}


def _model_headers(schema: JsonSchemaValue, *, dashed: bool) -> dict[str, Any]:
    """Describe each field of a model as a response header.

    Args:
        schema: The model's own schema.
        dashed: Whether underscores in its names are sent as hyphens.
    """
    required = schema.get("required", ())
    return {
        name.replace("_", "-") if dashed else name: {"required": name in required, "schema": property_}
        for name, property_ in schema.get("properties", {}).items()
    }


_NULL = {"type": "null"}
_LIFTED = ("description", "deprecated")
_IN: dict[Place, str] = {"parameter": "query", "header": "header", "cookie": "cookie"}


def path_parameter(name: str, converter: BaseConverter) -> dict[str, Any]:
    """Describe a variable of the path, as its converter reads it."""
    return {"name": name, "in": "path", "required": True, "schema": _converter_schema(converter)}


def _converter_schema(converter: BaseConverter) -> JsonSchemaValue:
    """Return what a path converter accepts."""
    if isinstance(converter, AnyConverter):
        return {"type": "string", "enum": sorted(converter.items)}
    if isinstance(converter, UUIDConverter):
        return {"type": "string", "format": "uuid"}
    if isinstance(converter, NumberConverter):
        schema: JsonSchemaValue = {"type": "integer" if isinstance(converter, IntegerConverter) else "number"}
        minimum = converter.min if converter.signed or converter.min is not None else 0
        bounds = {"minimum": minimum, "maximum": converter.max}
        return schema | {name: bound for name, bound in bounds.items() if bound is not None}
    return {"type": "string"}


def model_parameters(model: Any, schema: JsonSchemaValue, place: Place) -> list[dict[str, Any]]:
    """Describe each field of a model as a parameter.

    Args:
        model: The model.
        schema: Its own schema.
        place: Where its fields are sent.
    """
    names = _sent_names(model, place)
    required = schema.get("required", ())
    parameters = []
    for name, property_ in schema.get("properties", {}).items():
        described = _without_null(property_)
        parameter = {"name": names.get(name) or _dashed(name, place), "in": _IN[place], "required": name in required}
        parameter |= {key: described.pop(key) for key in _LIFTED if key in described}
        parameters.append(parameter | {"schema": described})
    return parameters


def _sent_names(model: Any, place: Place) -> dict[str, str]:
    """Return the names of a model's fields in a request, by their names in its schema."""
    if not (isinstance(model, type) and issubclass(model, BaseModel)):
        return {}
    return {alias_of(field) or name: wire_name(name, field, place) for name, field in model.model_fields.items()}


def _dashed(name: str, place: Place) -> str:
    """Return the name as quart-schema reads it: headers have hyphens."""
    return name.replace("_", "-") if place == "header" else name


def _without_null(schema: JsonSchemaValue) -> JsonSchemaValue:
    """Return a schema without `null`: a parameter is absent, never null."""
    choices = [choice for choice in schema.get("anyOf", ()) if choice != _NULL]
    others = {key: value for key, value in schema.items() if key != "anyOf"}
    if len(choices) == 1:
        return {**choices[0], **others}
    return {"anyOf": choices, **others} if choices else others


_INVALID_PART: JsonSchemaValue = {
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
_PROBLEM: JsonSchemaValue = {
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
_CHALLENGE = {
    "description": "How to show who one is (RFC 9110 section 11.6.1, RFC 6750 section 3).",
    "required": True,
    "schema": {"type": "string"},
}
_BLANK = "about:blank"
_SCHEMA = {"$ref": PREFIX + "Problem"}
COMPONENTS = {"InvalidPart": _INVALID_PART, "Problem": _PROBLEM}


def _problem_responses(problems: Iterable[type[Problem]], *, retried: Set[int] = frozenset()) -> dict[int, Any]:
    """Describe every error that an operation answers itself, by status.

    Args:
        problems: What it may end with; one that is a kind of another is told beside it.
        retried: The statuses that may say when to ask again, besides 429 and 503.
    """
    kinds: dict[int, set[type[Problem]]] = {}
    for problem in problems:
        kinds.setdefault(problem.code, set()).add(problem)
    described = {status: _problem_response(found) for status, found in kinds.items()}
    if 401 in described:
        described[401]["headers"] = {"WWW-Authenticate": _CHALLENGE}
    for status in {429, 503} | retried:
        if status in described:
            described[status]["headers"] = {"Retry-After": RETRY_AFTER}
    return described


def _input_problems(endpoint: Endpoint) -> set[type[Problem]]:
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


def _access_problems(access: Access | None) -> set[type[Problem]]:
    """Return the errors of callers who may not.

    A public operation has none of them, though it refuses a bad token, too: its callers need not send one.
    """
    if access is None or access.is_public:
        return set()
    return {Unauthorized} if access.requirement is None else {Unauthorized, Forbidden}


def _outage_problems(endpoint: Endpoint, access: Access | None) -> set[type[Problem]]:
    """Return the outages of what an operation needs: a database, other services, or who knows who is calling."""
    asked = access is not None and not access.is_public
    problems: set[type[Problem]] = {ServiceUnavailable} if asked or endpoint.services else set()
    return problems | ({DatabaseUnavailable} if endpoint.is_stored else set())


def _problem_response(problems: Iterable[type[Problem]]) -> dict[str, Any]:
    """Describe one answer that holds one of some problems, each with an example."""
    kinds = {(problem.type, problem.title or title_of(problem.code), problem.code) for problem in problems}
    # The words of the status come before those that say more.
    told = sorted(kinds, key=lambda kind: (kind[0] != _BLANK, kind))
    examples: dict[str, Any] = {}
    for type_, title, status in told:
        name = _example_name(type_, title) or f"problem-{status}"
        name = name if name not in examples else f"{name}-{len(examples) + 1}"
        examples[name] = {"value": {"type": type_, "title": title, "status": status}}
    return {
        "description": "; ".join(title if type_ == _BLANK else f"{title} (`{type_}`)" for type_, title, _ in told),
        "content": {PROBLEM_JSON: {"schema": _SCHEMA, "examples": examples}},
    }


def _example_name(type_: str, title: str) -> str:
    """Return what the example of a problem is called: plain characters, as everything with a name in a document."""
    name = title if type_ == _BLANK else type_.removeprefix(PREFIX_OF_TYPES)
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-").lower()


# What every operation may answer: a target or a header that is malformed, a deadline, a fault.
_OTHER_PROBLEMS = {"default": {"description": "Any other problem", "content": {PROBLEM_JSON: {"schema": _SCHEMA}}}}
