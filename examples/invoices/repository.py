"""The invoices of one tenant: what the operations ask the database for."""

from uuid import UUID

from sqlalchemy import Select, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import selectinload

from examples.invoices.events import invoice_changed
from examples.invoices.models import Customer, Invoice, Status, Tag
from examples.invoices.schemas import InvoiceCreate
from examples.invoices.tenants import Tenant
from ligand_async import Conflict, Forbidden, NotFound, Principal
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
        """Find an invoice, with its lines and tags.

        Raises:
            NotFound: The tenant has no such invoice.
        """
        statement = self.select().where(Invoice.id == invoice_id)
        loaded = statement.options(selectinload(Invoice.lines), selectinload(Invoice.tags))
        invoice = await self.session.scalar(loaded)
        if invoice is None:
            raise NotFound("there is no such invoice")
        return invoice

    async def add(self, data: InvoiceCreate) -> Invoice:
        """Draw up an invoice.

        Raises:
            NotFound: The tenant has no such customer.
        """
        await self.check_customer(data.customer_id)
        invoice = data.new(Invoice)
        invoice.tenant = self.tenant
        invoice.owner = self.principal.subject
        self.session.add(invoice)
        await self.session.flush()
        await self.tell(invoice, "created")
        return invoice

    async def replace(self, invoice: Invoice, data: InvoiceCreate) -> None:
        """Replace a draft with its lines.

        Raises:
            Conflict: The invoice is no longer a draft.
            NotFound: The tenant has no such customer.
        """
        self.check_draft(invoice)
        await self.check_customer(data.customer_id)
        await data.load(self.session, invoice)
        data.replace(invoice)
        await self.session.flush()
        await self.tell(invoice, "replaced")

    async def remove(self, invoice: Invoice) -> None:
        """Delete a draft.

        Raises:
            Conflict: The invoice is no longer a draft.
        """
        self.check_draft(invoice)
        await self.session.delete(invoice)
        await self.tell(invoice, "deleted")

    async def set_tags(self, invoice: Invoice, texts: set[str]) -> None:
        """Give an invoice these tags and no others; new ones are made."""
        found = await self.session.scalars(select(Tag).where(Tag.tenant == self.tenant, Tag.text.in_(texts)))
        known = {tag.text: tag for tag in found}
        invoice.tags = [known.get(text) or Tag(tenant=self.tenant, text=text) for text in sorted(texts)]
        await self.session.flush()
        await self.tell(invoice, "tagged")

    async def check_customer(self, customer_id: UUID) -> None:
        """Refuse a customer of another tenant, as if it did not exist."""
        found = select(Customer.id).where(Customer.id == customer_id, Customer.tenant == self.tenant)
        if await self.session.scalar(found) is None:
            raise NotFound("there is no such customer")

    def check_draft(self, invoice: Invoice) -> None:
        """Refuse to change what the customer has already got."""
        if invoice.status is not Status.DRAFT:
            raise Conflict(f"the invoice is {invoice.status}; only a draft can be changed")

    async def tell(self, invoice: Invoice, what: str) -> None:
        """Announce a change, after the commit."""
        await invoice_changed.send(tenant=self.tenant, invoice_id=invoice.id, what=what)


async def load_own_invoice(invoice_id: UUID, invoices: Invoices, principal: Principal) -> Invoice:
    """Load an invoice that the caller may change: one of its own, or any for an accountant."""
    invoice = await invoices.find(invoice_id)
    if invoice.owner != principal.subject and "accountant" not in principal.roles:
        raise Forbidden("this invoice belongs to a colleague")
    return invoice


own_invoice = Depends(load_own_invoice, raises=[NotFound, Forbidden])
