"""The history of an invoice, from the audit trail."""

from typing import Any
from uuid import UUID

from pydantic import AwareDatetime, BaseModel
from quart import Blueprint

from examples.invoices.access import STAFF
from examples.invoices.models import Invoice, audit
from examples.invoices.repository import Invoices
from ligand_async import NotFound, operation, requires, tag

histories = requires(STAFF)(tag("invoices")(Blueprint("histories", __name__, url_prefix="/invoices")))


class Event(BaseModel):
    """A change: who made it, and which values were there before and after it."""

    at: AwareDatetime
    subject: str | None
    action: str
    old: dict[str, Any] | None
    new: dict[str, Any] | None


@histories.get("/<uuid:invoice_id>/history")
@operation(raises=[NotFound])
async def read_history(invoice_id: UUID, mine: Invoices) -> list[Event]:
    """Read what happened to an invoice, the oldest change first."""
    invoice = await mine.find(invoice_id)
    events = await audit.history(mine.session, Invoice, invoice.id)
    return [Event.model_validate(event, from_attributes=True) for event in events]
