"""Customers and invoices of several tenants: what belongs together, what is kept apart, and what is announced."""

import asyncio
import csv
import io
import json
from datetime import timedelta

import pytest
from sqlalchemy import func, select, update

from examples.invoices.commands import clean_up
from examples.invoices.models import APIKey, Invoice, Line, Pdf, Status, Tag, audit, db
from examples.invoices.tenants import variables_for
from ligand_async.data import utc_now
from ligand_async.testing import authorization
from ligand_async.web import LigandQuart
from tests.examples.invoices.callers import LINES, Caller, make_key, upload
from tests.upstream.service import Reply, Upstream


async def test_an_invoice_is_answered_as_it_is_read(ann: Caller) -> None:
    """POST answers what the next GET answers, defaults and total included, with one tag."""
    where, drawn_up, tag = await ann.invoice(await ann.customer())

    status, read, headers = await ann.send("GET", where)
    assert (status, read, headers["ETag"]) == (200, drawn_up, tag)
    assert (read["status"], read["total"], read["owner"]) == ("draft", "342.50", "ann")
    assert [line["description"] for line in read["lines"]] == ["Consulting", "Travel"]


async def test_lines_are_replaced_under_the_tag(ann: Caller) -> None:
    """Eight PUTs with one tag: one is kept whole, seven are 412; its lines are in the order that was sent."""
    customer = await ann.customer()
    where, _, tag = await ann.invoice(customer)
    bodies = [
        {
            "customer_id": customer,
            "number": "2030-1",
            "due_on": "2030-03-01",
            "lines": [{"description": f"{who} {n}", "unit_price": "1.00"} for n in (3, 1, 2)],
        }
        for who in range(8)
    ]
    answers = await asyncio.gather(*(ann.send("PUT", where, body, if_match=tag) for body in bodies))

    assert sorted(status for status, *_ in answers) == [200] + [412] * 7
    winner = next(document for status, document, _ in answers if status == 200)
    _, read, headers = await ann.send("GET", where)
    assert read == winner
    assert len({line["description"].split()[0] for line in read["lines"]}) == 1
    assert [line["description"].split()[1] for line in read["lines"]] == ["3", "1", "2"]
    assert (read["due_on"], read["total"]) == ("2030-03-01", "3.00")
    assert headers["ETag"] != tag
    async with db.read(variables=variables_for("acme")) as session:
        assert await session.scalar(select(func.count()).select_from(Line)) == 3


async def test_tags_belong_to_the_invoice(ann: Caller) -> None:
    """New tags are made once, known ones are shared, and each change has another entity tag."""
    customer = await ann.customer()
    first, _, tag = await ann.invoice(customer)
    second, _, other = await ann.invoice(customer, "2030-2")

    status, document, headers = await ann.send("PUT", f"{first}/tags", ["vip", "late", "vip"], if_match=tag)
    assert (status, [one["text"] for one in document["tags"]]) == (200, ["late", "vip"])
    assert (await ann.send("PUT", f"{first}/tags", [], if_match=tag))[0] == 412
    assert (await ann.send("PUT", f"{second}/tags", ["vip"], if_match=other))[0] == 200
    status, document, _ = await ann.send("PUT", f"{first}/tags", ["vip"], if_match=headers["ETag"])
    assert [one["text"] for one in document["tags"]] == ["vip"]
    async with db.read(variables=variables_for("acme")) as session:
        assert sorted(await session.scalars(select(Tag.text))) == ["late", "vip"]


async def test_an_invoice_belongs_to_who_drew_it_up(app: LigandQuart, ann: Caller) -> None:
    """A colleague reads it and may not change it; an accountant may; nobody changes what was sent."""
    where, _, tag = await ann.invoice(await ann.customer())
    bob, eve = Caller(app, "bob"), Caller(app, "eve", "acme", "accountant")

    assert (await bob.send("GET", where))[0] == 200
    assert (await bob.send("DELETE", where, if_match=tag))[0] == 403
    assert (await eve.send("PUT", f"{where}/tags", ["seen"], if_match=tag))[0] == 200
    assert (await ann.send("DELETE", where))[0] == 428
    assert (await ann.send("POST", f"{where}/send"))[0] == 200
    status, problem, _ = await ann.send("DELETE", where, if_match="*")
    assert (status, problem["type"], problem["allowed"]) == (409, "/problems/wrong-status", ["draft"])


