"""Callers of the invoicing service."""

import io
from typing import Any

from quart.datastructures import FileStorage

from ligand_async.testing import authorization
from ligand_async.web import LigandClient, LigandQuart

LINES = [
    {"description": "Consulting", "quantity": 3, "unit_price": "100.00"},
    {"description": "Travel", "quantity": 1, "unit_price": "42.50"},
]
PDF = b"%PDF-1.7\n" + bytes(range(256)) * 8 + b"\nstartxref\n9\n%%EOF\n"


class Caller:
    """Somebody of a tenant.

    Attributes:
        headers: Those of a request with an access token.
    """

    def __init__(self, app: LigandQuart, subject: str, tenant: str = "acme", *roles: str) -> None:
        self.client: LigandClient = app.test_client()  # type: ignore[assignment]  # the class of this app
        self.headers = authorization(app, subject=subject, roles=roles or ("clerk",), claims={"tenant": tenant})

    async def send(self, method: str, path: str, json: Any = None, **headers: str) -> tuple[int, Any, Any]:
        """Send a request; return status, document and headers."""
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        response = await self.client.open(path, method=method, json=json, headers=self.headers | names)
        return response.status_code, await response.get_json(), response.headers

    async def customer(self, email: str = "ann@shop.example") -> str:
        """Add a customer; return the id."""
        status, document, _ = await self.send("POST", "/customers/", {"name": "Ann", "email": email})
        assert status == 201
        return str(document["id"])

    async def invoice(self, customer: str, number: str = "2030-1", **values: Any) -> tuple[str, dict[str, Any], str]:
        """Draw up an invoice; return its path, its document and its tag."""
        body = {"customer_id": customer, "number": number, "due_on": "2030-02-01", "lines": LINES} | values
        status, document, headers = await self.send("POST", "/invoices/", body)
        assert status == 201, document
        return headers["Location"], document, headers["ETag"]


async def upload(
    caller: Caller, where: str, content: bytes = PDF, *, tag: str | None = "*"
) -> tuple[int, Any, str | None]:
    """Send a file under a name and a media type that it does not have; return status, document and entity tag."""
    file = FileStorage(io.BytesIO(content), filename="../cat.png", content_type="image/png")
    headers = caller.headers | ({} if tag is None else {"If-Match": tag})
    response = await caller.client.put(f"{where}/pdf", files={"file": file}, headers=headers)
    return response.status_code, await response.get_json(), response.headers.get("ETag")


async def make_key(app: LigandQuart, tenant: str = "acme", role: str = "clerk") -> dict[str, Any]:
    """Make an API key as the administrator of a tenant."""
    admin = Caller(app, "ada", tenant, "admin")
    status, document, headers = await admin.send("POST", "/api-keys/", {"name": "till", "role": role})
    assert (status, headers["Cache-Control"]) == (201, "no-store")
    made: dict[str, Any] = document
    return made
