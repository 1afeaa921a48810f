"""What an import of 1,000 invoices costs over a plain script: `python -m bench.imports [URL]`.

The service takes the invoices with their lines as one JSON body, validates them, and writes them in one unit of work,
as `examples/invoices` does; it is called in its own process, without a network. The script reads the same JSON,
converts dates and decimals by hand, builds entities of plain classes with the same columns, and commits them by a
session of SQLAlchemy's own. It validates nothing. Both take turns on one database; the ratio is the service to the
script, in the processor time of this process, which a busy machine changes little. Without a URL the database is a
SQLite file in a temporary directory; a PostgreSQL database of one's own is filled and left empty.
"""

import asyncio
import gc
import json
import statistics
import sys
import tempfile
import time
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, ClassVar
from uuid import UUID

from pydantic import Field
from quart import Blueprint, Quart
from sqlalchemy import DateTime, ForeignKey, Numeric, String, delete, func, select
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship
from uuid_utils.compat import uuid7

from ligand_async import (
    CreateSchema,
    Database,
    Identified,
    Model,
    Settings,
    Timestamped,
    Versioned,
    create_app,
    operation,
    public,
)
from ligand_async.web import request_limits

ROUNDS = 9
INVOICES = 1_000
LINES = 5


class Base(Model, DeclarativeBase):
    """The tables of both."""


class Invoice(Identified, Timestamped, Versioned, Base):
    """An invoice as in `examples/invoices`."""

    __tablename__ = "bench_invoice"
    __belongs__: ClassVar = ("lines",)
    customer_id: Mapped[UUID]
    number: Mapped[str] = mapped_column(String(20), unique=True)
    due_on: Mapped[date]
    note: Mapped[str] = mapped_column(String(1000), default="")
    lines: Mapped[list["Line"]] = relationship(cascade="all, delete-orphan", order_by="Line.position")


class Line(Identified, Base):
    """One of its lines."""

    __tablename__ = "bench_line"
    invoice_id: Mapped[UUID] = mapped_column(ForeignKey("bench_invoice.id"), index=True)
    position: Mapped[int]
    description: Mapped[str] = mapped_column(String(200))
    quantity: Mapped[int] = mapped_column(default=1)
    unit_price: Mapped[Decimal] = mapped_column(Numeric(12, 2))


class PlainBase(DeclarativeBase):
    """What a script without the framework has."""


class PlainInvoice(PlainBase):
    """The same table."""

    __tablename__ = "bench_invoice"
    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid7)
    customer_id: Mapped[UUID]
    number: Mapped[str] = mapped_column(String(20))
    due_on: Mapped[date]
    note: Mapped[str] = mapped_column(String(1000), default="")
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    updated_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    version: Mapped[int] = mapped_column(default=1)
    lines: Mapped[list["PlainLine"]] = relationship()


class PlainLine(PlainBase):
    """The same table."""

    __tablename__ = "bench_line"
    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid7)
    invoice_id: Mapped[UUID] = mapped_column(ForeignKey("bench_invoice.id"))
    position: Mapped[int]
    description: Mapped[str] = mapped_column(String(200))
    quantity: Mapped[int] = mapped_column(default=1)
    unit_price: Mapped[Decimal] = mapped_column(Numeric(12, 2))


class LineWrite(CreateSchema, model=Line, exclude={"invoice_id"}):
    """A line of the body."""


class InvoiceWrite(CreateSchema, model=Invoice):
    """An invoice of the body."""

    lines: Annotated[list[LineWrite], Field(min_length=1, max_length=200)]


routes = public(Blueprint("invoices", __name__))


@routes.post("/import")
@request_limits(max_body_bytes=8 * 1024 * 1024, timeout=60)
@operation(status=201)
async def import_invoices(
    rows: Annotated[list[InvoiceWrite], Field(max_length=1_000)], session: AsyncSession
) -> list[UUID]:
    """Draw up many invoices."""
    drawn_up = [row.new(Invoice) for row in rows]
    session.add_all(drawn_up)
    await session.flush()
    return [invoice.id for invoice in drawn_up]


def make_body(invoices: int) -> bytes:
    """Return the JSON of the import."""
    return json.dumps(
        [
            {
                "customer_id": str(UUID(int=number)),
                "number": f"2030-{number:05}",
                "due_on": "2030-12-31",
                "note": "as agreed",
                "lines": [
                    {"position": line, "description": "A thing", "quantity": 1 + line, "unit_price": "19.90"}
                    for line in range(LINES)
                ],
            }
            for number in range(invoices)
        ]
    ).encode()


def read_line(line: dict[str, Any]) -> PlainLine:
    """Make a line by hand."""
    return PlainLine(**line | {"unit_price": Decimal(line["unit_price"])})


def read_invoice(row: dict[str, Any]) -> PlainInvoice:
    """Make an invoice by hand."""
    converted = {"customer_id": UUID(row["customer_id"]), "due_on": date.fromisoformat(row["due_on"])}
    return PlainInvoice(**row | converted | {"lines": [read_line(line) for line in row["lines"]]})


async def run_script(database: Database, body: bytes) -> None:
    """Do the same without the framework."""
    make_session = async_sessionmaker(database.engines().write, expire_on_commit=False)
    async with make_session() as session, session.begin():
        drawn_up = [read_invoice(row) for row in json.loads(body)]
        session.add_all(drawn_up)
        await session.flush()
        json.dumps([str(invoice.id) for invoice in drawn_up])


async def run_service(app: Quart, body: bytes) -> None:
    """Send the import."""
    response = await app.test_client().post("/import", data=body, headers={"Content-Type": "application/json"})
    assert response.status_code == 201, await response.get_data()  # noqa: S101  (a benchmark of failures says nothing)


async def measure(url: str, rounds: int = ROUNDS, invoices: int = INVOICES) -> float:
    """Measure, print, and return the ratio.

    Args:
        url: The database.
        rounds: How often each is measured.
        invoices: How many are imported at once.
    """
    database, body = Database(Base), make_body(invoices)
    settings = Settings.load("testing", database_url=url)
    app = create_app(__name__, title="x", version="1", settings=settings, database=database, blueprints=[routes])
    taken: dict[str, list[float]] = {"script": [], "service": []}
    async with app.test_app(), app.app_context():
        await database.create_tables()
        try:
            for number in range(rounds + 1):
                for name in sorted(taken, reverse=number % 2 == 0):
                    gc.collect()
                    began = time.process_time()
                    await (run_service(app, body) if name == "service" else run_script(database, body))
                    taken[name].append(time.process_time() - began)
                    async with database.transaction() as session:
                        written = [
                            await session.scalar(select(func.count()).select_from(kind)) for kind in (Invoice, Line)
                        ]
                        assert written == [invoices, invoices * LINES], name  # noqa: S101  (or the figures mean nothing)
                        for kind in (Line, Invoice):
                            await session.execute(delete(kind))
        finally:
            async with database.engines().write.begin() as connection:
                await connection.run_sync(database.metadata.drop_all)
    script, service = (statistics.median(taken[name][1:]) for name in ("script", "service"))  # the first warms up
    kind = url.partition(":")[0]
    print(f"{kind}: script {script * 1e3:,.0f} ms, service {service * 1e3:,.0f} ms, ratio {service / script:.2f}")
    return service / script


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as place:
        address = sys.argv[1] if len(sys.argv) > 1 else f"sqlite+aiosqlite:///{Path(place) / 'imports.db'}"
        asyncio.run(measure(address))
