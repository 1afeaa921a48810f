"""Logs, as a process writes them."""

import json
import os
import subprocess
import sys
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.servers import served

PROGRAM = """
import asyncio, logging, os
import httpx2
import structlog
import ligand_async
from ligand_async import Settings, create_app, operation, public

strict = dict(
    database_url="postgresql://user:pass@127.0.0.1:1/db", secret_key="0123456789abcdefghijklmnopqrstuv",
    service_public_url="https://x.example", service_private_url="https://x.internal",
)
environment = os.environ["LIGAND_ENVIRONMENT"]
settings = Settings.load(environment, **(strict if environment in {"prod", "stage"} else {}))
app = create_app("service", title="S", version="1", settings=settings)
create_app("another", title="S", version="1", settings=settings)

@app.get("/")
@public
@operation
async def fail() -> None:
    logging.getLogger("mine").info("from %s", "logging")
    structlog.get_logger("mine").info("from structlog", pet=3)
    raise ZeroDivisionError("bug\\nforged line")

async def main():
    async with app.test_app():
        await app.test_client().get("/", headers={"X-Request-ID": "abc-1"})

if environment != "cli":  # which does not start
    asyncio.run(main())

def answer(request):
    logging.getLogger("mine").info("called")
    return httpx2.Response(200)

httpx2.Client(transport=httpx2.MockTransport(answer)).get("http://other.example/?name=ada")
print(len(logging.getLogger().handlers))
"""


@cache
def run(environment: str, program: str = PROGRAM) -> subprocess.CompletedProcess[str]:
    """Run a service in a process of its own, which has not configured its logs, once for all tests of its output."""
    variables = {name: value for name, value in os.environ.items() if not name.startswith(("LIGAND_", "DATABASE_"))}
    with TemporaryDirectory() as directory:
        return subprocess.run(
            [sys.executable, "-c", program],
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
            cwd=directory,
            env=variables | {"LIGAND_ENVIRONMENT": environment, "PYTHONPATH": str(Path(__file__).parents[2])},
        )


@pytest.mark.parametrize("environment", ["prod", "stage"])
@pytest.mark.extended
def test_machines_read_one_object_a_line(environment: str) -> None:
    """From logging and structlog alike, each with the request's id; a traceback is a member, written once."""
    lines = [json.loads(line) for line in run(environment).stderr.splitlines()]
    ours = [line for line in lines if line.get("request_id") == "abc-1"]

    assert [line["event"] for line in ours] == ["from logging", "from structlog", "Exception on request GET /"]
    assert [line["level"] for line in ours] == ["info", "info", "error"]
    assert (ours[0]["logger"], ours[1]["pet"]) == ("mine", 3)
    assert all("timestamp" in line for line in ours)
    tracebacks = [line["exception"] for line in lines if "exception" in line]
    assert len(tracebacks) == 1
    assert "ZeroDivisionError: bug\nforged line" in tracebacks[0]


def test_people_read_lines() -> None:
    """In `local`: a readable traceback on stderr, once, and no escape codes if stderr is not a terminal."""
    text = run("local").stderr

    assert "from logging" in text
    assert "request_id=abc-1" in text
    assert text.count("Traceback (most recent call last):") == 1
    assert text.count("ZeroDivisionError: bug") == 1
    assert 'raise ZeroDivisionError("bug' in text or "in fail" in text
    assert "\x1b" not in text


@pytest.mark.parametrize(("environment", "handlers"), [("local", 1), ("prod", 1), ("testing", 0), ("cli", 0)])
@pytest.mark.extended
def test_logging_is_configured_once_or_not_at_all(environment: str, handlers: int) -> None:
    """Two apps share the process's log; `testing` and `cli` leave it alone."""
    assert run(environment).stdout.split()[-1] == str(handlers)


@pytest.mark.extended
def test_what_was_configured_stays() -> None:
    """A process that has its logs in order keeps them."""
    program = "import logging; logging.basicConfig(format='mine: %(message)s', level='INFO')\n" + PROGRAM

    assert "mine: from logging" in run("local", program).stderr


def test_calls_to_others_are_not_written_with_their_query() -> None:
    """httpx2 would write the whole address of each call, and a query string may hold personal data."""
    text = run("prod").stderr

    assert "called" in text
    assert "ada" not in text


def test_lines_of_the_server_appear_once(tmp_path: Path) -> None:
    """What hypercorn writes by its own handler is not written again by ours."""
    with served("examples.minimal:app", tmp_path):
        pass

    assert (tmp_path / "server.log").read_text().count("Running on") == 1


OWN_LOGS = """
import logging, logging.config, sys
import httpx2, structlog
from ligand_async import Settings, create_app

def configure():
    kind = {kind!r}
    if kind == "basicConfig":
        logging.basicConfig(force=True, level=logging.DEBUG, stream=sys.stderr)
    elif kind == "structlog":
        formatter = structlog.stdlib.ProcessorFormatter(processor=structlog.processors.JSONRenderer())
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(formatter)
        logging.getLogger().handlers[:] = [handler]
        logging.getLogger().setLevel(logging.DEBUG)
        structlog.reset_defaults()
        structlog.configure(logger_factory=structlog.stdlib.LoggerFactory())
    else:
        handler = {{"class": "logging.StreamHandler", "stream": "ext://sys.stderr"}}
        named = {{"httpx2": {{"level": "DEBUG", "handlers": ["own"], "propagate": False, "filters": []}}}}
        logging.config.dictConfig({{
            "version": 1, "disable_existing_loggers": False, "handlers": {{"own": handler}},
            "root": {{"level": "DEBUG", "handlers": ["own"]}}, "loggers": named if kind == "dictConfig of it" else {{}},
        }})
    logging.getLogger("httpx2").setLevel(logging.INFO)

if {first}:
    configure()
create_app("service", title="S", version="1", settings=Settings.load("local", database_url="sqlite+aiosqlite:///x.db"))
if not {first}:
    configure()
client = httpx2.Client(transport=httpx2.MockTransport(lambda request: httpx2.Response(200)))
client.get("http://ada:s3cret@other.example/path?token=s3cret#s3cret")
"""


@pytest.mark.parametrize("kind", ["basicConfig", "structlog", "dictConfig", "dictConfig of it"])
@pytest.mark.parametrize("first", [True, False], ids=["before", "after"])
@pytest.mark.extended
def test_logs_of_the_service_s_own_hold_no_secrets_of_urls(kind: str, first: bool) -> None:
    """Whoever configures logging, before the app is made or after: lines about calls name the address and no more."""
    done = run("local", OWN_LOGS.format(kind=kind, first=first))

    assert done.returncode == 0, done.stderr
    assert "http://other.example/path" in done.stderr
    assert "s3cret" not in done.stderr
