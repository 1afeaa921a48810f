"""How the values of a kind of column travel: which are taken for it, and how they are given."""

from dataclasses import dataclass
from datetime import datetime, time, timedelta
from decimal import Decimal
from typing import Annotated, Any, Literal, Optional
from uuid import UUID

from pydantic import AfterValidator, AwareDatetime, BeforeValidator, Field, JsonValue, PlainSerializer, WithJsonSchema
from sqlalchemy import types
from sqlalchemy.types import TypeEngine

from ligand_async.data.schemas import values
from ligand_async.data.schemas.values import documented

_LARGEST_SINGLE = 3.4028234663852886e38  # of IEEE 754's binary32, PostgreSQL's `real`


@dataclass(frozen=True, slots=True)
class Wire:
    """The annotations of a column's values, null aside.

    Attributes:
        taken: Refuses what the column cannot store.
        given: Describes the same, and refuses nothing for its length or range: what is stored can be read.
    """

    taken: Any
    given: Any


def text(type_: types.String, *more: Any, pattern: str = values.STORABLE, form: str | None = None) -> Wire:
    """Make text of a length in characters."""
    bounds = Field(max_length=type_.length, pattern=pattern)
    return Wire(
        Annotated[str, bounds, documented(format=form), *more],
        Annotated[str, documented(maxLength=type_.length, format=form)],
    )


def integer(lowest: int, highest: int, form: str) -> Wire:
    """Make whole numbers of a range."""
    return Wire(
        Annotated[int, Field(ge=lowest, le=highest), documented(format=form)],
        Annotated[int, documented(minimum=lowest, maximum=highest, format=form)],
    )


def number(type_: Any) -> Wire:
    """Make decimals of so many digits, or floats, by a `Numeric` or a `Float`."""
    digits: int | None = type_.precision
    places: int | None = getattr(type_, "scale", None)
    is_float = isinstance(type_, types.Float)
    if type_.asdecimal and (is_float or digits is None):
        bounds = Field(allow_inf_nan=False, decimal_places=places)
        return Wire(Annotated[Decimal, bounds, AfterValidator(values.refuse_huge)], Decimal)
    if type_.asdecimal and digits is not None:
        bounds = Field(allow_inf_nan=False, max_digits=digits, decimal_places=places or 0)
        return Wire(Annotated[Decimal, bounds, AfterValidator(values.Places(digits, places or 0))], Decimal)
    single = isinstance(type_, types.REAL) or (is_float and digits is not None and digits <= 24)
    limit: dict[str, Any] = {"ge": -_LARGEST_SINGLE, "le": _LARGEST_SINGLE} if single else {}
    if not is_float and digits is not None:
        limit = {"gt": -(10.0 ** (digits - (places or 0))), "lt": 10.0 ** (digits - (places or 0))}
    described = documented(format="float" if single else "double")
    return Wire(Annotated[float, Field(allow_inf_nan=False, **limit), described], Annotated[float, described])


def moment(type_: types.DateTime) -> Wire:
    """Make moments, aware on the wire whatever the column knows: one without a time zone holds UTC."""
    given = Annotated[datetime, AfterValidator(values.from_utc)]
    if type_.timezone:
        return Wire(MOMENT.taken, given)
    written = PlainSerializer(values.from_utc, return_type=datetime, when_used="json")
    return Wire(Annotated[AwareDatetime, AfterValidator(values.to_naive_utc), written], given)


def time_of_day(type_: types.Time) -> Wire:
    """Make times of day: with an offset where the column has one, else without."""
    if not type_.timezone:
        return Wire(Annotated[time, AfterValidator(values.refuse_offset)], time)
    return Wire(
        Annotated[time, AfterValidator(values.time_to_utc)], Annotated[time, AfterValidator(values.time_from_utc)]
    )


def binary(type_: TypeEngine[Any]) -> Wire:
    """Make bytes, as base64 on the wire."""
    length: int | None = getattr(type_, "length", None)
    described: dict[str, Any] = {"type": "string", "contentEncoding": "base64"}
    if length is not None:
        described["maxLength"] = 4 * ((length + 2) // 3)
    decoded = BeforeValidator(values.decode_base64)
    encoded = PlainSerializer(values.encode_base64, return_type=str, when_used="json")
    known_as = WithJsonSchema(described)
    return Wire(
        Annotated[bytes, Field(max_length=length), decoded, encoded, known_as],
        Annotated[bytes, decoded, encoded, known_as],
    )


def one_of(type_: types.Enum) -> Wire:
    """Make the members of an enumeration, by their values; or texts."""
    choice = type_.enum_class or Literal[tuple(type_.enums)]
    return Wire(choice, choice)


def uuid(type_: types.Uuid[Any]) -> Wire:
    """Make UUIDs, which a column may keep as texts."""
    if type_.as_uuid:
        return Wire(UUID, UUID)
    return Wire(Annotated[str, AfterValidator(values.check_uuid), documented(format="uuid")], UUID)


def list_of(item: Wire) -> Wire:
    """Make an array of a dimension more."""
    return Wire(list[item.taken], list[item.given])  # type: ignore[name-defined]  # built at run time


def json_as(annotation: Any) -> Wire:
    """Make JSON of a form, all of whose numbers are finite."""
    return Wire(Annotated[annotation, AfterValidator(values.check_json)], annotation)


MOMENT = Wire(Annotated[AwareDatetime, AfterValidator(values.to_utc)], AwareDatetime)
_DURATION = (PlainSerializer(values.write_interval, return_type=str, when_used="json"), documented(format="duration"))
INTERVAL = Wire(
    Annotated[timedelta, AfterValidator(values.check_interval), *_DURATION], Annotated[timedelta, *_DURATION]
)
JSON = Wire(
    Annotated[JsonValue, AfterValidator(values.refuse_null), AfterValidator(values.check_json), WithJsonSchema({})],
    Annotated[JsonValue, WithJsonSchema({})],
)
_NULLABLE_JSON = Wire(Annotated[JsonValue, AfterValidator(values.check_json), WithJsonSchema({})], JSON.given)


def or_null(wire: Wire) -> Wire:
    """Let values be null, too."""
    return _NULLABLE_JSON if wire is JSON else Wire(Optional[wire.taken], Optional[wire.given])  # noqa: UP045  (not a type yet)
