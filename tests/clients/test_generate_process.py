"""Generators as processes."""

import sys
import time
from pathlib import Path

import pytest

from ligand_async.docs.clients import ClientError
from ligand_async.docs.clients.generate import locate, run_generator


def run(program: str, directory: Path, *, timeout: float = 20) -> None:
    run_generator("toy", [sys.executable, "-c", program], directory, timeout=timeout)


def test_it_sees_no_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """None of our variables, and no home but its own directory."""
    monkeypatch.setenv("LIGAND_SECRET_KEY", "0123456789abcdefghijklmnopqrstuv")
    run("import json, os; json.dump(dict(os.environ), open('seen', 'w'))", tmp_path)
    seen = (tmp_path / "seen").read_text()

    assert "sss" not in seen
    assert f'"HOME": "{tmp_path}"' in seen


def test_a_failure_is_short_and_names_no_directory(tmp_path: Path) -> None:
    """The first lines, with the names of files only."""
    program = (
        f"print('cannot read {tmp_path}/a.json'); print('at java.lang.Thread'); [print(n) for n in range(99)]; exit(3)"
    )
    with pytest.raises(ClientError) as caught:
        run(program, tmp_path)
    message = str(caught.value)

    assert message.startswith("toy failed with exit code 3:\ncannot read a.json\n0\n1\n")
    assert message.endswith("\n...")
    assert (message.count("\n"), str(tmp_path) in message, "Thread" in message) == (13, False, False)


def test_a_silent_failure_is_reported(tmp_path: Path) -> None:
    """With the exit code at least."""
    with pytest.raises(ClientError, match=r"exit code 1:\nit printed nothing"):
        run("raise SystemExit(1)", tmp_path)


def test_it_ends_in_time_with_all_that_it_started(tmp_path: Path) -> None:
    """A child of a generator that hangs is ended, too."""
    child = "child = subprocess.Popen(['sleep', '60'])"
    program = f"import subprocess; {child}; open('pid', 'w').write(str(child.pid)); child.wait()"
    with pytest.raises(ClientError, match="within 1 s"):
        run(program, tmp_path, timeout=1)
    status = Path(f"/proc/{(tmp_path / 'pid').read_text()}/stat")
    deadline = time.monotonic() + 5
    while status.exists() and " Z " not in status.read_text() and time.monotonic() < deadline:
        time.sleep(0.02)

    assert not status.exists() or " Z " in status.read_text()


def test_a_missing_extra_is_reported() -> None:
    """With the command that installs it."""
    with pytest.raises(ClientError, match=r"no-such-thing is not installed.*pip install 'ligand-async\[clients\]'"):
        locate("no_such_thing")
