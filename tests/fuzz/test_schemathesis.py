"""What schemathesis finds in the examples: nothing."""

import asyncio
import json
import os
import re
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.examples.invoices.roles import as_role, make_role
from tests.servers import ROOT, get_token, served
from tests.services import backend
from tests.upstream.service import Asked, Reply, Upstream

SCHEMATHESIS = Path(sys.executable).parent / "schemathesis"
HERE = Path(__file__).parent
TIMEOUT = 3600  # seconds
CASES = 10_000  # of the long form
VARIABLES = {
    "LIGAND_DATABASE_AUTO_UPGRADE": "1",
    "LIGAND_REQUIRE_PRECONDITIONS": "false",  # or hardly anything would ever be changed
}


@pytest.mark.extended
def test_schemathesis_finds_nothing_in_the_petstore(
    database_url: str, tmp_path: Path, figure: Callable[[int, int], int]
) -> None:
    """All checks, on valid and invalid requests, single ones and sequences, against a real server and database."""
    variables = VARIABLES | {"LIGAND_DATABASE_URL": database_url}
    with served("examples.petstore.app:create_app()", tmp_path, variables) as address:
        token = get_token(address, roles=["user", "admin"])
        output = attack(address, token, HERE / "petstore.toml", tmp_path, examples=figure(25, 1600))

    assert re.search(r"Selected: (\d+)/\1\s+Tested: \1\b", output), output
    assert cases_in(output) >= figure(0, CASES), output


@pytest.mark.extended
def test_schemathesis_finds_nothing_in_the_invoices(
    database_url: str, tmp_path: Path, figure: Callable[[int, int], int]
) -> None:
    """The same, with customers and invoices to find; the stream of events, which has no end, is left out."""
    config = tmp_path / "invoices.toml"
    with Rates() as rates, invoicing(database_url, tmp_path, rates.url) as (address, token):
        config.write_text(f"{(HERE / 'invoices.toml').read_text()}\n{rows(address, token)}")
        output = attack(address, token, config, tmp_path, examples=figure(10, 450))

    assert re.search(r"Selected: 24/25\s+Tested: 24\b", output), output
    assert cases_in(output) >= figure(0, CASES), output


class Rates(Upstream):
    """The exchange rate service, which knows every currency."""

    def respond(self, asked: Asked) -> Reply:  # noqa: ARG002  (the signature of its parent)
        """Return a rate."""
        return Reply(body=b'{"rate": "1.10"}')


@contextmanager
def invoicing(database_url: str, directory: Path, rates_url: str) -> Iterator[tuple[str, str]]:
    """Serve the invoices, and yield the address and the token of somebody who may do everything."""
    variables = VARIABLES | {"LIGAND_DATABASE_URL": as_role(database_url), "LIGAND_RATES_URL": rates_url}
    if backend(database_url) == "postgresql":
        asyncio.run(make_role(database_url))
        variables["LIGAND_DATABASE_DIRECT_URL"] = database_url
    with served("examples.invoices.app:create_app()", directory, variables) as address:
        yield address, get_token(address, roles=["clerk", "accountant", "admin"], claims={"tenant": "acme"})


def rows(address: str, token: str) -> str:
    """Add customers and invoices, and return their ids as dictionaries of schemathesis."""
    customers = [
        post(f"{address}/customers/", token, {"name": f"Ann {n}", "email": f"{n}@shop.example"})["id"] for n in range(5)
    ]
    lines = [{"description": "Tea", "unit_price": "2.50"}]
    drafts = [
        {"customer_id": customers[0], "number": f"R-{n}", "due_on": "2030-01-01", "lines": lines} for n in range(100)
    ]
    invoices = post(f"{address}/invoices/import", token, drafts)["ids"]
    named = {"customers": customers, "invoices": invoices}
    return "\n".join(f"[dictionaries.{name}]\nvalues = {json.dumps(ids)}" for name, ids in named.items())


def post(url: str, token: str, body: Any) -> Any:
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    with urllib.request.urlopen(urllib.request.Request(url, json.dumps(body).encode(), headers), timeout=30) as answer:
        return json.load(answer)


def attack(address: str, token: str, config: Path, directory: Path, *, examples: int) -> str:
    """Return what schemathesis prints, which must have found nothing.

    Args:
        address: Where the service is.
        token: Of a caller who may do everything.
        config: The configuration.
        directory: Where it works.
        examples: How many requests it makes for each operation and phase.
    """
    environment = {name: value for name, value in os.environ.items() if not name.startswith("SCHEMATHESIS_")}
    run = subprocess.run(
        [
            *(SCHEMATHESIS, "--config-file", config, "run", f"{address}/openapi.json"),
            *("--header", f"Authorization: Bearer {token}"),
            *("--checks", "all", "--max-examples", str(examples), "--seed", "1", "--no-color"),
        ],
        cwd=directory,
        env=environment | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    return run.stdout


def cases_in(output: str) -> int:
    """Return how many requests there were."""
    found = re.search(r"Test cases:\s+([\d,]+) generated", output)
    assert found is not None, output
    return int(found[1].replace(",", ""))
