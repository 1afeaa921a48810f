"""The import of many invoices at once: all of them or none."""

from collections.abc import Sequence
from typing import Annotated
from uuid import UUID

from pydantic import BaseModel, Field
from quart import Blueprint

from examples.invoices.access import ACCOUNTANT
from examples.invoices.repository import Invoices
from examples.invoices.schemas import InvoiceCreate
from ligand_async import idempotent, operation, requires, tag
from ligand_async.errors import AlreadyExists, BrokenReference, InvalidPart
from ligand_async.web import request_limits

imports = requires(ACCOUNTANT)(tag("invoices")(Blueprint("imports", __name__, url_prefix="/invoices")))

Rows = Annotated[list[InvoiceCreate], Field(min_length=1, max_length=1000)]


class Imported(BaseModel):
    """The new invoices, in the order of the array that was sent."""

    ids: list[UUID]


@imports.post("/import")
@idempotent
@request_limits(max_body_bytes=8 * 1024 * 1024, timeout=60)
@operation(status=201, raises=[AlreadyExists, BrokenReference])
async def import_invoices(data: Rows, mine: Invoices) -> Imported:
    """Draw up to a thousand invoices. If some are at fault, the error names them all, and none is drawn up."""
    await check_customers(data, mine)
    await check_numbers(data, mine)
    drawn_up = [mine.draw_up(row) for row in data]
    await mine.session.flush()
    await mine.tell("imported")
    return Imported(ids=[invoice.id for invoice in drawn_up])


async def check_customers(rows: Sequence[InvoiceCreate], mine: Invoices) -> None:
    """Refuse rows of customers that the tenant does not have.

    Raises:
        BrokenReference: It names each such row.
    """
    known = await mine.known_customers({row.customer_id for row in rows})
    errors = [
        InvalidPart("there is no such customer", code="reference", pointer=f"/{index}/customer_id")
        for index, row in enumerate(rows)
        if row.customer_id not in known
    ]
    if errors:
        raise BrokenReference("some customers do not exist", errors=errors)


async def check_numbers(rows: Sequence[InvoiceCreate], mine: Invoices) -> None:
    """Refuse rows whose number is taken. The database would name the first of them only.

    Raises:
        AlreadyExists: It names each such row.
    """
    taken = await mine.known_numbers({row.number for row in rows})
    errors = []
    for index, row in enumerate(rows):
        if row.number in taken:
            errors.append(InvalidPart("this number is taken", code="unique", pointer=f"/{index}/number"))
        taken.add(row.number)
    if errors:
        raise AlreadyExists("some numbers are taken", errors=errors)
