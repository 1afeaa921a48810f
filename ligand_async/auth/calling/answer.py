"""What another service answered, as a value."""

import functools
from typing import Any, TypeVar

import httpx2
from pydantic import TypeAdapter, ValidationError

from ligand_async.auth.calling.failures import bad_answer

T = TypeVar("T")


def read_model(response: httpx2.Response, model: type[T]) -> T:
    """Read the body of another service's answer.

    Args:
        response: The answer.
        model: A pydantic model, or whatever else pydantic reads.

    Raises:
        BadGateway: The answer is no success, or its body does not fit.
    """
    kind: Any = model
    try:
        if response.is_success:
            value: T = adapter_of(kind).validate_json(response.content)
            return value
    except ValidationError:
        raise bad_answer() from None  # the error holds the body
    raise bad_answer()


@functools.cache
def adapter_of(model: Any) -> TypeAdapter[Any]:
    """Return what reads a type, made once."""
    return TypeAdapter(model)
