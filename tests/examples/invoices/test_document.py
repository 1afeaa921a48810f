"""The document of the invoicing service tells the truth: what it documents happens, and what happens is documented."""

from dataclasses import dataclass, field, replace
from typing import Any
from uuid import UUID

import pytest

from ligand_async.testing import watch
from ligand_async.web import LigandQuart
from tests.examples.invoices.callers import LINES, PDF, Caller, upload
from tests.upstream.service import Reply, Upstream

NOWHERE = str(UUID(int=1))
ANY = {"If-Match": "*"}
JSON = {"Content-Type": "application/json"}
LIMITS = {"import_invoices": 8 * 2**20, "set_pdf": 5 * 2**20}  # bytes


@dataclass(frozen=True)
class Call:
    """One request.

    Attributes:
        method: Its method.
        path: Its path, with the id of an invoice, a customer or a key for the variable.
        json: The body.
        data: The body as bytes.
        file: A file that is uploaded.
        headers: Its headers.
        role: Of the caller; None for nobody, "" for somebody without roles.
        step: What is done with the invoice before.
    """

    method: str
    path: str
    json: Any = None
    data: bytes | None = None
    file: bytes | None = None
    headers: dict[str, str] = field(default_factory=dict)
    role: str | None = "accountant"
    step: str | None = None

    def adding(self, **headers: str) -> "Call":
        return replace(self, headers=self.headers | {name.replace("_", "-"): value for name, value in headers.items()})


CUSTOMER = {"name": "Ann", "email": "new@shop.example"}
INVOICE = {"customer_id": "customer", "number": "N-1", "due_on": "2030-02-01", "lines": LINES}
GOOD = {
    "list_customers": Call("GET", "/customers/"),
    "create_customer": Call("POST", "/customers/", CUSTOMER),
    "read_customer": Call("GET", "/customers/{customer}"),
    "update_customer": Call("PATCH", "/customers/{customer}", {"name": "Anna"}, headers=ANY),
    "delete_customer": Call("DELETE", "/customers/{unused}", headers=ANY),
    "list_invoices": Call("GET", "/invoices/"),
    "create_invoice": Call("POST", "/invoices/", INVOICE),
    "import_invoices": Call("POST", "/invoices/import", [INVOICE | {"number": "N-2"}]),
    "read_invoice": Call("GET", "/invoices/{invoice}"),
    "replace_invoice": Call("PUT", "/invoices/{invoice}", INVOICE | {"number": "N-3"}, headers=ANY),
    "set_invoice_tags": Call("PUT", "/invoices/{invoice}/tags", ["vip"], headers=ANY),
    "delete_invoice": Call("DELETE", "/invoices/{invoice}", headers=ANY),
    "set_pdf": Call("PUT", "/invoices/{invoice}/pdf", file=PDF, headers=ANY),
    "read_pdf": Call("GET", "/invoices/{invoice}/pdf", step="pdf"),
    "send_invoice": Call("POST", "/invoices/{invoice}/send"),
    "pay_invoice": Call("POST", "/invoices/{invoice}/pay", {"paid_on": "2030-01-01"}, step="send"),
    "void_invoice": Call("POST", "/invoices/{invoice}/void", step="send"),
    "convert_invoice_total": Call("GET", "/invoices/{invoice}/total?currency=USD"),
    "read_history": Call("GET", "/invoices/{invoice}/history"),
    "export_csv": Call("GET", "/exports/invoices.csv"),
    "export_ndjson": Call("GET", "/exports/invoices.ndjson"),
    "follow_updates": Call("GET", "/events"),
    "list_keys": Call("GET", "/api-keys/", role="admin"),
    "create_key": Call("POST", "/api-keys/", {"name": "till", "role": "clerk"}, role="admin"),
    "revoke_key": Call("DELETE", "/api-keys/{key}", role="admin"),
}
# What the general way below does not reach.
SPECIAL = {
    ("create_customer", "409"): Call("POST", "/customers/", CUSTOMER | {"email": "ann@shop.example"}),
    ("update_customer", "409"): Call("PATCH", "/customers/{unused}", {"email": "ann@shop.example"}, headers=ANY),
    ("delete_customer", "409"): Call("DELETE", "/customers/{customer}", headers=ANY),
    ("create_invoice", "404"): Call("POST", "/invoices/", INVOICE | {"customer_id": NOWHERE}),
    ("create_invoice", "409"): Call("POST", "/invoices/", INVOICE | {"number": "N-1"}),
    ("import_invoices", "409"): Call("POST", "/invoices/import", [INVOICE | {"number": "N-1"}]),
    ("convert_invoice_total", "400"): Call("GET", "/invoices/{invoice}/total?currency=XXX"),
}


