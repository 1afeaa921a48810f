"""The parameters of an operation: from the path, the query string, headers and cookies."""

from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import JsonSchemaValue
from werkzeug.routing.converters import (
    AnyConverter,
    BaseConverter,
    IntegerConverter,
    NumberConverter,
    UUIDConverter,
)

from ligand_async.web.fields import Place, alias_of, wire_name

NULL = {"type": "null"}
LIFTED = ("description", "deprecated")
IN: dict[Place, str] = {"parameter": "query", "header": "header", "cookie": "cookie"}


def path_parameter(name: str, converter: BaseConverter) -> dict[str, Any]:
    """Describe a variable of the path, as its converter reads it."""
    return {"name": name, "in": "path", "required": True, "schema": converter_schema(converter)}


def converter_schema(converter: BaseConverter) -> JsonSchemaValue:
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
    names = sent_names(model, place)
    required = schema.get("required", ())
    parameters = []
    for name, property_ in schema.get("properties", {}).items():
        described = without_null(property_)
        parameter = {"name": names.get(name) or dashed(name, place), "in": IN[place], "required": name in required}
        parameter |= {key: described.pop(key) for key in LIFTED if key in described}
        parameters.append(parameter | {"schema": described})
    return parameters


def sent_names(model: Any, place: Place) -> dict[str, str]:
    """Return the names of a model's fields in a request, by their names in its schema."""
    if not (isinstance(model, type) and issubclass(model, BaseModel)):
        return {}
    return {alias_of(field) or name: wire_name(name, field, place) for name, field in model.model_fields.items()}


def dashed(name: str, place: Place) -> str:
    """Return the name as quart-schema reads it: headers have hyphens."""
    return name.replace("_", "-") if place == "header" else name


def without_null(schema: JsonSchemaValue) -> JsonSchemaValue:
    """Return a schema without `null`: a parameter is absent, never null."""
    choices = [choice for choice in schema.get("anyOf", ()) if choice != NULL]
    others = {key: value for key, value in schema.items() if key != "anyOf"}
    if len(choices) == 1:
        return {**choices[0], **others}
    return {"anyOf": choices, **others} if choices else others
