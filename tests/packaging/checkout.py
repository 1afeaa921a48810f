"""This repository, and copies of it such as a newcomer has."""

import shutil
import tomllib
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
_LEFT_OUT = shutil.ignore_patterns(
    ".git", ".venv", "__pycache__", ".*_cache", ".hypothesis", ".coverage*", "*.db", "*.db-*", "*.secret_key", "dist"
)


def read_project() -> dict[str, Any]:
    """Return pyproject.toml."""
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


def copy_checkout(target: Path) -> Path:
    """Copy what a fresh clone holds, with the changes that are not committed yet."""
    shutil.copytree(ROOT, target, ignore=_LEFT_OUT)
    return target
