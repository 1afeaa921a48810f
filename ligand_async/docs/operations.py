"""The parts of an operation in the OpenAPI document: parameters, bodies, responses and problems."""

import re
from collections.abc import Iterable
from http import HTTPStatus
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import JsonSchemaValue
from quart import Quart
from typing_extensions import is_typeddict
from werkzeug.routing.converters import AnyConverter, BaseConverter, IntegerConverter, NumberConverter, UUIDConverter

from ligand_async.auth import Access, counts_failures
from ligand_async.docs.endpoints import Contract
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
    problem_class,
    title_of,
)
from ligand_async.web import BODILESS, FEATURES, RETRY_AFTER, Endpoint, Place, alias_of, wire_name

_UNDECLARED = {"default": {"description": "Not declared."}}


def describe_responses(
    endpoint: Endpoint, contract: Contract, schemas: Schemas, access: Access | None
) -> dict[str, Any]:
    """Describe every response of an endpoint, by status.

    Args:
        endpoint: The endpoint.
        contract: The types of what it answers.
        schemas: The schemas of the document.
        access: Who may call it; None if the app does not authenticate.
    """
    responses = _problem_responses(_problems_of(endpoint, contract, access))
    for status, (type_, headers_model) in contract.responses:
        schema = None if type_ is None else schemas.schema_of(type_, "serialization")
        headers = {} if headers_model is None else headers_of(headers_model, schemas)
        if endpoint.operation is not None and status < HTTPStatus.BAD_REQUEST:
            if endpoint.operation.location is not None:
                headers["Location"] = _LOCATION
            for feature in FEATURES:
                headers.update(feature.headers(endpoint, status, type_))
        media_types = () if status in BODILESS else contract.media_types
        responses[status] = _success_response(status, schema, headers, media_types)
    described = {str(status): responses[status] for status in sorted(responses)}
    return described | (_OTHER_PROBLEMS if contract.responses else _UNDECLARED)


def _problems_of(endpoint: Endpoint, contract: Contract, access: Access | None) -> set[type[Problem]]:
    """Return the problems that an endpoint names, and those of its inputs, its access and its features."""
    named = set(endpoint.operation.raises) if endpoint.operation else set()
    if endpoint.operation is not None:
        known = {problem.code for problem in named}
        named |= {problem_class(status) for status in endpoint.operation.output.errors if status not in known}
    if endpoint.plan is not None:
        named |= endpoint.plan.raises | ({Unauthorized} if endpoint.plan.needs_principal else set())
    return named.union(
        _input_problems(endpoint, contract),
        _access_problems(endpoint.app, access),
        _outage_problems(endpoint, access),
        *(feature.problems(endpoint) for feature in FEATURES),
    )


def headers_of(model: Any, schemas: Schemas) -> dict[str, Any]:
    """Describe the headers of a model, which the handler sets itself."""
    return _model_headers(schemas.resolved(model, "serialization"), dashed=not is_typeddict(model))


_LOCATION = {
    "description": "Where the result is.",
    "required": True,
    "schema": {"type": "string", "format": "uri-reference"},
}


def request_body(contract: Contract, schemas: Schemas) -> dict[str, Any]:
    """Describe the body of a request."""
    type_, media_types = contract.body or (None, ())
    content: dict[str, Any] = {}
    for media_type in media_types:
        schema = _media_schema(media_type) if type_ is None else schemas.schema_of(type_, "validation")
        content[media_type] = {"schema": schema}
        if contract.parts:
            content[media_type]["encoding"] = {
                name: {"contentType": "application/json"} for name in sorted(contract.parts)
            }
    return {"required": contract.body_required, "content": content}


