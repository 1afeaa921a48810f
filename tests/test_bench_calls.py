"""The number of calls that one request makes."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from bench.calls import VERSION, find_growth, format_peers, format_table, load_figures, write_figures
from bench.counting import Calls, count_all
from bench.results import ROUTES

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


def test_peers_that_are_not_installed_are_named() -> None:
    """A service without an environment has a line that says how to make one, and stops nothing."""
    lines = format_peers({"fastapi": None, "quart": dict.fromkeys(ROUTES, Calls(1000, 500))}).splitlines()

    assert lines[1].split(maxsplit=1) == ["fastapi", "is not installed: make bench ARGS=--install"]
    assert lines[2].split() == ["quart", *["1,500"] * len(ROUTES)]


async def test_any_asgi_app_is_counted() -> None:
    """An app is started, asked and ended, and every call in it is counted."""
    asked = {
        "app": "tests.test_bench_calls:make_echo",
        "is_factory": True,
        "requests": {"short": ("GET", "/?n=1", "", ""), "long": ("GET", "/?n=9", "", "")},
    }
    counted = await count_all(asked)

    assert counted["long"].c - counted["short"].c == 8
    assert counted["long"].python == counted["short"].python
    assert SEEN == ["started", "ended"]


SEEN: list[str] = []


def make_echo() -> Any:
    """Make an app that calls `len` as often as it is asked to."""

    async def echo(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            for name, seen in (("startup", "started"), ("shutdown", "ended")):
                await receive()
                SEEN.append(seen)
                await send({"type": f"lifespan.{name}.complete"})
            return
        for _ in range(int(scope["query_string"][2:])):
            len("")
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    return echo
