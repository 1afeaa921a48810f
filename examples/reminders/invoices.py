"""The invoices, as this service needs them: by the generated client, whose calls a `ServiceClient` makes."""

from collections.abc import AsyncIterator
from datetime import date
from uuid import UUID

from invoices_client import AuthenticatedClient
from invoices_client.api.customers import read_customer
from invoices_client.api.invoices import list_invoices, read_invoice, set_invoice_tags
from invoices_client.models import (
    CustomerRead,
    InvoiceListed,
    InvoiceRead,
    ListInvoicesSortItem,
    PageInvoiceListed,
    Status,
)
from invoices_client.types import UNSET, Unset

from examples.reminders.settings import RemindersSettings
from ligand_async import Conflict, NotFound
from ligand_async.errors import BadGateway
from ligand_async.upstream import ServiceClient

REMINDED = "reminded"


class Invoices:
    """Asks the invoicing service. What makes a call fail is a problem already: 502, 503 or 504."""

    def __init__(self, client: AuthenticatedClient) -> None:
        self.client = client

    async def list_overdue(self, day: date) -> list[InvoiceListed]:
        """Return the invoices that had to be paid before a day, the oldest first, from all pages."""
        found: list[InvoiceListed] = []
        cursor: str | Unset = UNSET
        while True:
            page = await list_invoices.asyncio(
                client=self.client,
                status=Status.SENT,
                due_before=day,
                not_tagged=REMINDED,
                sort=[ListInvoicesSortItem.DUE_ON],
                limit=100,
                cursor=cursor,
            )
            if not isinstance(page, PageInvoiceListed):
                raise BadGateway("the invoices could not be listed")
            found += page.items
            if page.next_cursor is None:
                return found
            cursor = page.next_cursor

    async def find(self, invoice_id: UUID) -> tuple[InvoiceRead, str]:
        """Return an invoice with its entity tag.

        Raises:
            NotFound: There is no such invoice.
        """
        answer = await read_invoice.asyncio_detailed(invoice_id, client=self.client)
        if not isinstance(answer.parsed, InvoiceRead):
            raise NotFound("there is no such invoice")
        return answer.parsed, answer.headers["ETag"]

    async def find_customer(self, customer_id: UUID) -> CustomerRead:
        """Return a customer."""
        customer = await read_customer.asyncio(customer_id, client=self.client)
        if not isinstance(customer, CustomerRead):
            raise BadGateway("the customer of the invoice was not found")
        return customer

    async def mark(self, invoice: InvoiceRead, tag: str) -> None:
        """Note that the customer was reminded, unless somebody has changed the invoice meanwhile.

        Raises:
            Conflict: Somebody has.
        """
        tags = [one.text for one in invoice.tags] + [REMINDED]
        changed = await set_invoice_tags.asyncio(invoice.id, client=self.client, body=tags, if_match=tag)
        if not isinstance(changed, InvoiceRead):
            raise Conflict("the invoice was changed meanwhile")


async def open_invoices(settings: RemindersSettings) -> AsyncIterator[Invoices]:
    """Keep one client open for as long as the app runs."""
    key = {"X-API-Key": settings.invoices_key.get_secret_value()}
    async with ServiceClient(settings.invoices_url, timeout=5.0) as client:
        yield Invoices(client.bind(AuthenticatedClient).with_headers(key))
