"""Exports of all invoices of a tenant, in constant memory."""

import csv
import io
from collections.abc import AsyncIterator, Iterable, Sequence
from typing import Annotated, Any

from quart import Blueprint, Response

from examples.invoices.access import ACCOUNTANT
from examples.invoices.models import db
from examples.invoices.queries import rows_of
from examples.invoices.schemas import InvoiceRow
from examples.invoices.tenants import Tenant
from ligand_async import operation, requires, tag
from ligand_async.web import Media

BATCH = 1000  # rows for one switch to the database
COLUMNS = ("number", "customer", "status", "total")

exports = requires(ACCOUNTANT)(
    tag("exports", description="All invoices, as a file.")(Blueprint("exports", __name__, url_prefix="/exports"))
)


@exports.get("/invoices.csv")
@operation
async def export_csv(tenant: Tenant) -> Annotated[Response, Media("text/csv")]:
    """Export the invoices as CSV (RFC 4180)."""

    async def lines() -> AsyncIterator[str]:
        yield _csv([COLUMNS])
        async for batch in _batches(tenant):
            yield _csv(batch)

    return Response(lines(), mimetype="text/csv")


@exports.get("/invoices.ndjson")
@operation
async def export_ndjson(tenant: Tenant) -> Annotated[Response, Media("application/x-ndjson")]:
    """Export the invoices as JSON, one object a line."""

    async def lines() -> AsyncIterator[str]:
        async for batch in _batches(tenant):
            rows = (InvoiceRow(**dict(zip(COLUMNS, row, strict=True))) for row in batch)
            yield "".join(f"{row.model_dump_json()}\n" for row in rows)

    return Response(lines(), mimetype="application/x-ndjson")


async def _batches(tenant: Tenant) -> AsyncIterator[Sequence[Sequence[Any]]]:
    async with db.read() as session:
        rows = await session.stream(rows_of(tenant))
        async for batch in rows.partitions(BATCH):
            yield batch


def _csv(rows: Iterable[Sequence[Any]]) -> str:
    text = io.StringIO()
    csv.writer(text).writerows([_harmless(cell) for cell in row] for row in rows)
    return text.getvalue()


def _harmless(cell: Any) -> str:
    """Keep a spreadsheet from taking text for a formula."""
    text = str(cell)
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r")) else text
