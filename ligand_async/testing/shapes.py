"""A JSON value taken apart by its schema: which object is an instance of what, and which members it may have."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

Schema = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Part:
    """One schema that describes an object; an object may have several, by `allOf` and `anyOf`.

    Attributes:
        name: The component's name, or where the schema is.
        schema: The schema.
    """

    name: str
    schema: Schema

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
class Shape:
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
class Shapes:
    """Takes values apart by the schemas of one document.

    Attributes:
        document: The OpenAPI document.
        matches: Tells whether a value is an instance of a schema.
    """

    document: dict[str, Any]
    matches: Callable[[Schema, Any], bool]

    def of(self, value: Any, schemas: list[Part], pointer: str = "") -> Iterator[Shape]:
        """Yield every object of a value, from the outside in.

        Args:
            value: The value; it is an instance of all of the schemas.
            schemas: What describes it.
            pointer: Where it is.
        """
        parts = [part for schema in schemas for part in self.parts(schema, value)]
        if isinstance(value, dict):
            yield Shape(pointer, value, parts)
            for name, member in value.items():
                below = [Part(f"{part.name}/{name}", schema) for part in parts for schema in member_schemas(part, name)]
                yield from self.of(member, below, f"{pointer}/{name.replace('~', '~0').replace('/', '~1')}")
        elif isinstance(value, list):
            for number, item in enumerate(value):
                below = [Part(f"{part.name}/-", schema) for part in parts for schema in item_schemas(part, number)]
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

    def resolve(self, reference: str) -> Schema:
        """Return what a reference into the document points at."""
        found: Any = self.document
        for token in reference.removeprefix("#/").split("/"):
            found = found[token.replace("~1", "/").replace("~0", "~")]
        schema: Schema = found
        return schema


def member_schemas(part: Part, name: str) -> list[Schema]:
    """Return what a schema says about one member of an object."""
    more = part.schema.get("additionalProperties")
    found = part.properties.get(name, more)
    return [found] if isinstance(found, dict) else []


def item_schemas(part: Part, number: int) -> list[Schema]:
    """Return what a schema says about one item of an array."""
    first = part.schema.get("prefixItems", [])
    found = first[number] if number < len(first) else part.schema.get("items")
    return [found] if isinstance(found, dict) else []
