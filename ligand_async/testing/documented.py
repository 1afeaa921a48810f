"""What the document of an app says, to be looked up: its operations, their responses, and schemas to validate with."""

import json
from dataclasses import dataclass
from typing import Any, cast

from quart import Quart
from quart_schema.openapi import PATH_RE
from werkzeug.exceptions import HTTPException

from ligand_async.docs.document import document_of
from ligand_async.testing.shapes import Schema, Shapes

try:
    from jsonschema.exceptions import best_match  # type: ignore[import-untyped]  # it has no types, its validators neither
    from openapi_schema_validator import OAS31Validator, oas31_format_checker
    from referencing import Registry, Resource
    from referencing.jsonschema import DRAFT202012
except ImportError as error:
    raise ImportError("to check responses against the document, run: pip install openapi-schema-validator") from error

URI = "urn:openapi"


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation.

    Attributes:
        method: The HTTP method, in capitals.
        path: The path, with its variables in braces.
        document: What the document says about it.
        is_open: Whether callers need not say who they are.
    """

    method: str
    path: str
    document: dict[str, Any]
    is_open: bool

    def __str__(self) -> str:
        return f"{self.document['operationId']} ({self.method} {self.path})"

    @property
    def responses(self) -> dict[str, Any]:
        """The documented answers by status."""
        found: dict[str, Any] = self.document["responses"]
        return found


class Documented:
    """The document of one app.

    Args:
        app: The app, with all of its routes.

    Raises:
        ValueError: Two operations have the same operationId.
    """

    def __init__(self, app: Quart) -> None:
        self._url_map = app.url_map
        self.document: dict[str, Any] = json.loads(document_of(app).content)
        registry: Registry[Any] = Registry().with_resource(
            URI, Resource.from_contents(self.document, default_specification=DRAFT202012)
        )
        self._validator: Any = OAS31Validator({}, registry=registry, format_checker=oas31_format_checker)
        self._validators: dict[int, tuple[Schema, Any]] = {}
        self.shapes = Shapes(self.document, self.matches)

    def find(self, method: str, path: str) -> Operation | None:
        """Find the operation that answers a request, None where none that is documented does.

        Args:
            method: The HTTP method.
            path: The request's path.
        """
        try:
            rule, _ = self._url_map.bind("localhost").match(path, method, return_rule=True)
        except HTTPException:
            return None
        template = PATH_RE.sub(r"{\1}", rule.rule)
        name = "GET" if method == "HEAD" else method
        document = self.document["paths"].get(template, {}).get(name.lower())
        if document is None:
            return None
        security = document.get("security", self.document.get("security"))
        return Operation(method, template, document, is_open=not security or {} in security)

    def errors(self, schema: Schema, value: Any) -> list[str]:
        """Return what is wrong with a value, at most three things; values are not repeated."""
        found = sorted(self._validator_of(schema).iter_errors(value), key=lambda error: list(map(str, error.path)))
        deepest = [best_match([error]) or error for error in found[:3]]  # of the alternatives of a union
        return [f"{pointer_of(error.absolute_path)} is against `{rule_of(error)}`" for error in deepest]

    def matches(self, schema: Schema, value: Any) -> bool:
        """Tell whether a value is an instance of a schema."""
        return bool(self._validator_of(schema).is_valid(value))

    def _validator_of(self, schema: Schema) -> Any:
        known = self._validators.get(id(schema))
        if known is None:
            # References of the document's own become references into it.
            known = schema, self._validator.evolve(schema=cast(Schema, anchored(schema)))
            self._validators[id(schema)] = known
        return known[1]


def anchored(schema: Any) -> Any:
    """Return a schema whose references name the document that they are in."""
    if isinstance(schema, dict):
        return {
            key: URI + value if key == "$ref" and isinstance(value, str) else anchored(value)
            for key, value in schema.items()
        }
    return [anchored(item) for item in schema] if isinstance(schema, list) else schema


def pointer_of(path: Any) -> str:
    """Return where an error is, as a JSON pointer."""
    return "".join(f"/{str(token).replace('~', '~0').replace('/', '~1')}" for token in path) or "the whole"


def rule_of(error: Any) -> str:
    """Return the rule that an error breaks: a keyword and what it says."""
    said = json.dumps(error.validator_value, sort_keys=True)
    if error.validator == "required":
        missing = [name for name in error.validator_value if name not in error.instance]
        said = json.dumps(missing)
    return f"{error.validator}: {said if len(said) <= 120 else '...'}"
