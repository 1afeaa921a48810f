"""Lists of invoices: filters over customers, lines and tags, and a search over several columns."""

from tests.examples.invoices.callers import Caller

FOUND = {
    "tag=vip": ["A-1", "A-2"],
    "tag=late&tag=vip": ["A-1", "A-2"],
    "tag=late&line=TILES": ["A-1"],
    "not_tagged=late": ["A-2", "B-1"],
    "customer=zoe": ["B-1"],
    "customer=100%25": ["B-1"],
    "line=travel": ["A-1", "A-2", "B-1"],
    "line=%25": [],
    "q=roof": ["A-1", "B-1"],
    "q=a-": ["A-1", "A-2"],
    "q=zoe": ["B-1"],
    "q=zoe&tag=vip": [],
    "status=draft&due_before=2030-02-02": ["A-1", "A-2", "B-1"],
    "status=void": [],
}


async def test_invoices_are_found(ann: Caller) -> None:
    """Each invoice that meets all filters is listed once, in the order that was asked for."""
    acme = await ann.customer()
    _, other, _ = await ann.send("POST", "/customers/", {"name": "Zoe 100%", "email": "zoe@shop.example"})
    for number, customer, note, line, tags in (
        ("A-1", acme, "for the roof", "Tiles", ["late", "vip"]),
        ("A-2", acme, "", "Nails", ["vip"]),
        ("B-1", other["id"], "the roof again", "Tiles", []),
    ):
        lines = [{"description": line, "unit_price": "1.00"}, {"description": "Travel", "unit_price": "1.00"}]
        where, *_ = await ann.invoice(customer, number, note=note, lines=lines)
        await ann.send("PUT", f"{where}/tags", tags, if_match="*")

    for query, numbers in FOUND.items():
        _, page, _ = await ann.send("GET", f"/invoices/?sort=number&page=1&{query}")
        assert ([item["number"] for item in page["items"]], page["total"]) == (numbers, len(numbers)), query


async def test_wrong_filters_are_refused(ann: Caller) -> None:
    """What no invoice can have, and what is not a filter, is a 422 that names the parameter."""
    for query in ("status=lost", "due_before=soon", "sort=note", "tenant=rival", "tag=" + "x" * 51):
        status, problem, _ = await ann.send("GET", f"/invoices/?{query}")
        assert (status, problem["errors"][0]["parameter"]) == (422, query.partition("=")[0])
