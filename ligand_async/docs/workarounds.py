"""What quart-schema 0.25 does to an app and must not; `tests/docs/test_workarounds.py` fails when it is mended."""

from collections.abc import Awaitable, Callable
from dataclasses import is_dataclass
from typing import Any

from pydantic import BaseModel
from pydantic_core import PydanticSerializationError, to_jsonable_python
from quart import Quart
from quart.json.provider import DefaultJSONProvider
from quart_schema.conversion import convert_response_return_value


class LigandJSONProvider(DefaultJSONProvider):
    """Write JSON: models, dataclasses and everything else that pydantic can write; times as RFC 3339; never NaN.

    quart-schema 0.25 installs a provider that calls `super()` in a staticmethod: the error is swallowed, objects with
    `__html__` are refused, and what cannot be written is a `PydanticSerializationError` instead of a `TypeError`.
    """

    @staticmethod
    def default(object_: Any) -> Any:
        """Convert what the standard library cannot write.

        Raises:
            TypeError: Nobody can write it.
        """
        if hasattr(object_, "__html__"):
            return str(object_.__html__())
        try:
            return to_jsonable_python(object_)
        except PydanticSerializationError as error:
            raise TypeError(f"{type(object_).__name__} cannot be written as JSON") from error

    def dumps(self, obj: Any, **kwargs: Any) -> str:
        """Write JSON text.

        Raises:
            ValueError: A number in it is NaN or infinite (RFC 8259 has none).
        """
        return super().dumps(obj, **{"allow_nan": False, **kwargs})


def restore_responses(app: Quart, make_response: Callable[[Any], Awaitable[Any]]) -> None:
    """Convert the return value of a view only where it is a model.

    quart-schema 0.25 wraps `app.make_response` and makes a pydantic adapter for the class of every dict and list: 20 µs
    for each response, and an error for a `MultiDict`, a `defaultdict` and most other subclasses. The JSON provider
    needs no help with them.

    Args:
        app: The app.
        make_response: The app's method before quart-schema wrapped it.
    """

    async def convert_and_make_response(result: Any) -> Any:
        parts = result if isinstance(result, tuple) else (result,)
        return await make_response(convert_response_return_value(result) if any(map(is_model, parts)) else result)

    app.make_response = convert_and_make_response  # type: ignore[method-assign]  # quart-schema does the same


def is_model(value: Any) -> bool:
    """Tell whether quart-schema must convert a value."""
    return isinstance(value, BaseModel) or (is_dataclass(value) and not isinstance(value, type))
