"""Changes to pydantic's core schemas that no option of pydantic makes: closed and read from text, exact for output."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from functools import partial
from typing import Any, Literal
from uuid import UUID

from pydantic import TypeAdapter, ValidationError
from pydantic.json_schema import GenerateJsonSchema
from pydantic_core import SchemaValidator, core_schema

from ligand_async.data.schemas import keeps_type as keeps_type_of
from ligand_async.web.validation import PARTS, StrictValidator, definitions_of, nodes_of

_Node = dict[str, Any]

_OPEN = {"model", "dataclass", "typed-dict"}
_CLASSES = {"model", "model-fields", "dataclass", "dataclass-args", "definition-ref"}
# The types of schemas whose values hold nothing that the schema does not describe.
_SURE = frozenset(
    (  # noqa: SIM905  (a line each would take forty)
        "none bool int float decimal str bytes date time datetime timedelta literal enum missing-sentinel uuid url "
        "multi-host-url list tuple set frozenset dict typed-dict typed-dict-field model model-fields model-field "
        "dataclass dataclass-args dataclass-field nullable union tagged-union default definitions definition-ref "
        "lax-or-strict json-or-python"
    ).split()
)
_ANY: _Node = {"type": "any"}


def close(adapter: TypeAdapter[Any]) -> StrictValidator:
    """Make a strict validator that refuses unknown keys.

    A model whose configuration has `extra` or `strict`, and a field with `strict`, keep theirs: pydantic's
    `extra="forbid"` and `strict=True` at run time would overrule them.
    """
    return _strict_validator_of(schema_of(adapter))


def _strict_validator_of(schema: Any) -> StrictValidator:
    return StrictValidator(rewrite(schema, _closed_and_strict))


@dataclass(frozen=True, slots=True)
class _Exact:
    """The check of a value that pydantic accepted without looking inside, because it is an instance already.

    Attributes:
        check: Raises `pydantic.ValidationError` for a value that does not fit its schema or has a number that is not
            finite; None if there is nothing to check.
        is_sure: Whether the check sees every part of a value: there is no `Any` in it, no computed field.
    """

    check: Callable[[Any], Any] | None
    is_sure: bool


def exact(adapter: TypeAdapter[Any]) -> _Exact:
    """Make the check of instances, which `model_construct` and assignment do not check.

    The service's own validators are left out: they have run when the instance was made.
    """
    schema = rewrite(schema_of(adapter), _exacted)
    types = {node["type"] for node in nodes_of(schema)}
    is_sure = all(map(_is_sure, nodes_of(schema)))
    if types.isdisjoint({"model", "dataclass", "float"}):
        return _Exact(None, is_sure)
    validate = _validator_of(schema).validate_python
    return _Exact(partial(validate, extra="ignore", by_alias=False, by_name=True), is_sure)


def schema_of(adapter: TypeAdapter[Any]) -> Any:
    """Return the core schema of a type, once all that it names is defined."""
    adapter.rebuild(raise_errors=True)  # a model may name a type that is defined only now
    return adapter.core_schema


class _Undescribed(GenerateJsonSchema):
    """Raises for what has no JSON schema; a description made here is thrown away."""

    ignored_warning_kinds: set[Any] = {"skipped-choice", "non-serializable-default"}  # noqa: RUF012  (pydantic's)


def describe(adapter: TypeAdapter[Any]) -> None:
    """Check that a type has a JSON schema, so that the document of an app can be made.

    Raises:
        pydantic.PydanticUserError: It has none, or something that it names is not defined.
    """
    adapter.rebuild(raise_errors=True)
    adapter.json_schema(schema_generator=_Undescribed)


def _validator_of(schema: Any) -> SchemaValidator:
    # False: otherwise pydantic-core 2.50 uses the validators of nested classes, and our changes are lost.
    return SchemaValidator(schema, None, False)


def rewrite(node: Any, change: Callable[[_Node], _Node]) -> Any:
    """Change a schema and each schema inside it, from the outside in."""
    if isinstance(node, list):
        return [rewrite(part, change) for part in node]
    if isinstance(node, tuple):  # a choice and its label
        return (rewrite(node[0], change), *node[1:])
    if not isinstance(node, dict):
        return node
    if not isinstance(node.get("type"), str):  # schemas by name
        return {name: rewrite(part, change) for name, part in node.items()}
    return {key: rewrite(part, change) if key in PARTS else part for key, part in change(node).items()}


def closed(node: _Node) -> _Node:
    """Let a class refuse unknown keys, unless its configuration has `extra`."""
    config = node.get("config") or {}
    if node["type"] not in _OPEN or node.get("root_model") or "extra_fields_behavior" in config:
        return node
    own = {"extra_behavior": "forbid"} if node["type"] == "typed-dict" else {}  # it counts before the configuration
    return {**node, **own, "config": {**config, "extra_fields_behavior": "forbid"}}


def _closed_and_strict(node: _Node) -> _Node:
    node = closed(node)
    if node["type"] not in _OPEN:
        return node
    return {**node, "config": {"strict": True, **(node.get("config") or {})}}


# Text, as it comes in query strings, headers, cookies, paths and forms.

Readable = Literal["text", "structure", "nothing"]
# Of schemas around others, the key of the one that reads text.
_INNER = {
    "default": "schema",
    "nullable": "schema",
    "function-after": "schema",
    "definitions": "schema",
    "lax-or-strict": "lax_schema",
    "json-or-python": "python_schema",
    "model": "schema",
}
_TEXTS = frozenset(
    (  # noqa: SIM905  (a line each would take twenty)
        "str int float decimal bool complex date time datetime timedelta uuid url multi-host-url enum literal json "
        "function-plain function-before function-wrap chain"
    ).split()
)
_LISTS = frozenset({"list", "set", "frozenset", "tuple"})
_STRUCTURES = frozenset({"model", "dataclass", "typed-dict", "dict", "call"})


def readable(schema: Any, definitions: Mapping[str, Any] | None = None) -> Readable:
    """Return what can be read into a schema: a text or a list of texts, a structure such as a JSON object, or nothing.

    A function that a service runs before pydantic's own validation may take any text.
    """
    definitions = definitions_of(schema) if definitions is None else definitions
    kind = schema["type"]
    if kind == "definition-ref":
        found = definitions.get(schema["schema_ref"])
        return "structure" if found is None or found["type"] in _STRUCTURES else readable(found, definitions)
    if kind in _LISTS:
        items = schema.get("items_schema", [])
        inside = {readable(item, definitions) for item in (items if isinstance(items, list) else [items])}
        nested = any(item["type"] in _LISTS for item in (items if isinstance(items, list) else [items]))
        return "text" if inside == {"text"} and not nested else "structure"
    if kind in {"union", "tagged-union"}:
        choices = schema["choices"]
        parts = choices.values() if isinstance(choices, dict) else choices
        kinds = {readable(part[0] if isinstance(part, tuple) else part, definitions) for part in parts} - {"nothing"}
        return "structure" if "structure" in kinds else next(iter(kinds), "nothing")
    if kind in _STRUCTURES and not schema.get("root_model"):
        return "structure"
    if kind in _INNER:
        return readable(schema[_INNER[kind]], definitions)
    return "text" if kind in _TEXTS else "nothing"


def leaves(schema: Any) -> set[str]:
    """Return the types of the schemas in a schema that read one value."""
    return {node["type"] for node in nodes_of(schema)} & (_TEXTS | {"any"})


def fields_of(schema: Any) -> dict[str, Any]:
    """Return the schemas of a model's fields by name."""
    while schema["type"] != "model-fields":
        if schema["type"] == "definition-ref" or "schema" not in schema:
            return {}
        schema = schema["schema"]
    return {name: field["schema"] for name, field in schema["fields"].items()}


