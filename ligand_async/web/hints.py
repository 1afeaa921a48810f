"""What annotations say."""

from types import NoneType, UnionType
from typing import Annotated, Any, Union, get_args, get_origin


def without_none(hint: Any) -> tuple[Any, bool]:
    """Return what is left of `X | None`, and whether None was there."""
    if get_origin(hint) is Annotated:
        hint = get_args(hint)[0]
    if get_origin(hint) in {Union, UnionType}:
        rest = [part for part in get_args(hint) if part is not NoneType]
        if len(rest) == 1:
            return rest[0], len(rest) < len(get_args(hint))
    return hint, False