def _success_response(
    status: int, schema: JsonSchemaValue | None, headers: dict[str, Any], media_types: tuple[str, ...] = ()
) -> dict[str, Any]:
    """Describe a declared response.

    Args:
        status: Its status.
        schema: The schema of its body; None if it is empty or if the handler makes the response itself.
        headers: Its headers, by name.
        media_types: The media types of a response that the handler makes itself.
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
    """Return the schema of a body that the handler makes itself: text, any JSON, or bytes."""
    subtype = media_type.partition(";")[0].partition("/")[2]
    if media_type.startswith("text/"):
        return {"type": "string"}
    return {} if subtype == "json" or subtype.endswith("+json") else {"type": "string", "format": "binary"}


def _model_headers(schema: JsonSchemaValue, *, dashed: bool) -> dict[str, Any]:
    """Describe each field of a model as a response header.

    Args:
        schema: The model's own schema.
        dashed: Whether underscores in its names become hyphens.
    """
    required = schema.get("required", ())
    return {
        name.replace("_", "-") if dashed else name: {"required": name in required, "schema": property_}
        for name, property_ in schema.get("properties", {}).items()
    }


_NULL = {"type": "null"}
_LIFTED = ("description", "deprecated")
_IN: dict[Place, str] = {"parameter": "query", "header": "header", "cookie": "cookie"}


def path_parameter(name: str, converter: BaseConverter, annotated: JsonSchemaValue | None) -> dict[str, Any]:
    """Describe a variable of the path, as its converter and its annotation read it.

    Args:
        name: Its name.
        converter: Its converter.
        annotated: The schema of its annotation; None if that says nothing more.
    """
    schema = _converter_schema(converter)
    if annotated is None:
        return {"name": name, "in": "path", "required": True, "schema": schema}
    described = _without_null(annotated)
    lifted = {key: described.pop(key) for key in _LIFTED if key in described}
    return {"name": name, "in": "path", "required": True, **lifted, "schema": _narrowed(described, schema)}


def _narrowed(annotated: JsonSchemaValue, converted: JsonSchemaValue) -> JsonSchemaValue:
    """Return the schema of what both an annotation and a converter let pass."""
    if "$ref" in annotated:
        return annotated
    schema = dict(annotated)
    for bound, tightest in (("minimum", max), ("maximum", min)):
        found: list[Any] = [one[bound] for one in (annotated, converted) if bound in one]
        if found and schema.get("type") in {"integer", "number"} and not schema.keys() & {"enum", "const"}:
            schema[bound] = tightest(found)
    if "enum" in converted:
        allowed: Any = annotated.get("enum", converted["enum"])
        schema["enum"] = [item for item in converted["enum"] if item in allowed]
    return schema


def _converter_schema(converter: BaseConverter) -> JsonSchemaValue:
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
        place: The part of the request that has its fields.
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
    return name.replace("_", "-") if place == "header" else name


def _without_null(schema: JsonSchemaValue) -> JsonSchemaValue:
    """Return a schema without `null`: a parameter is absent, never null."""
    choices = [choice for choice in schema.get("anyOf", ()) if choice != _NULL]
    others = {key: value for key, value in schema.items() if key != "anyOf"}
    if len(choices) == 1:
        return {**choices[0], **others}
    return {"anyOf": choices, **others} if choices else others


_INVALID_PART: JsonSchemaValue = {
    "description": "A part of a request that was refused. Pointer, parameter, header or cookie names it, if anything.",
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


def _problem_responses(problems: Iterable[type[Problem]]) -> dict[int, Any]:
    """Describe the responses of problems, by status; a subclass of a problem is listed beside it."""
    kinds: dict[int, set[type[Problem]]] = {}
    for problem in problems:
        kinds.setdefault(problem.code, set()).add(problem)
    described = {status: _problem_response(found) for status, found in kinds.items()}
    if 401 in described:
        described[401]["headers"] = {"WWW-Authenticate": _CHALLENGE}
    for status in (429, 503):
        if status in described:
            described[status]["headers"] = {"Retry-After": RETRY_AFTER}
    return described


def _input_problems(endpoint: Endpoint, contract: Contract) -> set[type[Problem]]:
    problems: set[type[Problem]] = {NotFound} if endpoint.rule.arguments else set()
    models = (contract.query, contract.headers, contract.cookies)
    # An operation without a query string refuses one.
    if endpoint.operation is not None or any(model is not None for model in models):
        problems |= {ValidationFailed}
    if contract.body is not None:
        problems |= {MalformedBody, ContentTooLarge, ValidationFailed}
    if contract.body is not None and endpoint.operation is not None:
        problems |= {UnsupportedMediaType}  # quart-schema's decorators answer 400
    return problems


def _access_problems(app: Quart, access: Access | None) -> set[type[Problem]]:
    """Return the problems of callers who have no access.

    A public operation refuses a bad token too, but is documented without 401: its callers need not send one.
    """
    if access is None or access.is_public:
        return set()
    problems: set[type[Problem]] = {Unauthorized} if access.requirement is None else {Unauthorized, Forbidden}
    return problems | ({TooManyRequests} if counts_failures(app, access) else set())


def _outage_problems(endpoint: Endpoint, access: Access | None) -> set[type[Problem]]:
    """Return the problems of outages: of the database, of other services, or of the issuer of tokens."""
    is_closed = access is not None and not access.is_public
    takes_services = endpoint.plan is not None
    problems: set[type[Problem]] = {ServiceUnavailable} if is_closed or takes_services else set()
    return problems | ({DatabaseUnavailable} if endpoint.takes_session else set())


def _problem_response(problems: Iterable[type[Problem]]) -> dict[str, Any]:
    """Describe the response of problems of one status, with an example of each."""
    kinds = {(problem.type, problem.title or title_of(problem.code), problem.code) for problem in problems}
    # The title of the status comes before those that say more.
    ordered = sorted(kinds, key=lambda kind: (kind[0] != _BLANK, kind))
    examples: dict[str, Any] = {}
    for type_, title, status in ordered:
        name = _example_name(type_, title) or f"problem-{status}"
        name = name if name not in examples else f"{name}-{len(examples) + 1}"
        examples[name] = {"value": {"type": type_, "title": title, "status": status}}
    return {
        "description": "; ".join(title if type_ == _BLANK else f"{title} (`{type_}`)" for type_, title, _ in ordered),
        "content": {PROBLEM_JSON: {"schema": _SCHEMA, "examples": examples}},
    }


def _example_name(type_: str, title: str) -> str:
    """Return the name of a problem's example, in the characters that OpenAPI allows for names."""
    name = title if type_ == _BLANK else type_.removeprefix(PREFIX_OF_TYPES)
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-").lower()


# Problems of every operation: a malformed target or header, a deadline, an unhandled exception.
_OTHER_PROBLEMS = {"default": {"description": "Any other problem", "content": {PROBLEM_JSON: {"schema": _SCHEMA}}}}