async def test_a_second_tenant_sees_nothing(app: LigandQuart, ann: Caller) -> None:
    """Rows of a tenant do not exist for another one, through no operation; a token without a tenant is refused."""
    customer = await ann.customer()
    where, _, tag = await ann.invoice(customer)
    spy = Caller(app, "ann", "rival", "clerk", "accountant")

    for path in (where, f"/customers/{customer}", f"{where}/total"):
        assert (await spy.send("GET", path))[0] == 404
    assert (await spy.send("PUT", f"{where}/tags", ["mine"], if_match=tag))[0] == 404
    assert (await spy.send("DELETE", where, if_match="*"))[0] == 404
    for path in ("/invoices/", "/customers/"):
        assert (await spy.send("GET", path))[1]["items"] == []
    body = {"customer_id": customer, "number": "1", "due_on": "2030-01-01", "lines": LINES}
    assert (await spy.send("POST", "/invoices/", body))[0] == 404
    for export, empty in (("csv", "number,customer,status,total\r\n"), ("ndjson", "")):
        response = await spy.client.get(f"/exports/invoices.{export}", headers=spy.headers)
        assert (await response.get_data(as_text=True)) == empty
    stranger = await spy.client.get("/invoices/", headers=authorization(app, roles=["clerk"]))
    assert stranger.status_code == 403


@pytest.mark.ligand_database("postgresql")
async def test_policies_hold_without_conditions(app: LigandQuart, ann: Caller) -> None:
    """On PostgreSQL a query that forgets the tenant still finds nothing of another one, nor can it write there."""
    where, *_ = await ann.invoice(await ann.customer())
    await upload(ann, where)
    await make_key(app)
    for variables in ({}, variables_for("rival"), {"invoices.key": "0" * 64}):
        async with db.transaction(variables=variables) as session:
            for model in (Invoice, Line, Pdf, APIKey):
                assert (await session.scalars(select(model))).all() == []
            changed = await session.execute(update(Invoice).values(note="mine"))
            assert changed.rowcount == 0  # type: ignore[attr-defined]  # a CursorResult


async def test_exports_hold_every_invoice(app: LigandQuart, ann: Caller) -> None:
    """CSV and NDJSON have the same rows; a name that a spreadsheet would take for a formula is text."""
    eve = Caller(app, "eve", "acme", "accountant")
    _, evil, _ = await ann.send("POST", "/customers/", {"name": "=HYPERLINK(1)", "email": "x@x.example"})
    for number, customer in (("2030-2", await ann.customer()), ("2030-1", evil["id"])):
        await ann.invoice(customer, number)

    response = await eve.client.get("/exports/invoices.csv", headers=eve.headers)
    rows = list(csv.DictReader(io.StringIO(await response.get_data(as_text=True))))
    assert [(row["number"], row["customer"], row["total"]) for row in rows] == [
        ("2030-1", "'=HYPERLINK(1)", "342.50"),
        ("2030-2", "Ann", "342.50"),
    ]
    response = await eve.client.get("/exports/invoices.ndjson", headers=eve.headers)
    found = [json.loads(line) for line in (await response.get_data(as_text=True)).splitlines()]
    assert [(row["number"], row["customer"], row["total"]) for row in found] == [
        ("2030-1", "=HYPERLINK(1)", "342.50"),
        ("2030-2", "Ann", "342.50"),
    ]
    assert (await ann.send("GET", "/exports/invoices.csv"))[0] == 403


