"""A process that nobody configured: no variable, no file."""

import os
from pathlib import Path

import pytest

FOREIGN = ("LIGAND_", "QUART_", "FLASK_", "PETSTORE_", "DATABASE_", "PORT")


def leave_bare(monkeypatch: pytest.MonkeyPatch, directory: Path) -> None:
    """Work in an empty directory without any variable that a service or Quart reads, until the test ends."""
    for name in [name for name in os.environ if name.startswith(FOREIGN)]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(directory)
