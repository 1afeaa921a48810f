"""The pointers of errors that only the database finds: they name what was sent, or nothing."""

from typing import Annotated, Any
from uuid import UUID

import pytest
from pydantic import BaseModel, Field
from sqlalchemy import ForeignKey, UniqueConstraint
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

from ligand_async import Database, Form, Identified, Model, operation
from tests.services import Answer, backend, make_app, routes


class Base(Model, DeclarativeBase):
    """The tables of this module."""


class Invoice(Identified, Base):
    """Its number is in a column of another name."""

    __tablename__ = "located_invoice"

    number: Mapped[str] = mapped_column("invoice_no", unique=True)
    lines: Mapped[list["Line"]] = relationship()


class Line(Identified, Base):
    """A part of an invoice."""

    __tablename__ = "located_line"
    __table_args__ = (UniqueConstraint("code", "place"),)

    code: Mapped[str]
    place: Mapped[int] = mapped_column(default=0)
    invoice_id: Mapped[UUID | None] = mapped_column(ForeignKey("located_invoice.id"))


db = Database(Base)


class NewLine(BaseModel):
    code: Annotated[str, Field(alias="lineCode")]
    place: int = 0


class NewInvoice(BaseModel):
    number: Annotated[str, Field(alias="invoiceNumber")]
    lines: list[NewLine] = []


class Numbered(BaseModel):
    number: Annotated[str, Field(alias="invoiceNumber")]


class Batch(BaseModel):
    invoices: list[NewInvoice]


def make(new: NewInvoice) -> Invoice:
    """Make the rows of one invoice."""
    return Invoice(number=new.number, lines=[Line(**line.model_dump()) for line in new.lines])


@operation(status=201)
async def add_one(data: NewInvoice, session: AsyncSession) -> None:
    session.add(make(data))


@operation(status=201)
async def add_many(data: list[NewInvoice], session: AsyncSession) -> None:
    session.add_all([make(new) for new in data])


@operation(status=201)
async def add_batch(batch: Batch, session: AsyncSession) -> None:
    session.add_all([make(new) for new in batch.invoices])


@operation(status=201)
async def add_one_by_one(data: list[NewInvoice], session: AsyncSession) -> None:
    for new in data:
        session.add(make(new))
        await session.flush()


@operation(status=201)
async def add_by_form(form: Annotated[Numbered, Form()], session: AsyncSession) -> None:
    session.add(Invoice(number=form.number))


@operation(status=201)
async def add_fixed(session: AsyncSession) -> None:
    session.add(Invoice(number="A"))


@operation(status=201)
async def add_by_path(number: str, session: AsyncSession) -> None:
    session.add(Invoice(number=number))


async def add(url: str, view: Any, body: Any = None, *, rule: str = "/new", path: str = "/new") -> Answer:
    """Store the invoice A with the line L, then send one request."""
    app = make_app(url, routes(("POST", "/first", add_one), ("POST", rule, view)), database=db)
    async with app.test_app(), app.app_context():
        await db.create_tables()
        client = app.test_client()
        first = await client.post("/first", json={"invoiceNumber": "A", "lines": [{"lineCode": "L"}]})
        assert first.status_code == 201
        how: dict[str, Any] = {"form": body} if view is add_by_form else {} if body is None else {"json": body}
        response = await client.post(path, **how)
        raw = await response.get_data(as_text=False)
        assert isinstance(raw, bytes)
        return Answer(response.status_code, response.headers, raw)


def pointers(answer: Answer) -> list[str | None]:
    """Return where the parts of a 409 are."""
    assert answer.status == 409
    return [part.get("pointer") for part in answer.json["errors"]]


def invoices(*numbers: str) -> list[dict[str, Any]]:
    """Write invoices without lines."""
    return [{"invoiceNumber": number} for number in numbers]


@pytest.mark.parametrize(
    ("view", "body", "place"),
    [
        (add_one, {"invoiceNumber": "A"}, "/invoiceNumber"),
        (add_many, invoices("A"), "/0/invoiceNumber"),
        (add_many, invoices("B", "C", "B"), "/2/invoiceNumber"),
        (add_batch, {"invoices": invoices("B", "C", "B")}, "/invoices/2/invoiceNumber"),
        (add_one_by_one, invoices("B", "A", "C"), "/1/invoiceNumber"),
        (add_by_form, {"invoiceNumber": "A"}, "/invoiceNumber"),
    ],
)
async def test_a_column_leads_to_the_member(database_url: str, view: Any, body: Any, place: str) -> None:
    """By its alias, with its index in an array, whatever the column is called."""
    assert pointers(await add(database_url, view, body)) == [place]


async def test_a_bulk_import_names_its_row(database_url: str) -> None:
    """PostgreSQL names the value; SQLite does not, and then there is no pointer."""
    body = invoices(*[f"N{number}" for number in range(700)], "A", *[f"M{number}" for number in range(299)])
    found = pointers(await add(database_url, add_many, body))

    assert found == [None if backend(database_url) == "sqlite" else "/700/invoiceNumber"]


async def test_members_of_one_object_belong_together(database_url: str) -> None:
    """A constraint over two columns leads to the two members of the same item."""
    lines = [{"lineCode": "X", "place": 0}, {"lineCode": "L", "place": 0}, {"lineCode": "L", "place": 1}]
    found = pointers(await add(database_url, add_one, {"invoiceNumber": "B", "lines": lines}))

    nowhere = [None, None]
    assert found == (nowhere if backend(database_url) == "sqlite" else ["/lines/1/lineCode", "/lines/1/place"])


async def test_what_was_not_sent_has_no_pointer(database_url: str) -> None:
    """A value that the handler has from elsewhere, or that the path gave."""
    fixed = await add(database_url, add_fixed)

    assert fixed.json["errors"] == [{"detail": "already taken", "code": "unique"}]


async def test_a_variable_of_the_path_is_a_parameter(database_url: str) -> None:
    """It is named as the rule names it."""
    answer = await add(database_url, add_by_path, rule="/by/<number>", path="/by/A")

    assert answer.json["errors"] == [{"detail": "already taken", "parameter": "number", "code": "unique"}]
