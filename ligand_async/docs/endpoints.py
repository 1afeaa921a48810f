"""The types that an endpoint reads and answers, from its operation or else from quart-schema's decorators."""

import inspect
from collections.abc import Iterator
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, get_args, get_origin

from quart import Response
from quart_schema.openapi import (
    QUART_SCHEMA_DEPRECATED_ATTRIBUTE,
    QUART_SCHEMA_HIDDEN_ATTRIBUTE,
    QUART_SCHEMA_OPERATION_ID_ATTRIBUTE,
    QUART_SCHEMA_SECURITY_ATTRIBUTE,
    QUART_SCHEMA_TAG_ATTRIBUTE,
)
from quart_schema.validation import (
    QUART_SCHEMA_HEADERS_ATTRIBUTE,
    QUART_SCHEMA_QUERYSTRING_ATTRIBUTE,
    QUART_SCHEMA_REQUEST_ATTRIBUTE,
    QUART_SCHEMA_RESPONSE_ATTRIBUTE,
    DataSource,
)
from typing_extensions import is_typeddict
from werkzeug.wrappers import Response as WerkzeugResponse

from ligand_async.annotations import members_of
from ligand_async.web import BODILESS, Endpoint, Operation, media_types_of

_MEDIA_TYPES = {
    DataSource.JSON: "application/json",
    DataSource.FORM: "application/x-www-form-urlencoded",
    DataSource.FORM_MULTIPART: "multipart/form-data",
}


@dataclass(frozen=True, slots=True)
class Contract:
    """The types of what an endpoint reads and answers.

    Attributes:
        query: The model of the query string, or None.
        headers: The model of the request's headers, or None.
        cookies: The model of the cookies, or None.
        path: The model of variables of the path that have more than their converters say, or None.
        body: The type of the body, None for one that is taken as it is sent, and its media types; or None.
        body_required: Whether a request must have a body.
        parts: The names of the parts of a form that are in JSON.
        responses: The declared responses by status, each with the type of its body and the model of its headers.
        media_types: The media types of a response that the handler makes itself; empty if it names none.
    """

    query: Any = None
    headers: Any = None
    cookies: Any = None
    body: tuple[Any, tuple[str, ...]] | None = None
    path: Any = None
    body_required: bool = True
    parts: frozenset[str] = frozenset()
    responses: tuple[tuple[int, tuple[Any, Any]], ...] = ()
    media_types: tuple[str, ...] = ()


def contract_of(endpoint: Endpoint) -> Contract:
    """Return the types of what an endpoint reads and answers.

    Of a plain view only quart-schema's decorators are known. An operation may have its `document_…` decorators for what
    its signature does not say, such as other responses.
    """
    query = stamp_on(endpoint, QUART_SCHEMA_QUERYSTRING_ATTRIBUTE)
    headers = stamp_on(endpoint, QUART_SCHEMA_HEADERS_ATTRIBUTE)
    body = stamp_on(endpoint, QUART_SCHEMA_REQUEST_ATTRIBUTE)
    body = None if body is None else (body[0], (_MEDIA_TYPES[body[1]],))
    responses: dict[int, tuple[Any, Any]] = dict(stamp_on(endpoint, QUART_SCHEMA_RESPONSE_ATTRIBUTE) or {})
    operation, binding = endpoint.operation, endpoint.binding
    if operation is None or binding is None:
        return Contract(query, headers, None, body, responses=_in_order(responses, operation))
    reader = None if binding.body is None else binding.body.reader
    return Contract(
        query=query if binding.query is None else binding.query.model,
        headers=headers if binding.headers is None else binding.headers.model,
        cookies=None if binding.cookies is None else binding.cookies.model,
        body=body if reader is None else (reader.schema, reader.media_types),
        path=None if binding.path is None else binding.path.model,
        body_required=reader is None or not reader.absent,
        parts=getattr(reader, "parts", frozenset()),
        responses=_in_order(responses, operation),
        media_types=media_types_of(operation.inputs.returns),
    )


def _in_order(
    declared: dict[int, tuple[Any, Any]], operation: Operation | None = None
) -> tuple[tuple[int, tuple[Any, Any]], ...]:
    """Return responses by status. The headers that an operation's annotation names are those of all its successes."""
    more = None
    if operation is not None:
        more = _headers_model_of(operation.inputs.returns)
        declared.update({status: (type_, more) for status, type_ in operation.output.types.items()})
    return tuple(
        (status, (_body_type(status, body), headers or (more if status < HTTPStatus.BAD_REQUEST else None)))
        for status, (body, headers) in sorted(declared.items())
    )


def _body_type(status: int, declared: Any) -> Any:
    """Return the type of a response's body, or None if it is empty or if the handler makes the response itself."""
    if declared in (None, type(None)) or status < HTTPStatus.OK or status in BODILESS:
        return None
    if inspect.isclass(declared) and issubclass(declared, (Response, WerkzeugResponse)):
        return None
    return declared


def _headers_model_of(returns: Any) -> Any:
    """Return the `TypedDict` of the headers in `tuple[schema, int, headers]`, or None."""
    for member in members_of(returns):
        parts = get_args(member) if get_origin(member) is tuple else ()
        if len(parts) == 3 and is_typeddict(parts[2]):
            return parts[2]
    return None


def stamp_on(endpoint: Endpoint, attribute: str) -> Any:
    """Return what a decorator of quart-schema has set on the handler, else on the view, else on its class, or None."""
    owners = (endpoint.handler, endpoint.view, endpoint.view_class)
    found = (getattr(owner, attribute, None) for owner in owners)
    return next((stamp for stamp in found if stamp is not None), None)


def _stamps_around(endpoint: Endpoint, attribute: str) -> Iterator[Any]:
    """Yield what quart-schema has set on the endpoint and on the blueprints around it."""
    yield stamp_on(endpoint, attribute)
    yield from (getattr(blueprint, attribute, None) for blueprint in endpoint.blueprints)


def explicit_id(endpoint: Endpoint) -> str | None:
    """Return the operationId that quart-schema's `operation_id` gives an endpoint, or None."""
    found: str | None = stamp_on(endpoint, QUART_SCHEMA_OPERATION_ID_ATTRIBUTE)
    return found


def is_hidden(endpoint: Endpoint) -> bool:
    """Return whether quart-schema's `hide` keeps an endpoint out of the document."""
    return bool(stamp_on(endpoint, QUART_SCHEMA_HIDDEN_ATTRIBUTE))


def is_deprecated(endpoint: Endpoint) -> bool:
    """Return whether quart-schema marks an endpoint, or a blueprint around it, as deprecated."""
    return any(_stamps_around(endpoint, QUART_SCHEMA_DEPRECATED_ATTRIBUTE))


def tags_given(endpoint: Endpoint) -> list[str]:
    """Return the tags that quart-schema gives an endpoint and the blueprints around it."""
    return sorted({tag for tags in _stamps_around(endpoint, QUART_SCHEMA_TAG_ATTRIBUTE) for tag in tags or ()})


def security_given(endpoint: Endpoint) -> list[dict[str, list[str]]] | None:
    """Return the security requirements that quart-schema gives an endpoint, or None if it gives none."""
    found = [one for one in _stamps_around(endpoint, QUART_SCHEMA_SECURITY_ATTRIBUTE) if one is not None]
    return [requirement for requirements in found for requirement in requirements] if found else None
