"""What the document of an app says: its operations, their responses, and the schemas that values are checked by."""

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, cast

from quart import Quart
from quart_schema.openapi import PATH_RE
from werkzeug.exceptions import HTTPException

from ligand_async.docs import document_of

try:
    from jsonschema.exceptions import best_match  # type: ignore[import-untyped]  # it has no types, its validators neither
    from openapi_schema_validator import OAS31Validator, oas31_format_checker
    from referencing import Registry, Resource
    from referencing.jsonschema import DRAFT202012
except ImportError as error:
    raise ImportError("to check responses against the document, run: pip install openapi-schema-validator") from error

_Schema = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Part:
    """One schema that describes an object; an object may have several, by `allOf` and `anyOf`.

    Attributes:
        name: The component's name, or where the schema is.
        schema: The schema.
    """

    name: str
    schema: _Schema

    @property
    def properties(self) -> dict[str, Any]:
        """The members that it names."""
        found: dict[str, Any] = self.schema.get("properties", {})
        return found

    @property
    def optional(self) -> list[str]:
        """The members that it names and that need not be there."""
        return sorted(self.properties.keys() - self.schema.get("required", ()))


@dataclass(frozen=True, slots=True)
class _Shape:
    """One object inside of a value.

    Attributes:
        pointer: Where it is (RFC 6901).
        value: The object.
        parts: The schemas that describe it.
    """

    pointer: str
    value: dict[str, Any]
    parts: list[Part]

    @property
    def undeclared(self) -> list[str]:
        """The members that no schema names, where none says that there are others."""
        open_ = any(part.schema.keys() & {"additionalProperties", "patternProperties"} for part in self.parts)
        named = {name for part in self.parts for name in part.properties}
        return [] if open_ or not named else sorted(self.value.keys() - named)


@dataclass(frozen=True, slots=True)
class _Shapes:
    """Takes values apart by the schemas of one document.

    Attributes:
        document: The OpenAPI document.
        matches: Tells whether a value is an instance of a schema.
    """

    document: dict[str, Any]
    matches: Callable[[_Schema, Any], bool]

    def of(self, value: Any, schemas: list[Part], pointer: str = "") -> Iterator[_Shape]:
        """Yield every object of a value, from the outside in.

        Args:
            value: The value; it is an instance of all of the schemas.
            schemas: What describes it.
            pointer: Where it is.
        """
        parts = [part for schema in schemas for part in self.parts(schema, value)]
        if isinstance(value, dict):
            yield _Shape(pointer, value, parts)
            for name, member in value.items():
                below = [
                    Part(f"{part.name}/{name}", schema) for part in parts for schema in _member_schemas(part, name)
                ]
                yield from self.of(member, below, f"{pointer}/{name.replace('~', '~0').replace('/', '~1')}")
        elif isinstance(value, list):
            for number, item in enumerate(value):
                below = [Part(f"{part.name}/-", schema) for part in parts for schema in _item_schemas(part, number)]
                yield from self.of(item, below, f"{pointer}/{number}")

    def parts(self, part: Part, value: Any) -> Iterator[Part]:
        """Yield a schema and those that it is put together from, as far as the value is an instance of them."""
        reference = part.schema.get("$ref")
        if reference is not None:
            yield from self.parts(Part(reference.rpartition("/")[2], self.resolve(reference)), value)
        yield part
        for schema in part.schema.get("allOf", ()):
            yield from self.parts(Part(part.name, schema), value)
        for schema in (*part.schema.get("anyOf", ()), *part.schema.get("oneOf", ())):
            if self.matches(schema, value):
                yield from self.parts(Part(part.name, schema), value)

    def resolve(self, reference: str) -> _Schema:
        """Return what a reference into the document points at."""
        found: Any = self.document
        for token in reference.removeprefix("#/").split("/"):
            found = found[token.replace("~1", "/").replace("~0", "~")]
        schema: _Schema = found
        return schema


def _member_schemas(part: Part, name: str) -> list[_Schema]:
    """Return what a schema says about one member of an object."""
    more = part.schema.get("additionalProperties")
    found = part.properties.get(name, more)
    return [found] if isinstance(found, dict) else []


def _item_schemas(part: Part, number: int) -> list[_Schema]:
    """Return what a schema says about one item of an array."""
    first = part.schema.get("prefixItems", [])
    found = first[number] if number < len(first) else part.schema.get("items")
    return [found] if isinstance(found, dict) else []


