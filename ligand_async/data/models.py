"""The base mixin of mapped classes, the three sets of columns that most tables have, and the database's clock."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar
from uuid import UUID
from weakref import WeakKeyDictionary

from sqlalchemy import (
    BindParameter,
    ColumnElement,
    DateTime,
    Dialect,
    Double,
    Integer,
    Interval,
    MetaData,
    inspect,
    literal,
)
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.orm import DeclarativeBase, Mapped, declared_attr, mapped_column
from sqlalchemy.sql import operators
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.sql.operators import OperatorType
from sqlalchemy.types import TypeDecorator
from uuid_utils.compat import uuid7


class UTCDateTime(TypeDecorator[datetime]):
    """A moment: `timestamptz` on PostgreSQL, text in SQLAlchemy's own format on SQLite, always aware and in UTC.

    Raises:
        ValueError: A naive datetime was bound; whose clock it was read from cannot be known.
    """

    impl = DateTime(timezone=True)
    cache_ok = True

    class comparator_factory(TypeDecorator.Comparator[datetime]):  # noqa: N801  (SQLAlchemy's name)
        """Moments plus and minus durations, and the duration between two moments, on both databases."""

        def operate(self, op: OperatorType, *other: Any, **options: Any) -> ColumnElement[Any]:
            """Return `moment + duration`, `moment - duration` or `moment - moment`."""
            if op in {operators.add, operators.sub}:
                return _calculate(self.expr, op, other[0])
            return super().operate(op, *other, **options)

        def reverse_operate(self, op: OperatorType, other: Any, **options: Any) -> ColumnElement[Any]:
            """Return `duration + moment` or, of a `datetime`, `moment - moment`."""
            if op is operators.add:
                return _calculate(self.expr, op, other)
            if op is operators.sub:
                return _calculate(literal(other, UTCDateTime()), op, self.expr)
            return super().reverse_operate(op, other, **options)

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Refuse naive values and store UTC."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("naive datetime; make it aware, such as datetime.now(UTC)")
        value = value.astimezone(UTC)
        return value.replace(tzinfo=None) if dialect.name == "sqlite" else value

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002  (its signature)
        """Read UTC back."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)

    def result_processor(self, dialect: Dialect, coltype: object) -> Callable[[Any], datetime | None] | None:
        """Return the function that makes the same of each value, in one call."""
        if type(self).process_result_value is not UTCDateTime.process_result_value:
            return super().result_processor(dialect, coltype)
        read = self.impl_instance.result_processor(dialect, coltype)

        def process(value: Any) -> datetime | None:
            moment: datetime | None = value if read is None else read(value)
            if moment is None or moment.tzinfo is UTC:
                return moment
            return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)

        if read is None or dialect.name != "sqlite":
            return process
        parse = read  # with the offset of UTC, it makes no naive datetime that must be copied

        def process_text(value: Any) -> datetime | None:
            if value is None:
                return None
            try:
                moment: Any = parse(value + "+00:00")
            except (TypeError, ValueError):  # it has an offset of its own, or is no text
                return process(value)
            return moment if moment.tzinfo is UTC else process(value)  # a date alone: the rest was read as its time

        return process_text


class _shifted(FunctionElement[datetime]):  # noqa: N801  (an SQL function)
    """A moment and how many seconds later it is meant. SQLite calculates to the millisecond."""

    type = UTCDateTime()
    inherit_cache = True
    name = "shifted"


@compiles(_shifted, "postgresql")
def _shift_on_postgresql(element: _shifted, compiler: Any, **options: Any) -> str:
    moment, seconds = (compiler.process(part, **options) for part in element.clauses)
    return f"({moment} + make_interval(secs => {seconds}))"


@compiles(_shifted, "sqlite")
def _shift_on_sqlite(element: _shifted, compiler: Any, **options: Any) -> str:
    moment, seconds = (compiler.process(part, **options) for part in element.clauses)
    return f"(strftime('%Y-%m-%d %H:%M:%f000', {moment}, printf('%+.6f seconds', {seconds})))"


