"""`ligand serve`: started, stopped and refused as an operator sees it."""

import json
import signal
import socket
from pathlib import Path
from urllib.request import urlopen

import pytest

from tests.cli.serving import started, wait_for
from tests.servers import free_port, served, wait_until_live

pytestmark = pytest.mark.extended

PROD = {
    "LIGAND_ENVIRONMENT": "prod",
    "LIGAND_DATABASE_URL": "sqlite+aiosqlite:///service.db",
    "LIGAND_SERVICE_PUBLIC_URL": "https://api.example.org",
    "LIGAND_SERVICE_PRIVATE_URL": "http://127.0.0.1",
    "LIGAND_SECRET_KEY": "0123456789abcdefghijklmnopqrstuv",
}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_stops_it(number: signal.Signals, tmp_path: Path) -> None:
    """SIGINT and SIGTERM end it with status 0, within seconds, and without a word of complaint."""
    port = free_port()
    with started(tmp_path, "make", "--port", str(port)) as (process, log):
        wait_until_live(f"http://127.0.0.1:{port}", process, log)
        process.send_signal(number)

        assert process.wait(5) == 0
        assert "Traceback" not in log.read_text()


def test_running_request_is_answered(tmp_path: Path) -> None:
    """A request that is running when the server stops gets its answer."""
    port = free_port()
    with started(tmp_path, "make", "--port", str(port)) as (process, log):
        wait_until_live(f"http://127.0.0.1:{port}", process, log)
        with socket.create_connection(("127.0.0.1", port), 10) as client:
            client.sendall(b"GET /nap HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
            wait_for(log, "napping")
            process.send_signal(signal.SIGTERM)
            answer = b"".join(iter(lambda: client.recv(65536), b""))

        assert answer.endswith(b"rested")
        assert process.wait(10) == 0


def test_signal_interrupts_the_start(tmp_path: Path) -> None:
    """A start that hangs need not be waited for."""
    with started(tmp_path, "make_slow", "--port", "0") as (process, log):
        wait_for(log, "starting")
        process.send_signal(signal.SIGTERM)

        assert process.wait(5) == 0
        assert "Traceback" not in log.read_text()


def test_port_comes_from_the_settings(tmp_path: Path) -> None:
    """PORT says where it listens; `--port` is stronger."""
    port, other = free_port(), free_port()
    with started(tmp_path, "make", PORT=str(port)) as (process, log):
        wait_until_live(f"http://127.0.0.1:{port}", process, log)
    with started(tmp_path, "make", "--port", str(other), PORT=str(port)) as (process, log):
        wait_until_live(f"http://127.0.0.1:{other}", process, log)


def test_failed_start_says_why_last(tmp_path: Path) -> None:
    """A service that does not start ends the server with status 1, and the reason is the last line."""
    with started(tmp_path, "make_failing", "--port", "0") as (process, log):
        assert process.wait(20) == 1

    last = log.read_text().splitlines()[-1]
    assert "the service did not start: RuntimeError: the cellar is flooded" in last


def test_environment_cli_does_not_serve(tmp_path: Path) -> None:
    """An app with the settings of `cli`, of which none is checked, is not served; the last line has the remedy."""
    with started(tmp_path, "make", "--port", "0", LIGAND_ENVIRONMENT="cli") as (process, log):
        assert process.wait(20) == 1

    assert "cannot serve; set LIGAND_ENVIRONMENT to prod, stage or local" in log.read_text().splitlines()[-1]


def test_failed_stop_says_why_last(tmp_path: Path) -> None:
    """Message and status of a service that fails while it stops differ from those of one that never started."""
    port = free_port()
    with started(tmp_path, "make_clinging", "--port", str(port)) as (process, log):
        wait_until_live(f"http://127.0.0.1:{port}", process, log)
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 3

    last = log.read_text().splitlines()[-1]
    assert "the service was stopped, but the app failed to close: RuntimeError: the door is jammed" in last


def test_port_in_use_is_one_line(tmp_path: Path) -> None:
    """Nothing but that line, and the app is not started for it."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with started(tmp_path, "make_failing", "--port", str(port)) as (process, log):
            assert process.wait(20) == 1

    [line] = log.read_text().splitlines()
    assert f"cannot listen on 127.0.0.1:{port}: it is in use; choose another port with --port or PORT" in line


def test_missing_settings_are_no_traceback(tmp_path: Path) -> None:
    """A service whose settings are wrong says which, and nothing else."""
    with started(tmp_path, "make", LIGAND_ENVIRONMENT="prod") as (process, log):
        assert process.wait(20) == 2

    text = log.read_text()
    assert text.startswith("Error: ")
    assert "LIGAND_SECRET_KEY" in text
    assert "Traceback" not in text


def test_every_line_is_json_in_prod(tmp_path: Path) -> None:
    """The server's own lines, the access log and the reason of a failure: machines read all of it."""
    port = free_port()
    with started(tmp_path, "make", "--port", str(port), **PROD) as (process, log):
        wait_until_live(f"http://127.0.0.1:{port}", process, log)
        process.send_signal(signal.SIGTERM)
        process.wait(10)
    running, access, *_ = [json.loads(line) for line in log.read_text().splitlines()]

    assert running["event"].startswith(f"serving at http://127.0.0.1:{port}")
    assert (access["path"], access["status"]) == ("/livez", 200)

    with started(tmp_path, "make_failing", "--port", "0", **PROD) as (process, log):
        assert process.wait(20) == 1
    lines = [json.loads(line) for line in log.read_text().splitlines()]

    assert lines[-1]["level"] == "critical"
    assert lines[-1]["event"].endswith("the cellar is flooded")


def test_same_app_under_the_hypercorn_command(tmp_path: Path) -> None:
    """`hypercorn 'examples.petstore.app:create_app()'` goes on working."""
    with served("examples.petstore.app:create_app()", tmp_path) as address, urlopen(f"{address}/livez") as answer:
        assert answer.status == 200


NEEDED_BY_NO_REQUEST = frozenset(
    {
        "alembic",
        "authlib",
        "mako",
        "ligand_async.cli.db",
        "ligand_async.cli.openapi",
        "ligand_async.cli.run",
        "ligand_async.data.migrations",
        "ligand_async.testing",
        "ligand_async.upstream",
        "pytest",
    }
)


def test_start_imports_what_requests_need(tmp_path: Path) -> None:
    """After the start and the first request, a server has not imported Alembic, Authlib or another command."""
    more = """

def make_listing() -> Quart:
    app = make()

    @app.get("/modules")
    @public
    async def modules() -> list[str]:
        return [*sys.modules]

    return app
"""
    port = free_port()
    with started(tmp_path, "make_listing", "--port", str(port), more=f"import sys{more}") as (process, log):
        wait_until_live(f"http://127.0.0.1:{port}", process, log)
        with urlopen(f"http://127.0.0.1:{port}/modules") as answer:
            modules = set(json.load(answer))

    assert "ligand_async.cli.serve" in modules
    assert not modules & NEEDED_BY_NO_REQUEST
