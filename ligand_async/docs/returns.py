"""What a return annotation says about the headers of an answer."""

from typing import Any, get_args, get_origin

from typing_extensions import is_typeddict


def headers_model_of(returns: Any) -> Any:
    """Return the `TypedDict` of the headers in `tuple[schema, int, headers]`, or None."""
    parts = get_args(returns) if get_origin(returns) is tuple else ()
    return parts[2] if len(parts) == 3 and is_typeddict(parts[2]) else None
