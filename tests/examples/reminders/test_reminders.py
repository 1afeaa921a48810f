"""Two services: the reminders call the invoices by the generated client, with an API key."""

import json
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from uuid import UUID

import pytest

from tests.clients.making import check_python, ligand_client
from tests.servers import ROOT, get_token, served

pytestmark = pytest.mark.extended

LINES = [{"description": "Tea", "unit_price": "2.50"}]


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The client of the invoices."""
    directory = tmp_path_factory.mktemp("client") / "invoices-client"
    invoices = "examples.invoices.app:create_app"
    ligand_client("generate", "python", "-o", directory, directory=directory.parent, app=invoices)
    return directory


class Asker:
    """A caller of one service.

    Args:
        address: Of the service.
        roles: Of the caller.
    """

    def __init__(self, address: str, *roles: str) -> None:
        self.address = address
        self.headers = {"Authorization": f"Bearer {get_token(address, roles=roles, claims={'tenant': 'acme'})}"}

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, Any]:
        """Send a request; return status and document."""
        sent = (
            self.headers | {"Content-Type": "application/json"} | {n.replace("_", "-"): v for n, v in headers.items()}
        )
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.address}{path}", data, sent, method=method)
        try:
            with urllib.request.urlopen(request, timeout=20) as answer:
                return answer.status, json.loads(answer.read() or b"null")
        except HTTPError as error:
            return error.code, json.load(error)


@pytest.fixture(scope="module")
def invoices(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Asker]:
    """An accountant and administrator who calls the invoices, of which there are more than one page."""
    directory = tmp_path_factory.mktemp("invoices")
    variables = {"LIGAND_DATABASE_AUTO_UPGRADE": "1"}
    with served("examples.invoices.app:create_app()", directory, variables) as address:
        asker = Asker(address, "accountant", "admin")
        customer = asker.ask("POST", "/customers/", {"name": "Ann", "email": "ann@shop.example"})[1]["id"]
        row = {"customer_id": customer, "due_on": "2030-01-01", "lines": LINES}
        ids = asker.ask("POST", "/invoices/import", [row | {"number": f"N-{n:03}"} for n in range(105)])[1]["ids"]
        for invoice in ids[:103]:
            assert asker.ask("POST", f"/invoices/{invoice}/send")[0] == 200
        yield asker


@pytest.fixture(scope="module")
def reminders(invoices: Asker, source: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Asker]:
    """A clerk who calls the reminders, which have an API key of an accountant."""
    _, made = invoices.ask("POST", "/api-keys/", {"name": "reminders", "role": "accountant"})
    variables = {
        "PYTHONPATH": f"{ROOT}:{source}",
        "LIGAND_INVOICES_URL": invoices.address,
        "LIGAND_INVOICES_KEY": made["key"],
    }
    directory = tmp_path_factory.mktemp("reminders")
    with served("examples.reminders.app:create_app()", directory, variables) as address:
        yield Asker(address, "clerk")


def test_overdue_invoices_come_from_all_pages(reminders: Asker) -> None:
    """Those that were sent, of more than one page, each once; and before their day none."""
    status, found = reminders.ask("GET", "/overdue?day=2030-01-15")

    assert (status, len({one["invoice_id"] for one in found})) == (200, 103)
    assert {one["days"] for one in found} == {14}
    assert reminders.ask("GET", "/overdue?day=2030-01-01") == (200, [])


def test_a_customer_is_reminded_once(reminders: Asker, invoices: Asker) -> None:
    """The invoice is tagged by the key's program, in the same request; who is tagged is not overdue any more."""
    overdue = reminders.ask("GET", "/overdue?day=2030-01-15")[1][0]
    status, letter = reminders.ask("POST", f"/reminders/{overdue['invoice_id']}", X_Request_ID="reminder-1")
    left = reminders.ask("GET", "/overdue?day=2030-01-15")[1]
    tags = invoices.ask("GET", f"/invoices/{overdue['invoice_id']}")[1]["tags"]

    assert (status, letter["to"]) == (201, "ann@shop.example")
    assert letter["text"] == f"Dear Ann, invoice {overdue['number']} over 2.50 was due on 2030-01-01."
    assert tags == [{"text": "reminded"}]
    assert overdue["invoice_id"] not in {one["invoice_id"] for one in left}


def test_what_cannot_be_reminded_is_a_problem(reminders: Asker, invoices: Asker) -> None:
    """A draft is a 409, what does not exist a 404, and who has no role is not let in."""
    draft = invoices.ask("GET", "/invoices/?status=draft")[1]["items"][0]["id"]

    assert reminders.ask("POST", f"/reminders/{draft}")[1]["detail"] == "the invoice is draft"
    assert reminders.ask("POST", f"/reminders/{UUID(int=1)}")[0] == 404
    assert Asker(reminders.address).ask("GET", "/overdue?day=2030-01-15")[0] == 403


def test_without_the_invoices_there_are_no_reminders(source: Path, tmp_path: Path) -> None:
    """A service that is down, or a key that is not accepted, is a 502 that names nobody."""
    variables = {"PYTHONPATH": f"{ROOT}:{source}", "LIGAND_INVOICES_URL": "http://127.0.0.1:9"}
    with served("examples.reminders.app:create_app()", tmp_path, variables) as address:
        status, problem = Asker(address, "clerk").ask("GET", "/overdue?day=2030-01-15")

    assert (status, problem["detail"]) == (502, "a service behind this one is not reachable")


def test_the_service_is_strictly_typed(source: Path) -> None:
    """Mypy finds no mistake in it, beside the client that it calls."""
    check_python(ROOT / "examples" / "reminders", source=source)
