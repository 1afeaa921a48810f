"""What tests of changes share: models of every kind of key and inheritance, and who writes down what is told."""

from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from datetime import datetime
from typing import Any
from uuid import UUID

from blinker import NamedSignal
from quart import Quart
from sqlalchemy import JSON, Computed, ForeignKey, Integer, String, func
from sqlalchemy.orm import DeclarativeBase, Mapped, column_property, declared_attr, mapped_column, relationship

from ligand_async import Database, Identified, Model, Timestamped, Versioned
from ligand_async.data import Change, utc_now
from tests.services import make_app


class Base(Model, DeclarativeBase):
    """The tables of the zoo."""


class House(Identified, Base):
    """Where animals live: without a way back from the animal."""

    __tablename__ = "house"

    name: Mapped[str] = mapped_column(String(20))
    animals: Mapped[list["Animal"]] = relationship(cascade="all, delete-orphan")


class Animal(Identified, Timestamped, Versioned, Base):
    """The parent of a joined and of a single-table class."""

    __tablename__ = "animal"

    @declared_attr.directive
    @classmethod
    def __mapper_args__(cls) -> dict[str, Any]:
        own = {"polymorphic_identity": cls.__name__.lower(), "eager_defaults": True}
        return own | ({"polymorphic_on": "kind", "version_id_col": cls.version} if cls.__name__ == "Animal" else {})

    kind: Mapped[str] = mapped_column(String(20))
    name: Mapped[str] = mapped_column(String(20))
    weight: Mapped[int] = mapped_column(default=1)
    twice: Mapped[int] = mapped_column(Integer, Computed("weight * 2", persisted=True))
    note: Mapped[str | None] = mapped_column(String(20))
    chip: Mapped[str | None] = mapped_column(String(20), info={"private": True})
    traits: Mapped[dict[str, Any]] = mapped_column(JSON, default=dict)
    diary: Mapped[str | None] = mapped_column(String(20), deferred=True)
    house_id: Mapped[UUID | None] = mapped_column(ForeignKey("house.id"))


class Bird(Animal):
    """Joined: has a table of its own."""

    __tablename__ = "bird"
    id: Mapped[UUID] = mapped_column(ForeignKey("animal.id"), primary_key=True)
    wings: Mapped[int] = mapped_column(default=2)


class Fish(Animal):
    """Single: has its parent's table."""


class Cage(Base):
    """Has a key of two columns, of which one is renamed in the table."""

    __tablename__ = "cage"

    row: Mapped[int] = mapped_column("row_number", primary_key=True, autoincrement=False)
    place: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    bars: Mapped[int] = mapped_column(default=10)


class Keeper(Base):
    """Has a natural key, which can change."""

    __tablename__ = "keeper"

    badge: Mapped[str] = mapped_column(String(20), primary_key=True)
    name: Mapped[str] = mapped_column(String(20), default="")
    hired_at: Mapped[datetime] = mapped_column(server_default=utc_now())
    shout: Mapped[str] = column_property(func.upper(name))


zoo = Database(Base)


@asynccontextmanager
async def open_zoo(database_url: str, **more: Any) -> AsyncIterator[Quart]:
    """Start an app on empty tables of the zoo, and be in its context."""
    app = make_app(database_url, database=zoo, **more)
    async with app.test_app(), app.app_context():
        await zoo.create_tables()
        yield app


@contextmanager
def hearing(signal: NamedSignal, app: Quart) -> Iterator[list[Change]]:
    """Write down the changes that an app's signal tells of."""
    heard: list[Change] = []

    def write_down(_app: Quart, *, changes: Sequence[Change], **_: Any) -> None:
        heard.extend(changes)

    with signal.connected_to(write_down, sender=app):
        yield heard


def brief(changes: Sequence[Change]) -> list[tuple[str, str, dict[str, Any], dict[str, Any]]]:
    """Return changes without keys and without what the database makes."""
    made = {"id", "created_at", "updated_at", "version", "kind", "twice", "hired_at", "house_id", "traits", "wings"}
    return [
        (
            change.action,
            change.entity_type,
            {name: value for name, value in change.old.items() if name not in made},
            {name: value for name, value in change.new.items() if name not in made},
        )
        for change in changes
    ]