def call_for(operation: str, status: str) -> Call:
    """Return a request that is answered with a documented status."""
    good = GOOD[operation]
    match status:
        case _ if (operation, status) in SPECIAL:
            return SPECIAL[operation, status]
        case "206":
            return good.adding(Range="bytes=0-1")
        case "400" if good.json is None and good.file is None:
            return good.adding(Idempotency_Key='"')
        case "400":
            kind = JSON if good.file is None else {"Content-Type": "multipart/form-data"}
            return replace(good, json=None, file=None, data=b"{", headers=good.headers | kind)
        case "401":
            return replace(good, role=None)
        case "403":
            return replace(good, role="")
        case "404":
            return replace(good, path=good.path.replace("{", "{no_"))
        case "409":
            return replace(good, step="void")
        case "412":
            return good.adding(If_Match='"old"')
        case "413":
            kind = JSON if good.file is None else {"Content-Type": "multipart/form-data; boundary=x"}
            return replace(
                good, json=None, file=None, data=b"x" * (LIMITS.get(operation, 2**20) + 1), headers=good.headers | kind
            )
        case "415":
            return replace(good, json=None, file=None, data=b"<x/>").adding(Content_Type="application/xml")
        case "416":
            return good.adding(Range="bytes=100000-")
        case "422":
            return replace(good, path=f"{good.path}{'&' if '?' in good.path else '?'}colour=red")
        case "428":
            return replace(good, headers={})
        case _:
            return good


class World:
    """The rows that requests are about.

    Args:
        app: The service.
    """

    def __init__(self, app: LigandQuart) -> None:
        self.app = app
        self.eve = Caller(app, "eve", "acme", "accountant", "admin")
        self.count = 0
        self.customer = ""
        self.kept: dict[str | None, str] = {}

    async def ids(self, call: Call, *, changes: bool) -> dict[str, str]:
        """Return the ids of what a request needs: new ones if it changes something."""
        if not self.customer:
            self.customer = await self.eve.customer()
            await self.eve.invoice(self.customer)
        ids = {"customer": self.customer}
        self.count += 1
        if "{unused}" in call.path:
            ids["unused"] = await self.eve.customer(f"{self.count}@shop.example")
        if "{key}" in call.path:
            _, made, _ = await self.eve.send("POST", "/api-keys/", {"name": "till", "role": "clerk"})
            ids["key"] = made["id"]
        if "{invoice}" in call.path:
            if changes or call.step not in self.kept:
                self.kept[call.step] = await self.invoice(call.step)
            ids["invoice"] = self.kept[call.step]
            if changes:
                del self.kept[call.step]
        return ids

    async def invoice(self, step: str | None) -> str:
        """Make an invoice, take it so far, and return its id."""
        where, document, _ = await self.eve.invoice(self.customer, f"2030-{self.count}")
        if step == "pdf":
            await upload(self.eve, where)
        for one in {"send": ["send"], "void": ["send", "void"]}.get(step or "", ()):
            await self.eve.send("POST", f"{where}/{one}")
        return str(document["id"])

    async def make(self, call: Call, *, changes: bool, known: bool) -> int:
        """Send a request and return its status.

        Args:
            call: The request.
            changes: Whether it changes what it is about.
            known: Whether it has the entity tag of what it asks for.
        """
        ids = await self.ids(call, changes=changes)
        path = call.path.format(**ids, **{f"no_{name}": NOWHERE for name in ("unused", "invoice", "customer", "key")})
        caller = Caller(self.app, "eve", "acme", call.role or "nobody")
        headers = call.headers | (caller.headers if call.role is not None else {})
        if known:
            headers["If-None-Match"] = (await caller.client.get(path, headers=headers)).headers["ETag"]
        if call.file is not None:
            caller.headers = headers
            status, *_ = await upload(caller, path.removesuffix("/pdf"), call.file, tag=headers.get("If-Match"))
            return status
        sent: dict[str, Any] = {"json": self.filled(call.json)} if call.json is not None else {}
        sent |= {"data": call.data} if call.data is not None else {}
        return (await caller.client.open(path, method=call.method, headers=headers, **sent)).status_code

    def filled(self, body: Any) -> Any:
        """Return a body with the customer's id in it."""
        if isinstance(body, list):
            return [self.filled(one) for one in body]
        if isinstance(body, dict) and body.get("customer_id") == "customer":
            return body | {"customer_id": self.customer}
        return body


@pytest.mark.ligand_database("sqlite")
async def test_what_is_documented_happens(app: LigandQuart, rates: Upstream) -> None:
    """Each documented status of each operation is reached, by an answer that is as documented.

    Left out: outages and callers who fail too often, which the petstore's tests have, and the stream of events, which
    has no end.
    """
    conformance = watch(app)
    rates.script("/rates/USD", *[Reply(body=b'{"rate": "1.10"}')] * 20)
    rates.script("/rates/XXX", Reply(404))
    world = World(app)
    documented = [
        (operation["operationId"], status)
        for path in conformance.document_of(app).document["paths"].values()
        for operation in path.values()
        for status in operation["responses"]
        if status not in {"429", "503", "default"} and (operation["operationId"], status) != ("follow_updates", "200")
    ]

    assert {operation for operation, _ in documented} == GOOD.keys()
    for operation, status in documented:
        call, changes = call_for(operation, status), status < "3" and GOOD[operation].method != "GET"
        assert await world.make(call, changes=changes, known=status == "304") == int(status), (operation, status)
    assert {answer for answer in conformance.reached if answer[1] != "default"} == set(documented)
