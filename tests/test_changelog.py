"""The changelog is true of the package as it is."""

import importlib
import re
from pathlib import Path

import ligand_async

ROOT = Path(__file__).parents[1]
CHANGELOG = (ROOT / "CHANGELOG.md").read_text()
MOVED = re.compile(r"^\| `(ligand_async\.[\w.]+)` \| (`[A-Za-z]\w*`.*) \|$", re.MULTILINE)
LOGGER = re.compile(r"^\| `ligand_async\.[\w.]+` \| `(ligand_async\.[\w.]+)` \|$", re.MULTILINE)


def test_moved_names_are_where_it_says() -> None:
    """Each name that left the facade can be imported from the package in its row, and from the facade no longer."""
    rows = [(place, re.findall(r"`(\w+)`", names.partition(";")[0])) for place, names in MOVED.findall(CHANGELOG)]
    moved = [(place, name) for place, names in rows for name in names]

    assert len(moved) > 50
    assert [f"{place}.{name}" for place, name in moved if not hasattr(importlib.import_module(place), name)] == []
    assert [name for _, name in moved if name in ligand_async.__all__] == []


def test_new_loggers_exist() -> None:
    """Each module that the table of loggers names has a logger."""
    modules = [importlib.import_module(name) for name in LOGGER.findall(CHANGELOG)]

    assert modules
    assert [module.__name__ for module in modules if not hasattr(module, "logger")] == []
