"""The invoices of one tenant: what the operations ask the database for."""

from collections.abc import Collection
from typing import Annotated
from uuid import UUID

from sqlalchemy import Select, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import selectinload, undefer

from examples.invoices.events import invoice_changed
from examples.invoices.models import Customer, Invoice, Pdf, Status, Tag
from examples.invoices.schemas import InvoiceCreate
from examples.invoices.statuses import check_status, set_status
from examples.invoices.tenants import Tenant
from ligand_async import Forbidden, NotFound, Principal
from ligand_async.web import Depends


class Invoices:
    """The invoices of the caller's tenant, on the session of the request."""

    def __init__(self, session: AsyncSession, tenant: Tenant, principal: Principal) -> None:
        self.session = session
        self.tenant = tenant
        self.principal = principal

    def select(self) -> Select[Invoice]:
        """Select the invoices of the tenant."""
        return select(Invoice).where(Invoice.tenant == self.tenant)

    async def find(self, invoice_id: UUID) -> Invoice:
        """Find an invoice, with its lines and tags, and with what is known of its PDF.

        Raises:
            NotFound: The tenant has no such invoice.
        """
        parts = (selectinload(Invoice.lines), selectinload(Invoice.tags), selectinload(Invoice.pdf))
        invoice = await self.session.scalar(self.select().where(Invoice.id == invoice_id).options(*parts))
        if invoice is None:
            raise NotFound("there is no such invoice")
        return invoice

    async def find_pdf(self, invoice_id: UUID) -> tuple[Invoice, Pdf]:
        """Find an invoice and its PDF, with the bytes.

        Raises:
            NotFound: The tenant has no such invoice, or the invoice has no PDF.
        """
        whole = selectinload(Invoice.pdf).options(undefer(Pdf.content))
        invoice = await self.session.scalar(self.select().where(Invoice.id == invoice_id).options(whole))
        if invoice is None or invoice.pdf is None:
            raise NotFound("there is no PDF of such an invoice")
        return invoice, invoice.pdf

    async def add(self, data: InvoiceCreate) -> Invoice:
        """Draw up an invoice.

        Raises:
            NotFound: The tenant has no such customer.
        """
        if not await self.known_customers({data.customer_id}):
            raise NotFound("there is no such customer")
        invoice = self.draw_up(data)
        await self.session.flush()
        await self.tell("created", invoice)
        return invoice

    def draw_up(self, data: InvoiceCreate) -> Invoice:
        """Add an invoice to the session. Its customer must be one of the tenant."""
        invoice = data.new(Invoice)
        invoice.tenant = self.tenant
        invoice.owner = self.principal.subject
        self.session.add(invoice)
        return invoice

    async def replace(self, invoice: Invoice, data: InvoiceCreate) -> None:
        """Replace a draft with its lines.

        Raises:
            WrongStatus: The invoice is no longer a draft.
            NotFound: The tenant has no such customer.
        """
        check_status(invoice, {Status.DRAFT})
        if not await self.known_customers({data.customer_id}):
            raise NotFound("there is no such customer")
        await data.load(self.session, invoice)
        data.replace(invoice)
        await self.session.flush()
        await self.tell("replaced", invoice)

    async def remove(self, invoice: Invoice) -> None:
        """Delete a draft.

        Raises:
            WrongStatus: The invoice is no longer a draft.
        """
        check_status(invoice, {Status.DRAFT})
        await self.session.delete(invoice)
        await self.tell("deleted", invoice)

    async def move(self, invoice: Invoice, status: Status) -> None:
        """Move an invoice on to another status.

        Raises:
            WrongStatus: There is no way from its status to this one.
        """
        set_status(invoice, status)
        await self.session.flush()
        await self.tell(status, invoice)

    async def set_tags(self, invoice: Invoice, texts: set[str]) -> None:
        """Give an invoice these tags and no others; new ones are made."""
        found = await self.session.scalars(select(Tag).where(Tag.tenant == self.tenant, Tag.text.in_(texts)))
        known = {tag.text: tag for tag in found}
        invoice.tags = [known.get(text) or Tag(tenant=self.tenant, text=text) for text in sorted(texts)]
        await self.session.flush()
        await self.tell("tagged", invoice)

    async def known_customers(self, ids: Collection[UUID]) -> set[UUID]:
        """Return those of the ids that are customers of the tenant: one of another tenant does not exist."""
        found = select(Customer.id).where(Customer.id.in_(ids), Customer.tenant == self.tenant)
        return set(await self.session.scalars(found))

    async def known_numbers(self, numbers: Collection[str]) -> set[str]:
        """Return those of the numbers that invoices of the tenant have."""
        found = select(Invoice.number).where(Invoice.number.in_(numbers), Invoice.tenant == self.tenant)
        return set(await self.session.scalars(found))

    async def tell(self, what: str, invoice: Invoice | None = None) -> None:
        """Announce a change of one invoice, or of many, after the commit."""
        await invoice_changed.send(tenant=self.tenant, invoice_id=invoice and invoice.id, what=what)


async def load_own_invoice(invoice_id: UUID, invoices: Invoices, principal: Principal) -> Invoice:
    """Load an invoice that the caller may change: one of its own, or any for an accountant."""
    invoice = await invoices.find(invoice_id)
    if invoice.owner != principal.subject and "accountant" not in principal.roles:
        raise Forbidden("this invoice belongs to a colleague")
    return invoice


OwnInvoice = Annotated[Invoice, Depends(load_own_invoice, raises=[NotFound, Forbidden])]
