"""What mapped classes are built from: the base mixin and the three columns sets most tables have."""

from datetime import datetime
from typing import Any, ClassVar
from uuid import UUID

from sqlalchemy import Integer, MetaData
from sqlalchemy.orm import DeclarativeBase, Mapped, declared_attr, mapped_column
from uuid_utils.compat import uuid7

from ligand_async.data.clock import UTCDateTime, utc_now

NAMING_CONVENTION = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}


class Model:
    """Mix into a service's declarative base: `class Base(Model, DeclarativeBase): ...`.

    Each base gets metadata and a registry of its own, so that two services in one process may both have a table `pet`;
    constraint names by convention, so that migrations and error answers can speak of them; and `datetime` columns that
    are aware and in UTC. Values that the database makes are readable after a flush.
    """

    metadata: ClassVar[MetaData]
    type_annotation_map: ClassVar[Any]
    __mapper_args__: Any = {"eager_defaults": True}  # noqa: RUF012  (SQLAlchemy's own idiom)

    def __init_subclass__(cls, **options: Any) -> None:
        """Give a declarative base its own metadata, and a class that says more of its mapper the rest, too."""
        own = cls.__dict__.get("__mapper_args__")
        if isinstance(own, dict):
            cls.__mapper_args__ = {"eager_defaults": True, **own}
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
    """Adds `version`, counted up by every update: a write that saw an older one fails."""

    version: Mapped[int] = mapped_column(Integer, nullable=False, sort_order=92)

    def __init_subclass__(cls, **options: Any) -> None:
        """Let a class say more of its mapper without losing the version."""
        own = cls.__dict__.get("__mapper_args__")
        # A class below a mapped one has its version from there.
        if isinstance(own, dict) and not any(hasattr(base, "__mapper__") for base in cls.__mro__[1:]):
            merged = declared_attr.directive(
                lambda mapped: {"eager_defaults": True, "version_id_col": mapped.version, **own}
            )
            type.__setattr__(cls, "__mapper_args__", merged)
        super().__init_subclass__(**options)

    @declared_attr.directive
    @classmethod
    def __mapper_args__(cls) -> dict[str, Any]:
        """Let the mapper compare and count `version`."""
        return {"eager_defaults": True, "version_id_col": cls.version}
