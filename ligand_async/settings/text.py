"""How the text of a variable becomes the value of a setting."""

import json
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import is_dataclass
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel

COLLECTIONS: tuple[type, ...] = (Sequence, Set)
STRUCTURES: tuple[type, ...] = (Mapping, BaseModel)


def parse_text(annotation: Any, text: str) -> Any:
    """Turn text into what pydantic can validate for a type.

    Collections are written as `a,b` or as a JSON list, mappings and models as JSON; all else stays text.

    Args:
        annotation: The setting's type.
        text: What stands in the variable.

    Raises:
        ValueError: It should be JSON and is not.
    """
    kinds = {kind for branch in branches(annotation) if (kind := kind_of(branch))}
    if "collection" in kinds and not text.lstrip().startswith("["):
        return [item.strip() for item in text.split(",") if item.strip()]
    if kinds:
        return json.loads(text)
    return text


def parts(annotation: Any) -> Iterator[Any]:
    """Yield an annotation and everything inside it, the metadata of `Annotated` too."""
    yield annotation
    for argument in get_args(annotation):
        yield from parts(argument)


def branches(annotation: Any) -> Iterator[Any]:
    """Yield the types that a value may have: unions and `Annotated` opened, parameters dropped."""
    origin = get_origin(annotation)
    if origin is Annotated:
        yield from branches(annotation.__origin__)
    elif origin in (Union, UnionType):
        yield from (leaf for argument in get_args(annotation) for leaf in branches(argument))
    else:
        yield origin or annotation


def kind_of(kind: Any) -> str | None:
    """Tell how a type is written: as a `collection`, as a `structure`, or plainly."""
    if not isinstance(kind, type) or issubclass(kind, (str, bytes)):
        return None
    if issubclass(kind, COLLECTIONS):
        return "collection"
    return "structure" if issubclass(kind, STRUCTURES) or is_dataclass(kind) else None
