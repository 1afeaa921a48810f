"""The way of an invoice: draft, sent, and then paid or void."""

from collections.abc import Collection

from examples.invoices.models import Invoice, Status
from ligand_async import Problem

BEFORE = {Status.SENT: {Status.DRAFT}, Status.PAID: {Status.SENT}, Status.VOID: {Status.SENT}}


class WrongStatus(Problem):
    """The invoice is not in a status that allows this. The member `allowed` has those that do."""

    code = 409
    type = "/problems/wrong-status"
    title = "Wrong Status"


def check_status(invoice: Invoice, allowed: Collection[Status]) -> None:
    """Refuse what the status of an invoice does not allow.

    Raises:
        WrongStatus: The invoice has another status.
    """
    if invoice.status not in allowed:
        raise WrongStatus(f"the invoice is {invoice.status}", current=invoice.status, allowed=sorted(allowed))


def set_status(invoice: Invoice, status: Status) -> None:
    """Move an invoice on.

    Raises:
        WrongStatus: There is no way from its status to this one.
    """
    check_status(invoice, BEFORE[status])
    invoice.status = status
