"""`ligand shell`: Python that awaits, with the service in it."""

import asyncio
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from examples.petstore.models import db
from ligand_async.cli import ligand
from ligand_async.data.migrations import upgrade
from tests.data.migration_files import fetch, settings_for

ROOT = Path(__file__).parents[2]
# A test run in the background ignores SIGINT, and its children would inherit that.
PROGRAM = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
PROGRAM += "from ligand_async.cli import main; main()"
IPYTHON = [sys.executable, "-c", PROGRAM, "shell"]
COMMAND = [sys.executable, "-c", f"import sys; sys.modules['IPython'] = None; {PROGRAM}", "shell"]

PATIENCE = 30.0  # seconds for the console to answer

Pipe = Callable[[str], Result]


@pytest.fixture
def variables(database_url: str) -> dict[str, str]:
    """The variables of a petstore with a migrated database."""
    asyncio.run(upgrade(db, settings_for(database_url), ROOT / "migrations"))
    return {
        "LIGAND_ENVIRONMENT": "local",
        "LIGAND_DATABASE_URL": database_url,
        "LIGAND_APP": "examples.petstore.app:create_app",
    }


@pytest.fixture
def environment(variables: dict[str, str], tmp_path: Path) -> dict[str, str]:
    """The environment of a console at a simple terminal."""
    terminal = {"PYTHON_BASIC_REPL": "1", "TERM": "dumb", "IPY_TEST_SIMPLE_PROMPT": "1", "IPYTHONDIR": str(tmp_path)}
    return os.environ | variables | terminal


