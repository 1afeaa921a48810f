"""pydantic's own schemas, changed as no option of it can: closed for what comes in, exact for what goes out."""

from collections.abc import Callable
from typing import Any

from pydantic import TypeAdapter
from pydantic_core import SchemaValidator

Node = dict[str, Any]

# The keys under which a schema holds others.
PARTS = frozenset(
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
OPEN = {"model", "dataclass", "typed-dict"}
CLASSES = {"model", "model-fields", "dataclass", "dataclass-args"}
ANY: Node = {"type": "any"}


def close(adapter: TypeAdapter[Any]) -> SchemaValidator:
    """Make a validator that refuses unknown keys in every model whose configuration is silent about them.

    pydantic's `extra="forbid"` at run time would overrule those that are not.
    """
    return validator_of(rewrite(adapter.core_schema, closed))


def exact(adapter: TypeAdapter[Any]) -> SchemaValidator | None:
    """Make a validator that looks into instances, or None where there is no class to look into.

    pydantic takes instances as they are, and neither `model_construct` nor assignment checks anything. Functions of the
    service's own have done their work when there is an instance: they are not called again.
    """
    schema = rewrite(adapter.core_schema, exacted)
    return validator_of(schema) if finds_class(schema) else None


def validator_of(schema: Any) -> SchemaValidator:
    """Build a validator of a schema that is not a class's own."""
    # False: without it pydantic-core 2.50 takes the validators that nested classes carry, and our changes are lost.
    return SchemaValidator(schema, None, False)


def rewrite(node: Any, change: Callable[[Node], Node]) -> Any:
    """Change each schema within a schema, from the outside in."""
    if isinstance(node, list):
        return [rewrite(part, change) for part in node]
    if isinstance(node, tuple):  # a choice and its label
        return (rewrite(node[0], change), *node[1:])
    if not isinstance(node, dict):
        return node
    if not isinstance(node.get("type"), str):  # schemas by name
        return {name: rewrite(part, change) for name, part in node.items()}
    return {key: rewrite(part, change) if key in PARTS else part for key, part in change(node).items()}


def closed(node: Node) -> Node:
    """Let a class refuse unknown keys, unless it says otherwise."""
    config = node.get("config") or {}
    if node["type"] not in OPEN or node.get("root_model") or "extra_fields_behavior" in config:
        return node
    return {**node, "config": {**config, "extra_fields_behavior": "forbid"}}


def exacted(node: Node) -> Node:
    """Let a class look into its instances, without their side effects."""
    node = without_functions(node)
    match node["type"]:
        case "model" | "dataclass":
            dropped = {"custom_init", "post_init"}
            return {key: part for key, part in node.items() if key not in dropped} | {"revalidate_instances": "always"}
        case "dataclass-args":
            fields = [
                {key: part for key, part in field.items() if key != "init"}
                for field in node["fields"]
                if not field.get("init_only")
            ]
            return {**node, "fields": fields, "collect_init_only": False}
        case _:
            return node


def without_functions(node: Node) -> Node:
    """Leave out what a service's own functions do to a value; where they may have made another of it, anything goes."""
    ref = {"ref": node["ref"]} if "ref" in node else {}
    while node["type"].startswith("function-") or node["type"] in {"json", "chain", "call", "generator"}:
        inner = node.get("schema")
        keeps_type = node["type"] in {"function-before", "json"} or (inner is not None and inner["type"] in CLASSES)
        if inner is None or not (keeps_type or inner["type"].startswith("function-")):
            return ANY | ref
        if not keeps_type:
            core = without_functions(inner)
            return {**core, **ref} if core["type"] in CLASSES else ANY | ref
        node = inner
    return {**node, **ref}


def finds_class(node: Any) -> bool:
    """Tell whether a class is anywhere in a schema."""
    if isinstance(node, list | tuple):
        return any(map(finds_class, node))
    if not isinstance(node, dict):
        return False
    if node.get("type") in {"model", "dataclass"}:
        return True
    return any(finds_class(part) for key, part in node.items() if key in PARTS or not isinstance(node.get("type"), str))