_URI = "urn:openapi"


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
            _URI, Resource.from_contents(self.document, default_specification=DRAFT202012)
        )
        self._validator: Any = OAS31Validator({}, registry=registry, format_checker=oas31_format_checker)
        self._validators: dict[int, tuple[_Schema, Any]] = {}
        self.shapes = _Shapes(self.document, self.matches)

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

    def errors(self, schema: _Schema, value: Any) -> list[str]:
        """Return what is wrong with a value, at most three things; values are not repeated."""
        found = sorted(self._validator_of(schema).iter_errors(value), key=lambda error: list(map(str, error.path)))
        deepest = [best_match([error]) or error for error in found[:3]]  # of the alternatives of a union
        return [f"{_pointer_of(error.absolute_path)} is against `{_rule_of(error)}`" for error in deepest]

    def matches(self, schema: _Schema, value: Any) -> bool:
        """Tell whether a value is an instance of a schema."""
        return bool(self._validator_of(schema).is_valid(value))

    def _validator_of(self, schema: _Schema) -> Any:
        known = self._validators.get(id(schema))
        if known is None:
            # References of the document's own become references into it.
            known = schema, self._validator.evolve(schema=cast(_Schema, _anchored(schema)))
            self._validators[id(schema)] = known
        return known[1]


def _anchored(schema: Any) -> Any:
    """Return a schema whose references name the document that they are in."""
    if isinstance(schema, dict):
        return {
            key: _URI + value if key == "$ref" and isinstance(value, str) else _anchored(value)
            for key, value in schema.items()
        }
    return [_anchored(item) for item in schema] if isinstance(schema, list) else schema


def _pointer_of(path: Any) -> str:
    """Return where an error is, as a JSON pointer."""
    return "".join(f"/{str(token).replace('~', '~0').replace('/', '~1')}" for token in path) or "the whole"


def _rule_of(error: Any) -> str:
    """Return the rule that an error breaks: a keyword and what it says."""
    said = json.dumps(error.validator_value, sort_keys=True)
    if error.validator == "required":
        missing = [name for name in error.validator_value if name not in error.instance]
        said = json.dumps(missing)
    return f"{error.validator}: {said if len(said) <= 120 else '...'}"


_Key = tuple[str, str]


class Presence:
    """Counts the objects of each schema, and which optional members they had.

    A schema is known by its name and what it says: two apps may call different things the same.
    """

    def __init__(self) -> None:
        self._seen: Counter[_Key] = Counter()
        self._present: dict[_Key, Counter[str]] = {}
        self._keys: dict[int, tuple[Part, _Key]] = {}

    def add(self, part: Part, value: Mapping[str, Any]) -> None:
        """Count one object."""
        optional = part.optional
        if not optional:
            return
        key = self._key_of(part)
        self._seen[key] += 1
        present = self._present.setdefault(key, Counter(dict.fromkeys(optional, 0)))
        present.update(name for name in optional if name in value)

    def habits(self, at_least: int) -> Iterator[str]:
        """Yield what is called optional and is not, or is never used, in the order of the schemas' names.

        Args:
            at_least: How many objects of a schema must have been seen.
        """
        for key, seen in sorted(self._seen.items()):
            for name, count in sorted(self._present[key].items()):
                if seen >= at_least and count in {0, seen}:
                    always = "was there always: is it required?" if count else "was never there: is it ever?"
                    yield f"{key[0]}: the optional `{name}` {always} ({seen} objects)"

    def dump(self) -> list[Any]:
        """Return the counts as plain lists and dictionaries, for another process."""
        return [[*key, seen, dict(self._present[key])] for key, seen in self._seen.items()]

    def load(self, counts: list[Any]) -> None:
        """Add the counts of another process."""
        for name, digest, seen, present in counts:
            self._seen[name, digest] += seen
            self._present.setdefault((name, digest), Counter()).update(present)

    def _key_of(self, part: Part) -> _Key:
        known = self._keys.get(id(part.schema))
        if known is None:
            text = json.dumps(part.schema, sort_keys=True).encode()
            known = part, (part.name, hashlib.sha256(text).hexdigest()[:16])
            self._keys[id(part.schema)] = known  # which keeps the schema, so that its id stays its own
        return known[1]
