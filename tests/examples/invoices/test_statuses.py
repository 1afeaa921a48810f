"""The way of an invoice: draft, sent, and then paid or void."""

import asyncio
from typing import Any

from ligand_async.web import LigandQuart
from tests.examples.invoices.callers import Caller

PAID = {"paid_on": "2030-01-31"}


async def test_an_invoice_goes_its_way(ann: Caller, eve: Caller) -> None:
    """Each step is allowed from one status only; any other is a 409 of its own type that says from which."""
    customer = await ann.customer()
    steps: dict[str, tuple[Caller, Any]] = {"send": (ann, None), "pay": (eve, PAID), "void": (eve, None)}
    # For each way: the step, and the status that it leads to, or the statuses from which it would be allowed.
    ways: list[list[tuple[str, str | list[str]]]] = [
        [("pay", ["sent"]), ("void", ["sent"]), ("send", "sent"), ("send", ["draft"]), ("pay", "paid")],
        [("send", "sent"), ("void", "void"), ("pay", ["sent"]), ("void", ["sent"]), ("send", ["draft"])],
    ]
    for number, way in enumerate(ways):
        where, *_ = await ann.invoice(customer, f"2030-{number}")
        for step, expected in way:
            caller, body = steps[step]
            before = (await ann.send("GET", where))[1]
            status, document, _ = await caller.send("POST", f"{where}/{step}", body)
            if isinstance(expected, str):
                assert (status, document["status"], document["version"]) == (200, expected, before["version"] + 1)
            else:
                assert (status, document["type"], document["title"]) == (409, "/problems/wrong-status", "Wrong Status")
                assert (document["current"], document["allowed"]) == (before["status"], expected)
                assert (await ann.send("GET", where))[1] == before
    assert (await ann.send("GET", "/invoices/?status=paid"))[1]["items"][0]["paid_on"] == "2030-01-31"


async def test_a_step_is_made_once(ann: Caller) -> None:
    """Of eight steps at once one is made; the same request with its key has the same reply; an old tag is a 412."""
    where, _, tag = await ann.invoice(await ann.customer())
    answers = await asyncio.gather(*(ann.send("POST", f"{where}/send", if_match=tag) for _ in range(8)))
    assert sorted(status for status, *_ in answers) == [200] + [412] * 7

    other, _, tag = await ann.invoice((await ann.send("GET", where))[1]["customer_id"], "2030-2")
    first, second = [
        await ann.send("POST", f"{other}/send", if_match=tag, idempotency_key='"send-2"') for _ in range(2)
    ]
    assert (first[0], first[1]) == (second[0], second[1])
    assert second[2]["Idempotency-Replayed"] == "true"
    assert (await ann.send("POST", f"{other}/send"))[0] == 409


async def test_who_may_move_an_invoice(app: LigandQuart, ann: Caller, eve: Caller) -> None:
    """Its clerk sends it, an accountant takes the money; another tenant does not see it; a day is a day."""
    where, *_ = await ann.invoice(await ann.customer())
    assert (await Caller(app, "bob").send("POST", f"{where}/send"))[0] == 403
    assert (await Caller(app, "spy", "rival", "accountant").send("POST", f"{where}/send"))[0] == 404
    assert (await eve.send("POST", f"{where}/send"))[0] == 200
    assert (await ann.send("POST", f"{where}/pay", PAID))[0] == 403
    assert (await ann.send("POST", f"{where}/void"))[0] == 403
    for body in ({}, {"paid_on": "tomorrow"}, {"paid_on": None}, PAID | {"status": "void"}):
        assert (await eve.send("POST", f"{where}/pay", body))[0] == 422


async def test_the_history_has_every_step(app: LigandQuart, ann: Caller, eve: Caller) -> None:
    """Who did what is read from the trail, without the columns that are private, by who may read the invoice."""
    where, *_ = await ann.invoice(await ann.customer())
    await ann.send("POST", f"{where}/send")
    await eve.send("POST", f"{where}/pay", PAID)

    status, events, _ = await ann.send("GET", f"{where}/history")
    assert status == 200
    assert [(event["subject"], event["action"]) for event in events] == [
        ("ann", "insert"),
        ("ann", "update"),
        ("eve", "update"),
    ]
    assert (events[1]["old"]["status"], events[1]["new"]["status"]) == ("draft", "sent")
    assert events[2]["new"]["paid_on"] == "2030-01-31"
    assert [event for event in events if "tenant" in {*(event["old"] or {}), *event["new"]}] == []
    assert (await Caller(app, "spy", "rival").send("GET", f"{where}/history"))[0] == 404
