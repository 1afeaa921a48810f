"""Which Python `.venv` is made with, and what is said where none will do."""

import os
import subprocess
import sys
from pathlib import Path

from tests.packaging.checkout import ROOT


def find_python(python: str | Path) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHON": str(python)}
    return subprocess.run(
        [ROOT / ".ci" / "venv", "find"], env=environment, capture_output=True, text=True, check=False, timeout=30
    )


def make_program(path: Path, script: str) -> Path:
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


def test_given_python_is_taken() -> None:
    """PYTHON names the Python, if it is new enough and complete."""
    base = getattr(sys, "_base_executable", sys.executable)
    assert find_python(base).stdout.strip() == base


def test_python_without_venv_names_the_package(tmp_path: Path) -> None:
    """Debian's Python without its venv module gets the command that installs it."""
    script = f'case "$*" in *ensurepip*) exit 1 ;; esac\nexec {sys.executable} "$@"'
    answer = find_python(make_program(tmp_path / "python3", script))
    assert answer.returncode == 1
    assert f"apt-get install python{sys.version_info.major}.{sys.version_info.minor}-venv" in answer.stderr


def test_no_python_is_said_clearly(tmp_path: Path) -> None:
    """Where Python is too old or not there, the version that is needed is named."""
    answer = find_python(make_program(tmp_path / "python3", "exit 1"))
    assert answer.returncode == 1
    assert "No Python 3.11 or newer was found" in answer.stderr


def test_later_candidate_is_taken(tmp_path: Path) -> None:
    """A `python3` that is too old does not hide a newer Python beside it."""
    old = make_program(tmp_path / "python3", "exit 1")
    assert find_python(f"{old} {sys.executable}").stdout.strip() == sys.executable