class _seconds(FunctionElement[float]):  # noqa: N801  (an SQL function)
    """How many seconds a stored duration is long."""

    type = Double()
    inherit_cache = True
    name = "seconds"


@compiles(_seconds, "postgresql")
def _seconds_on_postgresql(element: _seconds, compiler: Any, **options: Any) -> str:
    return f"CAST(extract(epoch FROM {compiler.process(element.clauses, **options)}) AS DOUBLE PRECISION)"


@compiles(_seconds, "sqlite")
def _seconds_on_sqlite(element: _seconds, compiler: Any, **options: Any) -> str:
    # SQLAlchemy stores a duration as the moment that is so far from 1970.
    return f"((julianday({compiler.process(element.clauses, **options)}) - 2440587.5) * 86400.0)"


class _elapsed(FunctionElement[timedelta]):  # noqa: N801  (an SQL function)
    """The duration from the second moment to the first."""

    type = Interval()
    inherit_cache = True
    name = "elapsed"


@compiles(_elapsed, "postgresql")
def _elapsed_on_postgresql(element: _elapsed, compiler: Any, **options: Any) -> str:
    later, earlier = (compiler.process(part, **options) for part in element.clauses)
    return f"({later} - {earlier})"


@compiles(_elapsed, "sqlite")
def _elapsed_on_sqlite(element: _elapsed, compiler: Any, **options: Any) -> str:
    later, earlier = (compiler.process(part, **options) for part in element.clauses)
    seconds = f"round((julianday({later}) - julianday({earlier})) * 86400.0, 3)"
    return f"(strftime('%Y-%m-%d %H:%M:%f000', {seconds}, 'unixepoch'))"


def _calculate(moment: ColumnElement[Any], op: OperatorType, other: Any) -> ColumnElement[Any]:
    """Return a moment plus or minus a duration, or minus another moment."""
    sign = 1.0 if op is operators.add else -1.0
    other = other.__clause_element__() if hasattr(other, "__clause_element__") else other  # a mapped attribute
    if isinstance(moment, BindParameter) and isinstance(moment.value, timedelta):  # the ORM's `duration + moment`
        moment, other = other, moment.value
    if isinstance(other, timedelta):
        return _shifted(moment, literal(sign * other.total_seconds(), Double()))
    if isinstance(getattr(other, "type", None), Interval):
        return _shifted(moment, literal(sign, Double()) * _seconds(other))
    if op is operators.add:
        raise TypeError("a moment can be added to a timedelta only, such as utc_now() + timedelta(days=1)")
    return _elapsed(moment, other if isinstance(other, ColumnElement) else literal(other, UTCDateTime()))


class utc_now(FunctionElement[datetime]):  # noqa: N801  (an SQL function, written as one)
    """The database's current moment, for `server_default`, `onupdate` and queries.

    PostgreSQL: `now()`, the start of the transaction. SQLite: its millisecond clock, written with six digits like every
    other moment, because text compares character by character.
    """

    type = UTCDateTime()
    inherit_cache = True
    name = "utc_now"


@compiles(utc_now, "postgresql")
def _now_on_postgresql(_element: utc_now, _compiler: Any, **_options: Any) -> str:
    return "now()"


@compiles(utc_now, "sqlite")
def _now_on_sqlite(_element: utc_now, _compiler: Any, **_options: Any) -> str:
    return "(strftime('%Y-%m-%d %H:%M:%f000', 'now'))"


NAMING_CONVENTION = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}


_DEFAULTS: dict[str, Any] = {"eager_defaults": True}


