"""Every kind of column that schemas are derived from: values that it takes and gives, and values that it refuses."""

import enum
from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal
from functools import cache
from typing import Any

import sqlalchemy as sa
import sqlalchemy_utils as utils  # type: ignore[import-untyped]  # it has no types
from sqlalchemy.dialects import postgresql
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from sqlalchemy.types import TypeDecorator, TypeEngine

from ligand_async import CreateSchema, Identified, Model, ReadSchema
from ligand_async.data import UTCDateTime


class Color(enum.Enum):
    RED = "red"
    GREEN = "green"


class Size(enum.IntEnum):
    SMALL = 1
    LARGE = 2


class Shout(TypeDecorator[str]):
    """Text that is stored as it is."""

    impl = sa.String(5)
    cache_ok = True


class Bare(TypeDecorator[Any]):
    """What does not say what it makes."""

    impl = sa.SmallInteger
    cache_ok = True


class Cents(TypeDecorator[Decimal]):
    """An amount that is stored as a whole number."""

    impl = sa.Integer
    cache_ok = True

    def process_bind_param(self, value: Decimal | None, dialect: sa.Dialect) -> Any:  # noqa: ARG002  (their signature)
        return None if value is None else int(value * 100)

    def process_result_value(self, value: Any, dialect: sa.Dialect) -> Decimal | None:  # noqa: ARG002  (their signature)
        return None if value is None else Decimal(value) / 100


class Tags(TypeDecorator[list[str]]):
    """A list that is stored as text."""

    impl = sa.Text
    cache_ok = True

    def process_bind_param(self, value: list[str] | None, dialect: sa.Dialect) -> str | None:  # noqa: ARG002  (their signature)
        return None if value is None else ",".join(value)

    def process_result_value(self, value: str | None, dialect: sa.Dialect) -> list[str] | None:  # noqa: ARG002  (their signature)
        return None if value is None else value.split(",")


class Settings(TypeDecorator[dict[str, Any]]):
    """An object that is stored as JSON."""

    impl = sa.JSON
    cache_ok = True

    def process_result_value(self, value: Any, dialect: sa.Dialect) -> dict[str, Any] | None:  # noqa: ARG002  (their signature)
        return None if value is None else dict(value)


class Year(TypeDecorator[int]):
    """A number that is stored as text."""

    impl = sa.String(4)
    cache_ok = True
    python_type = int

    def process_bind_param(self, value: int | None, dialect: sa.Dialect) -> str | None:  # noqa: ARG002  (their signature)
        return None if value is None else str(value)

    def process_result_value(self, value, dialect):  # type: ignore[no-untyped-def]  # noqa: ARG002  (which says nothing)
        return None if value is None else int(value)


@dataclass
class Kind:
    """A kind of column.

    Attributes:
        type: As mapped.
        taken: JSON that it takes and gives back.
        changed: JSON that it takes, by what it gives back.
        refused: JSON that it does not take.
        schema: What the JSON Schema says of both directions, at least.
        bounds: What it says beside that of what is taken.
        reads_as: Makes values of two spellings equal.
    """

    type: TypeEngine[Any] | type[TypeEngine[Any]]
    taken: list[str]
    changed: dict[str, str] = field(default_factory=dict)
    refused: list[str] = field(default_factory=list)
    schema: dict[str, Any] = field(default_factory=dict)
    bounds: dict[str, Any] = field(default_factory=dict)
    reads_as: Callable[[Any], Any] = lambda value: value
    only: str | None = None


NO_NULLS = r"^[^\u0000]*$"
TEXT = {"type": "string"}
INT32 = {"type": "integer", "format": "int32"}
DOUBLE = {"type": "number", "format": "double"}
DATE_TIME = {"type": "string", "format": "date-time"}
MOMENTS = {
    "taken": ['"2024-02-29T12:00:00Z"', '"0001-01-01T00:00:00Z"', '"9999-12-31T23:59:59.999999Z"'],
    "changed": {'"2024-01-01T01:00:00.5+02:00"': '"2023-12-31T23:00:00.500000Z"'},
    "refused": ['"2024-01-01T00:00:00"', '"0001-01-01T00:00:00+01:00"', "0", '"2024-01-01"'],
    "schema": DATE_TIME,
}
UUIDS: dict[str, Any] = {
    "taken": ['"0190b5b4-7c3e-7d3a-8f3e-0123456789ab"'],
    "refused": ['"0190b5b4"', "5"],
    "schema": {"type": "string", "format": "uuid"},
}

