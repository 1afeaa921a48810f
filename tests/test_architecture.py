"""The shape of the house: floors, rooms, no cycle, laws in the tests' docstrings."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

from docs.architecture import PICTURE, draw, find_crossings, read_floors, read_imports
from tests.doors import find_trespassers
from tests.import_graph import build_graph, find_cycle
from tests.request_trace import trace_requests

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "ligand_async"
PAGE = (ROOT / "docs" / "architecture.md").read_text()
LIFE = re.compile(r"^## The life of a request\n(.*?)^## ", re.DOTALL | re.MULTILINE)
STEP = re.compile(r"^\| `([\w/]+\.py)` \| `([\w.]+)` \|", re.MULTILINE)
FUNCTION_IN_FILE = re.compile(r"`([\w.]+)`\s+in\s+`([\w/]+\.py)`")
FILE = re.compile(r"`(\w[\w/]*(?:\.py|\.md|/))`")

PLANTED = {
    "plain": "import house.attic",
    "relative": "from . import attic",
    "relative name": "from .attic import roof",
    "under TYPE_CHECKING": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from house.attic import roof",
    "in a function": "def look():\n    from house.attic import roof\n    return roof",
    "in a try": "try:\n    import house.attic\nexcept ImportError:\n    pass",
}

TRESPASSES = {
    "another room": ("house/hall.py", "from house.kitchen.stove import cook"),
    "another room's module": ("house/hall/__init__.py", "from house.kitchen import stove"),
    "a module as a module": ("house/hall/__init__.py", "import house.kitchen.stove"),
    "in a function": ("house/hall/__init__.py", "def eat():\n    from house.kitchen.stove import cook"),
    "a private name": ("house/hall/__init__.py", "from house.cellar import _floor"),
    "a private name of the same room": ("house/kitchen/table.py", "from house.kitchen.stove import _light"),
    "a template": ("house/kitchen/template.mako", "from house.kitchen.stove import cook"),
    "an example": ("examples/one.py", "from house.kitchen.stove import cook"),
    "a benchmark": ("bench/one.py", "from house.kitchen.stove import cook"),
    "a migration": ("migrations/one.py", "from house.kitchen.stove import cook"),
    "a guide": ("docs/guide.md", "```python\nfrom house.kitchen.stove import cook\n```"),
    "a guide, in parentheses": ("README.md", "```python\nfrom house.kitchen.stove import (\n    cook,\n)\n```"),
    "a test's helper": ("tests/kitchen/cooking.py", "from house.kitchen.stove import cook"),
    "a test of another module": ("tests/kitchen/test_table.py", "from house.kitchen.stove import cook"),
    "a test of another room": ("tests/hall/test_stove.py", "from house.kitchen.stove import cook"),
    "a test of a longer name": ("tests/kitchen/test_stoves.py", "from house.kitchen.stove import cook"),
    "a program in a test": ("tests/hall/test_hall.py", 'PROGRAM = """\nfrom house.kitchen.stove import cook\n"""'),
}
VISITS = {
    "a door": ("house/hall.py", "from house.kitchen import cook"),
    "a name that is a module's too": ("house/hall.py", "from house.kitchen import cook, table"),
    "a module without a room": ("house/hall.py", "from house.cellar import floor"),
    "the room itself": ("house/kitchen/table.py", "from house.kitchen.stove import cook"),
    "the module's own test": ("tests/kitchen/test_stove.py", "from house.kitchen.stove import _light, cook"),
    "a part of the module's own test": ("tests/kitchen/test_stove_gas.py", "from house.kitchen.stove import cook"),
    "the test of an inner room": ("tests/kitchen/test_pantry_shelf.py", "from house.kitchen.pantry.shelf import jam"),
    "a guide's prose": ("docs/guide.md", "from house.kitchen.stove import cook"),
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


def make_kitchen(root: Path, path: str, text: str) -> Path:
    house = root / "house"
    (house / "kitchen").mkdir(parents=True)
    (house / "__init__.py").touch()
    (house / "cellar.py").write_text("floor = _floor = 0\n")
    (house / "kitchen" / "__init__.py").write_text(
        'from house.kitchen.stove import cook\nfrom house.kitchen.table import table\n__all__ = ["cook", "table"]\n'
    )
    (house / "kitchen" / "stove.py").write_text("cook = _light = 0\n")
    (house / "kitchen" / "table.py").write_text("table = 0\n")
    (house / "kitchen" / "pantry").mkdir()
    (house / "kitchen" / "pantry" / "__init__.py").touch()
    (house / "kitchen" / "pantry" / "shelf.py").write_text("jam = 0\n")
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / path).write_text(f"{text}\n")
    return root


def test_rooms_are_entered_by_their_doors() -> None:
    """Only a room and a module's own test import its modules; everybody else imports the package, and no `_name`."""
    found = find_trespassers(ROOT)
    assert {path: sorted(names) for path, names in found.items()} == {}


