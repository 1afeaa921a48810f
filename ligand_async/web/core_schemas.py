"""pydantic's own schemas, changed as no option of it can: closed for what comes in, exact for what goes out."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from pydantic import TypeAdapter
from pydantic_core import SchemaValidator

_Node = dict[str, Any]

# The keys under which a schema holds others.
_PARTS = frozenset(
    {
        "schema",
        "items_schema",
        "keys_schema",
        "values_schema",
        "extras_schema",
        "fields",
        "choices",
        "definitions",
        "lax_schema",
        "strict_schema",
        "json_schema",
        "python_schema",
    }
)
_OPEN = {"model", "dataclass", "typed-dict"}
_CLASSES = {"model", "model-fields", "dataclass", "dataclass-args", "definition-ref"}
# What holds nothing but what its schema says.
_SURE = frozenset(
    (  # noqa: SIM905  (a line each would take forty)
        "none bool int float decimal str bytes date time datetime timedelta literal enum missing-sentinel uuid url "
        "multi-host-url list tuple set frozenset dict typed-dict typed-dict-field model model-fields model-field "
        "dataclass dataclass-args dataclass-field nullable union tagged-union default definitions definition-ref "
        "lax-or-strict json-or-python"
    ).split()
)
_ANY: _Node = {"type": "any"}


def close(adapter: TypeAdapter[Any]) -> SchemaValidator:
    """Make a validator that refuses unknown keys in every model whose configuration is silent about them.

    pydantic's `extra="forbid"` at run time would overrule those that are not.
    """
    return _validator_of(rewrite(_schema_of(adapter), closed))


@dataclass(frozen=True, slots=True)
class _Exact:
    """Looks into a value that pydantic took as it is.

    Attributes:
        validator: Refuses what the schema refuses and numbers that are not finite; None where there is nothing to find.
        is_sure: Whether nothing is in a value that the validator has not seen, such as `Any` or a computed field.
    """

    validator: SchemaValidator | None
    is_sure: bool

    def check(self, value: Any) -> None:
        """Refuse a value that is not what its schema says.

        Raises:
            pydantic.ValidationError: It is not.
        """
        if self.validator is not None:
            self.validator.validate_python(value, extra="ignore", by_alias=False, by_name=True)


def exact(adapter: TypeAdapter[Any]) -> _Exact:
    """Make what looks into instances: neither `model_construct` nor assignment checks anything.

    Functions of the service's own have done their work when there is an instance: they are not called again.
    """
    schema = rewrite(_schema_of(adapter), _exacted)
    types = {node["type"] for node in _nodes(schema)}
    looks = not types.isdisjoint({"model", "dataclass", "float"})
    return _Exact(_validator_of(schema) if looks else None, all(map(_is_sure, _nodes(schema))))


def _schema_of(adapter: TypeAdapter[Any]) -> Any:
    """Return the schema of a type, all of whose names must be known by now.

    Raises:
        pydantic.errors.PydanticUndefinedAnnotation: A model names what is not defined yet.
    """
    adapter.rebuild(raise_errors=True)
    return adapter.core_schema


def _validator_of(schema: Any) -> SchemaValidator:
    """Build a validator of a schema that is not a class's own."""
    # False: without it pydantic-core 2.50 takes the validators that nested classes carry, and our changes are lost.
    return SchemaValidator(schema, None, False)


def rewrite(node: Any, change: Callable[[_Node], _Node]) -> Any:
    """Change each schema within a schema, from the outside in."""
    if isinstance(node, list):
        return [rewrite(part, change) for part in node]
    if isinstance(node, tuple):  # a choice and its label
        return (rewrite(node[0], change), *node[1:])
    if not isinstance(node, dict):
        return node
    if not isinstance(node.get("type"), str):  # schemas by name
        return {name: rewrite(part, change) for name, part in node.items()}
    return {key: rewrite(part, change) if key in _PARTS else part for key, part in change(node).items()}


def closed(node: _Node) -> _Node:
    """Let a class refuse unknown keys, unless it says otherwise."""
    config = node.get("config") or {}
    if node["type"] not in _OPEN or node.get("root_model") or "extra_fields_behavior" in config:
        return node
    return {**node, "config": {**config, "extra_fields_behavior": "forbid"}}


def _exacted(node: _Node) -> _Node:
    """Let a class look into its instances, without their side effects."""
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
    """Leave out what a service's own functions do to a value; where they may have made another of it, anything goes."""
    ref = {"ref": node["ref"]} if "ref" in node else {}
    while node["type"].startswith("function-") or node["type"] in {"json", "chain", "call", "generator"}:
        inner = node.get("schema")
        keeps_type = node["type"] in {"function-before", "json"} or (inner is not None and inner["type"] in _CLASSES)
        if inner is None or not (keeps_type or inner["type"].startswith("function-")):
            return _ANY | ref
        if not keeps_type:
            core = _without_functions(inner)
            return {**core, **ref} if core["type"] in _CLASSES else _ANY | ref
        node = inner
    return {**node, **ref}


def _nodes(schema: Any) -> Iterator[_Node]:
    """Walk a schema and all within it."""
    if isinstance(schema, list | tuple):
        for part in schema:
            yield from _nodes(part)
    if not isinstance(schema, dict):
        return
    is_node = isinstance(schema.get("type"), str)
    if is_node:
        yield schema
    for key, part in schema.items():
        if key in _PARTS or not is_node:
            yield from _nodes(part)


def _is_sure(node: _Node) -> bool:
    """Tell whether a schema says all about what is written for it; what is within it aside."""
    allows_more = (node.get("config") or {}).get("extra_fields_behavior") == "allow"
    return node["type"] in _SURE and not (allows_more or node.get("computed_fields") or "serialization" in node)
