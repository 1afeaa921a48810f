"""The number of calls that one request makes."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from bench.calls import VERSION, Calls, find_growth, format_table, load_figures, write_figures

ROOT = Path(__file__).parents[1]
KNOWN = {"ping": Calls(python=80, c=20), "me": Calls(python=100, c=100)}


def test_no_route_grows_unseen() -> None:
    """No route makes over 5 % more calls than bench/calls.json says: a change that needs more changes the file, too."""
    command = [sys.executable, "-m", "bench.calls", "--check"]
    outcome = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=120)

    assert outcome.returncode == 0, outcome.stdout + outcome.stderr
    assert [line.split()[0] for line in outcome.stdout.splitlines()[3:8]] == ["ping", "me", "one", "list", "insert"]


def test_growth_is_found() -> None:
    """A route may make 5 % more calls, of both kinds together, and not one more than that."""
    assert list(find_growth({"ping": Calls(80, 25), "me": Calls(90, 110)}, KNOWN)) == []
    assert list(find_growth({"ping": Calls(86, 20), "me": Calls(100, 100)}, KNOWN)) == [
        "ping makes 106 calls, calls.json has 100"
    ]
    assert list(find_growth({"pong": Calls(1, 1)}, KNOWN)) == ["pong has no figure in calls.json"]


def test_table_shows_the_change() -> None:
    """The table has the calls of now and of before, and how they differ."""
    assert format_table({"ping": Calls(60, 15)}, KNOWN).split()[-6:] == ["ping", "60", "15", "75", "100", "-25.0%"]


def test_figures_of_other_versions_stay(tmp_path: Path) -> None:
    """Writing the figures of this Python leaves those of others as they are."""
    path = tmp_path / "calls.json"
    path.write_text('{"2.7": {}}')
    assert load_figures(path) is None
    write_figures(KNOWN, path)

    assert load_figures(path) == KNOWN
    assert json.loads(path.read_text()).keys() == {"2.7", VERSION}


@pytest.mark.skipif(VERSION != "3.11", reason="CI has Python 3.11")
def test_figures_of_ci_are_there() -> None:
    """The file has the figures of the Python that CI runs: a check without figures would always pass."""
    assert load_figures()
