"""Type checkers and the fields of derived schemas."""

import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from ligand_async.data.schemas import stub_of
from tests.provider.packages import install_packages
from tests.servers import ROOT
from tests.typing.stubs import schemas

pytestmark = pytest.mark.extended

CASE = Path(__file__).with_name("stubs")
FOUND = re.compile(r"use\.py:(\d+)(?::\d+)?(?: -|:) error")


@pytest.fixture
def case(tmp_path: Path) -> Path:
    """The case beside its stub, in a checkout of its own."""
    place = tmp_path / "tests" / "typing" / "stubs"
    shutil.copytree(CASE, place, ignore=shutil.ignore_patterns("__pycache__"))
    for package in (place, place.parent, place.parent.parent):
        (package / "__init__.py").touch()
    (place / "schemas.pyi").write_text(stub_of(schemas), "utf-8")
    return tmp_path


def refused_lines() -> list[int]:
    lines = (CASE / "use.py").read_text().splitlines()
    return [number for number, line in enumerate(lines, 1) if "# refused: " in line]


def run(case: Path, *command: str | Path) -> str:
    outcome = subprocess.run([*command], cwd=case, capture_output=True, text=True, check=False, timeout=240)
    return outcome.stdout + outcome.stderr


def test_mypy_sees_the_fields(case: Path) -> None:
    """With the stub `mypy --strict` refuses the marked lines and no others; the module is checked by its name."""
    mypy = (sys.executable, "-m", "mypy", "--strict", "--cache-dir", ROOT / ".mypy_cache" / "stubs")
    printed = run(case, *mypy, "tests/typing/stubs/use.py")
    by_name = run(case, *mypy, "tests/typing/stubs/schemas.py")

    assert [int(number) for number in FOUND.findall(printed)] == refused_lines(), printed
    assert printed.count(": error:") == len(refused_lines()), printed
    assert by_name.startswith("Success"), by_name


def test_pyright_sees_the_fields(case: Path, require_tool: Callable[[str], Path]) -> None:
    """So does pyright, and with it the editors that use it."""
    node = require_tool("node")
    pyright = install_packages(node, Path(__file__).parent) / "pyright" / "index.js"
    files = [f"tests/typing/stubs/{name}" for name in ("schemas.pyi", "schemas.py", "use.py")]
    printed = run(case, node, pyright, "--pythonpath", sys.executable, *files)

    assert [int(number) for number in FOUND.findall(printed)] == refused_lines(), printed
    assert printed.count(" - error") == len(refused_lines()), printed
