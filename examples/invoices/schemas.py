"""Customers, invoices and API keys as JSON."""

from datetime import date
from decimal import Decimal
from typing import Annotated, Literal
from uuid import UUID

from pydantic import MISSING, BaseModel, Field, computed_field

from examples.invoices.models import APIKey, Customer, Invoice, Line, Pdf, Status, Tag
from ligand_async import CreateSchema, PatchSchema, ReadSchema

# PostgreSQL cannot store U+0000, so no text may hold it; the pattern documents that for clients.
STORABLE = r"^[^\u0000]*$"

Email = Annotated[str, Field(max_length=200, pattern=r"^[^@\s\u0000]+@[^@\s\u0000]+$", examples=["ann@acme.example"])]
Text = Annotated[str, Field(min_length=1, max_length=200, pattern=STORABLE)]
# A number is part of the name of a file.
Number = Annotated[str, Field(max_length=20, pattern=r"^[0-9A-Za-z][0-9A-Za-z._-]*$", examples=["2030-0001"])]
# Every schema names its columns: a new column is in none of them, until somebody writes it here.
LISTED = {"id", "owner", "customer_id", "number", "status", "due_on", "paid_on", "created_at", "updated_at", "version"}


class CustomerRead(ReadSchema, model=Customer, include={"id", "name", "email", "created_at", "updated_at", "version"}):
    """A customer."""


class CustomerCreate(CreateSchema, model=Customer, include={"name", "email"}):
    """A new customer."""

    name: Text
    email: Email


class CustomerPatch(PatchSchema, model=Customer, include={"name", "email"}):
    """The values of a customer to change."""

    name: Text | MISSING = MISSING
    email: Email | MISSING = MISSING


class LineRead(ReadSchema, model=Line, include={"description", "quantity", "unit_price"}):
    """A line of an invoice."""

    quantity: int
    unit_price: Decimal


class TagRead(ReadSchema, model=Tag, include={"text"}):
    """A tag."""


class PdfRead(ReadSchema, model=Pdf, include={"size", "sha256", "updated_at"}):
    """The PDF of an invoice, in short."""


class InvoiceRead(ReadSchema, model=Invoice, include={*LISTED, "note"}):
    """An invoice with its lines and tags."""

    lines: list[LineRead]
    tags: list[TagRead]
    pdf: PdfRead | None

    @computed_field  # type: ignore[prop-decorator]  # as pydantic documents it
    @property
    def total(self) -> Decimal:
        """The sum of the lines."""
        return sum((line.quantity * line.unit_price for line in self.lines), Decimal("0.00"))


class InvoiceListed(ReadSchema, model=Invoice, include=LISTED):
    """An invoice in a list: without its lines."""

    total: Decimal


class LineWrite(CreateSchema, model=Line, include={"description", "quantity", "unit_price"}):
    """A line of an invoice, in the order of the array."""

    description: Text
    quantity: Annotated[int, Field(ge=1, le=1_000_000)] = 1


class InvoiceCreate(CreateSchema, model=Invoice, include={"customer_id", "number", "due_on", "note"}):
    """An invoice with its lines, to draw up or to replace."""

    customer_id: UUID
    number: Number
    note: Annotated[str, Field(max_length=1000, pattern=STORABLE)] = ""
    lines: Annotated[list[LineWrite], Field(min_length=1, max_length=200)]


class Payment(CreateSchema, model=Invoice, include={"paid_on"}):
    """When an invoice was paid."""

    paid_on: date


class InvoiceRow(BaseModel):
    """One line of an export."""

    number: str
    customer: str
    status: Status
    total: Decimal


class Total(BaseModel):
    """The total of an invoice in another currency."""

    amount: Decimal
    currency: str
    rate: Decimal


class APIKeyRead(ReadSchema, model=APIKey, include={"id", "name", "role", "created_at", "revoked_at"}):
    """An API key, without the key itself."""


class APIKeyMade(APIKeyRead):
    """A new API key."""

    key: Annotated[str, Field(description="Send it as `X-API-Key`. It is shown this once.")]


class APIKeyCreate(CreateSchema, model=APIKey, include={"name", "role"}):
    """What an API key is for, and the role of the program that has it."""

    name: Annotated[Text, Field(max_length=100)]
    role: Literal["clerk", "accountant"]
