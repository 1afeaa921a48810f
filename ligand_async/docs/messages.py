"""The bodies of an operation: what it is sent and what it answers."""

from http import HTTPStatus
from typing import Any

from pydantic.json_schema import JsonSchemaValue
from quart_schema.validation import DataSource

from ligand_async.errors import title_of
from ligand_async.web.lists.params import OffsetParams, PageParams

MEDIA_TYPES = {
    DataSource.JSON: "application/json",
    DataSource.FORM: "application/x-www-form-urlencoded",
    DataSource.FORM_MULTIPART: "multipart/form-data",
}
LOCATION = {
    "description": "Where the result is.",
    "required": True,
    "schema": {"type": "string", "format": "uri-reference"},
}

LINK = {
    "description": "Other pages (RFC 8288): `first`, `prev`, `next` and `last`, relative to the request's address.",
    "schema": {"type": "string"},
}
X_PAGINATION = {
    "description": "Of a page by number, as JSON: where it is, and how many there are.",
    "schema": {"type": "string", "contentMediaType": "application/json"},
}


def page_headers(params: Any) -> dict[str, Any]:
    """Describe the headers of a page, by the model that says which it is."""
    numbered = isinstance(params, type) and issubclass(params, OffsetParams | PageParams)
    return {"Link": LINK, **({"X-Pagination": X_PAGINATION} if numbered else {})}


def request_body(schema: JsonSchemaValue, media_types: tuple[str, ...]) -> dict[str, Any]:
    """Describe what a request must carry."""
    return {"required": True, "content": {media_type: {"schema": schema} for media_type in media_types}}


def success_response(
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
        response["content"] = {media_type: {"schema": media_schema(media_type)} for media_type in media_types}
    return response


def media_schema(media_type: str) -> JsonSchemaValue:
    """Return what a body that is made by hand is: text, any JSON, or bytes."""
    subtype = media_type.partition(";")[0].partition("/")[2]
    if media_type.startswith("text/"):
        return {"type": "string"}
    return {} if subtype == "json" or subtype.endswith("+json") else {"type": "string", "format": "binary"}


def model_headers(schema: JsonSchemaValue, *, dashed: bool) -> dict[str, Any]:
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
