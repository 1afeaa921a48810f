"""Changes to pydantic's core schemas that no option of pydantic makes: closed for input, exact for output."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

from pydantic import TypeAdapter
from pydantic_core import SchemaValidator

_Node = dict[str, Any]

# The keys of a schema whose values are schemas.
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


def close(adapter: TypeAdapter[Any]) -> SchemaValidator:
    """Make a validator that refuses unknown keys, except in models whose configuration has `extra`.

    pydantic's `extra="forbid"` at run time would overrule that configuration.
    """
    return _validator_of(rewrite(_schema_of(adapter), closed))


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
    schema = rewrite(_schema_of(adapter), _exacted)
    types = {node["type"] for node in _nodes(schema)}
    is_sure = all(map(_is_sure, _nodes(schema)))
    if types.isdisjoint({"model", "dataclass", "float"}):
        return _Exact(None, is_sure)
    validate = _validator_of(schema).validate_python
    return _Exact(partial(validate, extra="ignore", by_alias=False, by_name=True), is_sure)


def _schema_of(adapter: TypeAdapter[Any]) -> Any:
    adapter.rebuild(raise_errors=True)  # a model may name a type that is defined only now
    return adapter.core_schema


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
    return {key: rewrite(part, change) if key in _PARTS else part for key, part in change(node).items()}


def closed(node: _Node) -> _Node:
    """Let a class refuse unknown keys, unless its configuration has `extra`."""
    config = node.get("config") or {}
    if node["type"] not in _OPEN or node.get("root_model") or "extra_fields_behavior" in config:
        return node
    return {**node, "config": {**config, "extra_fields_behavior": "forbid"}}


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
        keeps_type = node["type"] in {"function-before", "json"} or (inner is not None and inner["type"] in _CLASSES)
        if inner is None or not (keeps_type or inner["type"].startswith("function-")):
            return _ANY | ref
        if not keeps_type:
            core = _without_functions(inner)
            return {**core, **ref} if core["type"] in _CLASSES else _ANY | ref
        node = inner
    return {**node, **ref}


def _nodes(schema: Any) -> Iterator[_Node]:
    """Yield a schema and every schema inside it."""
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
    """Return whether this node can serialize nothing that the validator has not checked; its parts are apart."""
    allows_more = (node.get("config") or {}).get("extra_fields_behavior") == "allow"
    return node["type"] in _SURE and not (allows_more or node.get("computed_fields") or "serialization" in node)
