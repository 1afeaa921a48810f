"""The names of generic models in the document: short, the same in every process, and telling.

`Page[PetRead]` is `Page_PetRead`: the name of the class, and behind it those of its parts, as the document has them.
pydantic names them by the text of their arguments, metadata and all, and numbers those that are left. It names other
classes well: by their own name, and where two have the same with the module in front of it.
"""

import re
from collections.abc import Hashable, Mapping
from types import NoneType
from typing import Any, Literal, TypeVar, get_args, get_origin

from pydantic.json_schema import JsonSchemaValue

from ligand_async.annotations import bare, is_union

CLASS = "x-ligand-class"  # a member that holds the model of a schema, until the schemas are named
_MODE = re.compile(r"(-Input|-Output)?(?:__\d+)?$")
_MOST = 3  # members of a union, or values of a literal, that a name tells
_UNFIT = re.compile(r"[^A-Za-z0-9.-]+")

K = TypeVar("K", bound=Hashable)


def name_schemas(
    components: Mapping[str, JsonSchemaValue], refs: Mapping[K, JsonSchemaValue], prefix: str
) -> tuple[dict[str, JsonSchemaValue], dict[K, JsonSchemaValue]]:
    """Return the schemas of a document by their names, sorted, and the schemas that refer to them.

    Args:
        components: The schemas by the names that pydantic gave them; those of models have the member `CLASS`.
        refs: The schemas of types, which may refer to them.
        prefix: The text before the name in a reference.
    """
    renamed = _rename_generics({name: schema[CLASS] for name, schema in components.items() if CLASS in schema})
    named = {renamed.get(name, name): _rewrite(schema, renamed, prefix) for name, schema in components.items()}
    return dict(sorted(named.items())), {key: _rewrite(ref, renamed, prefix) for key, ref in refs.items()}


def _rename_generics(classes: Mapping[str, type]) -> dict[str, str]:
    """Return the names of generic models by the names that pydantic gave them."""
    plain = {cls: _MODE.sub("", name) for name, cls in classes.items() if _origin_of(cls) is None}
    names: dict[type, str] = {}
    used = set(plain.values())
    generic = (name for name, cls in classes.items() if _origin_of(cls) is not None)
    for cls in dict.fromkeys(classes[name] for name in sorted(generic, key=lambda name: (len(name), name))):
        wanted = free = _UNFIT.sub("_", _name_of(cls, plain)).strip("_")
        number = 1
        while free in used:  # they differ in metadata, such as the bounds of a text
            number += 1
            free = f"{wanted}_{number}"
        used.add(free)
        names[cls] = free
    found = list(classes.values())
    return {
        name: names[cls] + (_mode_of(name) if found.count(cls) > 1 else "")
        for name, cls in classes.items()
        if cls in names
    }


def _mode_of(name: str) -> str:
    mode = _MODE.search(name)
    return (mode and mode[1]) or ""


def _origin_of(kind: Any) -> Any:
    return (getattr(kind, "__pydantic_generic_metadata__", None) or {}).get("origin")


def _name_of(kind: Any, plain: Mapping[type, str]) -> str:
    """Return the name of a type: of a model as the document has it."""
    kind = bare(kind)
    parts: tuple[Any, ...] = tuple(part for part in get_args(kind) if part is not Ellipsis)
    if kind in (None, NoneType):
        return "None"
    if is_union(kind):
        return _join([_name_of(part, plain) for part in parts])
    if get_origin(kind) is Literal:
        return "Literal_" + _join([str(getattr(value, "name", value)) for value in parts])
    origin = _origin_of(kind)
    if origin is not None:
        parts = kind.__pydantic_generic_metadata__["args"]
    else:
        origin = get_origin(kind) or kind
    own = plain.get(origin) or str(getattr(origin, "__name__", origin))
    return "_".join([own, *(_name_of(part, plain) for part in parts)])


def _join(names: list[str]) -> str:
    if len(names) > _MOST:
        names = [*names[: _MOST - 1], f"{len(names) - _MOST + 1}_others"]
    return "_or_".join(names)


def _rewrite(document: Any, renamed: Mapping[str, str], prefix: str) -> Any:
    """Return a piece of a document with the new names, and without the classes."""
    if isinstance(document, list):
        return [_rewrite(part, renamed, prefix) for part in document]
    if not isinstance(document, dict):
        return document
    found = {key: _rewrite(value, renamed, prefix) for key, value in document.items() if key != CLASS}
    discriminator = found.get("discriminator")
    if isinstance(discriminator, dict) and isinstance(discriminator.get("mapping"), dict):
        mapping = {value: _refer(ref, renamed, prefix) for value, ref in discriminator["mapping"].items()}
        found["discriminator"] = {**discriminator, "mapping": mapping}
    if "$ref" in found:
        found["$ref"] = _refer(found["$ref"], renamed, prefix)
    return found


def _refer(reference: Any, renamed: Mapping[str, str], prefix: str) -> Any:
    if not isinstance(reference, str) or not reference.startswith(prefix):
        return reference
    name = reference.removeprefix(prefix)
    return prefix + renamed.get(name, name)
