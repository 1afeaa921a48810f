"""Mapped classes of every make, for schemas: mixins, inheritance, dataclasses, natural keys, relationships, secrets."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import (
    JSON,
    CheckConstraint,
    Computed,
    FetchedValue,
    ForeignKey,
    Identity,
    Integer,
    Numeric,
    String,
    Text,
    false,
    func,
    literal,
    literal_column,
    text,
)
from sqlalchemy.orm import (
    DeclarativeBase,
    Mapped,
    MappedAsDataclass,
    column_property,
    mapped_column,
    relationship,
)

from ligand_async import Database, Identified, Model, Timestamped, Versioned
from ligand_async.data import UTCDateTime, utc_now


class Base(Model, DeclarativeBase):
    """The library's tables."""


class Reader(Identified, Timestamped, Versioned, Base):
    """Who borrows."""

    __tablename__ = "reader"

    name: Mapped[str] = mapped_column(String(20), doc="As on the card.")
    email: Mapped[str | None] = mapped_column(comment="Where reminders go.")
    password_hash: Mapped[str] = mapped_column(info={"private": True})
    settings: Mapped[dict[str, Any]] = mapped_column(JSON, default=dict)
    notes: Mapped[Any | None] = mapped_column(JSON)
    _rating: Mapped[int] = mapped_column("rating", default=0)
    loans: Mapped[list["Loan"]] = relationship(back_populates="reader", order_by="Loan.number")


class Loan(Base):
    """One book with one reader."""

    __tablename__ = "loan"
    __table_args__ = (CheckConstraint("number > 0", name="number"),)

    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    shelf: Mapped[str] = mapped_column(String(3), primary_key=True)
    reader_id: Mapped[UUID] = mapped_column(ForeignKey("reader.id"))
    due: Mapped[datetime | None]
    reader: Mapped[Reader] = relationship(back_populates="loans")


class Work(Base):
    """What has an author: the parent of two tables."""

    __tablename__ = "work"
    __mapper_args__ = {"polymorphic_on": "kind", "polymorphic_identity": "work"}  # noqa: RUF012  (SQLAlchemy's own idiom)

    id: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str] = mapped_column(String(10))
    title: Mapped[str] = mapped_column("name", Text)


class Film(Work):
    """A work with a table of its own beside its parent's."""

    __tablename__ = "film"
    __mapper_args__ = {"polymorphic_identity": "film"}  # noqa: RUF012  (the same)

    id: Mapped[int] = mapped_column(ForeignKey("work.id"), primary_key=True)
    minutes: Mapped[int]


class Song(Work):
    """A work in its parent's table."""

    __mapper_args__ = {"polymorphic_identity": "song"}  # noqa: RUF012  (the same)

    key: Mapped[str | None] = mapped_column(String(2))


class Everyday(Base):
    """Every way in which a column gets its value without the client."""

    __tablename__ = "everyday"

    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid4)
    needed: Mapped[str]
    plain: Mapped[str] = mapped_column(default="x")
    made: Mapped[str] = mapped_column(default=lambda: "made")
    nullable: Mapped[int | None]
    amount: Mapped[Decimal] = mapped_column(Numeric(4, 2), default=Decimal("1.50"))
    constant: Mapped[str] = mapped_column(server_default="it's")
    quoted: Mapped[str] = mapped_column(server_default=text("'it''s'"))
    counted: Mapped[int] = mapped_column(server_default=text("7"))
    off: Mapped[bool] = mapped_column(server_default=false())
    half: Mapped[Decimal] = mapped_column(Numeric(3, 1), server_default=literal_column("0.5"))
    five: Mapped[int] = mapped_column(server_default=literal(5))
    thing: Mapped[dict[str, Any]] = mapped_column(JSON, server_default=text("'{}'"))
    doubled: Mapped[int] = mapped_column(Computed("counted * 2"))
    clocked: Mapped[datetime] = mapped_column(server_default=utc_now())
    spelled: Mapped[str] = mapped_column(server_default=text("(lower('ABC'))"))
    in_sql: Mapped[str] = mapped_column(default=func.lower("ABC"))
    triggered: Mapped[str | None] = mapped_column(server_default=FetchedValue())
    touched: Mapped[str] = mapped_column(default="new", onupdate="old")
    created_at: Mapped[datetime] = mapped_column(UTCDateTime, default=lambda: datetime.now(UTC))
    length: Mapped[int] = column_property(func.length("abc", type_=Integer()))


class Ticket(Base):
    """Numbered by the database."""

    __tablename__ = "ticket"

    number: Mapped[int] = mapped_column(Identity(), primary_key=True)
    seat: Mapped[str]


class Card(MappedAsDataclass, Base, kw_only=True):
    """A dataclass."""

    __tablename__ = "card"

    id: Mapped[int] = mapped_column(primary_key=True, init=False)
    holder: Mapped[str]
    color: Mapped[str] = mapped_column(default="red")
    stamps: Mapped[list[int]] = mapped_column(JSON, default_factory=list)
    remark: Mapped[str | None]
    points: Mapped[int] = mapped_column(insert_default=5)
    internal: Mapped[str] = mapped_column(init=False, default="-")


db = Database(Base)
