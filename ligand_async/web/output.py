"""What a handler returns: validated, turned to bytes, and only then committed; responses made by hand."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import NoneType, UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import TypeAdapter, ValidationError
from pydantic_core import PydanticSerializationError
from quart import Response, current_app
from werkzeug.wrappers import Response as WerkzeugResponse

from ligand_async.errors import problem_for
from ligand_async.web.core_schemas import exact
from ligand_async.web.fields import without_none
from ligand_async.web.invalid import json_pointer
from ligand_async.web.json import find_infinite

RESPONSES = (Response, WerkzeugResponse)
BODILESS = frozenset({204, 205, 304})  # RFC 9110 sections 15.3.5, 15.3.6 and 15.4.5


class ResponseInvalid(RuntimeError):
    """A handler returned what its annotation refuses; nothing of the unit of work was kept."""


@dataclass(frozen=True, slots=True)
class _Result:
    """What a handler returned, taken apart."""

    value: Any
    status: int
    headers: Mapping[str, str]


class Output:
    """Turns return values into responses, by the return annotation.

    Args:
        returns: A schema, `None`, `Response`, a union of these, or `tuple[schema, int, headers]`.
        status: The status of success; None for 200, or 204 where nothing is returned.
        handler: The handler's name, for messages.

    Raises:
        ValueError: The status is no success, or one that has no body.
        TypeError: pydantic cannot write the annotation, or it is a tuple of another form.
    """

    def __init__(self, returns: Any, status: int | None, handler: str) -> None:
        self.handler = handler
        self.type = _response_type(returns)
        self.empty = self.type is None
        self.status = int(status or (204 if self.empty else 200))
        if not 200 <= self.status <= 399:
            raise ValueError(f"status={status} is no success, 200 to 399; errors are raised")
        if self.status in BODILESS and not (self.empty or self.type is Response or without_none(self.type)[1]):
            raise ValueError(f"status={status} has no body; return None")
        self._adapter: TypeAdapter[Any] | None = None if self.empty or self.type is Response else TypeAdapter(self.type)
        self._exact = None if self._adapter is None else exact(self._adapter)

    def take_apart(self, returned: Any) -> _Result:
        """Split `(value, status, headers)` where that was returned.

        Raises:
            ResponseInvalid: It is a tuple of another form.
        """
        if not isinstance(returned, tuple):
            return _Result(returned, self.status, {})
        match returned:
            case (value, int() as status):
                return _Result(value, int(status), {})
            case (value, int() as status, headers):
                return _Result(value, int(status), headers or {})
        raise ResponseInvalid(
            f"{self.handler} returned a tuple other than (value, status) and (value, status, headers)"
        )

    def make_response(self, result: _Result) -> Response:
        """Make the response of a result.

        Raises:
            ResponseInvalid: The annotation refuses the value, or it holds a number that JSON cannot write.
            Problem: The status is an error's; a text that was returned with it is the detail.
        """
        if result.status >= 400:
            detail = result.value if isinstance(result.value, str) else None
            raise problem_for(result.status, detail, headers=result.headers)
        if result.status < 200 or (result.status in BODILESS and result.value is not None):
            raise ResponseInvalid(f"{self.handler} returned a value with status {result.status}, which has none")
        if result.value is None and (self.empty or result.status in BODILESS):
            response = current_app.response_class(b"", status=result.status)
            response.headers.pop("Content-Type", None)
            if result.status in {204, 304}:  # RFC 9110 section 8.6; others say that their length is zero
                response.headers.pop("Content-Length", None)
        else:
            response = current_app.response_class(
                self.to_json(result.value), status=result.status, content_type="application/json"
            )
        response.headers.update(result.headers)
        return response

    def to_json(self, value: Any) -> bytes:
        """Validate a value and write it as JSON."""
        if self._adapter is None or self._exact is None:
            raise ResponseInvalid(f"{self.handler} returned a {type(value).__name__}, and its annotation promises none")
        try:
            valid = self._adapter.validate_python(value)
            self._exact.check(valid)
            written = self._adapter.dump_json(valid, by_alias=True, warnings="error")
            if self._exact.is_sure or find_infinite(self._adapter.dump_python(valid, warnings=False)) is None:
                return written
            raise ResponseInvalid(f"{self.handler} returned NaN or Infinity, which JSON cannot write")
        except ValidationError as error:
            errors = error.errors(include_url=False, include_context=False, include_input=False)[:5]
            where = "; ".join(f"{json_pointer(item['loc']) or '/'}: {item['type']}" for item in errors)
            # Not chained: the error's text holds the values, and goes to the log.
            raise ResponseInvalid(f"{self.handler} returned what its annotation refuses: {where}") from None
        except PydanticSerializationError:
            raise ResponseInvalid(f"{self.handler} returned a value that its schema cannot write as JSON") from None


def _response_type(returns: Any) -> Any:
    """Return what success is made of: a type, None for nothing, or `Response` where handlers make it by hand."""
    if get_origin(returns) is Annotated and _is_response(get_args(returns)[0]):
        returns = get_args(returns)[0]
    if returns is None or returns is NoneType:
        return None
    if get_origin(returns) is tuple:
        value, *more = get_args(returns)
        if not 1 <= len(more) <= 2 or more[0] is Ellipsis:
            raise TypeError("a tuple is (value, status) or (value, status, headers); JSON has lists")
        return _response_type(value)
    if get_origin(returns) in {Union, UnionType}:
        rest = [part for part in get_args(returns) if not _is_response(part)]
        if len(rest) < len(get_args(returns)):
            return _response_type(Union[tuple(rest)]) if rest else Response  # noqa: UP007  (built at run time)
        return returns
    return Response if _is_response(returns) else returns


def _is_response(part: Any) -> bool:
    """Tell whether a type is a response made by hand."""
    return isinstance(part, type) and issubclass(part, RESPONSES)


@dataclass(frozen=True, slots=True, init=False)
class Media:
    """Says what a `Response` holds, for the documentation: `Annotated[Response, Media("image/png")]`.

    Attributes:
        types: The media types that it may have.
    """

    types: tuple[str, ...]

    def __init__(self, *types: str) -> None:
        """Name the media types.

        Raises:
            ValueError: There is none, or one has no slash in it.
        """
        if not types or not all("/" in type_.strip("/") for type_ in types):
            raise ValueError('Media() takes media types, such as Media("image/png", "image/jpeg")')
        object.__setattr__(self, "types", types)


def media_types_of(returns: Any) -> tuple[str, ...]:
    """Return the media types that a return annotation names."""
    if get_origin(returns) is not Annotated:
        return ()
    return next((part.types for part in get_args(returns)[1:] if isinstance(part, Media)), ())
