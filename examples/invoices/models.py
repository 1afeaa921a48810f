"""The tables of the invoicing service."""

from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum
from typing import Annotated, ClassVar
from uuid import UUID

from sqlalchemy import CheckConstraint, Column, Enum, ForeignKey, Index, Numeric, String, Table, UniqueConstraint
from sqlalchemy.ext.orderinglist import ordering_list
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

from examples.invoices.tenants import variables_of
from ligand_async import AuditTrail, Database, Identified, Model, Timestamped, Versioned

Money = Numeric(12, 2)
TenantName = Annotated[str, mapped_column(String(50), info={"private": True})]  # in no schema, and not in the trail


class Base(Model, DeclarativeBase):
    """The tables of this service."""


class Customer(Identified, Timestamped, Versioned, Base):
    """Who gets invoices."""

    __tablename__ = "customer"
    __table_args__ = (UniqueConstraint("tenant", "email"), Index(None, "tenant", "name", "id"))

    tenant: Mapped[TenantName]
    name: Mapped[str] = mapped_column(String(200))
    email: Mapped[str] = mapped_column(String(200))


class Status(StrEnum):
    """How far an invoice is."""

    DRAFT = "draft"
    SENT = "sent"
    PAID = "paid"
    VOID = "void"


invoice_tag = Table(
    "invoice_tag",
    Base.metadata,
    Column("invoice_id", ForeignKey("invoice.id", ondelete="CASCADE"), primary_key=True),
    Column("tag_id", ForeignKey("tag.id"), primary_key=True, index=True),
)


class Invoice(Identified, Timestamped, Versioned, Base):
    """An invoice. Its lines, tags and PDF belong to it: a change of them is a change of the invoice."""

    __tablename__ = "invoice"
    __table_args__ = (
        UniqueConstraint("tenant", "number"),
        Index(None, "tenant", "created_at", "id"),
        Index(None, "tenant", "due_on", "id"),
    )
    __belongs__: ClassVar = ("lines", "tags", "pdf")

    tenant: Mapped[TenantName]
    owner: Mapped[str] = mapped_column(String(255))
    customer_id: Mapped[UUID] = mapped_column(ForeignKey("customer.id"), index=True)
    number: Mapped[str] = mapped_column(String(20))
    status: Mapped[Status] = mapped_column(
        Enum(Status, native_enum=False, length=10, values_callable=lambda status: [one.value for one in status]),
        default=Status.DRAFT,
    )
    due_on: Mapped[date]
    paid_on: Mapped[date | None]
    note: Mapped[str] = mapped_column(String(1000), default="")
    customer: Mapped[Customer] = relationship()
    lines: Mapped[list["Line"]] = relationship(
        cascade="all, delete-orphan", order_by="Line.position", collection_class=ordering_list("position")
    )
    tags: Mapped[list["Tag"]] = relationship(secondary=invoice_tag, order_by="Tag.text")
    pdf: Mapped["Pdf | None"] = relationship(cascade="all, delete-orphan")


class Line(Identified, Base):
    """One line of an invoice."""

    __tablename__ = "line"
    __table_args__ = (CheckConstraint("quantity > 0", name="quantity"),)

    invoice_id: Mapped[UUID] = mapped_column(ForeignKey("invoice.id"), index=True)
    position: Mapped[int]
    description: Mapped[str] = mapped_column(String(200))
    quantity: Mapped[int] = mapped_column(default=1)
    unit_price: Mapped[Decimal] = mapped_column(Money)


class Tag(Identified, Base):
    """A word by which a tenant finds invoices."""

    __tablename__ = "tag"
    __table_args__ = (UniqueConstraint("tenant", "text"),)

    tenant: Mapped[TenantName]
    text: Mapped[str] = mapped_column(String(50))


class Pdf(Identified, Timestamped, Base):
    """The PDF of an invoice. Its bytes are read only where they are asked for."""

    __tablename__ = "pdf"

    invoice_id: Mapped[UUID] = mapped_column(ForeignKey("invoice.id"), unique=True)
    size: Mapped[int]
    sha256: Mapped[str] = mapped_column(String(64))
    content: Mapped[bytes] = mapped_column(deferred=True, info={"private": True})


class APIKey(Identified, Timestamped, Base):
    """A key by which a program of a tenant calls. The key itself is not kept, only its digest."""

    __tablename__ = "api_key"
    __table_args__ = (Index(None, "tenant", "created_at", "id"),)

    tenant: Mapped[TenantName]
    name: Mapped[str] = mapped_column(String(100))
    role: Mapped[str] = mapped_column(String(20))
    digest: Mapped[str] = mapped_column(String(64), unique=True, info={"private": True})
    revoked_at: Mapped[datetime | None]


audit = AuditTrail()
# SQLite has no policies: there only the conditions of the queries keep tenants apart.
db = Database(Base, idempotency=True, audit=audit, variables=variables_of, ignore_variables_on_sqlite=True)
