"""The shape of the house: floors, rooms, no cycle, laws in the tests' docstrings."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from tests.import_graph import build_graph, find_cycle

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "ligand_async"

PLANTED = {
    "plain": "import house.attic",
    "relative": "from . import attic",
    "relative name": "from .attic import roof",
    "under TYPE_CHECKING": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from house.attic import roof",
    "in a function": "def look():\n    from house.attic import roof\n    return roof",
    "in a try": "try:\n    import house.attic\nexcept ImportError:\n    pass",
}


def make_house(root: Path, cellar: str) -> Path:
    house = root / "house"
    house.mkdir()
    (house / "__init__.py").touch()
    (house / "attic.py").write_text("from house.cellar import floor\nroof = floor\n")
    (house / "cellar.py").write_text(f"{cellar}\nfloor = 0\n")
    return house


def test_imports_keep_to_the_floors() -> None:
    """Imports go down, rooms on one floor do not know each other, and nobody inside imports the facade."""
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-logo", "--no-cache"]
    outcome = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=120)
    assert outcome.returncode == 0, outcome.stdout + outcome.stderr


def test_no_import_cycle() -> None:
    """No module imports itself by any way, not even under TYPE_CHECKING or inside a function."""
    assert find_cycle(build_graph(PACKAGE)) == []


@pytest.mark.parametrize("cellar", PLANTED.values(), ids=PLANTED.keys())
def test_planted_cycle_is_found(tmp_path: Path, cellar: str) -> None:
    """A cycle is found whatever form its imports take."""
    assert set(find_cycle(build_graph(make_house(tmp_path, cellar)))) == {"house.attic", "house.cellar"}


def test_cycle_through_a_package_is_found(tmp_path: Path) -> None:
    """A package that runs because a module in it is imported is part of the cycle."""
    house = make_house(tmp_path, "import house.wing.room")
    (house / "wing").mkdir()
    (house / "wing" / "__init__.py").write_text("from house.attic import roof\n")
    (house / "wing" / "room.py").touch()
    assert set(find_cycle(build_graph(house))) == {"house.attic", "house.cellar", "house.wing"}


def test_house_without_a_cycle_has_none(tmp_path: Path) -> None:
    """Imports that only go down are no cycle."""
    assert find_cycle(build_graph(make_house(tmp_path, "import os"))) == []


def test_every_test_states_a_law() -> None:
    """Each test function of this repository has a docstring."""
    silent = [
        f"{path.relative_to(ROOT)}::{node.name}"
        for path in (ROOT / "tests").rglob("test_*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.name.startswith("test_")
        and not ast.get_docstring(node)
    ]
    assert silent == []
