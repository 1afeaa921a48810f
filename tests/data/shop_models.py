"""An order and its rows, for nested bodies: rows by key and as a whole, single ones, and rows that others share."""

from datetime import datetime
from decimal import Decimal
from typing import ClassVar
from uuid import UUID

from sqlalchemy import Column, Computed, ForeignKey, Numeric, String, Table, UniqueConstraint
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

from ligand_async import Database, Identified, Model, Timestamped, Versioned
from ligand_async.data import utc_now


class Base(Model, DeclarativeBase):
    """The tables of the shop."""


order_tag = Table(
    "order_tag",
    Base.metadata,
    Column("order_id", ForeignKey("order.id"), primary_key=True),
    Column("tag_id", ForeignKey("tag.id"), primary_key=True),
)


class Customer(Identified, Base):
    """Has orders, and is shared by them."""

    __tablename__ = "customer"
    name: Mapped[str] = mapped_column(String(30), unique=True)
    orders: Mapped[list["Order"]] = relationship(back_populates="customer")


class Terms(Identified, Base):
    """Owned by one order, which has the foreign key."""

    __tablename__ = "terms"
    days: Mapped[int]
    text: Mapped[str | None]


class Order(Identified, Timestamped, Versioned, Base):
    """The root."""

    __tablename__ = "order"
    __belongs__: ClassVar = ("lines", "lines.discounts", "address", "notes", "steps", "tags")
    number: Mapped[str] = mapped_column(String(20), default="new")
    customer_id: Mapped[UUID] = mapped_column(ForeignKey("customer.id"))
    terms_id: Mapped[UUID | None] = mapped_column(ForeignKey("terms.id"))
    customer: Mapped[Customer] = relationship(back_populates="orders")
    terms: Mapped[Terms | None] = relationship(cascade="all, delete-orphan", single_parent=True)
    address: Mapped["Address | None"] = relationship(cascade="all, delete-orphan", back_populates="order")
    lines: Mapped[list["Line"]] = relationship(
        cascade="all, delete-orphan", back_populates="order", order_by="Line.position"
    )
    notes: Mapped[list["Note"]] = relationship(cascade="all, delete-orphan", order_by="Note.rank")
    steps: Mapped[list["Step"]] = relationship(cascade="all, delete-orphan", order_by="Step.number")
    tags: Mapped[list["Tag"]] = relationship(secondary=order_tag, order_by="Tag.name")


class Address(Identified, Base):
    """Owned by one order; it has the foreign key, which is unique."""

    __tablename__ = "address"
    order_id: Mapped[UUID] = mapped_column(ForeignKey("order.id"), unique=True)
    city: Mapped[str] = mapped_column(String(30))
    street: Mapped[str | None]
    order: Mapped[Order] = relationship(back_populates="address")


class Line(Identified, Base):
    """Matched by its key; no two of an order have one position."""

    __tablename__ = "line"
    __table_args__ = (UniqueConstraint("order_id", "position"),)
    order_id: Mapped[UUID] = mapped_column(ForeignKey("order.id"), index=True)
    position: Mapped[int]
    product: Mapped[str] = mapped_column(String(30))
    price: Mapped[Decimal] = mapped_column(Numeric(8, 2), server_default="1.00")
    quantity: Mapped[int] = mapped_column(default=1)
    total: Mapped[Decimal] = mapped_column(Numeric(10, 2), Computed("price * quantity"))
    added_at: Mapped[datetime] = mapped_column(server_default=utc_now())
    order: Mapped[Order] = relationship(back_populates="lines")
    discounts: Mapped[list["Discount"]] = relationship(cascade="all, delete-orphan", order_by="Discount.percent")


class Discount(Identified, Base):
    """On the third level, matched by its key."""

    __tablename__ = "discount"
    line_id: Mapped[UUID] = mapped_column(ForeignKey("line.id"), index=True)
    percent: Mapped[int]
    reason: Mapped[str] = mapped_column(String(30), server_default="none")


class Note(Identified, Base):
    """Replaced as a whole; no two of an order have one rank."""

    __tablename__ = "note"
    __table_args__ = (UniqueConstraint("order_id", "rank"),)
    order_id: Mapped[UUID] = mapped_column(ForeignKey("order.id"), index=True)
    rank: Mapped[int]
    text: Mapped[str]


class Step(Base):
    """Has a natural key within its order."""

    __tablename__ = "step"
    order_id: Mapped[UUID] = mapped_column(ForeignKey("order.id"), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    what: Mapped[str] = mapped_column(default="wait")


class Tag(Identified, Base):
    """Shared by orders."""

    __tablename__ = "tag"
    name: Mapped[str] = mapped_column(String(30), unique=True)


db = Database(Base)
