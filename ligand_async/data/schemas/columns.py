"""The columns of a mapped class, and who gives them their values."""

import dataclasses
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Column, FetchedValue, Table
from sqlalchemy.orm import ColumnProperty, Mapper
from sqlalchemy.types import TypeEngine

from ligand_async.data.schemas.constants import constant_of

TIMES = {"created_at", "updated_at"}  # those of `Timestamped`, or of a service that keeps them itself
PRIVATE = "private"


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
        """Whether it can be null; of an expression nobody knows."""
        return not self.columns or any(column.nullable for column in self.columns)

    @property
    def is_private(self) -> bool:
        """Whether it is marked `info={"private": True}`: no read schema has it."""
        return any(info.get(PRIVATE) for info in (self.mapped.info, *(column.info for column in self.columns)))

    @property
    def description(self) -> str | None:
        """What its `doc` or else its `comment` says."""
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
            or is_set_by_database(column)
            or (self.has_default and (column.primary_key or self.name in TIMES))
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
        TypeError: It is no mapped class.
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


def is_set_by_database(column: Column[Any]) -> bool:
    """Tell whether a column's value comes from SQL, or changes by itself, so that a client's would be in the way."""
    default, server_default = column.default, column.server_default
    if column.computed is not None or column.identity is not None:
        return True
    if column.onupdate is not None or column.server_onupdate is not None:
        return True
    if isinstance(column.table, Table) and column is column.table.autoincrement_column:
        return True
    if isinstance(server_default, FetchedValue) and constant_of(server_default) is None:
        return True
    return default is not None and bool(default.is_clause_element or default.is_sequence)
