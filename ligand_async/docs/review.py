"""What a document leaves to be desired, operation by operation."""

from collections.abc import Iterator
from typing import Any

METHODS = frozenset({"get", "put", "post", "delete", "options", "head", "patch", "trace"})


def review(document: dict[str, Any]) -> list[str]:
    """List the operations without summary, without declared success, and with schemas that have no name.

    Args:
        document: An OpenAPI document.
    """
    return [
        f"{method.upper()} {path} ({operation['operationId']}) {finding}"
        for path, item in document["paths"].items()
        for method, operation in item.items()
        if method in METHODS
        for finding in findings_of(operation)
    ] + [
        f"schema {name} has one inside without a name, at {place}; make it a model"
        for name, schema in document.get("components", {}).get("schemas", {}).items()
        for place in inline_schemas(schema, "", inside=False)
    ]


def findings_of(operation: dict[str, Any]) -> Iterator[str]:
    """List what is to be desired of one operation."""
    if not operation.get("summary"):
        yield "has no summary; give its handler a docstring"
    if not any(status[0] in "23" and status != "304" for status in operation["responses"]):
        yield "declares no success; use @operation or quart_schema.validate_response"
    bodies = {"the body": operation.get("requestBody", {})}
    bodies |= {f"the answer {status}": response for status, response in operation["responses"].items()}
    for name, body in bodies.items():
        for media_type, content in body.get("content", {}).items():
            for place in inline_schemas(content.get("schema", {}), "", inside=True):
                where = f"{name} ({media_type}){place and f', at {place}'}"
                yield f"has a schema without a name in {where}; make it a model"


def inline_schemas(schema: Any, place: str, *, inside: bool) -> Iterator[str]:
    """Yield the places of objects with members of their own, for which a generator has to invent a name.

    Args:
        schema: Where to look; what it refers to is looked at elsewhere.
        place: Where it is itself, as a JSON pointer.
        inside: Whether it counts itself.
    """
    if not isinstance(schema, dict):
        return
    if inside and "properties" in schema:
        yield place
    for key in ("properties", "$defs", "patternProperties"):
        for name, part in schema.get(key, {}).items():
            yield from inline_schemas(part, f"{place}/{key}/{name}", inside=True)
    for key in ("items", "additionalProperties", "not"):
        yield from inline_schemas(schema.get(key), f"{place}/{key}", inside=True)
    for key in ("anyOf", "oneOf", "allOf", "prefixItems"):
        for index, part in enumerate(schema.get(key, ())):
            yield from inline_schemas(part, f"{place}/{key}/{index}", inside=True)
