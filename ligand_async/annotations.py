"""Reading annotations: what is inside `Annotated`, unions, lists and `None`."""

from collections.abc import Iterator
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, NewType, Union, get_args, get_origin

from typing_extensions import TypeAliasType


def bare(annotation: Any) -> Any:
    """Return an annotation without `Annotated` around it."""
    return get_args(annotation)[0] if get_origin(annotation) is Annotated else annotation


def plain(annotation: Any) -> Any:
    """Return the type behind `Annotated`, `NewType` and the aliases of `type X = …`."""
    while True:
        annotation = bare(annotation)
        if isinstance(annotation, NewType):
            annotation = annotation.__supertype__
        elif isinstance(annotation, TypeAliasType):
            annotation = annotation.__value__
        else:
            return annotation


def metadata_of(annotation: Any) -> tuple[Any, ...]:
    """Return the metadata of `Annotated[type, *metadata]`; of another annotation nothing."""
    return get_args(annotation)[1:] if get_origin(annotation) is Annotated else ()


def is_union(annotation: Any) -> bool:
    """Return whether an annotation is `X | Y`, `Union[X, Y]` or `Optional[X]`."""
    return get_origin(annotation) in {Union, UnionType}


def members_of(annotation: Any) -> list[Any]:
    """Return the types that a value may have: the members of a union, else the annotation itself; None is left out.

    `Annotated` around the union and around its members is left out, too.
    """
    annotation = plain(annotation)
    if is_union(annotation):
        return [member for part in get_args(annotation) for member in members_of(part)]
    return [] if annotation in (None, NoneType) else [annotation]


def without_none(annotation: Any) -> tuple[Any, bool]:
    """Return `X` for `X | None`, and whether None was there; a union of more types is returned as it is."""
    annotation = bare(annotation)
    if is_union(annotation):
        rest = [part for part in get_args(annotation) if part is not NoneType]
        if len(rest) == 1:
            return rest[0], len(rest) < len(get_args(annotation))
    return annotation, False


def walk(annotation: Any) -> Iterator[Any]:
    """Yield an annotation and every type inside it, such as the items of a list; no metadata and no literal values."""
    annotation = bare(annotation)
    yield annotation
    if get_origin(annotation) is not Literal:
        for part in get_args(annotation):
            yield from walk(part)
