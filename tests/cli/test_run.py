"""`ligand run`, and the commands that a service has in `app.cli`."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from quart.cli import QuartGroup

from ligand_async.cli import ligand
from tests.cli.jobs import create_app
from tests.data.migration_files import fetch
from tests.services import db

ROOT = Path(__file__).parents[2]
APP = "tests.cli.jobs:create_app"

Run = Callable[..., Result]


@pytest.fixture
def run(database_url: str, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run `ligand` with the tables made."""
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("JOBS_DATABASE", database_url)

    def invoke(*arguments: str, app: str = APP) -> Result:
        return CliRunner().invoke(ligand, ["--app", app, *arguments])

    assert invoke("run", "tests.cli.jobs:make_tables").exit_code == 0
    return invoke


def job(name: str) -> str:
    return f"tests.cli.jobs:{name}"


def stored(database_url: str) -> list[str]:
    return [name for (name,) in asyncio.run(fetch(database_url, "SELECT name FROM item ORDER BY name"))]


# -- functions


def test_a_function_runs_while_the_app_runs(run: Run, database_url: str) -> None:
    """Services come by annotation, arguments in their order as values of their types; the session is committed."""
    outcome = run("run", job("add"), "pen", "5", "2026-11-30")

    assert (outcome.exit_code, outcome.stdout) == (0, "open\nclose\npen 5 2026-11-30\n"), outcome.output
    assert stored(database_url) == ["pen"]
    assert run("run", job("count")).stdout == "open\nclose\n1\n"


@pytest.mark.ligand_database("sqlite")
def test_a_function_need_not_be_a_coroutine_function(run: Run) -> None:
    """Nor have annotations where it takes text."""
    assert run("run", job("describe"), "--", "-5").stdout == "open\nclose\n'-5' mailer testing\n"
    assert run("run", job("describe"), "-5").stdout == "open\nclose\n'-5' mailer testing\n"


@pytest.mark.parametrize(
    ("how", "code", "words"),
    [
        ("problem", 1, "Error: Conflict: the shop is closed\n"),
        ("invalid", 1, "Error: Validation Failed: the list is wrong\n- must be a name\n"),
        ("exit", 7, ""),
        ("bug", 1, ""),
    ],
)
def test_a_function_that_fails_keeps_nothing(run: Run, database_url: str, how: str, code: int, words: str) -> None:
    """A problem is one message; a bug is an exception; the exit code is not 0."""
    outcome = run("run", job("add_and_fail"), "pen", how)

    assert (outcome.exit_code, outcome.stdout, outcome.stderr) == (code, "open\nclose\n", words)
    assert isinstance(outcome.exception, ZeroDivisionError if how == "bug" else SystemExit)
    assert stored(database_url) == []


@pytest.mark.ligand_database("sqlite")
def test_services_take_the_arguments_by_name(run: Run) -> None:
    """A function in `Depends` takes what a handler would have from the path."""
    assert run("run", job("use_first"), "first").stdout.endswith("first first\n")
    outcome = run("run", job("use_first"), "last")
    assert (outcome.exit_code, outcome.stderr) == (1, "Error: Not Found\n")


@pytest.mark.ligand_database("sqlite")
@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["add"], 2, "tests.cli.jobs:add needs name: give the values as arguments"),
        (["add", "pen", "five"], 2, "argument 'price' of tests.cli.jobs:add: Input should be a valid integer"),
        (["add", "pen", "5", "2026-11-30", "more"], 2, "tests.cli.jobs:add takes 3 arguments, and 4 were given"),
        (["count", "5"], 2, "tests.cli.jobs:count takes no arguments, and 1 were given"),
        (["need"], 2, "tests.cli.jobs:need needs unknown"),
        (["greet"], 1, "greet: a service takes a Principal, and nobody calls here"),
        (["nothing"], 2, "module 'tests.cli.jobs' has no function 'nothing'"),
        (["NUMBER"], 2, "module 'tests.cli.jobs' has no function 'NUMBER'"),
        (["open_mailer"], 2, "tests.cli.jobs:open_mailer yields; write a function that returns"),
        (["Mailer"], 2, "module 'tests.cli.jobs' has no function 'Mailer'"),
        (["command"], 2, "is a command; register it with app.cli, and run it as `ligand single`"),
    ],
)
def test_mistakes_have_names(run: Run, arguments: list[str], code: int, words: str) -> None:
    """One message without a traceback: exit code 2 where the command line is wrong."""
    outcome = run("run", job(arguments[0]), *arguments[1:])

    assert outcome.exit_code == code
    assert words in outcome.stderr
    assert "Traceback" not in outcome.stderr


@pytest.mark.ligand_database("sqlite")
@pytest.mark.parametrize("target", ["tests.cli.nothing:add", "tests/cli/jobs.py", "nothing", "tests.cli.jobs:"])
def test_a_target_that_is_not_there_is_named(run: Run, target: str) -> None:
    """Without a traceback."""
    outcome = run("run", target)
    assert outcome.exit_code == 2
    assert repr(target.rpartition(":")[0] if "nothing:" in target else target) in outcome.stderr


@pytest.mark.ligand_database("sqlite")
def test_nobody_calls(run: Run) -> None:
    """`Principal | None` is None."""
    assert run("run", job("greet_anybody")).stdout == "open\nclose\nTrue\n"


