"""How one type becomes JSON Schema: pydantic's generator without its noise."""

import re
from typing import Any

from pydantic import MISSING
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

ENCODINGS = {"base64": "base64url", "hex": "base16"}  # pydantic's names, and those of RFC 4648
RESERVED_NAMES = frozenset({"InvalidPart", "Problem"})


class SchemaGenerator(GenerateJsonSchema):
    """Make schemas that generated clients can live with.

    No titles but those that somebody wrote; no `default: null`; what an answer always carries is required in it;
    a decimal is a string. A model named like one of ours is called `…Model`.
    """

    closed: frozenset[type] = frozenset()
    """The models that refuse unknown members although their configuration is silent."""

    def field_title_should_be_set(self, schema: Any) -> bool:  # noqa: ARG002  (pydantic's signature)
        """Leave fields without a title: it would repeat their name."""
        return False

    def normalize_name(self, name: str) -> str:
        """Name a component: `Page[PetRead]` is `Page_PetRead`."""
        normal = super().normalize_name(name)
        if name.endswith("]"):
            normal = re.sub("_+", "_", normal).rstrip("_")
        return f"{normal}Model" if normal in RESERVED_NAMES else normal

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
        """Describe a decimal as the string that we send and that loses no digit."""
        described: JsonSchemaValue = {"type": "string", "format": "decimal"}
        if schema.get("max_digits") is not None or schema.get("decimal_places") is not None:
            described["pattern"] = self.build_decimal_pattern(schema)
        return described

    def tagged_union_schema(self, schema: core_schema.TaggedUnionSchema) -> JsonSchemaValue:
        """Describe a union that a member tells apart; where a branch is a union again OpenAPI has no word for it."""
        described = super().tagged_union_schema(schema)
        mapping = described.get("discriminator", {}).get("mapping", {})
        if not all(isinstance(reference, str) for reference in mapping.values()):
            del described["discriminator"]
        return described

    def bytes_schema(self, schema: core_schema.BytesSchema) -> JsonSchemaValue:
        """Describe bytes as the text that they are in JSON: UTF-8, unless the model's configuration encodes them."""
        written = self._config.ser_json_bytes if self.mode == "serialization" else self._config.val_json_bytes
        described: JsonSchemaValue = {"type": "string"}
        if written in ENCODINGS:
            return described | {"contentEncoding": ENCODINGS[written]}
        most = schema.get("max_length")  # of bytes: no text of that many has more characters
        return described if most is None else described | {"maxLength": most}

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> JsonSchemaValue:
        """Describe a field with a default; `null` is left out, clients take it for a value to send."""
        described = super().default_schema(schema)
        if described.get("default", ...) is None:
            del described["default"]
        return described

    def field_is_required(
        self, field: core_schema.ModelField | core_schema.DataclassField | core_schema.TypedDictField, total: bool
    ) -> bool:
        """Require in an answer whatever it always carries: defaults too, but no field that may be missing."""
        if self.mode == "validation" or field["type"] == "typed-dict-field":
            return super().field_is_required(field, total)
        return field.get("serialization_exclude_if") is None and not may_be_missing(field["schema"])

    def describe_class(self, described: JsonSchemaValue, cls: type | None) -> JsonSchemaValue:
        """Finish what was made of a class."""
        if cls is not None and described.get("title") == cls.__name__:
            del described["title"]
        if self.mode == "validation" and cls in self.closed and described.get("type") == "object":
            described.setdefault("additionalProperties", False)
        return described


def may_be_missing(schema: Any) -> bool:
    """Return whether a field's value can be pydantic's `MISSING`: it is then absent from the answer."""
    while isinstance(schema, dict):
        if schema["type"] == "missing-sentinel" or schema.get("default") is MISSING:
            return True
        schema = schema.get("schema")
    return False
