"""Every schema of one document, made in one pass, so that two models never share a name."""

from collections.abc import Iterable, Iterator
from typing import Any

from pydantic import MISSING, TypeAdapter
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaMode, JsonSchemaValue
from pydantic_core import core_schema

from ligand_async.docs.schema_names import CLASS, name_schemas

PREFIX = "#/components/schemas/"


class Schemas:
    """The schemas of a document's types.

    Args:
        types: The types, each as input (`validation`) or as output (`serialization`).
        closed: The inputs that refuse unknown members, unless a model's configuration has `extra`.

    Raises:
        pydantic.PydanticSchemaGenerationError: pydantic does not know how to read or write a type.
    """

    def __init__(self, types: Iterable[tuple[Any, JsonSchemaMode]], *, closed: Iterable[Any] = ()) -> None:
        wanted = {(_key_of(type_), mode): type_ for type_, mode in types}
        generator = type("ClosingGenerator", (_MarkingGenerator,), {"closed": _models_within(closed)})
        refs, definitions = TypeAdapter.json_schemas(
            [(key, mode, TypeAdapter(type_)) for (key, mode), type_ in wanted.items()],
            ref_template=PREFIX + "{model}",
            schema_generator=generator,
        )
        self.components, self._refs = name_schemas(definitions.get("$defs", {}), refs, PREFIX)
        for component in self.components.values():
            if component.keys() & {"enum", "const"}:
                component.pop("title", None)  # pydantic sets it after it has called the generator
        for name, member in _discriminated([*refs.values(), *self.components.values()]):
            component = self.components.get(name, {})
            required = component.get("required", [])
            if member in component.get("properties", ()) and member not in required:
                component["required"] = [*required, member]

    def schema_of(self, type_: Any, mode: JsonSchemaMode) -> JsonSchemaValue:
        """Return a type's schema: a `$ref` where the type has a name."""
        return dict(self._refs[_key_of(type_), mode])

    def resolved(self, type_: Any, mode: JsonSchemaMode) -> JsonSchemaValue:
        """Return a type's schema itself, never a `$ref`."""
        schema = self.schema_of(type_, mode)
        return self.components[schema["$ref"].removeprefix(PREFIX)] if "$ref" in schema else schema


def _key_of(type_: Any) -> Any:
    """Return a key for a type: `Annotated` types may not be hashable."""
    try:
        hash(type_)
    except TypeError:
        return id(type_)
    return type_


def _models_within(types: Iterable[Any]) -> frozenset[type]:
    """Return the classes within some types whose configuration does not have `extra`."""
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


def _discriminated(document: Any) -> Iterator[tuple[str, str]]:
    """Return the names of the schemas in discriminated unions, each with its discriminator.

    The discriminator must be required although it has a default: without it the schema cannot be chosen.
    """
    if isinstance(document, dict):
        discriminator = document.get("discriminator")
        if isinstance(discriminator, dict):
            references = [one for one in discriminator.get("mapping", {}).values() if isinstance(one, str)]
            yield from ((one.removeprefix(PREFIX), str(discriminator.get("propertyName"))) for one in references)
    for part in document.values() if isinstance(document, dict) else document if isinstance(document, list) else ():
        yield from _discriminated(part)


def _refs_in(document: Any) -> Iterator[str]:
    """Return the names of the schemas that a piece of a document refers to."""
    if isinstance(document, dict):
        ref = document.get("$ref")
        if isinstance(ref, str) and ref.startswith(PREFIX):
            yield ref.removeprefix(PREFIX)
        for value in document.values():
            yield from _refs_in(value)
    elif isinstance(document, list):
        for value in document:
            yield from _refs_in(value)


def reachable(components: dict[str, JsonSchemaValue], document: Any) -> dict[str, JsonSchemaValue]:
    """Return the schemas that a document needs, by way of others too."""
    needed: set[str] = set()
    waiting = list(_refs_in(document))
    while waiting:
        name = waiting.pop()
        if name not in needed and name in components:
            needed.add(name)
            waiting.extend(_refs_in(components[name]))
    return {name: components[name] for name in sorted(needed)}


_ENCODINGS = {"base64": "base64url", "hex": "base16"}  # pydantic's names, and those of RFC 4648
# The parts of pydantic 2.14's patterns for decimals that match an exponent.
_EXPONENT = r"|(?:[0-9]+\.?[0-9]*|\.[0-9]+)[eE][+-]?[0-9]+"
_OPTIONAL_EXPONENT = r"(?:[eE][+-]?[0-9]+)?"
_RESERVED_NAMES = frozenset({"InvalidPart", "Problem"})


_JSON = frozenset({str, int, bool, type(None)})


