"""Which Python `.venv` is made with, and what is said where none will do."""

import os
import shutil
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


def test_a_link_to_another_environment_is_replaced(tmp_path: Path) -> None:
    """A new environment takes the place of a link, and what the link leads to is left alone."""
    for name in (".ci", "ligand_async", "other"):
        (tmp_path / name).mkdir()
    shutil.copy(ROOT / ".ci" / "venv", tmp_path / ".ci")
    for name in ("requirements.lock", "requirements-build.lock", "pyproject.toml", "ligand_async/__init__.py"):
        shutil.copy(ROOT / name, tmp_path / name)
    (tmp_path / "other" / "kept").touch()
    (tmp_path / ".venv").symlink_to("other")
    # It makes the environment, and installs nothing.
    make = f'{sys.executable} -m venv --without-pip "$4"; exit 3'
    script = f'case "$*" in "-m venv"*) {make} ;; esac\nexec {sys.executable} "$@"'
    environment = os.environ | {"PYTHON": str(make_program(tmp_path / "python3", script))}
    ended = subprocess.run(
        [tmp_path / ".ci" / "venv", "core"], env=environment, capture_output=True, text=True, check=False, timeout=60
    )

    assert ended.returncode != 0
    assert [path.name for path in (tmp_path / "other").iterdir()] == ["kept"], ended.stderr
    assert not (tmp_path / ".venv").is_symlink()
