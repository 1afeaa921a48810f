"""What a return annotation says about the headers of an answer."""

from collections.abc import Iterator
from types import NoneType, UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from typing_extensions import is_typeddict


def headers_model_of(returns: Any) -> Any:
    """Return the `TypedDict` of the headers in `tuple[schema, int, headers]`, or None."""
    parts = get_args(returns) if get_origin(returns) is tuple else ()
    return parts[2] if len(parts) == 3 and is_typeddict(parts[2]) else None


def parts_of(shown: Any) -> Iterator[Any]:
    """Yield what an answer may show: the members of a union, without what annotates them."""
    if get_origin(shown) is Annotated:
        yield from parts_of(get_args(shown)[0])
    elif get_origin(shown) in {Union, UnionType}:
        for part in get_args(shown):
            yield from parts_of(part)
    elif shown not in (None, NoneType):
        yield shown