class SchemaGenerator(GenerateJsonSchema):
    """Makes schemas that client generators read well.

    Only titles that a developer wrote; no `default: null`; a member that responses always have is required; a decimal
    is a string. A model named like one of ours is called `…Model`.
    """

    closed: frozenset[type] = frozenset()
    """The models that refuse unknown members although their configuration does not have `extra`."""

    def field_title_should_be_set(self, schema: Any) -> bool:  # noqa: ARG002  (pydantic's signature)
        """Leave fields without a title: it would repeat their name."""
        return False

    def normalize_name(self, name: str) -> str:
        """Keep our own names for ourselves."""
        normal = super().normalize_name(name)
        return f"{normal}Model" if normal in _RESERVED_NAMES else normal

    def model_schema(self, schema: core_schema.ModelSchema) -> JsonSchemaValue:
        """Describe a model."""
        return self.describe_class(super().model_schema(schema), schema["cls"])

    def dataclass_schema(self, schema: core_schema.DataclassSchema) -> JsonSchemaValue:
        """Describe a dataclass."""
        return self.describe_class(super().dataclass_schema(schema), schema["cls"])

    def typed_dict_schema(self, schema: core_schema.TypedDictSchema) -> JsonSchemaValue:
        """Describe a `TypedDict`."""
        return self.describe_class(super().typed_dict_schema(schema), schema.get("cls"))

    def decimal_schema(self, schema: core_schema.DecimalSchema) -> JsonSchemaValue:
        """Describe a decimal as a string, which loses no digit.

        One that is sent is described without an exponent, because no pattern can say how large an exponent may be.
        """
        described: JsonSchemaValue = {"type": "string", "format": "decimal"}
        if self.mode == "validation":
            pattern = self.build_decimal_pattern(schema)
            return described | {"pattern": pattern.replace(_EXPONENT, "").replace(_OPTIONAL_EXPONENT, "")}
        if schema.get("max_digits") is not None or schema.get("decimal_places") is not None:
            described["pattern"] = self.build_decimal_pattern(schema)
        return described

    def tagged_union_schema(self, schema: core_schema.TaggedUnionSchema) -> JsonSchemaValue:
        """Describe a discriminated union; OpenAPI cannot express one with another union as a branch."""
        described = super().tagged_union_schema(schema)
        mapping = described.get("discriminator", {}).get("mapping", {})
        if not all(isinstance(reference, str) for reference in mapping.values()):
            del described["discriminator"]
        return described

    def bytes_schema(self, schema: core_schema.BytesSchema) -> JsonSchemaValue:
        """Describe bytes as text: UTF-8, unless the model's configuration encodes them."""
        written = self._config.ser_json_bytes if self.mode == "serialization" else self._config.val_json_bytes
        described: JsonSchemaValue = {"type": "string"}
        if written in _ENCODINGS:
            return described | {"contentEncoding": _ENCODINGS[written]}
        most = schema.get("max_length")  # of bytes; as text they have as many characters at most
        return described if most is None else described | {"maxLength": most}

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> JsonSchemaValue:
        """Describe a field with a default; `null` is left out, because clients would send it."""
        described = super().default_schema(schema)
        if described.get("default", ...) is None:
            del described["default"]
        return described

    def encode_default(self, dft: Any) -> Any:
        """Write a default; pydantic makes an adapter for each, also for what is JSON already."""
        return dft if type(dft) in _JSON else super().encode_default(dft)

    def field_is_required(
        self, field: core_schema.ModelField | core_schema.DataclassField | core_schema.TypedDictField, total: bool
    ) -> bool:
        """Require a member that responses always have: one with a default too, but not one that may be missing."""
        if self.mode == "validation" or field["type"] == "typed-dict-field":
            return super().field_is_required(field, total)
        return field.get("serialization_exclude_if") is None and not _may_be_missing(field["schema"])

    def describe_class(self, described: JsonSchemaValue, cls: type | None) -> JsonSchemaValue:
        """Remove the title that is only the class's name, and close the class."""
        if cls is not None and described.get("title") == cls.__name__:
            del described["title"]
        if self.mode == "validation" and cls in self.closed and described.get("type") == "object":
            described.setdefault("additionalProperties", False)
        return described


class _MarkingGenerator(SchemaGenerator):
    """Keeps the class of each model in its schema, for `name_schemas`."""

    def model_schema(self, schema: core_schema.ModelSchema) -> JsonSchemaValue:
        return super().model_schema(schema) | {CLASS: schema["cls"]}


def _may_be_missing(schema: Any) -> bool:
    """Return whether a field's value can be pydantic's `MISSING`: it is then absent from the answer."""
    while isinstance(schema, dict):
        if schema["type"] == "missing-sentinel" or schema.get("default") is MISSING:
            return True
        schema = schema.get("schema")
    return False
