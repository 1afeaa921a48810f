"""The import of a thousand invoices: all of them or none, and each wrong row by name."""

import asyncio
import json
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import func, select

from examples.invoices.models import Invoice, Line, db
from examples.invoices.tenants import variables_for
from ligand_async.web import LigandQuart
from tests.examples.invoices.callers import LINES, Caller

NOBODY = str(UUID(int=1))


def rows(customer: str, count: int = 1000) -> list[dict[str, Any]]:
    """Make invoices with two lines each."""
    return [
        {"customer_id": customer, "number": f"I-{number}", "due_on": "2030-02-01", "lines": LINES}
        for number in range(count)
    ]


async def count(model: Any) -> int | None:
    async with db.read(variables=variables_for("acme")) as session:
        return await session.scalar(select(func.count()).select_from(model))


async def test_a_thousand_come_in_and_are_found_by_cursors(ann: Caller, eve: Caller) -> None:
    """All are drawn up, with their lines, in the order that was sent, once; and each is listed once."""
    sent = rows(await ann.customer())
    first, again = [await eve.send("POST", "/invoices/import", sent, idempotency_key='"i"') for _ in range(2)]

    assert (first[0], len(first[1]["ids"])) == (201, 1000)
    assert again[1] == first[1]
    assert await count(Line) == 2000
    assert (await ann.send("GET", f"/invoices/{first[1]['ids'][999]}"))[1]["number"] == "I-999"
    path, found = "/invoices/?limit=100&sort=number", []
    while path:
        _, page, headers = await ann.send("GET", path)
        found += [item["id"] for item in page["items"]]
        path = next((link[1:-1] for link, _, rel in _links(headers["Link"]) if rel == 'rel="next"'), "")
    assert sorted(found) == sorted(first[1]["ids"])


def _links(header: str) -> list[tuple[str, str, str]]:
    return [link.partition("; ") for link in header.split(", ")]


async def test_wrong_rows_are_named(ann: Caller, eve: Caller) -> None:
    """Schema, customers and numbers: each row that is at fault has its pointer, and nothing is drawn up."""
    customer = await ann.customer()
    await ann.invoice(customer, "I-7")

    async def send(**changes: dict[str, Any]) -> tuple[int, list[str]]:
        sent = rows(customer, 50)
        for index, change in changes.items():
            sent[int(index[1:])] |= change
        status, problem, _ = await eve.send("POST", "/invoices/import", sent)
        return status, [part["pointer"] for part in problem["errors"]]

    line = {"description": "", "unit_price": "1.234"}
    assert await send(_31={"number": ""}, _49={"lines": [LINES[0], line]}) == (
        422,
        ["/31/number", "/49/lines/1/description", "/49/lines/1/unit_price"],
    )
    assert await send(_7={"number": "x"}, _20={"customer_id": NOBODY}, _30={"customer_id": NOBODY}) == (
        409,
        ["/20/customer_id", "/30/customer_id"],
    )
    assert await send(_40={"number": "I-3"}) == (409, ["/7/number", "/40/number"])
    assert await count(Invoice) == 1


async def test_two_imports_of_one_number_at_once(ann: Caller, eve: Caller) -> None:
    """What the check could not see, the constraint refuses: one import is kept whole, the other is a 409."""
    sent = rows(await ann.customer(), 20)
    answers = await asyncio.gather(*(eve.send("POST", "/invoices/import", sent) for _ in range(2)))

    assert sorted(status for status, *_ in answers) == [201, 409]
    assert await count(Invoice) == 20


@pytest.mark.ligand_database("sqlite")
async def test_limits_of_an_import(app: LigandQuart, ann: Caller, eve: Caller) -> None:
    """A thousand are not too many, one more is; only accountants import, and only for customers of their own."""
    customer = await ann.customer()
    assert (await eve.send("POST", "/invoices/import", rows(customer, 1001)))[0] == 422
    assert (await eve.send("POST", "/invoices/import", []))[0] == 422
    assert (await ann.send("POST", "/invoices/import", rows(customer, 1)))[0] == 403
    spy = Caller(app, "spy", "rival", "accountant")
    assert (await spy.send("POST", "/invoices/import", rows(customer, 1)))[0] == 409
    large = json.dumps(rows(customer, 1)).encode() + b" " * 8 * 2**20
    headers = eve.headers | {"Content-Type": "application/json"}
    assert (await eve.client.post("/invoices/import", data=large, headers=headers)).status_code == 413
