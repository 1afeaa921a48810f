"""The response that a return value becomes: validated, turned to bytes, and only then committed."""

from collections.abc import Mapping, Sequence, Set
from dataclasses import Field, dataclass
from datetime import date, time, timedelta
from decimal import Decimal
from enum import Enum
from types import NoneType
from typing import Any, ClassVar, Protocol, Union, get_args, get_origin
from uuid import UUID

from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic_core import PydanticSerializationError
from quart import Response, current_app
from werkzeug.wrappers import Response as WerkzeugResponse

from ligand_async.annotations import bare, is_union, metadata_of, without_none
from ligand_async.errors import problem_for
from ligand_async.json_values import find_flaw
from ligand_async.web.core_schemas import exact
from ligand_async.web.invalid import json_pointer

RESPONSES = (Response, WerkzeugResponse)
BODILESS = frozenset({204, 205, 304})  # RFC 9110 sections 15.3.5, 15.3.6 and 15.4.5


class _DataclassInstance(Protocol):
    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]


_Scalar = str | int | float | bool | Decimal | UUID | date | time | timedelta | Enum | None
Answer = (
    BaseModel
    | _DataclassInstance
    | Response
    | WerkzeugResponse
    | _Scalar
    | Mapping[str, Any]
    | Set[_Scalar]
    | Sequence["Answer"]
)
"""The types that a handler may return, for type checkers."""


class ResponseInvalid(RuntimeError):
    """The return value of a handler does not fit its annotation; the unit of work was rolled back."""


@dataclass(frozen=True, slots=True)
class _Result:
    """A return value, split into its parts."""

    value: Any
    status: int
    headers: Mapping[str, str]


class Output:
    """Turns return values into responses, by the return annotation.

    Args:
        returns: A schema, `None`, `Response`, a union of these, or `tuple[schema, int, headers]`.
        status: The status of success; None for 200, or 204 if nothing is returned.
        handler: The handler's name, for messages.

    Attributes:
        type: The type of the body; `None` for an empty one, `Response` for responses that the handler makes itself.
        status: The status of success.

    Raises:
        ValueError: The status is not a success, or has no body although the annotation has one.
        TypeError: pydantic cannot serialize the annotation, or it is a tuple of another form.
    """

    def __init__(self, returns: Any, status: int | None, handler: str) -> None:
        self.handler = handler
        self.type = _response_type(returns)
        self.empty = self.type is None
        self.status = int(status or (204 if self.empty else 200))
        if not 200 <= self.status <= 399:
            raise ValueError(f"status={status} is not a success (200 to 399); raise errors instead")
        if self.status in BODILESS and not (self.empty or self.type is Response or without_none(self.type)[1]):
            raise ValueError(f"{status} responses cannot have a body; annotate the handler `-> None`")
        self._adapter: TypeAdapter[Any] | None = None if self.empty or self.type is Response else TypeAdapter(self.type)
        self._exact = None if self._adapter is None else exact(self._adapter)

    def take_apart(self, returned: Any) -> _Result:
        """Split a return value into value, status and headers.

        Raises:
            ResponseInvalid: It is a tuple, but neither `(value, status)` nor `(value, status, headers)`.
        """
        if not isinstance(returned, tuple):
            return _Result(returned, self.status, {})
        match returned:
            case (value, int() as status):
                return _Result(value, int(status), {})
            case (value, int() as status, headers):
                return _Result(value, int(status), headers or {})
        raise ResponseInvalid(
            f"{self.handler} returned a tuple that is neither (value, status) nor (value, status, headers)"
        )

    def make_response(self, result: _Result) -> Response:
        """Make the response.

        Raises:
            ResponseInvalid: The value does not fit the annotation, or holds NaN or Infinity.
            Problem: The status is an error; if the value is text, it is the detail of the problem.
        """
        if result.status >= 400:
            detail = result.value if isinstance(result.value, str) else None
            raise problem_for(result.status, detail, headers=result.headers)
        if result.status < 200 or (result.status in BODILESS and result.value is not None):
            raise ResponseInvalid(f"{self.handler} returned a value with {result.status}, which cannot have a body")
        if result.value is None and (self.empty or result.status in BODILESS):
            response = current_app.response_class(b"", status=result.status)
            response.headers.pop("Content-Type", None)
            if result.status in {204, 304}:  # RFC 9110 section 8.6; 205 has a length, zero
                response.headers.pop("Content-Length", None)
        else:
            response = current_app.response_class(
                self.to_json(result.value), status=result.status, content_type="application/json"
            )
        response.headers.update(result.headers)
        return response

    def to_json(self, value: Any) -> bytes:
        """Validate a value and write it as JSON.

        Raises:
            ResponseInvalid: It does not fit the annotation, or JSON cannot hold it.
        """
        if self._adapter is None or self._exact is None:
            annotation = getattr(self.type, "__name__", None)
            raise ResponseInvalid(f"{self.handler} returned {type(value).__name__} but is annotated `-> {annotation}`")
        try:
            valid = self._adapter.validate_python(value)
            if self._exact.check is not None:
                self._exact.check(valid)
            written = self._adapter.dump_json(valid, by_alias=True, warnings="error")
            if self._exact.is_sure or not self._holds_flaw(valid):
                return written
            raise ResponseInvalid(f"{self.handler} returned NaN or Infinity, which JSON does not have")
        except ValidationError as error:
            errors = error.errors(include_url=False, include_context=False, include_input=False)[:5]
            where = "; ".join(f"{json_pointer(item['loc']) or '/'}: {item['type']}" for item in errors)
            # Not chained: the error's text holds the values, and goes to the log.
            raise ResponseInvalid(f"{self.handler} returned a value unlike its annotation: {where}") from None
        except PydanticSerializationError:
            raise ResponseInvalid(f"{self.handler} returned a value that cannot be written as JSON") from None

    def _holds_flaw(self, valid: Any) -> bool:
        """Return whether NaN or Infinity is where the check cannot look, such as in a computed field."""
        written = None if self._adapter is None else self._adapter.dump_python(valid, warnings=False)
        return find_flaw(written, in_text=False) is not None


def _response_type(returns: Any) -> Any:
    """Return the type of the body, None for an empty one, or `Response` if the handler makes its responses itself."""
    if _is_response(bare(returns)):
        return Response
    if returns is None or returns is NoneType:
        return None
    if get_origin(returns) is tuple:
        value, *more = get_args(returns)
        if not 1 <= len(more) <= 2 or more[0] is Ellipsis:
            raise TypeError("a tuple must be (value, status) or (value, status, headers); annotate JSON arrays as list")
        return _response_type(value)
    if is_union(returns):
        rest = [part for part in get_args(returns) if not _is_response(part)]
        if len(rest) < len(get_args(returns)):
            return _response_type(Union[tuple(rest)]) if rest else Response  # noqa: UP007  (built at run time)
    return returns


def _is_response(part: Any) -> bool:
    return isinstance(part, type) and issubclass(part, RESPONSES)


@dataclass(frozen=True, slots=True, init=False)
class Media:
    """Documents the media types of a `Response`: `Annotated[Response, Media("image/png")]`.

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
    return next((part.types for part in metadata_of(returns) if isinstance(part, Media)), ())