async def test_changes_are_followed(app: LigandQuart, ann: Caller) -> None:
    """Who listens hears what was committed for its tenant, and nothing of another one."""
    spy = Caller(app, "spy", "rival")
    async with (
        ann.client.request("/events", headers=ann.headers) as stream,
        spy.client.request("/events", headers=spy.headers) as other,
    ):
        await stream.send_complete()
        await other.send_complete()
        assert await stream.receive() == await other.receive() == b": listening\n\n"
        where, document, _ = await ann.invoice(await ann.customer())
        body = {"customer_id": document["id"], "number": "9", "due_on": "2030-01-01", "lines": LINES}
        assert (await ann.send("POST", "/invoices/", body))[0] == 404  # which nobody hears of
        await ann.send("PUT", f"{where}/tags", ["vip"], if_match="*")
        heard = [json.loads((await stream.receive()).split(b"data: ")[1]) for _ in range(2)]
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await other.receive()
        await stream.disconnect()
        await other.disconnect()

    assert heard == [{"invoice_id": document["id"], "what": what} for what in ("created", "tagged")]


async def test_a_total_is_converted_by_another_service(ann: Caller, rates: Upstream) -> None:
    """The rate is asked for as the caller; what the other service lacks is a 400, its failure a 502."""
    where, *_ = await ann.invoice(await ann.customer())
    rates.script("/rates/USD", Reply(body=b'{"rate": "1.10"}'))
    rates.script("/rates/XXX", Reply(404))
    rates.script("/rates/GBP", Reply(body=b'{"rate": "much"}'))

    assert (await ann.send("GET", f"{where}/total?currency=USD"))[1] == {
        "amount": "376.75",
        "currency": "USD",
        "rate": "1.10",
    }
    assert rates.requests[-1].headers["Authorization"] == ann.headers["Authorization"]
    assert (await ann.send("GET", f"{where}/total?currency=XXX"))[0] == 400
    assert (await ann.send("GET", f"{where}/total?currency=GBP"))[0] == 502
    assert (await ann.send("GET", f"{where}/total?currency=euro"))[0] == 422


async def test_old_drafts_are_cleaned_up(ann: Caller, capsys: pytest.CaptureFixture[str]) -> None:
    """The command deletes drafts that nobody has touched for long, with their lines, and leaves what was sent."""
    customer = await ann.customer()
    for number in ("1", "2", "3"):
        await ann.invoice(customer, number)
    async with db.transaction(variables=variables_for("acme")) as session:
        old = {"updated_at": utc_now() - timedelta(days=100)}
        await session.execute(update(Invoice).where(Invoice.number != "3").values(old))
        await session.execute(update(Invoice).where(Invoice.number == "2").values(old | {"status": Status.SENT}))

    events = audit.table.c
    for dry_run in (True, False, False):
        await clean_up.callback(tenant="acme", days=90, dry_run=dry_run)  # type: ignore[misc]  # it has one
    assert capsys.readouterr().out.splitlines() == ["1 drafts", "1 drafts", "0 drafts"]
    async with db.read(variables=variables_for("acme")) as session:
        assert sorted(await session.scalars(select(Invoice.number))) == ["2", "3"]
        assert await session.scalar(select(func.count()).select_from(Line)) == 4
        deleted = select(events.entity).where(events.action == "delete").order_by(events.entity)
        assert (await session.scalars(deleted)).all() == ["Invoice", "Line", "Line"]


async def test_customers_are_kept(app: LigandQuart, ann: Caller) -> None:
    """A customer is changed under its tag; an e-mail is one customer's; one with invoices stays."""
    customer = await ann.customer()
    path = f"/customers/{customer}"
    _, _, headers = await ann.send("GET", path)
    status, changed, _ = await ann.send("PATCH", path, {"name": "Anna"}, if_match=headers["ETag"])
    assert (status, changed["name"], changed["email"]) == (200, "Anna", "ann@shop.example")
    assert (await ann.send("PATCH", path, {"name": "Ann"}, if_match=headers["ETag"]))[0] == 412
    answer = await ann.send("POST", "/customers/", {"name": "Ann", "email": "ann@shop.example"})
    assert answer[0] == 409
    await ann.invoice(customer)
    eve = Caller(app, "eve", "acme", "accountant")
    assert (await eve.send("DELETE", path, if_match="*"))[0] == 409
    other = await ann.customer("bob@shop.example")
    assert (await eve.send("DELETE", f"/customers/{other}", if_match="*"))[0] == 204
    assert [one["name"] for one in (await ann.send("GET", "/customers/?name_contains=ANN"))[1]["items"]] == ["Anna"]
