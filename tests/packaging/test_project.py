"""The project's own description of itself."""

import importlib.metadata
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from packaging.requirements import Requirement

from tests.packaging.checkout import ROOT, read_project


def test_library_has_lower_bounds_only() -> None:
    """A service can take newer versions of everything: no upper bound, no pin."""
    project = read_project()["project"]
    texts = [*project["dependencies"], *(text for extra in project["optional-dependencies"].values() for text in extra)]
    needs = [need for need in map(Requirement, texts) if need.name != "ligand-async"]
    assert [str(need) for need in needs if [spec.operator for spec in need.specifier] != [">="]] == []


def test_every_dependency_is_used() -> None:
    """No dependency and no extra is declared before the package has code for it."""
    project = read_project()["project"]
    extras = [text for name, texts in project["optional-dependencies"].items() if name != "all" for text in texts]
    modules = {Requirement(text).name.replace("-", "_") for text in [*project["dependencies"], *extras]}
    source = "\n".join(path.read_text() for path in (ROOT / "ligand_async").rglob("*.py"))
    unused = {module for module in modules if not re.search(rf"\b{module}\b", source)}
    assert unused == set()


def test_extra_all_is_every_other_extra() -> None:
    """`ligand-async[all]` leaves no extra out."""
    extras: dict[str, list[str]] = read_project()["project"]["optional-dependencies"]
    [everything] = [Requirement(text) for text in extras["all"]]
    assert everything.extras == extras.keys() - {"all"}


def test_plugin_is_an_entry_point() -> None:
    """pytest finds the plugin by itself, and the name it is registered by leads to it."""
    [group] = [read_project()["project"]["entry-points"]["pytest11"]]
    entry = importlib.metadata.EntryPoint("ligand_async", group["ligand_async"], "pytest11")
    assert entry.load() is sys.modules["ligand_async.testing.plugin"]


def test_console_script_can_be_loaded() -> None:
    """`ligand` leads to something that can be called."""
    script = importlib.metadata.EntryPoint("ligand", read_project()["project"]["scripts"]["ligand"], "console_scripts")
    assert callable(script.load())


def test_changelog_keeps_its_form() -> None:
    """The changelog is that of Keep a Changelog: unreleased first, then versions with dates, known headings only."""
    text = (ROOT / "CHANGELOG.md").read_text()
    versions = re.findall(r"^## (.*)$", text, re.MULTILINE)
    assert versions[0] == "[Unreleased]"
    assert all(re.fullmatch(r"\[\d+\.\d+\.\d+\] - \d{4}-\d{2}-\d{2}", version) for version in versions[1:])
    headings = set(re.findall(r"^### (.*)$", text, re.MULTILINE))
    assert headings <= {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}


def test_what_a_run_leaves_is_ignored(tmp_path: Path, require_tool: Callable[[str], Path]) -> None:
    """Environments, databases, local settings and measurements never get into a commit; what is tracked stays."""
    left = [".venv/x", "petstore.db", "petstore.db-wal", ".env", ".coverage.host.1", "dist/x.whl", ".mypy_cache/x"]
    kept = ["requirements.lock", "tests/requirements.lock", ".ci/run", "ligand_async/py.typed"]
    git = [str(require_tool("git")), "-C", str(tmp_path)]
    subprocess.run([*git, "init", "--quiet"], check=True, timeout=20)
    shutil.copy(ROOT / ".gitignore", tmp_path)
    command = [*git, "check-ignore", *left, *kept]
    answer = subprocess.run(command, capture_output=True, text=True, check=False, timeout=20)
    assert answer.stdout.splitlines() == left


def test_lint_exceptions_have_reasons() -> None:
    """Each comment that silences a rule has a reason."""
    comment = re.compile(r"# (?:noqa|type: ignore)(?:: ?[A-Z0-9, ]+|\[[a-z-]+(?:, ?[a-z-]+)*\])(.*)$")
    silent = [
        f"{path.relative_to(ROOT)}:{number}"
        for room in ("ligand_async", "tests", "examples", "migrations")
        for path in (ROOT / room).rglob("*.py")
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if (found := comment.search(line)) and len(found[1].strip(" #-")) < 5
    ]
    assert silent == []


def test_no_machine_of_ours_is_named() -> None:
    """No file holds a path of a developer's machine or the address of an index."""
    pattern = re.compile(r"(^|[^\w.])/(?:root|home/\w+)/|--(?:extra-)?index-url|--find-links")
    files = [
        path
        for name in ("*", ".ci/*", "ligand_async/**/*.py", "examples/**/*.py", "migrations/**/*.py")
        for path in ROOT.glob(name)
    ]
    assert [str(path) for path in files if path.is_file() and _matches(path, pattern)] == []


def _matches(path: Path, pattern: re.Pattern[str]) -> bool:
    try:
        return bool(pattern.search(path.read_text()))
    except UnicodeDecodeError:
        return False