def read_text(schema: Any) -> SchemaValidator | None:
    """Make a validator that reads numbers, enumerations and literals of any type from text.

    Returns:
        The validator, or None if pydantic's own reads the same.
    """
    changed = rewrite(schema, _from_text)
    return _validator_of(changed) if any(_is_ours(node) for node in nodes_of(changed)) else None


def read_form(
    schema: Any, parts: Mapping[str, Callable[[StrictValidator], Any]], files: Sequence[tuple[Any, Any]]
) -> SchemaValidator:
    """Make a closed validator of a form: texts, uploads, and parts in JSON.

    Args:
        schema: The model's.
        parts: For each field in JSON, what makes its reader from the strict validator of its type.
        files: The core schemas of uploads, each with the one to use instead.
    """
    definitions = list(definitions_of(schema).values())

    def part(name: str, node: _Node) -> _Node:
        if node["type"] in {"default", "nullable", "function-after"}:
            return {**node, "schema": part(name, node["schema"])}
        whole = {"type": "definitions", "schema": node, "definitions": definitions} if definitions else node
        return {**core_schema.no_info_plain_validator_function(parts[name](_strict_validator_of(whole)))}

    def with_parts(node: _Node) -> _Node:
        if node["type"] != "model-fields":
            return {**node, "schema": with_parts(node["schema"])} if "schema" in node else node
        fields = {
            name: {**field, "schema": part(name, field["schema"])} if name in parts else field
            for name, field in node["fields"].items()
        }
        return {**node, "fields": fields}

    def change(node: _Node) -> _Node:
        replaced = next((new for old, new in files if node.get("function") == old.get("function")), None)
        return _from_text(closed(node)) if replaced is None or node["type"] != "function-plain" else replaced

    return _validator_of(rewrite(with_parts(schema), change))


