"""Every schema of one document, made in one pass, so that two models never share a name."""

from collections.abc import Iterable, Iterator
from typing import Any

from pydantic import TypeAdapter
from pydantic.json_schema import JsonSchemaMode, JsonSchemaValue

from ligand_async.docs.generator import SchemaGenerator

PREFIX = "#/components/schemas/"


class Schemas:
    """The schemas of a document's types.

    Args:
        types: What is described, and whether as input (`validation`) or as output (`serialization`).
        closed: The inputs that refuse unknown members wherever a model's configuration does not say otherwise.

    Raises:
        pydantic.PydanticSchemaGenerationError: pydantic does not know how to read or write a type.
    """

    def __init__(self, types: Iterable[tuple[Any, JsonSchemaMode]], *, closed: Iterable[Any] = ()) -> None:
        wanted = {(key_of(type_), mode): type_ for type_, mode in types}
        generator = type("ClosingGenerator", (SchemaGenerator,), {"closed": models_within(closed)})
        refs, definitions = TypeAdapter.json_schemas(
            [(key, mode, TypeAdapter(type_)) for (key, mode), type_ in wanted.items()],
            ref_template=PREFIX + "{model}",
            schema_generator=generator,
        )
        self._refs = refs
        self.components: dict[str, JsonSchemaValue] = dict(sorted(definitions.get("$defs", {}).items()))
        for component in self.components.values():
            if component.keys() & {"enum", "const"}:
                component.pop("title", None)  # pydantic sets it after the generator is asked
        for name, member in discriminated([*refs.values(), *self.components.values()]):
            component = self.components.get(name, {})
            required = component.get("required", [])
            if member in component.get("properties", ()) and member not in required:
                component["required"] = [*required, member]

    def schema_of(self, type_: Any, mode: JsonSchemaMode) -> JsonSchemaValue:
        """Return a type's schema: a `$ref` where the type has a name."""
        return dict(self._refs[key_of(type_), mode])

    def resolved(self, type_: Any, mode: JsonSchemaMode) -> JsonSchemaValue:
        """Return a type's schema itself, never a `$ref`."""
        schema = self.schema_of(type_, mode)
        return self.components[schema["$ref"].removeprefix(PREFIX)] if "$ref" in schema else schema


def key_of(type_: Any) -> Any:
    """Return what a type is known by; `Annotated` types may not be hashable."""
    try:
        hash(type_)
    except TypeError:
        return id(type_)
    return type_


def models_within(types: Iterable[Any]) -> frozenset[type]:
    """Return the classes within some types whose configuration is silent about unknown members."""
    found: set[type] = set()

    class Collector(SchemaGenerator):
        def describe_class(self, described: JsonSchemaValue, cls: type | None) -> JsonSchemaValue:
            config = getattr(cls, "model_config", None) or getattr(cls, "__pydantic_config__", {})
            if cls is not None and "extra" not in config:
                found.add(cls)
            return super().describe_class(described, cls)

    for type_ in types:
        TypeAdapter(type_).json_schema(schema_generator=Collector)
    return frozenset(found)


def discriminated(document: Any) -> Iterator[tuple[str, str]]:
    """Return the names of the schemas that a union tells apart, each with the member by which it does.

    Without it nobody knows which of them is meant, although it has a default.
    """
    if isinstance(document, dict):
        discriminator = document.get("discriminator")
        if isinstance(discriminator, dict):
            references = [one for one in discriminator.get("mapping", {}).values() if isinstance(one, str)]
            yield from ((one.removeprefix(PREFIX), str(discriminator.get("propertyName"))) for one in references)
    for part in document.values() if isinstance(document, dict) else document if isinstance(document, list) else ():
        yield from discriminated(part)


def refs_in(document: Any) -> Iterator[str]:
    """Return the names of the schemas that a piece of a document refers to."""
    if isinstance(document, dict):
        ref = document.get("$ref")
        if isinstance(ref, str) and ref.startswith(PREFIX):
            yield ref.removeprefix(PREFIX)
        for value in document.values():
            yield from refs_in(value)
    elif isinstance(document, list):
        for value in document:
            yield from refs_in(value)


def reachable(components: dict[str, JsonSchemaValue], document: Any) -> dict[str, JsonSchemaValue]:
    """Return the schemas that a document needs, by way of others too."""
    needed: set[str] = set()
    waiting = list(refs_in(document))
    while waiting:
        name = waiting.pop()
        if name not in needed and name in components:
            needed.add(name)
            waiting.extend(refs_in(components[name]))
    return {name: components[name] for name in sorted(needed)}
