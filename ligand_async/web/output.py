"""The response that a return value becomes: validated, turned to bytes, and only then committed."""

from collections.abc import Mapping, Sequence, Set
from dataclasses import Field, dataclass
from datetime import date, time, timedelta
from decimal import Decimal
from enum import Enum
from http import HTTPStatus
from types import NoneType
from typing import Any, ClassVar, Literal, Protocol, Union, get_args, get_origin
from uuid import UUID

from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic_core import PydanticSerializationError
from quart import Response, current_app
from quart.wrappers.response import DataBody
from typing_extensions import is_typeddict
from werkzeug.datastructures import Headers
from werkzeug.wrappers import Response as WerkzeugResponse

from ligand_async.annotations import bare, is_union, metadata_of, plain, without_none
from ligand_async.errors import problem_for
from ligand_async.json_values import find_flaw
from ligand_async.tasks import this_app
from ligand_async.web.core_schemas import exact
from ligand_async.web.invalid import advice_of, json_pointer
from ligand_async.web.response import RangeResponse

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


_Writer = tuple[TypeAdapter[Any], Any]


class Output:
    """Turns return values into responses, by the return annotation.

    Args:
        returns: A schema, `None`, `Response`, `tuple[schema, status]` or `tuple[schema, status, headers]`, or a union
            of these. A status is `int`, or `Literal[202]` for one that is sent and documented.
        status: The status of success; None for 200, or 204 if nothing is returned.
        handler: The handler's name, for messages.

    Attributes:
        types: The type of the body by status of success: `None` for an empty one, `Response` for responses that the
            handler makes itself.
        type: The type of the body with the status of a bare value.
        status: The status of a bare value.
        errors: The statuses of problems that the annotation names.

    Raises:
        ValueError: A status is not a success, or has no body although the annotation has one.
        TypeError: pydantic cannot serialize the annotation, or it is a tuple of another form.
    """

    def __init__(self, returns: Any, status: int | None, handler: str) -> None:
        self.handler = handler
        bare_type, stated = _read_returns(returns)
        if not stated or bare_type is not _NOTHING:
            self.status = int(status or (204 if bare_type is None else 200))
        elif status is not None and status not in stated:
            raise ValueError(f"status={status} is not one of those that the annotation names; leave it out")
        else:
            self.status = int(status or next((one for one in stated if one < 400), 200))
        self.errors = frozenset(one for one in stated if one >= 400)
        self.types = {one: type_ for one, type_ in stated.items() if one < 400}
        if bare_type is not _NOTHING:
            known = self.types.get(self.status, _NOTHING)
            self.types[self.status] = bare_type if known is _NOTHING else _join([known, bare_type])
        self._is_open = bare_type is not _NOTHING  # a bare value, or a status that is an `int`
        for one, type_ in self.types.items():
            if not 200 <= one <= 399:
                raise ValueError(f"status={one} is not a success (200 to 399); raise errors instead")
            if one in BODILESS and not (type_ is None or type_ is Response or without_none(type_)[1]):
                raise ValueError(f"{one} responses cannot have a body; annotate the handler `-> None`")
        self.type = self.types.get(self.status)
        self._writers = {one: _make_writer(type_) for one, type_ in self.types.items()}

    def take_apart(self, returned: Any) -> _Result:
        """Split a return value into value, status and headers.

        Raises:
            ResponseInvalid: It is a tuple, but neither `(value, status)` nor `(value, status, headers)`.
        """
        if type(returned) is not tuple:  # a NamedTuple is a value
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
        if result.status < 200:
            raise ResponseInvalid(f"{self.handler} returned {result.status}, which is not a final status")
        known = self.types.get(result.status, _NOTHING)
        if known is _NOTHING and not self._is_open:
            raise ResponseInvalid(f"{self.handler} returned {result.status}, and its annotation does not name it")
        is_empty = (self.type if known is _NOTHING else known) is None
        if (result.value is None and is_empty) or (result.status in BODILESS and not is_empty):
            response = current_app.response_class(b"", status=result.status)
            response.headers.pop("Content-Type", None)
            if result.status in {204, 304}:  # RFC 9110 section 8.6; 205 has a length, zero
                response.headers.pop("Content-Length", None)
        else:
            response = _make_json_response(self.to_json(result.value, result.status), result.status)
        if result.headers:
            response.headers.update(result.headers)
        return response

    def to_json(self, value: Any, status: int | None = None) -> bytes:
        """Validate a value and write it as JSON.

        Args:
            value: The value.
            status: The status that it is returned with; None for that of a bare value.

        Raises:
            ResponseInvalid: It does not fit the annotation, or JSON cannot hold it.
        """
        writer = self._writers.get(self.status if status is None else status, self._writers.get(self.status))
        if writer is None:
            annotation = getattr(self.type, "__name__", None)
            raise ResponseInvalid(f"{self.handler} returned {type(value).__name__} but is annotated `-> {annotation}`")
        adapter, exact_ = writer
        try:
            valid = adapter.validate_python(value)
            if exact_.check is not None:
                exact_.check(valid)
            written = adapter.dump_json(valid, by_alias=True, warnings="error")
            if exact_.is_sure or not _holds_flaw(adapter, valid):
                return written
            raise ResponseInvalid(f"{self.handler} returned NaN or Infinity, which JSON does not have")
        except ValidationError as error:
            errors = error.errors(include_url=False)[:5]
            where = "; ".join(
                f"{json_pointer(item['loc']) or '/'}: {advice_of(item) or item['type']}" for item in errors
            )
            # Not chained: the error's text holds the values, and goes to the log.
            raise ResponseInvalid(f"{self.handler} returned a value unlike its annotation: {where}") from None
        except PydanticSerializationError:
            raise ResponseInvalid(f"{self.handler} returned a value that cannot be written as JSON") from None


