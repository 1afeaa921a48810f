"""The Python types of columns, also of decorated and third-party column types."""

from collections.abc import Callable
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from ipaddress import IPv4Address, IPv6Address
from typing import Annotated, Any, Literal, get_origin, get_type_hints
from uuid import UUID

from pydantic import AfterValidator, BeforeValidator, Field, TypeAdapter
from pydantic.errors import PydanticSchemaGenerationError
from sqlalchemy import types
from sqlalchemy.orm import QueryableAttribute
from sqlalchemy.types import TypeDecorator, TypeEngine

from ligand_async.annotations import members_of
from ligand_async.data.models import UTCDateTime
from ligand_async.data.schemas import values, wire
from ligand_async.data.schemas.wire import Wire, text


class UnknownColumnType(TypeError):
    """A column of a type that has no form in JSON that we know."""


def column_annotation(attribute: QueryableAttribute[Any]) -> Any:
    """Return the `Annotated` type of the values that a mapped attribute's column can store or be compared with.

    Null is not among them.

    Raises:
        UnknownColumnType: The column's type has no form in JSON that we know.
    """
    return wire_of(attribute.type, str(attribute)).taken


_REGISTERED: dict[type[TypeEngine[Any]], Wire] = {}


def register_column_type(type_: type[TypeEngine[Any]], annotation: Any, *, given: Any = None) -> None:
    """Say how the values of a column type travel in JSON, for every schema that is derived later.

    Args:
        type_: The class of the type; its subclasses are meant, too, unless they are registered themselves.
        annotation: The annotation of a field that takes a value. It refuses what the column cannot store, and makes of
            the JSON what the column's type binds; Pydantic has to know it.
        given: The annotation of a field that is read; by default the same.

    Raises:
        TypeError: `type_` is not a class of column types, or Pydantic does not know an annotation.
    """
    if not isinstance(type_, type) or not issubclass(type_, TypeEngine):
        raise TypeError(f"{type_!r} is not a class of column types")
    for one in (annotation, annotation if given is None else given):
        if not _is_known_to_pydantic(one):
            raise TypeError(f"Pydantic does not know {one!r}; add a validator and a serializer to it with Annotated")
    _REGISTERED[type_] = Wire(annotation, annotation if given is None else given)


def _is_known_to_pydantic(annotation: Any) -> bool:
    try:
        TypeAdapter(annotation)
    except PydanticSchemaGenerationError:
        return False
    return True


def wire_of(type_: TypeEngine[Any], name: str) -> Wire:
    """Return how the values of a column type travel.

    Args:
        type_: One of SQLAlchemy's, a `TypeDecorator`, or one of sqlalchemy-utils.
        name: The attribute, for messages.

    Raises:
        UnknownColumnType: Nobody knows.
    """
    for cls in type(type_).__mro__:
        if cls in _REGISTERED:
            return _REGISTERED[cls]
    if isinstance(type_, UTCDateTime):
        return wire.MOMENT
    if isinstance(type_, types.Interval):
        return wire.INTERVAL
    if isinstance(type_, types.PickleType):
        return _by_class(object, type_, name)
    if isinstance(type_, TypeDecorator):
        return _utils_wire(type_, name) or _follow(type_, name)
    if isinstance(type_, types.ARRAY):
        item = wire_of(type_.item_type, name)
        for _ in range(type_.dimensions or 1):
            item = wire.list_of(item)
        return item
    for kind, make in _BY_TYPE:
        if isinstance(type_, kind):
            return make(type_)
    return _by_class(_python_type_of(type_), type_, name)


def _follow(type_: TypeDecorator[Any], name: str) -> Wire:
    """Follow a decorator to what it says that it makes, else to what it is made of."""
    inner = type_.impl_instance
    made = _made_by(type_)
    if made is None and _changes_results(type_):
        raise _unknown(type_, name, "annotate what its process_result_value returns")
    if made is None or made is _python_type_of(inner):
        return wire_of(inner, name)
    if get_origin(made) in {list, dict} and isinstance(inner, types.JSON):
        return wire.json_as(made)
    return _by_class(made, type_, name)


def is_json(type_: TypeEngine[Any]) -> bool:
    """Return whether a column stores JSON, also by a type that decorates JSON."""
    while isinstance(type_, TypeDecorator):
        type_ = type_.impl_instance
    return isinstance(type_, types.JSON)


def _python_type_of(type_: TypeEngine[Any]) -> Any:
    """Return what a type makes in Python, `object` where it does not say."""
    try:
        return type_.python_type
    except NotImplementedError:
        return object


def _by_class(made: Any, type_: TypeEngine[Any], name: str) -> Wire:
    """Return how the values of a class travel.

    Raises:
        UnknownColumnType: The class does not tell.
    """
    if made in _BY_CLASS:
        return _BY_CLASS[made]
    if made in (object, list, dict, tuple, type(None)) or not _is_known_to_pydantic(made):
        raise _unknown(type_, name)
    return Wire(made, made)


def _unknown(type_: TypeEngine[Any], name: str, *remedies: str) -> UnknownColumnType:
    ways = "; ".join((*remedies, "declare the field in the schema's body", "leave it out by exclude="))
    return UnknownColumnType(
        f"{name} is a column of type {type(type_).__name__}, of which no form in JSON is known; "
        f"register it with ligand_async.data.register_column_type(); {ways}"
    )


_BOOLEAN = Wire(bool, bool)
_DATE = Wire(date, date)
_SMALL = wire.integer(-(2**15), 2**15 - 1, "int32")
_INTEGER = wire.integer(-(2**31), 2**31 - 1, "int32")
_BIG = wire.integer(-(2**63), 2**63 - 1, "int64")

