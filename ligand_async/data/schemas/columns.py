"""The columns of a mapped class and who gives them their values: defaults, constants, the database."""

import dataclasses
import re
from dataclasses import dataclass
from functools import cache
from typing import Any

from pydantic import TypeAdapter, ValidationError
from pydantic_core import PydanticSerializationError
from sqlalchemy import Column, ColumnClause, DefaultClause, FetchedValue, Table, TextClause
from sqlalchemy.orm import ColumnProperty, Mapper
from sqlalchemy.sql.elements import BindParameter, False_, Null, True_
from sqlalchemy.types import TypeEngine

from ligand_async.data.schemas.types import is_json, wire_of

_QUOTED = re.compile(r"\s*'((?:[^']|'')*)'\s*(?:::[\w\s]+(?:\(\d+(?:,\s*\d+)?\))?(?:\[\])*)?\s*")
_BARE = re.compile(r"\s*\(?\s*([+-]?\d+(?:\.\d+)?|true|false|null)\s*\)?\s*", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class _Constant:
    """A value written down in a `server_default`, as SQL text or in Python."""

    value: Any


def _constant_of(server_default: FetchedValue) -> _Constant | None:
    """Return the constant that a server default is, or None where it is the database's to make, such as `now()`."""
    if not isinstance(server_default, DefaultClause):
        return None
    match server_default.arg:
        case str() as text:
            return _Constant(text)
        case TextClause(text=text) | ColumnClause(is_literal=True, name=text):
            quoted = _QUOTED.fullmatch(text)
            if quoted:
                return _Constant(quoted[1].replace("''", "'"))
            bare = _BARE.fullmatch(text)
            return None if bare is None else _Constant(None if bare[1].lower() == "null" else bare[1])
        case True_() | False_() as boolean:
            return _Constant(isinstance(boolean, True_))
        case Null():
            return _Constant(None)
        case BindParameter(value=value):
            return _Constant(value)
    return None


_TIMES = {"created_at", "updated_at"}  # those of `Timestamped`, or of a service that keeps them itself
_PRIVATE = "private"


@dataclass(frozen=True, slots=True)
class MappedColumn:
    """An attribute of a mapped class that is a column, or an SQL expression.

    Attributes:
        name: The attribute's.
        model: The class.
        mapped: As mapped. Its columns are one, or those that inheritance joins.
        init: Its dataclass field, where the class is mapped as a dataclass.
    """

    name: str
    model: type[Any]
    mapped: ColumnProperty[Any]
    init: dataclasses.Field[Any] | None

    @property
    def columns(self) -> list[Column[Any]]:
        """The columns of tables: none for an expression."""
        return [column for column in self.mapped.columns if isinstance(column, Column)]

    @property
    def type(self) -> TypeEngine[Any]:
        """The type, as mapped."""
        return self.mapped.columns[0].type

    @property
    def is_nullable(self) -> bool:
        """Whether it can be null; of an expression that is not known, so it can."""
        return not self.columns or any(column.nullable for column in self.columns)

    @property
    def is_private(self) -> bool:
        """Whether it is marked `info={"private": True}`: no read schema has it."""
        return any(info.get(_PRIVATE) for info in (self.mapped.info, *(column.info for column in self.columns)))

    @property
    def description(self) -> str | None:
        """Its `doc`, or else its `comment`."""
        texts = [text for column in self.columns for text in (column.doc, column.comment)]
        return next(filter(None, [self.mapped.doc, *texts]), None)

    @property
    def is_key(self) -> bool:
        """Whether it is of the primary key."""
        return any(column.primary_key for column in self.columns)

    @property
    def is_made(self) -> bool:
        """Whether the service or the database gives it its value, and no client.

        These are expressions, computed columns and identities; what an SQL expression, a sequence, a trigger or
        `onupdate` sets; timestamps, the version, the discriminator of inheritance; keys that have a default or are
        counted up; and what a dataclass does not take (`init=False`).
        """
        mapper: Mapper[Any] = self.model.__mapper__
        if not self.columns or (self.init is not None and not self.init.init):
            return True
        return any(
            column is mapper.version_id_col
            or column is mapper.polymorphic_on
            or _is_set_by_database(column)
            or (self.has_default and (column.primary_key or self.name in _TIMES))
            for column in self.columns
        )

    @property
    def has_default(self) -> bool:
        """Whether there is a value where none is given, null aside."""
        return (self.init is not None and self.init.default_factory is not dataclasses.MISSING) or any(
            column.default is not None or column.server_default is not None for column in self.columns
        )

    @property
    def is_optional(self) -> bool:
        """Whether a new row can do without a value of the client's."""
        return self.is_nullable or self.has_default

    @property
    def is_demanded(self) -> bool:
        """Whether the class, mapped as a dataclass, cannot be made without it."""
        missing = dataclasses.MISSING
        return self.init is not None and self.init.default is missing and self.init.default_factory is missing


def columns_of(model: Any) -> dict[str, MappedColumn]:
    """Return the columns of a mapped class by their attributes: those of its parents too, none with an underscore.

    Raises:
        TypeError: It is not a mapped class.
    """
    mapper = getattr(model, "__mapper__", None)
    if not isinstance(model, type) or not isinstance(mapper, Mapper) or mapper.class_ is not model:
        raise TypeError(f"model={getattr(model, '__name__', model)!r} is not a mapped class; give it a __tablename__")
    init = {field.name: field for field in dataclasses.fields(model)} if dataclasses.is_dataclass(model) else {}
    found = {}
    for name in dict.fromkeys(mapper.columns.keys()):
        # Without configuring: what a relationship of the class refers to may not have been defined yet.
        mapped = mapper.get_property(name, _configure_mappers=False)
        if isinstance(mapped, ColumnProperty) and not name.startswith("_"):
            found[name] = MappedColumn(name, model, mapped, init.get(name))
    return dict(sorted(found.items(), key=lambda item: not item[1].columns))  # expressions come last


def _is_set_by_database(column: Column[Any]) -> bool:
    """Return whether a column's value comes from SQL or changes by itself, so that clients must not send one."""
    default, server_default = column.default, column.server_default
    if column.computed is not None or column.identity is not None:
        return True
    if column.onupdate is not None or column.server_onupdate is not None:
        return True
    if isinstance(column.table, Table) and column is column.table.autoincrement_column:
        return True
    if isinstance(server_default, FetchedValue) and _constant_of(server_default) is None:
        return True
    return default is not None and bool(default.is_clause_element or default.is_sequence)


def default_of(column: MappedColumn) -> Any:
    """Make the value that a new row would have: the default, a server's too where it is a constant, else null.

    Raises:
        TypeError: There is none, or it cannot be read.
    """
    if column.init is not None and column.init.default_factory is not dataclasses.MISSING:
        return column.init.default_factory()
    for item in column.columns:
        default: Any = item.default
        if default is not None and default.is_callable:
            return default.arg(None)  # SQLAlchemy wraps it to take a context, of which there is none
    constant = _constant_default(column)
    if constant is not None:
        return constant.value
    if column.is_nullable:
        return None
    raise TypeError(f"{column.model.__name__}.{column.name} has no default that could be put in its place")


def _constant_default(column: MappedColumn) -> _Constant | None:
    """Return a default that is always the same, as the attribute has it, or None if there is none.

    Raises:
        TypeError: It is written in SQL and cannot be read.
    """
    for item in column.columns:
        default: Any = item.default
        if default is not None and default.is_scalar:
            return _Constant(default.arg)
        written = _server_constant(item)
        if written is not None and isinstance(written.value, str):
            return _Constant(_read_sql(written.value, column))
        if written is not None:
            return written
    return None


def _server_constant(column: Column[Any]) -> _Constant | None:
    """Return a server default that is a constant."""
    server_default = column.server_default
    return _constant_of(server_default) if isinstance(server_default, FetchedValue) else None


def _read_sql(text: str, column: MappedColumn) -> Any:
    """Read a constant of SQL as a value of its column.

    Raises:
        TypeError: It is none.
    """
    adapter = _adapter_of(column)
    read = adapter.validate_json if is_json(column.type) else adapter.validate_python
    try:
        return read(text)
    except ValidationError:
        name = f"{column.model.__name__}.{column.name}"
        raise TypeError(f"the server_default of {name} cannot be read; give the column a default=, too") from None


@cache
def _adapter_of(column: MappedColumn) -> TypeAdapter[Any]:
    """Return what reads and writes the values of a column."""
    return TypeAdapter(wire_of(column.type, column.name).taken)


def documented_default(column: MappedColumn) -> Any:
    """Return the default as JSON has it, or None where there is none to show."""
    adapter = _adapter_of(column)
    try:
        constant = _constant_default(column)
        return None if constant is None else adapter.dump_python(constant.value, mode="json", warnings="error")
    except (TypeError, PydanticSerializationError):
        return None