@pytest.fixture
def pipe(variables: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Pipe:
    """Run a program through a pipe."""
    monkeypatch.chdir(ROOT)

    def run(program: str) -> Result:
        return CliRunner(env=variables).invoke(ligand, ["shell"], input=program)

    return run


def stored(database_url: str) -> list[tuple[str]]:
    """Return the names of the pets that are stored."""
    return asyncio.run(fetch(database_url, "SELECT name FROM pet"))


def test_names_are_there(pipe: Pipe) -> None:
    """The app, its database, a session and the models are there by name, and nothing else is printed."""
    outcome = pipe(
        "from sqlalchemy import select\nprint(app.name, db.base.__name__, list(await session.scalars(select(Pet))))\n"
    )
    assert (outcome.exit_code, outcome.stdout, outcome.stderr) == (0, "examples.petstore.app Base []\n", "")


@pytest.mark.ligand_database("sqlite")
def test_services_are_made_called_and_replaced(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What lives as long as the app is there and is closed at the end, and a fake takes the place of any other."""
    monkeypatch.setenv("JOBS_DATABASE", database_url)
    monkeypatch.chdir(ROOT)
    program = "from tests.cli.jobs import Mailer, Caller, add, greet, make_tables\n"
    program += "await make_tables()\nprint(services.get(Mailer).name)\n"
    program += "print(await services.call(add, {'name': 'pen'}))\n"
    program += "services.replace(Caller, lambda: 'nobody')\nprint(await services.call(greet))\n"

    outcome = CliRunner().invoke(ligand, ["--app", "tests.cli.jobs:create_app", "shell"], input=program)

    assert outcome.stdout == "open\nmailer\npen 3 None\nnobody\nclose\n", outcome.stderr
    assert asyncio.run(fetch(database_url, "SELECT name FROM item")) == [("pen",)]


@pytest.mark.ligand_database("sqlite")
def test_blocks_await(pipe: Pipe, database_url: str) -> None:
    """A program is run as a whole: blocks, functions and units of work need no blank line after them."""
    outcome = pipe("async with db.transaction() as other:\n    other.add(Pet(name='Rex'))\nprint('done')\n")
    assert (outcome.exit_code, outcome.stdout) == (0, "done\n"), outcome.stderr
    assert stored(database_url) == [("Rex",)]


def test_commit_keeps(pipe: Pipe, database_url: str) -> None:
    """What the session did is kept when it is committed, and may go on."""
    outcome = pipe(
        "session.add(Pet(name='Rex'))\nawait session.commit()\nsession.add(Pet(name='Tom'))\nawait session.flush()\n"
    )
    assert outcome.exit_code == 0, outcome.stderr
    assert stored(database_url) == [("Rex",)]


@pytest.mark.ligand_database("sqlite")
def test_what_the_session_does_is_in_the_trail(pipe: Pipe, database_url: str) -> None:
    """The trail has the committed changes of a console, and none that were rolled back."""
    pipe("session.add(Pet(name='Rex'))\nawait session.commit()\nsession.add(Pet(name='Tom'))\nawait session.flush()\n")

    assert asyncio.run(fetch(database_url, "SELECT action, entity FROM audit_event")) == [("insert", "Pet")]


@pytest.mark.ligand_database("sqlite")
@pytest.mark.parametrize(
    ("program", "words"),
    [
        ("x = 1\nawait asyncio.sleep(0)\n", 'File "<stdin>", line 2'),
        ("session.add(Pet(name='Rex'))\nawait session.flush()\nawait session.commit(\n", "SyntaxError"),
        ("session.add(Pet(name='Rex'))\nawait session.flush()\n1 / 0\n", "1 / 0"),
    ],
    ids=["name", "syntax", "division"],
)
def test_failure_is_reported(pipe: Pipe, database_url: str, program: str, words: str) -> None:
    """A program that raises keeps nothing, shows its own lines and ends with exit code 1."""
    outcome = pipe(program)
    assert outcome.exit_code == 1
    assert words in outcome.stderr
    assert "ligand_async/cli" not in outcome.stderr
    assert stored(database_url) == []


@pytest.mark.ligand_database("sqlite")
def test_exit_code_is_passed_on(pipe: Pipe) -> None:
    """`exit(3)` ends the program with 3."""
    assert pipe("exit(3)\n").exit_code == 3


class Terminal:
    """A console as somebody at a terminal has it."""

    def __init__(self, environment: dict[str, str], command: list[str] = COMMAND) -> None:
        self._master, slave = pty.openpty()
        self.process = subprocess.Popen(
            command, cwd=ROOT, env=environment, stdin=slave, stdout=slave, stderr=slave, start_new_session=True
        )
        os.close(slave)
        self.screen = ""

    def expect(self, pattern: str) -> str:
        """Wait until the screen shows a pattern; return what came before and with it, and forget that."""
        deadline = time.monotonic() + PATIENCE
        while not (match := re.search(pattern, self.screen)):
            if time.monotonic() > deadline or not self._read():
                pytest.fail(f"{pattern!r} did not come: {self.screen!r}")
        shown, self.screen = self.screen[: match.end()], self.screen[match.end() :]
        return shown

    def type(self, text: str) -> None:
        """Type some text."""
        os.write(self._master, text.encode())

    def interrupt(self) -> None:
        """Press Ctrl-C."""
        self.process.send_signal(signal.SIGINT)

    def interrupt_until(self, pattern: str) -> None:
        """Press Ctrl-C until the screen shows a pattern: Python misses one that comes between prompt and reading."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            self.interrupt()
            again = time.monotonic() + 2
            while time.monotonic() < again and self._read():
                if re.search(pattern, self.screen):
                    return
        pytest.fail(f"{pattern!r} did not come: {self.screen!r}")

    def close(self) -> None:
        """Take the terminal away: the console reads the end of its input."""
        os.close(self._master)
        try:
            self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise

    def _read(self) -> bool:
        ready, _, _ = select.select([self._master], [], [], 1)
        if ready:
            try:
                self.screen += os.read(self._master, 4096).decode()
            except OSError:  # the other end is closed
                return False
        return True


@pytest.fixture
def terminal(environment: dict[str, str]) -> Iterator[Terminal]:
    """A console whose first prompt is there."""
    terminal = Terminal(environment)
    terminal.expect(r">>> $")
    yield terminal
    terminal.close()


@pytest.mark.extended
@pytest.mark.ligand_database("sqlite")
def test_banner_names_what_is_there(environment: dict[str, str]) -> None:
    """The first lines say which service this is, what is there, and how to keep what is done."""
    terminal = Terminal(environment)
    banner = terminal.expect(r">>> $")
    terminal.close()
    assert "Petstore 1.0.0 (local). Defined are: Pet, app, db, services, session." in banner
    assert "await session.commit()" in banner


@pytest.mark.extended
@pytest.mark.ligand_database("sqlite")
def test_expressions_are_shown(terminal: Terminal) -> None:
    """What an awaited expression gives is shown, and blocks end with an empty line."""
    terminal.type("from sqlalchemy import select, func\n")
    terminal.expect(r">>> $")
    terminal.type("await session.scalar(select(func.count()).select_from(Pet))\n")
    assert "\r\n0\r\n" in terminal.expect(r">>> $")
    terminal.type("for n in range(2):\n")
    terminal.expect(r"\.\.\. $")
    terminal.type("    print(n + 40)\n\n")
    assert "40\r\n41\r\n" in terminal.expect(r"41\r\n>>> $")


@pytest.mark.extended
@pytest.mark.ligand_database("sqlite")
def test_errors_do_not_end_it(terminal: Terminal) -> None:
    """A statement that raises, or that is not Python, shows its error, and the next one runs."""
    terminal.type("1 / 0\n")
    assert "ZeroDivisionError" in terminal.expect(r">>> $")
    terminal.type("1 +* 1\n")
    assert "SyntaxError" in terminal.expect(r">>> $")
    terminal.type("print('still', 'here')\n")
    terminal.expect("still here")


@pytest.mark.extended
@pytest.mark.ligand_database("sqlite")
@pytest.mark.parametrize("statement", ["import asyncio; await asyncio.sleep(60)", "while True: pass"])
def test_ctrl_c_ends_the_statement(terminal: Terminal, statement: str) -> None:
    """Ctrl-C ends what runs, a second one also what does not await, and the console goes on."""
    terminal.type(f"{statement}\n\n")
    time.sleep(1)
    terminal.interrupt()
    if "while" in statement:
        time.sleep(0.3)
        terminal.interrupt()
    terminal.expect(r"KeyboardInterrupt(.|\n)*>>> ")
    terminal.type("await asyncio.sleep(0.1) or 'awake'\n" if "asyncio" in statement else "'a' + 'wake'\n")
    terminal.expect("'awake'")


@pytest.mark.extended
@pytest.mark.ligand_database("sqlite")
def test_ctrl_c_at_the_prompt_drops_the_line(terminal: Terminal) -> None:
    """Ctrl-C at the prompt begins a new line."""
    terminal.type("for n in range(3):\n")
    terminal.expect(r"\.\.\. $")
    terminal.interrupt_until(r"KeyboardInterrupt\r\n>>> ")
    terminal.type("'a' + 'wake'\n")
    terminal.expect("'awake'")


@pytest.mark.extended
@pytest.mark.ligand_database("sqlite")
@pytest.mark.parametrize("ending", ["\x04", "exit()\n"], ids=["ctrl-d", "exit"])
def test_leaving_rolls_back(terminal: Terminal, database_url: str, ending: str) -> None:
    """Ctrl-D and exit() end it with exit code 0, and what was not committed is gone."""
    terminal.type("session.add(Pet(name='Rex')); await session.flush()\n")
    terminal.expect(r">>> $")
    terminal.type(ending)
    assert terminal.process.wait(PATIENCE) == 0
    assert stored(database_url) == []


@pytest.mark.extended
@pytest.mark.ligand_database("sqlite")
def test_ipython_is_used_where_it_is_installed(environment: dict[str, str], database_url: str) -> None:
    """IPython awaits with the same session, on one loop, and leaving it rolls back, too."""
    terminal = Terminal(environment, IPYTHON)
    assert "Petstore 1.0.0 (local)" in terminal.expect(r"In \[1\]: ")
    terminal.type("session.add(Pet(name='Rex')); await session.commit()\n")
    terminal.expect(r"In \[2\]: ")
    terminal.type("session.add(Pet(name='Tom')); await session.flush()\n")
    terminal.expect(r"In \[3\]: ")
    terminal.type("exit()\n")
    assert terminal.process.wait(PATIENCE) == 0
    terminal.close()
    assert stored(database_url) == [("Rex",)]
