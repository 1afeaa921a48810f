"""Errors of pydantic without the values that they hold, for logs and error trackers."""

from typing import Any, TypeVar

from pydantic import ValidationError
from pydantic_core import InitErrorDetails, PydanticCustomError
from quart_schema.validation import ResponseSchemaValidationError

from ligand_async.web.invalid import advice_of, json_pointer, plain_location, sentence
from ligand_async.web.output import ResponseInvalid

E = TypeVar("E", bound=BaseException)


def without_values(error: E) -> E:
    """Return an exception whose text holds no value that was validated; nor do those of its causes.

    Args:
        error: Any exception; it is returned itself, unless it is one of pydantic's or quart-schema's.
    """
    try:
        clean: E = _clean(error, set())
    except Exception as failure:  # noqa: BLE001  (an exception of a service's own may be odd in any way)
        message = f"a {type(error).__name__} that cannot be written without its values: {type(failure).__name__}"
        clean = _like(error, RuntimeError(message))
        clean.__cause__ = clean.__context__ = None
    return clean


def _clean(error: Any, seen: set[int]) -> Any:
    if id(error) in seen:
        return error
    seen.add(id(error))
    if isinstance(error, ResponseSchemaValidationError):
        return _response_invalid(error)
    for name in ("__cause__", "__context__"):
        led_to_it = getattr(error, name)
        if led_to_it is None:
            continue
        clean = _clean(led_to_it, seen)
        if clean is not led_to_it:
            suppressed = error.__suppress_context__
            setattr(error, name, clean)
            error.__suppress_context__ = suppressed
    if isinstance(error, BaseExceptionGroup):
        cleaned = [_clean(part, seen) for part in error.exceptions]
        if any(new is not old for new, old in zip(cleaned, error.exceptions, strict=True)):
            return _like(error, error.derive(cleaned))
    return _hidden(error) if isinstance(error, ValidationError) and not _is_hidden(error) else error


def _hidden(error: ValidationError) -> ValidationError:
    details: list[InitErrorDetails] = [
        {
            "type": PydanticCustomError(item["type"], advice_of(item) or sentence(item)),
            "loc": plain_location(item["loc"]),
            "input": None,
        }
        for item in error.errors(include_url=False)
    ]
    written: ValidationError = _like(error, ValidationError.from_exception_data(error.title, details, hide_input=True))
    return written


def _is_hidden(error: ValidationError) -> bool:
    return all(item["input"] is None for item in error.errors(include_url=False, include_context=False))


def _response_invalid(error: ResponseSchemaValidationError) -> ResponseInvalid:
    # quart-schema's own exception holds the whole response.
    refused = error.validation_error
    where = ""
    if isinstance(refused, ValidationError):
        items = refused.errors(include_url=False, include_context=False, include_input=False)[:5]
        where = ": " + "; ".join(f"{json_pointer(item['loc']) or '/'}: {item['type']}" for item in items)
    return ResponseInvalid(f"a view returned what its schema refuses{where}").with_traceback(error.__traceback__)


def _like(old: BaseException, new: Any) -> Any:
    new = new.with_traceback(old.__traceback__)
    new.__cause__, new.__context__ = old.__cause__, old.__context__
    new.__suppress_context__ = old.__suppress_context__
    return new
