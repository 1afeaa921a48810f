"""Clients of a service with one of everything: files, forms, lists in queries, namesakes, enumerations."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from ligand_async.docs import document_of
from ligand_async.docs.clients import Package, generated
from tests.clients.making import TypeScript, check_python, ligand_client
from tests.docs import sample

pytestmark = pytest.mark.extended

PACKAGE = Package("toys-client", "1.2.3")


def test_everything_compiles(require_tool: Callable[[str], Path], tmp_path: Path) -> None:
    """No warning of either generator, and no mistake that mypy or `tsc --strict` finds."""
    document = json.loads(document_of(sample.make_app()).content)
    ligand_client("generate", "python", "-o", tmp_path / "probe", directory=tmp_path)  # skips where the extra is not
    with generated("python", document, PACKAGE, server=None) as source:
        check_python(source / "toys_client", source=source)
    with generated("typescript", document, PACKAGE, server="https://toys.example") as source:
        compiler = TypeScript(require_tool("node"), tmp_path / "work")
        compiler.add("toys-client", source)
        runtime = (source / "src" / "runtime.ts").read_text()

    assert 'BASE_PATH = "https://toys.example"' in runtime
