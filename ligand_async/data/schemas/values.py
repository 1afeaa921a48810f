"""Single values between JSON and the database: checks and conversions."""

import sys
from base64 import b64decode, b64encode
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from decimal import Context, Decimal
from enum import Enum
from typing import Annotated, Any
from uuid import UUID

from pydantic import AnyUrl, GetJsonSchemaHandler, TypeAdapter, UrlConstraints, ValidationError
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError

from ligand_async.json_values import NOT_FINITE, find_flaw

# PostgreSQL cannot store U+0000 in a text; the pattern is in the OpenAPI document.
STORABLE = r"^[^\u0000]*$"
# As a browser's e-mail field takes it (WHATWG HTML, "valid email address").
_LABEL = r"[a-zA-Z0-9](?:[a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?"
EMAIL = rf"^[a-zA-Z0-9.!#$%&'*+/=?^_`{{|}}~-]+@{_LABEL}(?:\.{_LABEL})*$"
# A parser of URLs drops white space that the database would keep.
SPACELESS = r"^[^\s\u0000]+$"
_URL = TypeAdapter[AnyUrl](Annotated[AnyUrl, UrlConstraints(allowed_schemes=["http", "https", "ftp", "ftps"])])


def keeps_type(function: Any) -> bool:
    """Return whether a function is one of those of read schemas that return a value of the type that they take."""
    return function is from_utc or function is time_from_utc


@dataclass(frozen=True, slots=True)
class _Documented:
    """Adds members to the JSON Schema of a type and checks nothing."""

    members: tuple[tuple[str, Any], ...]

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """Describe the type."""
        return {**handler(schema), **dict(self.members)}


def documented(**members: Any) -> _Documented:
    """Return an annotation that adds these members to the JSON Schema of a type, except those that are None."""
    return _Documented(tuple((name, value) for name, value in members.items() if value is not None))


def to_utc(value: datetime) -> datetime:
    """Move an aware moment to UTC."""
    try:
        return value.astimezone(UTC)
    except OverflowError:
        raise PydanticCustomError("datetime_range", "Input should be within the years 1 to 9999 in UTC") from None


def to_naive_utc(value: datetime) -> datetime:
    """Move an aware moment to UTC and drop the time zone, for a column without one."""
    return to_utc(value).replace(tzinfo=None)


def from_utc(value: datetime) -> datetime:
    """Return a moment in UTC; one without a time zone, from a column or database without it, is in UTC already."""
    return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


def refuse_offset(value: time) -> time:
    """Refuse a time of day with an offset, which its column would lose."""
    if value.tzinfo is not None:
        raise PydanticCustomError("time_naive", "Input should have no timezone info")
    return value


def time_to_utc(value: time) -> time:
    """Move a time of day to UTC."""
    offset = value.utcoffset()
    if offset is None:
        raise PydanticCustomError("time_aware", "Input should have timezone info")
    moment = datetime.combine(datetime(2000, 1, 2, tzinfo=UTC), value.replace(tzinfo=UTC)) - offset
    return moment.timetz()


def time_from_utc(value: time) -> time:
    """Return a time of day in UTC; SQLite returns it without its offset, in UTC already."""
    return value.replace(tzinfo=UTC) if value.tzinfo is None else time_to_utc(value)


@dataclass(frozen=True, slots=True)
class Places:
    """Writes a decimal with the places of its column, as it will be read back: 1 as 1.00."""

    digits: int
    places: int

    def __call__(self, value: Decimal) -> Decimal:
        """Add the places that are not there."""
        return value.quantize(Decimal(1).scaleb(-self.places), context=Context(prec=self.digits))


@dataclass(frozen=True, slots=True)
class Without:
    """Refuses a text with another text in it."""

    part: str

    def __call__(self, value: str) -> str:
        """Refuse what could not be taken apart again."""
        if self.part in value:
            raise PydanticCustomError("separator", "must not contain {part}", {"part": repr(self.part)})
        return value


def refuse_huge(value: Decimal) -> Decimal:
    """Refuse a number beyond the range of a double, which SQLite stores it as."""
    if abs(value) > Decimal(sys.float_info.max):
        raise PydanticCustomError(*NOT_FINITE)
    return value


def decode_base64(value: Any) -> Any:
    """Return the bytes of a text in base64 (RFC 4648 section 4); bytes stay as they are."""
    if not isinstance(value, str):
        return value
    try:
        return b64decode(value, validate=True)
    except ValueError:
        raise PydanticCustomError("base64", "Input should be base64") from None


def encode_base64(value: bytes) -> str:
    """Write bytes as base64 (RFC 4648 section 4)."""
    return b64encode(value).decode("ascii")


def check_url(value: str) -> str:
    """Refuse a text that is not an absolute URL (http, https, ftp, ftps); the text stays as it was written."""
    try:
        _URL.validate_python(value)
    except ValidationError:
        raise PydanticCustomError("url_parsing", "Input should be a valid URL") from None
    return value


def check_uuid(value: str) -> str:
    """Refuse a text that is not a UUID, and return it in the canonical form (RFC 9562)."""
    try:
        return str(UUID(value))
    except ValueError:
        raise PydanticCustomError("uuid_parsing", "Input should be a valid UUID") from None


def plain_text(value: Any) -> Any:
    """Return the text of an object that stands for a URL."""
    return value if value is None else str(value)


def code_of(value: Any) -> Any:
    """Return the code of sqlalchemy-utils' `Choice`."""
    return value if isinstance(value, Enum) else getattr(value, "code", value)


def refuse_null(value: Any) -> Any:
    """Refuse the JSON null."""
    if value is None:
        raise PydanticCustomError("json_null", "Input should not be null")
    return value


def check_json(value: Any) -> Any:
    """Refuse JSON that a database cannot store: a number that is not finite, U+0000 in a text."""
    flaw = find_flaw(value)
    if flaw is not None:
        raise PydanticCustomError(flaw.code, flaw.detail)
    return value


# The bounds of both databases: SQLite stores an interval as a datetime, counted from 1970.
_SHORTEST = datetime.min.replace(tzinfo=UTC) - datetime(1970, 1, 1, tzinfo=UTC)
_LONGEST = datetime.max.replace(tzinfo=UTC) - datetime(1970, 1, 1, tzinfo=UTC)


def check_interval(value: timedelta) -> timedelta:
    """Refuse a duration that SQLite cannot store."""
    if not _SHORTEST <= value <= _LONGEST:
        raise PydanticCustomError("interval_range", "Input should be a duration within 1968 years back and 8029 on")
    return value


def write_interval(value: timedelta) -> str:
    """Write a duration (ISO 8601) in days and less: pydantic writes years of 365 days."""
    sign, length = ("-", -value) if value < timedelta() else ("", value)
    hours, seconds = divmod(length.seconds, 3600)
    minutes, seconds = divmod(seconds, 60)
    fraction = f".{length.microseconds:06}".rstrip("0") if length.microseconds else ""
    days = f"{length.days}D" if length.days else ""
    clock = "".join(f"{count}{unit}" for count, unit in ((hours, "H"), (minutes, "M")) if count)
    if seconds or fraction:
        clock += f"{seconds}{fraction}S"
    return f"{sign}P{days}T{clock}" if clock else f"{sign}P{days or 'T0S'}"
