"""The benchmark against other frameworks: how turns become figures. `make bench` runs it."""

import json
from base64 import urlsafe_b64decode
from pathlib import Path

import pytest

from bench.peers.issuer import AUDIENCE, Issuer
from bench.results import REFERENCE, ROUTES, Result, Turn, ratios
from bench.suite import STACKS, Load, format_table

ROOT = Path(__file__).parents[1]


def turns(*rates: float) -> dict[str, list[Turn]]:
    """Make the same turns on every route."""
    return {route: [Turn(rate, 1.0, 2.0, 100.0, 0) for rate in rates] for route in ROUTES}


def test_ratios_are_those_of_one_round() -> None:
    """A stack is compared with the reference of the same round, since the machine is another one in the next."""
    results = {REFERENCE: Result(turns=turns(100, 10)), "ligand serve": Result(turns=turns(200, 20))}

    assert ratios(results, "ligand serve", "one") == [2, 2]
    assert ratios(results, REFERENCE, "one") == [1, 1]


def test_table_has_every_stack() -> None:
    """The table has a line for each stack, with the median ratio of each route."""
    results = {REFERENCE: Result(turns=turns(100, 100, 100)), "ligand serve": Result(turns=turns(50, 60, 200))}
    lines = format_table(results).splitlines()

    assert len(lines) == 3
    assert lines[2].startswith("ligand serve")
    assert lines[2].count("0.60") == len(ROUTES)


def test_load_counts_wrong_answers() -> None:
    """The script for wrk sends the method, the token and the body, and counts answers of another status as errors."""
    script = Load("POST", "/pets/", 201, "secret", {"name": "Rex"}).script()

    for part in ('wrk.method = "POST"', "Bearer secret", '{"name": "Rex"}', "status ~= 201"):
        assert part in script


@pytest.mark.parametrize("name", STACKS)
def test_every_stack_has_its_service_and_its_environment(name: str) -> None:
    """Each stack names a service that is there, and an environment whose lock file has hashes and no index."""
    stack = STACKS[name]
    lock = (ROOT / "bench" / "peers" / "requirements" / f"{stack.environment}.lock").read_text()

    assert (ROOT / f"{stack.app.partition(':')[0].replace('.', '/')}.py").is_file()
    assert "--hash=sha256:" in lock
    assert "://" not in lock


def test_issuer_signs_tokens_of_its_own() -> None:
    """The issuer's tokens name it, the audience and the caller."""
    with Issuer() as issuer:
        _, claims, _ = issuer.token("alice", ["user"]).split(".")
    found = json.loads(urlsafe_b64decode(claims + "=="))
    assert (found["iss"], found["aud"], found["sub"], found["roles"]) == (issuer.address, AUDIENCE, "alice", ["user"])