_MARK = "ligand_text"
_TIMES = frozenset({"date", "time", "datetime", "timedelta"})
_NO_TIME = "a number"  # what a time refuses
_BOOLEANS = TypeAdapter(bool)
_PLAIN = (int, float, Decimal, date, datetime, time, timedelta, UUID)


def _is_ours(node: _Node) -> bool:
    return bool((node.get("metadata") or {}).get(_MARK))


def _from_text(node: _Node) -> _Node:
    """Let a node read what a text means; a node that reads text as it is stays the same."""
    if _is_ours(node):
        return node
    if node["type"] in _TIMES:
        return _after(_without_number, node)
    values = node.get("expected") if node["type"] == "literal" else None
    if node["type"] == "enum":
        values = [member.value for member in node["members"]]
    if values is None or all(isinstance(value, str) for value in values):
        return node
    return _after(partial(_find_value, _Values(values)), node)


def _after(function: Callable[[Any], Any], node: _Node) -> _Node:
    """Run a function before a node, and mark both: they are not changed again."""
    mark = {**(node.get("metadata") or {}), _MARK: True}
    inner = {key: part for key, part in node.items() if key != "ref"} | {"metadata": mark}
    return {
        "type": "function-before",
        "function": {"type": "no-info", "function": function},
        "schema": inner,
        "metadata": mark,
        **({"ref": node["ref"]} if "ref" in node else {}),
    }


class _Values:
    """The values of an enumeration or a literal, by their texts."""

    def __init__(self, values: Sequence[Any]) -> None:
        plain = [getattr(value, "value", value) for value in values]  # a literal may hold members
        self.pairs = list(zip(plain, values, strict=True))
        self.texts = {value: one for value, one in self.pairs if isinstance(value, str)}
        kinds = {type(value) for value, _ in self.pairs}
        self.readers = [(kind, TypeAdapter(kind)) for kind in _PLAIN if kind in kinds]
        if bool in kinds:
            self.readers.append((bool, _BOOLEANS))


def _find_value(values: _Values, sent: Any) -> Any:
    """Return the value that a text means; other input, and a text without a value, is left to the node."""
    if not isinstance(sent, str):
        return sent
    if sent in values.texts:
        return values.texts[sent]
    for kind, reader in values.readers:
        text = _without_number(sent) if kind in {date, datetime, time, timedelta} else sent
        try:
            read = reader.validate_python(text)
        except ValidationError:
            continue
        for value, one in values.pairs:
            if type(value) is kind and value == read:
                return one
    return sent


def _without_number(sent: Any) -> Any:
    """Replace a text that is a number by one that no time accepts: pydantic reads a number as seconds since 1970."""
    if not isinstance(sent, str):
        return sent
    try:
        float(sent)
    except ValueError:
        return sent
    return _NO_TIME


def _exacted(node: _Node) -> _Node:
    """Validate instances again, without the side effects of their classes."""
    node = _without_functions(node)
    match node["type"]:
        case "model" | "dataclass":
            dropped = {"custom_init", "post_init"}
            return {key: part for key, part in node.items() if key not in dropped} | {"revalidate_instances": "always"}
        case "float":
            return {**node, "allow_inf_nan": False}
        case "dataclass-args":
            fields = [
                {key: part for key, part in field.items() if key != "init"}
                for field in node["fields"]
                if not field.get("init_only")
            ]
            return {**node, "fields": fields, "collect_init_only": False}
        case _:
            return node


def _without_functions(node: _Node) -> _Node:
    """Leave out the service's own functions; accept anything if one may have changed the type of the value."""
    ref = {"ref": node["ref"]} if "ref" in node else {}
    while node["type"].startswith("function-") or node["type"] in {"json", "chain", "call", "generator"}:
        inner = node.get("schema")
        keeps_type = (
            node["type"] in {"function-before", "json"}
            or (inner is not None and inner["type"] in _CLASSES)
            or (node["type"] == "function-after" and keeps_type_of(node["function"]["function"]))
        )
        if inner is None or not (keeps_type or inner["type"].startswith("function-")):
            return _ANY | ref
        if not keeps_type:
            core = _without_functions(inner)
            return {**core, **ref} if core["type"] in _CLASSES else _ANY | ref
        node = inner
    return {**node, **ref}


def _is_sure(node: _Node) -> bool:
    """Return whether this node can serialize nothing that the validator has not checked; its parts are apart."""
    allows_more = (node.get("config") or {}).get("extra_fields_behavior") == "allow"
    return node["type"] in _SURE and not (allows_more or node.get("computed_fields") or "serialization" in node)