@pytest.mark.parametrize(("path", "text"), TRESPASSES.values(), ids=TRESPASSES.keys())
def test_planted_trespass_is_found(tmp_path: Path, path: str, text: str) -> None:
    """An import past a door is found in source, tests, examples, guides and templates, whatever form it takes."""
    assert list(find_trespassers(make_kitchen(tmp_path, path, text), "house")) == [path]


@pytest.mark.parametrize(("path", "text"), VISITS.values(), ids=VISITS.keys())
def test_visit_by_the_door_is_not_a_trespass(tmp_path: Path, path: str, text: str) -> None:
    """What goes by a door, and what a room and a module's own test do with the module, is allowed."""
    assert find_trespassers(make_kitchen(tmp_path, path, text), "house") == {}


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


def test_picture_is_current() -> None:
    """The picture of the house is what the source says; `make architecture` draws it again."""
    assert PICTURE.read_text() == draw(), "run `make architecture` and look at docs/architecture.svg"


def test_picture_can_be_read() -> None:
    """Each room has a column, no line crosses a box that it does not lead to, and each import of a room is a dot."""
    upper = [name for floor in read_floors()[:-1] for name in floor]

    assert find_crossings() == []
    assert draw().count("<circle") == sum(source in upper and target in upper for source, target in read_imports())


def test_page_has_every_room() -> None:
    """The table of floors names the rooms of each floor."""
    rows = re.findall(r"^\| (\d) \| `(\w+)(?:/|\.py)` \|", PAGE, re.MULTILINE)
    floors = [{name for number, name in rows if int(number) == floor} for floor in range(5, -1, -1)]

    assert floors == [set(names) for names in read_floors()]


def test_page_names_what_exists() -> None:
    """Each file on the page exists, and each function that the page places in a file is defined there."""
    named = [*STEP.findall(PAGE), *((file, function) for function, file in FUNCTION_IN_FILE.findall(PAGE))]
    files = {file for file in FILE.findall(PAGE) if not file.startswith("ligand_async/")}

    assert len(named) > 40
    assert [file for file in sorted(files) if not ((PACKAGE / file).exists() or (ROOT / file).exists())] == []
    assert [f"{name} in {file}" for file, name in named if name not in names_in(PACKAGE / file)] == []


def names_in(path: Path) -> set[str]:
    """Return what a module defines: functions, classes with their methods, and constants."""
    names: set[str] = set()
    for node in ast.parse(path.read_text()).body:
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                names.add(node.name)
            case ast.ClassDef():
                functions = (one for one in node.body if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef))
                names |= {node.name, *(f"{node.name}.{one.name}" for one in functions)}
            case ast.Assign(targets=[ast.Name(id=name)]) | ast.AnnAssign(target=ast.Name(id=name)):
                names.add(name)
    return names


@pytest.mark.ligand_conformance("off", reason="its checks visit files, too")
async def test_page_tells_the_life_of_a_request(sqlite_url: str) -> None:
    """A request visits the files on the page in their order there, and no file that the page leaves out."""
    visited = (await trace_requests(sqlite_url))["POST /pets/ with a key"].files
    (life,) = LIFE.findall(PAGE)
    steps = [file for file, _ in STEP.findall(life)]
    named = {file for file in FILE.findall(life) if (PACKAGE / file).is_file()}

    assert steps == [file for file in visited if file in steps]
    assert sorted(named) == sorted(visited)
