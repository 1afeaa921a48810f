"""The operations on customers and invoices, and who may call them."""

from decimal import Decimal
from typing import Annotated
from uuid import UUID

from pydantic import Field
from quart import Blueprint
from sqlalchemy.ext.asyncio import AsyncSession

from examples.invoices.access import ACCOUNTANT, STAFF
from examples.invoices.models import Customer, Status
from examples.invoices.queries import CustomerQuery, InvoiceQuery, customers_of, total
from examples.invoices.rates import Rates
from examples.invoices.repository import Invoices, OwnInvoice
from examples.invoices.schemas import (
    CustomerCreate,
    CustomerPatch,
    CustomerRead,
    InvoiceCreate,
    InvoiceListed,
    InvoiceRead,
    Payment,
    Total,
)
from examples.invoices.statuses import WrongStatus
from examples.invoices.tenants import Tenant
from ligand_async import (
    BadRequest,
    Conflict,
    NotFound,
    Page,
    check_preconditions,
    conditional,
    idempotent,
    operation,
    paginate,
    requires,
    tag,
)
from ligand_async.data import one_or_404

customers = requires(STAFF)(
    tag("customers", description="Those who receive invoices.")(
        Blueprint("customers", __name__, url_prefix="/customers")
    )
)
invoices = requires(STAFF)(
    tag("invoices", description="Write, send and settle invoices.")(
        Blueprint("invoices", __name__, url_prefix="/invoices")
    )
)

TagText = Annotated[str, Field(min_length=1, max_length=50, pattern=r"^[^\u0000]*$")]


@customers.get("/")
@operation
async def list_customers(query_args: CustomerQuery, tenant: Tenant, session: AsyncSession) -> Page[CustomerRead]:
    """List the customers of the tenant, by name."""
    return await paginate(session, query_args.apply(customers_of(tenant)), query_args, into=CustomerRead)


@customers.post("/")
@idempotent
@operation(status=201, raises=[Conflict], location=".read_customer")
async def create_customer(data: CustomerCreate, tenant: Tenant, session: AsyncSession) -> CustomerRead:
    """Add a customer."""
    customer = Customer(tenant=tenant, **data.model_dump())
    session.add(customer)
    await session.flush()
    return CustomerRead.model_validate(customer)


@customers.get("/<uuid:customer_id>")
@operation(raises=[NotFound])
async def read_customer(customer_id: UUID, tenant: Tenant, session: AsyncSession) -> CustomerRead:
    """Read a customer."""
    return await one_or_404(session, customers_of(tenant).where(Customer.id == customer_id), into=CustomerRead)


@customers.patch("/<uuid:customer_id>")
@conditional
@operation(raises=[NotFound, Conflict])
async def update_customer(
    customer_id: UUID, data: CustomerPatch, tenant: Tenant, session: AsyncSession
) -> CustomerRead:
    """Change a customer."""
    customer = await one_or_404(session, customers_of(tenant).where(Customer.id == customer_id))
    check_preconditions(customer)
    data.apply(customer)
    await session.flush()
    return CustomerRead.model_validate(customer)


@customers.delete("/<uuid:customer_id>")
@requires(ACCOUNTANT)
@conditional
@operation(status=204, raises=[NotFound, Conflict])
async def delete_customer(customer_id: UUID, tenant: Tenant, session: AsyncSession) -> None:
    """Delete a customer without invoices."""
    customer = await one_or_404(session, customers_of(tenant).where(Customer.id == customer_id))
    check_preconditions(customer)
    await session.delete(customer)


@invoices.get("/")
@operation
async def list_invoices(query_args: InvoiceQuery, mine: Invoices) -> Page[InvoiceListed]:
    """List the invoices of the tenant, the newest first."""
    statement = query_args.apply(mine.select().add_columns(total))
    return await paginate(mine.session, statement, query_args, into=InvoiceListed)


@invoices.post("/")
@idempotent
@operation(status=201, raises=[NotFound, Conflict], location=".read_invoice")
async def create_invoice(data: InvoiceCreate, mine: Invoices) -> InvoiceRead:
    """Draw up an invoice."""
    return InvoiceRead.model_validate(await mine.add(data))


@invoices.get("/<uuid:invoice_id>")
@operation(raises=[NotFound])
async def read_invoice(invoice_id: UUID, mine: Invoices) -> InvoiceRead:
    """Read an invoice with its lines."""
    return InvoiceRead.model_validate(await mine.find(invoice_id))


@invoices.put("/<uuid:invoice_id>")
@conditional
@operation(raises=[WrongStatus, Conflict])
async def replace_invoice(invoice: OwnInvoice, data: InvoiceCreate, mine: Invoices) -> InvoiceRead:
    """Replace a draft, with its lines."""
    check_preconditions(invoice)
    await mine.replace(invoice, data)
    return InvoiceRead.model_validate(invoice)


@invoices.put("/<uuid:invoice_id>/tags")
@conditional
@operation
async def set_invoice_tags(
    invoice: OwnInvoice, data: Annotated[list[TagText], Field(max_length=20)], mine: Invoices
) -> InvoiceRead:
    """Give an invoice these tags and no others."""
    check_preconditions(invoice)
    await mine.set_tags(invoice, set(data))
    return InvoiceRead.model_validate(invoice)


@invoices.delete("/<uuid:invoice_id>")
@conditional
@operation(status=204, raises=[WrongStatus])
async def delete_invoice(invoice: OwnInvoice, mine: Invoices) -> None:
    """Delete a draft."""
    check_preconditions(invoice)
    await mine.remove(invoice)


@invoices.post("/<uuid:invoice_id>/send")
@idempotent
@conditional
@operation(raises=[WrongStatus])
async def send_invoice(invoice: OwnInvoice, mine: Invoices) -> InvoiceRead:
    """Send a draft to its customer. Nobody can change it afterwards."""
    check_preconditions(invoice)
    await mine.move(invoice, Status.SENT)
    return InvoiceRead.model_validate(invoice)


@invoices.post("/<uuid:invoice_id>/pay")
@requires(ACCOUNTANT)
@idempotent
@conditional
@operation(raises=[WrongStatus])
async def pay_invoice(invoice: OwnInvoice, data: Payment, mine: Invoices) -> InvoiceRead:
    """Note that a sent invoice was paid."""
    check_preconditions(invoice)
    invoice.paid_on = data.paid_on
    await mine.move(invoice, Status.PAID)
    return InvoiceRead.model_validate(invoice)


@invoices.post("/<uuid:invoice_id>/void")
@requires(ACCOUNTANT)
@idempotent
@conditional
@operation(raises=[WrongStatus])
async def void_invoice(invoice: OwnInvoice, mine: Invoices) -> InvoiceRead:
    """Void a sent invoice: nobody has to pay it."""
    check_preconditions(invoice)
    await mine.move(invoice, Status.VOID)
    return InvoiceRead.model_validate(invoice)


@invoices.get("/<uuid:invoice_id>/total")
@operation(raises=[NotFound, BadRequest])
async def convert_invoice_total(
    invoice_id: UUID, mine: Invoices, rates: Rates, currency: Annotated[str, Field(pattern="^[A-Z]{3}$")] = "EUR"
) -> Total:
    """Convert the total of an invoice into another currency."""
    invoice = InvoiceRead.model_validate(await mine.find(invoice_id))
    rate = await rates.find(currency)
    amount = (invoice.total * rate).quantize(Decimal("0.01"))
    return Total(amount=amount, currency=currency, rate=rate)
