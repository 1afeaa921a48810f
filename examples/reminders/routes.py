"""The operations: who has to be reminded, and the letter."""

from datetime import date
from uuid import UUID

from invoices_client.models import Status
from pydantic import BaseModel
from quart import Blueprint

from examples.reminders.invoices import Invoices
from ligand_async import Conflict, NotFound, operation, requires, role, tag

reminders = requires(role("clerk"))(tag("reminders")(Blueprint("reminders", __name__)))


class Overdue(BaseModel):
    """An invoice that was not paid in time."""

    invoice_id: UUID
    number: str
    days: int


class Letter(BaseModel):
    """A letter to a customer."""

    to: str
    text: str


@reminders.get("/overdue")
@operation
async def list_overdue(invoices: Invoices, day: date) -> list[Overdue]:
    """List the invoices that had to be paid before a day, and whose customers were not reminded yet."""
    return [
        Overdue(invoice_id=invoice.id, number=invoice.number, days=(day - invoice.due_on).days)
        for invoice in await invoices.list_overdue(day)
    ]


@reminders.post("/reminders/<uuid:invoice_id>")
@operation(status=201, raises=[NotFound, Conflict])
async def remind(invoice_id: UUID, invoices: Invoices) -> Letter:
    """Write to the customer of an invoice, and note it there."""
    invoice, entity_tag = await invoices.find(invoice_id)
    if invoice.status != Status.SENT:
        raise Conflict(f"the invoice is {invoice.status}")
    customer = await invoices.find_customer(invoice.customer_id)
    await invoices.mark(invoice, entity_tag)
    return Letter(
        to=customer.email,
        text=f"Dear {customer.name}, invoice {invoice.number} over {invoice.total} was due on {invoice.due_on}.",
    )
