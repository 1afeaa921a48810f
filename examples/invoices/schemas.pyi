# Written by `ligand schemas stub`; run it again after a change.
# ruff: noqa
# fmt: off
import datetime as _datetime
import decimal as _decimal
import examples.invoices.models as _examples_invoices_models
import pydantic.types as _pydantic_types
import uuid as _uuid

from datetime import date
from decimal import Decimal
from typing import Annotated, Literal
from uuid import UUID
from pydantic import MISSING, BaseModel, Field, computed_field
from examples.invoices.models import APIKey, Customer, Invoice, Line, Pdf, Status, Tag
from ligand_async import CreateSchema, PatchSchema, ReadSchema
STORABLE = r"^[^\u0000]*$"
Email = Annotated[str, Field(max_length=200, pattern=r"^[^@\s\u0000]+@[^@\s\u0000]+$", examples=["ann@acme.example"])]
Text = Annotated[str, Field(min_length=1, max_length=200, pattern=STORABLE)]
Number = Annotated[str, Field(max_length=20, pattern=r"^[0-9A-Za-z][0-9A-Za-z._-]*$", examples=["2030-0001"])]
LISTED = {"id", "owner", "customer_id", "number", "status", "due_on", "paid_on", "created_at", "updated_at", "version"}

class CustomerRead(ReadSchema):
    id: _uuid.UUID
    name: str
    email: str
    created_at: _pydantic_types.AwareDatetime
    updated_at: _pydantic_types.AwareDatetime
    version: int

class CustomerCreate(CreateSchema):
    name: Text
    email: Email

class CustomerPatch(PatchSchema):
    name: Text | MISSING = MISSING
    email: Email | MISSING = MISSING

class LineRead(ReadSchema):
    description: str
    quantity: int
    unit_price: Decimal

class TagRead(ReadSchema):
    text: str

class PdfRead(ReadSchema):
    size: int
    sha256: str
    updated_at: _pydantic_types.AwareDatetime

class InvoiceRead(ReadSchema):
    id: _uuid.UUID
    owner: str
    customer_id: _uuid.UUID
    number: str
    status: _examples_invoices_models.Status
    due_on: _datetime.date
    paid_on: _datetime.date | None
    note: str
    created_at: _pydantic_types.AwareDatetime
    updated_at: _pydantic_types.AwareDatetime
    version: int
    lines: list[LineRead]
    tags: list[TagRead]
    pdf: PdfRead | None
    @property
    def total(self) -> Decimal: ...

class InvoiceListed(ReadSchema):
    id: _uuid.UUID
    owner: str
    customer_id: _uuid.UUID
    number: str
    status: _examples_invoices_models.Status
    due_on: _datetime.date
    paid_on: _datetime.date | None
    created_at: _pydantic_types.AwareDatetime
    updated_at: _pydantic_types.AwareDatetime
    version: int
    total: Decimal

class LineWrite(CreateSchema):
    unit_price: _decimal.Decimal
    description: Text
    quantity: Annotated[int, Field(ge=1, le=1_000_000)] = 1

class InvoiceCreate(CreateSchema):
    due_on: _datetime.date
    customer_id: UUID
    number: Number
    note: Annotated[str, Field(max_length=1000, pattern=STORABLE)] = ""
    lines: Annotated[list[LineWrite], Field(min_length=1, max_length=200)]

class Payment(CreateSchema):
    paid_on: date

class InvoiceRow(BaseModel):
    number: str
    customer: str
    status: Status
    total: Decimal

class Total(BaseModel):
    amount: Decimal
    currency: str
    rate: Decimal

class APIKeyRead(ReadSchema):
    id: _uuid.UUID
    name: str
    role: str
    revoked_at: _pydantic_types.AwareDatetime | None
    created_at: _pydantic_types.AwareDatetime

class APIKeyMade(APIKeyRead):
    key: Annotated[str, Field(description="Send it as `X-API-Key`. It is shown this once.")]

class APIKeyCreate(CreateSchema):
    name: Annotated[Text, Field(max_length=100)]
    role: Literal["clerk", "accountant"]
