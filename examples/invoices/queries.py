"""Filters and order of the lists, and the statements that lists and exports share."""

from datetime import date
from typing import Annotated, Literal
from uuid import UUID

from sqlalchemy import ColumnElement, Select, func, select

from examples.invoices.models import Customer, Invoice, Line, Status, Tag
from examples.invoices.tenants import Tenant
from ligand_async import Filter, PageParams, Sort

total: ColumnElement[object] = (
    select(func.coalesce(func.sum(Line.quantity * Line.unit_price), 0))
    .where(Line.invoice_id == Invoice.id)
    .correlate(Invoice)
    .scalar_subquery()
    .label("total")
)


class CustomerQuery(PageParams):
    """The filters, the order and the page of a list of customers."""

    name_contains: Annotated[str | None, Filter(Customer.name, "icontains")] = None
    sort: Sort[Literal["name", "-name"]] = ("name",)


class InvoiceQuery(PageParams):
    """The filters, the order and the page of a list of invoices."""

    customer_id: Annotated[UUID | None, Filter(Invoice.customer_id)] = None
    status: Annotated[Status | None, Filter(Invoice.status)] = None
    due_before: Annotated[date | None, Filter(Invoice.due_on, "lt")] = None
    customer: Annotated[str | None, Filter(Customer.name, "icontains", via=Invoice.customer)] = None
    line: Annotated[str | None, Filter(Line.description, "icontains", via=Invoice.lines)] = None
    tag: Annotated[list[str] | None, Filter(Tag.text, "in", via=Invoice.tags)] = None
    not_tagged: Annotated[str | None, Filter(Tag.text, "ne", via=Invoice.tags)] = None
    q: Annotated[
        str | None,
        Filter([Invoice.number, Invoice.note], "icontains") | Filter(Customer.name, "icontains", via=Invoice.customer),
    ] = None
    sort: Sort[Literal["created_at", "-created_at", "due_on", "-due_on", "number", "-number"]] = ("-created_at",)


def customers_of(tenant: Tenant) -> Select[Customer]:
    """Select the customers of a tenant."""
    return select(Customer).where(Customer.tenant == tenant)


def rows_of(tenant: Tenant) -> Select[str, str, Status, object]:
    """Select what an export has of the invoices of a tenant, in the order of their numbers."""
    return (
        select(Invoice.number, Customer.name, Invoice.status, total)
        .join(Invoice.customer)
        .where(Invoice.tenant == tenant)
        .order_by(Invoice.number)
    )