class Model:
    """Mix into a service's declarative base: `class Base(Model, DeclarativeBase): ...`.

    Each base gets metadata and a registry of its own, so that two services in one process may both have a table `pet`;
    constraint names by convention, so that migrations and error answers can speak of them; and `datetime` columns that
    are aware and in UTC. Values that the database makes are readable after a flush.
    """

    metadata: ClassVar[MetaData]
    type_annotation_map: ClassVar[Any]
    __mapper_args__: Any = _DEFAULTS

    def __init_subclass__(cls, **options: Any) -> None:
        """Give a declarative base its own metadata, and a class that says more of its mapper the rest, too."""
        _complete_mapper_args(cls, lambda _: _DEFAULTS)
        if DeclarativeBase in cls.__bases__:
            if "metadata" not in cls.__dict__:
                cls.metadata = MetaData(naming_convention=NAMING_CONVENTION)
            if "type_annotation_map" not in cls.__dict__:
                cls.type_annotation_map = {datetime: UTCDateTime()}
        super().__init_subclass__(**options)


class Identified:
    """Adds `id`, a UUIDv7 (RFC 9562): made without asking the database, sorted by time of creation."""

    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid7, sort_order=-10)


class Timestamped:
    """Adds `created_at` and `updated_at`, by the database's clock."""

    created_at: Mapped[datetime] = mapped_column(UTCDateTime, server_default=utc_now(), sort_order=90)
    updated_at: Mapped[datetime] = mapped_column(
        UTCDateTime, server_default=utc_now(), onupdate=utc_now(), sort_order=91
    )


class Versioned:
    """Adds `version`, counted up by every update: a write that saw an older one fails.

    The database gives 1 to rows that others insert, and to those that are there when the column is added.
    """

    version: Mapped[int] = mapped_column(Integer, nullable=False, server_default="1", sort_order=92)

    def __init_subclass__(cls, **options: Any) -> None:
        """Let a class say more of its mapper without losing the version.

        Raises:
            TypeError: The class would not count its versions, as another base goes before this one.
        """
        _complete_mapper_args(cls, _versioned_mapper_args)
        super().__init_subclass__(**options)
        if _is_mapped(cls) and inspect(cls).version_id_col is None:
            raise TypeError(
                f"{cls.__name__} would not count its versions: name Versioned before its other bases, "
                "and leave version_id_col to it"
            )

    @declared_attr.directive
    @classmethod
    def __mapper_args__(cls) -> dict[str, Any]:
        """Let the mapper compare and count `version`."""
        return _versioned_mapper_args(cls)


def _versioned_mapper_args(cls: Any) -> dict[str, Any]:
    """Return the mapper arguments of a versioned class; one below another that counts has them from there."""
    is_below = any(_is_mapped(base) and issubclass(base, Versioned) for base in cls.__mro__[1:])
    return _DEFAULTS if is_below else {**_DEFAULTS, "version_id_col": cls.version}


def _complete_mapper_args(cls: Any, defaults: Callable[[Any], dict[str, Any]]) -> None:
    """Let a class that says something of its mapper say the rest, too, before it is mapped.

    A class below a mapped one that says nothing does not repeat what that one says: its identity is not its parent's.

    Args:
        cls: The class.
        defaults: Returns what holds where the class is silent.
    """
    own = cls.__dict__.get("__mapper_args__")
    if own is None:
        if _has_those_of_its_parent(cls):
            cls.__mapper_args__ = _DEFAULTS
        return

    def merged(mapped: Any) -> dict[str, Any]:
        return {**defaults(mapped), **(own if isinstance(own, dict) else own.fget(mapped))}

    cls.__mapper_args__ = declared_attr.directive(merged)
    _said.setdefault(cls, own)


_said: WeakKeyDictionary[type, Any] = WeakKeyDictionary()
"""The mapper arguments as classes declared them, before they were completed."""


def _has_those_of_its_parent(cls: type) -> bool:
    """Return whether a class only inherits the mapper arguments of a mapped parent; a `declared_attr` is for both."""
    owner = next((base for base in cls.__mro__[1:] if "__mapper_args__" in vars(base)), None)
    return owner is not None and _is_mapped(owner) and isinstance(_said.get(owner), dict)


def _is_mapped(cls: type) -> bool:
    """Return whether a class is mapped itself."""
    return "__mapper__" in vars(cls)