def _make_writer(type_: Any) -> _Writer | None:
    if type_ is None or type_ is Response:
        return None
    adapter = TypeAdapter(type_)
    return adapter, exact(adapter)


_JSON = "application/json"
_STATUS_LINES = {status.value: Response(status=status.value).status for status in HTTPStatus}


def _make_json_response(body: bytes, status: int) -> Response:
    """Return a response of bytes; one of our class is made without the checks that only values from outside need."""
    kind = this_app().response_class
    if kind is not RangeResponse or status not in _STATUS_LINES:
        return kind(body, status=status, content_type=_JSON)
    response = RangeResponse.__new__(RangeResponse)
    response.headers = Headers()
    response.headers._list = [("Content-Type", _JSON), ("Content-Length", f"{len(body)}")]
    response._status_code, response._status = status, _STATUS_LINES[status]
    response.timeout = ...
    response.response = DataBody(body)
    return response


def _holds_flaw(adapter: TypeAdapter[Any], valid: Any) -> bool:
    """Return whether NaN or Infinity is where the check cannot look, such as in a computed field."""
    return find_flaw(adapter.dump_python(valid, warnings=False), in_text=False) is not None


_NOTHING: Any = object()  # no type, where None is the type of an empty body


def _read_returns(returns: Any) -> tuple[Any, dict[int, Any]]:
    """Return the type of a body without a status of its own, and those by status.

    Raises:
        TypeError: A tuple is neither `(value, status)` nor `(value, status, headers)`.
    """
    bare_types: list[Any] = []
    stated: dict[int, list[Any]] = {}
    members = get_args(bare(returns)) if is_union(bare(returns)) else ()
    is_mixed = any(_is_tuple(part) or _is_response(bare(part)) for part in members)
    for part in members if is_mixed else [returns]:  # the metadata of a union, such as a discriminator, stays
        kind = bare(part)
        if _is_tuple(kind):
            type_, statuses = _read_tuple(kind)
            for status in statuses:
                stated.setdefault(status, []).append(type_)
            bare_types += [] if statuses else [type_]
        else:
            bare_types.append(_body_type(part))
    if len(bare_types) == 1 and not stated:
        return bare_types[0], {}
    return _join(bare_types), {status: _join(types) for status, types in stated.items()}


def _is_tuple(part: Any) -> bool:
    return bare(part) is tuple or get_origin(bare(part)) is tuple


def _body_type(part: Any) -> Any:
    if _is_response(bare(part)):
        return Response
    return None if part in (None, NoneType) else part


def _join(types: Sequence[Any]) -> Any:
    """Join the types of one status. Responses that a handler makes itself are documented only if nothing else is."""
    rest = [type_ for type_ in types if type_ is not Response]
    if not rest:
        return Response if types else _NOTHING
    return rest[0] if len(rest) == 1 else Union[tuple(rest)]  # noqa: UP007  (built at run time)


def _read_tuple(kind: Any) -> tuple[Any, tuple[int, ...]]:
    """Return the type of the value and the statuses of a tuple; no status for an `int`."""
    parts = get_args(kind)
    statuses = _read_status(parts[1]) if len(parts) in {2, 3} else None
    if statuses is None or (len(parts) == 3 and not _is_headers(parts[2])):
        written = str(kind).replace("typing.", "")
        raise TypeError(
            f"{written} must be (value, status) or (value, status, headers), where the status is an int or a Literal; "
            "annotate a JSON array as a list, or as a NamedTuple"
        )
    return _body_type(parts[0]), statuses


def _read_status(part: Any) -> tuple[int, ...] | None:
    """Return the statuses of an annotation: none for an `int`, and None if it is not a status."""
    kind = plain(part)
    if get_origin(kind) is Literal:
        found = get_args(kind)
        is_status = all(isinstance(one, int) and not isinstance(one, bool) for one in found)
        return tuple(int(one) for one in found) if is_status else None
    return () if isinstance(kind, type) and issubclass(kind, int) and kind is not bool else None


def _is_headers(part: Any) -> bool:
    kind = plain(part)
    kind = get_origin(kind) or kind
    return kind is Any or is_typeddict(kind) or (isinstance(kind, type) and issubclass(kind, Mapping | Headers))


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
