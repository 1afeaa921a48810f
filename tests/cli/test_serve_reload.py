"""`ligand serve --reload`: a service that starts anew when its files change, by real processes."""

import signal
import time
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import pytest

from tests.cli.serving import started, wait_for
from tests.cli.test_serve import PROD
from tests.servers import free_port

pytestmark = pytest.mark.extended


def wait_for_answer(address: str, answer: bytes) -> None:
    """Wait until the service gives an answer."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            with urlopen(f"{address}/word", timeout=5) as response:
                if response.read() == answer:
                    return
        except (URLError, OSError):
            pass
        time.sleep(0.05)
    raise AssertionError(f"no {answer!r}")


WORD = """
from words import WORD


def make_word():
    app = make()

    @app.get("/word")
    @public
    async def word() -> str:
        return WORD

    return app
"""


def prepare(directory: Path) -> Path:
    """Write a service of two modules; return the one that changes."""
    words = directory / "words.py"
    words.write_text('WORD = "one"\n')
    return words


def children_of(process: int) -> list[int]:
    return [int(pid) for pid in Path(f"/proc/{process}/task/{process}/children").read_text().split()]


def test_changes(tmp_path: Path) -> None:
    """Each change is served, mistakes wait for the next save, and nothing prints a traceback."""
    port = free_port()
    words, address = prepare(tmp_path), f"http://127.0.0.1:{port}"
    with started(tmp_path, "make_word", "--port", str(port), "--reload", more=WORD) as (process, log):
        wait_for_answer(address, b"one")
        for text in ("two", "six"):  # of one length, within a second: a compiled file would be out of date
            words.write_text(f'WORD = "{text}"\n')
            wait_for_answer(address, text.encode())
        words.write_text("WORD = (\n")
        wait_for(log, "SyntaxError: '(' was never closed at ")
        wait_for(log, "it starts again after the next change")
        words.write_text("WORD = 1 / 0\n")
        wait_for(log, "ZeroDivisionError: division by zero")
        (tmp_path / ".env").write_text("LIGAND_MAX_CONNECTIONS=x\n")
        words.write_text('WORD = "end"\n')
        wait_for(log, "max_connections (LIGAND_MAX_CONNECTIONS) is not valid")
        (tmp_path / ".env").unlink()
        wait_for_answer(address, b"end")
        [child] = children_of(process.pid)
        process.send_signal(signal.SIGTERM)

        assert process.wait(20) == 0
        assert not Path(f"/proc/{child}").exists()
    assert "Traceback" not in log.read_text()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
def test_signal_stops_it(number: signal.Signals, tmp_path: Path) -> None:
    """Also one that only the parent gets."""
    port = free_port()
    prepare(tmp_path)
    with started(tmp_path, "make_word", "--port", str(port), "--reload", more=WORD) as (process, _log):
        wait_for_answer(f"http://127.0.0.1:{port}", b"one")
        process.send_signal(number)
        assert process.wait(20) == 0


def test_no_orphan(tmp_path: Path) -> None:
    """The service ends with a parent that was killed."""
    port = free_port()
    prepare(tmp_path)
    with started(tmp_path, "make_word", "--port", str(port), "--reload", more=WORD) as (process, _log):
        wait_for_answer(f"http://127.0.0.1:{port}", b"one")
        process.kill()
        process.wait()
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            try:
                with urlopen(f"http://127.0.0.1:{port}/livez", timeout=5):
                    time.sleep(0.1)
            except OSError:
                return
    raise AssertionError("it serves on")


def test_only_in_local(tmp_path: Path) -> None:
    """It is refused in prod, and with several processes."""
    with started(tmp_path, "make", "--port", "0", "--reload", **PROD) as (process, log):
        assert process.wait(60) == 2
    assert "--reload is for local, and LIGAND_ENVIRONMENT is prod" in log.read_text()
    with started(tmp_path, "make", "--port", "0", "--reload", "--workers", "2") as (process, log):
        assert process.wait(60) == 2
    assert "--reload runs one process" in log.read_text()