# In this order: `Enum` is a `String`, the other sizes are `Integer`s.
_BY_TYPE: tuple[tuple[type[TypeEngine[Any]], Callable[[Any], Wire]], ...] = (
    (types.Enum, wire.one_of),
    (types.String, wire.text),
    (types.Boolean, lambda _: _BOOLEAN),
    (types.SmallInteger, lambda _: _SMALL),
    (types.BigInteger, lambda _: _BIG),
    (types.Integer, lambda _: _INTEGER),
    (types.Numeric, wire.number),
    (types.Float, wire.number),
    (types.DateTime, wire.moment),
    (types.Date, lambda _: _DATE),
    (types.Time, wire.time_of_day),
    (types.Uuid, wire.uuid),
    (types.JSON, lambda _: wire.JSON),
    (types.LargeBinary, wire.binary),
    (types.BINARY, wire.binary),
    (types.VARBINARY, wire.binary),
)
_BY_CLASS: dict[Any, Wire] = {
    str: wire.text(types.Text()),
    int: _BIG,
    bool: _BOOLEAN,
    float: wire.number(types.Double()),
    Decimal: wire.number(types.Numeric()),
    datetime: wire.MOMENT,
    date: _DATE,
    time: wire.time_of_day(types.Time()),
    timedelta: wire.INTERVAL,
    UUID: wire.uuid(types.Uuid()),
    bytes: wire.binary(types.LargeBinary()),
}

_UTILS = "sqlalchemy_utils"


def _utils_wire(type_: TypeDecorator[Any], name: str) -> Wire | None:
    """Return how the values of a sqlalchemy-utils type travel; None if it is another library's.

    Raises:
        UnknownColumnType: It is one whose values are objects of other libraries, or without a form in JSON.
    """
    for cls in type(type_).__mro__:
        if cls.__module__.partition(".")[0] == _UTILS and cls.__name__ in _BY_NAME:
            return _BY_NAME[cls.__name__](type_, name)
    if type(type_).__module__.partition(".")[0] == _UTILS:
        raise _unknown(type_, name)
    return None


def _changes_results(type_: TypeDecorator[Any]) -> bool:
    """Return whether a decorator makes something of what is stored, without saying what."""
    kind = type(type_)
    return any("process_result_value" in vars(cls) for cls in kind.__mro__[: kind.__mro__.index(TypeDecorator)])


def _made_by(type_: TypeDecorator[Any]) -> Any:
    """Return what a decorator makes in Python, or None where it does not say.

    It says so by `python_type`, or by what its `process_result_value` is annotated to return. SQLAlchemy keeps nothing
    of `TypeDecorator[date]` at run time.
    """
    kind = type(type_)
    for cls in kind.__mro__[: kind.__mro__.index(TypeDecorator)]:
        stated = vars(cls).get("python_type")
        if isinstance(stated, type):
            return stated
        if "process_result_value" in vars(cls):
            return _returned_by(vars(cls)["process_result_value"])
    return None


def _returned_by(function: Any) -> Any:
    """Return what a function is annotated to return, without null; None if it has no annotation."""
    try:
        returned = get_type_hints(function).get("return", Any)
    except (NameError, TypeError):
        return None
    kinds = members_of(returned)
    return kinds[0] if len(kinds) == 1 and kinds[0] not in (Any, object) else None


def _choice(type_: Any, _name: str) -> Wire:
    """Make the codes of a list of choices, or the values of an enumeration."""
    if isinstance(type_.choices, type):
        return Wire(type_.choices, type_.choices)
    codes = Literal[tuple(code for code, _ in type_.choices)]  # type: ignore[valid-type]  # built at run time
    return Wire(codes, Annotated[codes, BeforeValidator(values.code_of)])


def _email(type_: Any, _name: str) -> Wire:
    """Make addresses, in lower case as they are stored."""
    return text(type_.impl_instance, AfterValidator(str.lower), pattern=values.EMAIL, form="email")


def _url(type_: Any, _name: str) -> Wire:
    """Make URLs, which are read as objects where furl is installed."""
    wire = text(type_.impl_instance, AfterValidator(values.check_url), pattern=values.SPACELESS, form="uri")
    return Wire(wire.taken, Annotated[wire.given, BeforeValidator(values.plain_text)])


def _encrypted(type_: Any, name: str) -> Wire:
    """Make what is encrypted."""
    return wire_of(type_.underlying_type, name)


def _scalar_list(type_: Any, name: str) -> Wire:
    """Make an array of texts or numbers, which are stored in one text with something between them."""
    if type_.coerce_func is str:
        item = Annotated[
            str, Field(min_length=1, pattern=values.STORABLE), AfterValidator(values.Without(type_.separator))
        ]
        return wire.list_of(Wire(item, str))
    if type_.coerce_func in (int, float):
        return wire.list_of(_BY_CLASS[type_.coerce_func])
    raise _unknown(type_, name)


_ADDRESS = Wire(IPv4Address | IPv6Address, IPv4Address | IPv6Address)
_BY_NAME: dict[str, Callable[[Any, str], Wire]] = {
    "ChoiceType": _choice,
    "EmailType": _email,
    "EncryptedType": _encrypted,
    "IPAddressType": lambda _type, _name: _ADDRESS,
    "JSONType": lambda _type, _name: wire.JSON,
    "ScalarListType": _scalar_list,
    "StringEncryptedType": _encrypted,
    "URLType": _url,
    "UUIDType": lambda _type, _name: _BY_CLASS[UUID],
}