@pytest.mark.ligand_database("sqlite")
def test_a_service_that_does_not_start_runs_nothing(run: Run) -> None:
    """One message, exit code 1."""
    outcome = run("run", job("count"), app="tests.cli.jobs:make_broken")
    assert (outcome.exit_code, outcome.stderr) == (1, "Error: the service did not start: RuntimeError: no licence\n")


def test_a_database_that_is_not_there_is_one_message(monkeypatch: pytest.MonkeyPatch) -> None:
    """Exit code 1, without a traceback."""
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("JOBS_DATABASE", "postgresql://nobody@127.0.0.1:1/none")
    outcome = CliRunner().invoke(ligand, ["--app", APP, "run", job("count")])
    assert (outcome.exit_code, outcome.stderr) == (1, "Error: Database Unavailable: the database cannot be reached\n")


# -- commands


def test_a_command_of_the_service_is_one_of_ligand(run: Run, database_url: str) -> None:
    """A coroutine function with click's options gets services by annotation, and its session is committed."""
    outcome = run("add", "pen", "--price", "5")

    assert (outcome.exit_code, outcome.stdout) == (0, "open\nadded by mailer of tests.services in testing\nclose\n")
    assert stored(database_url) == ["pen"]
    assert run("context", "--loud").stdout == "open\ncontext True 1\nclose\n"
    assert run("context").exit_code == 3


@pytest.mark.ligand_database("sqlite")
def test_commands_of_blueprints_are_there_too(run: Run) -> None:
    """Also in groups, and for every app that has the blueprint."""
    for _ in range(2):
        assert run("reports", "count").stdout == "open\n0\nclose\n"
        assert run("shelf", "sort").stdout == "open\nAppInfo mailer\nclose\n"


@pytest.mark.ligand_database("sqlite")
def test_other_commands_stay_as_they_are(run: Run) -> None:
    """A function that is not a coroutine function runs as in Quart: the app is not started."""
    assert run("plain").stdout == "plain False\n"


@pytest.mark.ligand_database("sqlite")
def test_help_lists_them(run: Run) -> None:
    """The service's commands stand among those of `ligand`; a wrong name is no traceback."""
    shown = run("--help").stdout
    assert [name for name in ("add", "reports", "shelf", "plain", "serve") if f"\n  {name}" not in shown] == []
    assert "Add an item." in run("add", "--help").stdout
    assert "No such command 'ad'" in run("ad").stderr
    outcome = run("--help", app="tests.cli.jobs:nothing")
    assert (outcome.exit_code, "serve" in outcome.stdout) == (0, True)
    assert "commands of the service are not known" in outcome.stderr


@pytest.mark.ligand_database("sqlite")
def test_the_command_line_of_quart_runs_them(run: Run) -> None:
    """`quart add pen` is the same."""
    del run
    outcome = CliRunner().invoke(QuartGroup(load_dotenv=False), ["--app", APP, "add", "pen"])
    assert (outcome.exit_code, outcome.stdout) == (0, "open\nadded by mailer of tests.services in testing\nclose\n")


@pytest.mark.ligand_database("sqlite")
async def test_an_async_test_runs_them(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """`app.test_cli_runner()` works where a loop runs, and click's context is there."""
    monkeypatch.setenv("JOBS_DATABASE", database_url)
    app = create_app()
    async with app.running():
        await db.create_tables()
        refused = app.test_cli_runner().invoke(args=["add", "pen"])
    outcome = app.test_cli_runner().invoke(args=["context"])

    assert (outcome.exit_code, outcome.output) == (3, "open\ncontext False 0\nclose\n")
    assert (refused.exit_code, "runs already" in refused.output) == (1, True)


# -- signals


@pytest.mark.ligand_database("sqlite")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.parametrize(("name", "ended"), [("wait", "cancelled\nclose\n"), ("wait_in_python", "close\n")])
@pytest.mark.extended
def test_a_signal_stops_the_function_and_then_the_app(
    run: Run, database_url: str, name: str, ended: str, number: signal.Signals, code: int
) -> None:
    """Nothing is committed, services are closed, and the exit code is the shell's."""
    del run
    process = start(database_url, APP, name)
    wait_for(process, "waiting\n")
    process.send_signal(number)

    stdout, stderr = process.communicate(timeout=30)
    assert (process.returncode, stdout, stderr) == (code, ended, "")
    assert stored(database_url) == []


@pytest.mark.ligand_database("sqlite")
@pytest.mark.extended
def test_a_second_signal_ends_the_process(run: Run, database_url: str) -> None:
    """Also while the app hangs as it stops."""
    del run
    process = start(database_url, "tests.cli.jobs:make_stubborn", "wait")
    wait_for(process, "waiting\n")
    process.send_signal(signal.SIGTERM)
    wait_for(process, "hanging\n")
    started = time.monotonic()
    process.send_signal(signal.SIGTERM)

    assert process.wait(timeout=30) == -signal.SIGTERM
    assert time.monotonic() - started < 5
    process.communicate()


def start(database_url: str, app: str, name: str) -> "subprocess.Popen[str]":
    # A test run in the background ignores SIGINT, and its children would inherit that.
    program = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
    program += "from ligand_async.cli import main; main()"
    return subprocess.Popen(
        [sys.executable, "-c", program, "--app", app, "run", job(name)],
        cwd=ROOT,
        env=os.environ | {"JOBS_DATABASE": database_url},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for(process: "subprocess.Popen[str]", line: str) -> None:
    assert process.stdout is not None
    while (found := process.stdout.readline()) != line:
        assert found, process.communicate()[1]