KINDS: dict[str, Kind] = {
    "String": Kind(
        sa.String(5),
        ['"ünïcö"', '""', '"🐕🐕🐕🐕🐕"'],
        refused=['"123456"', "5", r'"a\u0000"', "null"],
        schema=TEXT | {"maxLength": 5},
        bounds={"pattern": NO_NULLS},
    ),
    "Text": Kind(sa.Text, [f'"{"é" * 9999}"'], refused=[r'"\u0000"', "null", "[]"], schema=TEXT),
    "Unicode": Kind(sa.Unicode(2), ['"žž"'], refused=['"abc"'], schema=TEXT | {"maxLength": 2}),
    "UnicodeText": Kind(sa.UnicodeText, ['"žž"'], refused=["1"], schema=TEXT),
    "CHAR": Kind(sa.CHAR(3), ['"abc"'], refused=['"abcd"'], schema=TEXT | {"maxLength": 3}),
    "Enum": Kind(
        sa.Enum(Color),
        ['"red"', '"green"'],
        refused=['"RED"', '"blue"', "null"],
        schema={"enum": ["red", "green"], "type": "string"},
    ),
    "Enum of integers": Kind(
        sa.Enum(Size, native_enum=False), ["1", "2"], refused=["3", '"SMALL"'], schema={"enum": [1, 2]}
    ),
    "Enum of texts": Kind(
        sa.Enum("sold", "lent", name="state"),
        ['"sold"'],
        refused=['"lost"', "0"],
        schema={"enum": ["sold", "lent"], "type": "string"},
    ),
    "Numeric": Kind(
        sa.Numeric(6, 2),
        ['"1234.56"', '"-9999.99"', '"0.01"', '"0.00"'],
        {"1.25": '"1.25"', '"1E+2"': '"100.00"', "7": '"7.00"'},
        ['"12345.6"', '"0.001"', '"NaN"', '"Infinity"', '"x"', "true", "null"],
        {"type": "string", "format": "decimal"},
    ),
    "Numeric of many digits": Kind(sa.Numeric(38, 0), ['"0"', '"123456789012345"'], refused=[f'"{"9" * 39}"']),
    "Numeric of digits": Kind(sa.Numeric(5), ['"99999"'], refused=['"100000"', '"0.5"'], reads_as=Decimal),
    "Numeric of any size": Kind(sa.Numeric, ['"3.5"', '"-123456789"'], refused=['"1e999"', '"NaN"'], reads_as=Decimal),
    "Numeric as float": Kind(
        sa.Numeric(6, 2, asdecimal=False), ["1234.5", "-9999.5"], refused=["10000.0", '"1"'], schema=DOUBLE
    ),
    "Float": Kind(sa.Float, ["0.1", "-1e+308"], {"3": "3.0"}, ['"0.1"', "true", "1e999", "NaN"], DOUBLE),
    "Double": Kind(sa.Double, ["0.1"], refused=["Infinity"], schema=DOUBLE),
    "Float as decimal": Kind(sa.Float(asdecimal=True), ['"0.5"'], refused=['"NaN"'], reads_as=Decimal),
    "REAL": Kind(
        sa.REAL,
        ["0.5", "-3.4e+38"],
        refused=["3.5e38"],
        schema={"format": "float"},
        reads_as=lambda number: f"{number:.6g}",
    ),
    "SmallInteger": Kind(
        sa.SmallInteger,
        ["-32768", "32767"],
        refused=["32768", "-32769", "1.5", '"1"', "true", "null"],
        schema=INT32 | {"minimum": -32768, "maximum": 32767},
    ),
    "Integer": Kind(
        sa.Integer,
        ["-2147483648", "2147483647"],
        refused=["2147483648", "-2147483649"],
        schema=INT32 | {"minimum": -(2**31), "maximum": 2**31 - 1},
    ),
    "BigInteger": Kind(
        sa.BigInteger,
        ["-9223372036854775808", "9223372036854775807"],
        refused=["9223372036854775808"],
        schema={"type": "integer", "format": "int64", "minimum": -(2**63), "maximum": 2**63 - 1},
    ),
    "Boolean": Kind(sa.Boolean, ["true", "false"], refused=["1", '"true"', "null"], schema={"type": "boolean"}),
    "Date": Kind(
        sa.Date,
        ['"2024-02-29"', '"0001-01-01"', '"9999-12-31"'],
        refused=['"2023-02-29"', '"2024-01-01T10:00:00Z"', "0"],
        schema={"type": "string", "format": "date"},
    ),
    "Time": Kind(
        sa.Time,
        ['"23:59:59.999999"', '"00:00:00"'],
        refused=['"10:00:00Z"', '"25:00:00"', "0"],
        schema={"type": "string", "format": "time"},
    ),
    "Time with a zone": Kind(
        sa.Time(timezone=True),
        ['"10:00:00Z"'],
        {'"00:30:00+02:00"': '"22:30:00Z"'},
        ['"10:00:00"'],
        {"type": "string", "format": "time"},
    ),
    "DateTime": Kind(sa.DateTime, **MOMENTS),  # type: ignore[arg-type]  # of many kinds
    "DateTime with a zone": Kind(sa.DateTime(timezone=True), **MOMENTS),  # type: ignore[arg-type]  # of many kinds
    "TIMESTAMP": Kind(sa.TIMESTAMP(timezone=True), **MOMENTS),  # type: ignore[arg-type]  # of many kinds
    "UTCDateTime": Kind(UTCDateTime, **MOMENTS),  # type: ignore[arg-type]  # of many kinds
    "Interval": Kind(
        sa.Interval,
        ['"P1DT2H3M4.000005S"', '"-P400DT1S"', '"-P719162D"', '"P2932896DT23H59M59.999999S"', '"PT0S"', '"PT0.5S"'],
        refused=['"P2932897D"', '"-P719163D"', "5", '"a day"'],
        schema={"type": "string", "format": "duration"},
    ),
    "Uuid": Kind(sa.Uuid, **UUIDS),
    "Uuid as text": Kind(sa.Uuid(as_uuid=False), **UUIDS),
    "Uuid in characters": Kind(sa.Uuid(native_uuid=False), **UUIDS),
    "JSON": Kind(
        sa.JSON,
        ['{"a":[1,null,{"b":"é"}],"c":1.5}', "[]", '"x"', "0", "false", "{}"],
        refused=["null", r'"\u0000"', r'{"a":{"\u0000":1}}', "[1e999]", "NaN", "[1" + "0" * 400 + "]"],
    ),
    "JSONB": Kind(
        sa.JSON().with_variant(postgresql.JSONB(), "postgresql"), ['{"a":[1,2]}'], refused=["null", "[-Infinity]"]
    ),
    "LargeBinary": Kind(
        sa.LargeBinary(3),
        ['"AAH/"', '""', '"AA=="', '"+/8="'],
        refused=['"AAECAw=="', '"AAE"', '"-_8="', '"é"', "5"],
        schema={"type": "string", "contentEncoding": "base64", "maxLength": 4},
    ),
    "BINARY": Kind(sa.LargeBinary().with_variant(sa.BINARY(), "sqlite"), ['"AAH/"'], refused=["[]"]),
    "ARRAY": Kind(
        postgresql.ARRAY(sa.SmallInteger),
        ["[]", "[1,-32768]"],
        refused=["[32768]", "[null]", "1", "null", '["1"]'],
        schema={"type": "array"},
        only="postgresql",
    ),
    "ARRAY of texts": Kind(
        sa.ARRAY(sa.String(2)), ['["ab",""]'], refused=['["abc"]', r'["\u0000"]'], only="postgresql"
    ),
    "ARRAY of two dimensions": Kind(
        sa.ARRAY(sa.Integer, dimensions=2), ["[[1,2],[3,4]]"], refused=["[1]"], only="postgresql"
    ),
    "TypeDecorator of the same": Kind(Shout, ['"abcde"'], refused=['"abcdef"'], schema=TEXT | {"maxLength": 5}),
    "TypeDecorator of nothing": Kind(Bare, ["32767"], refused=["32768"], schema=INT32),
    "TypeDecorator of something else": Kind(Cents, ['"1.25"'], refused=['"x"', '"NaN"'], reads_as=Decimal),
    "TypeDecorator of a class": Kind(Year, ["1984"], refused=['"1984"'], schema={"type": "integer"}),
    "TypeDecorator of a list": Kind(Tags, ['["a","b"]'], refused=['"a"', "[1]"], schema={"type": "array"}),
    "TypeDecorator of an object": Kind(
        Settings, ['{"a":1.5}'], refused=["[]", '{"a":1e999}', r'{"a":"\u0000"}'], schema={"type": "object"}
    ),
    "EmailType": Kind(
        utils.EmailType,
        ['"ann@example.org"'],
        {'"Ann.Lee+1@Example.org"': '"ann.lee+1@example.org"'},
        ['"ann"', '"a@"', '"a b@c.org"', r'"a@b.org\n"', f'"{"a" * 250}@b.org"'],
        TEXT | {"format": "email", "maxLength": 255},
    ),
    "URLType": Kind(
        utils.URLType,
        ['"https://example.org/a?b=c#d"', '"http://127.0.0.1:8000"', '"ftp://example.org/"'],
        refused=['"www.example.org"', '"javascript:alert(1)"', r'"https://example.org/\n"', '"https://"', "5"],
        schema=TEXT | {"format": "uri"},
    ),
    "ChoiceType": Kind(
        utils.ChoiceType([("s", "small"), ("l", "large")]),
        ['"s"', '"l"'],
        refused=['"small"', "null"],
        schema={"enum": ["s", "l"], "type": "string"},
    ),
    "ChoiceType of an enumeration": Kind(
        utils.ChoiceType(Size, impl=sa.Integer()), ["1", "2"], refused=["3"], schema={"enum": [1, 2]}
    ),
    "UUIDType": Kind(utils.UUIDType, **UUIDS),
    "IPAddressType": Kind(utils.IPAddressType, ['"127.0.0.1"', '"::1"'], refused=['"127.0.0"', "5", "null"], schema={}),
    "JSONType": Kind(utils.JSONType, ['{"a": [1, null]}', '"text"', "5"], refused=["null"], schema={}),
    "ScalarListType": Kind(
        utils.ScalarListType(),
        ['["a", "b c"]', "[]"],
        refused=['["a,b"]', '[""]', '"a"', "[1]"],
        schema={"type": "array"},
    ),
    "ScalarListType of numbers": Kind(
        utils.ScalarListType(int), ["[1, 2]"], refused=['["1"]', "[1.5]"], schema={"type": "array"}
    ),
}


class Base(Model, DeclarativeBase):
    """One table for each kind, or none: SQLite has no arrays."""


class Holder(Identified):
    """A table of one column."""

    value: Mapped[Any]


def hold(number: int, kind: Kind) -> type[Holder]:
    """Map a table for a kind of column."""
    members = {"__tablename__": f"kind_{number}", "value": mapped_column(kind.type, nullable=False)}
    annotations = {"__annotations__": {"value": Mapped[Any]}}
    return type(f"Kind{number}", (Holder, Base), members | annotations)


MODELS: dict[str, type[Holder]] = {name: hold(number, kind) for number, (name, kind) in enumerate(KINDS.items())}

TABLES = {name: Base.metadata.tables[f"kind_{number}"] for number, name in enumerate(KINDS)}


@cache
def read_schema(name: str) -> type[ReadSchema]:
    """Derive the schema that gives a kind of column."""

    class Given(ReadSchema, model=MODELS[name], include={"value"}): ...

    return Given


@cache
def create_schema(name: str) -> type[CreateSchema]:
    """Derive the schema that takes a kind of column."""

    class Taken(CreateSchema, model=MODELS[name]): ...

    return Taken
