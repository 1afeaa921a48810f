"""Imports of the package that go past its doors, found in its source, its users' and its guides.

The door of a room is its package: what its `__init__` lists in `__all__` is open to everybody, and a module inside is
open to the room itself and to the tests named after that module. A module that is not inside a room is a door too.
"""

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from tests.import_graph import find_modules, imports_among, longest_module, read_imports

USERS = ("tests", "examples", "bench", "migrations")
_STATEMENT = re.compile(r"^[ \t]*((?:from|import) [\w.]+(?: import (?:\([^)]*\)|[^\n(]+))?)", re.MULTILINE)
_BLOCK = re.compile(r"```python\n(.*?)```", re.DOTALL)


def find_trespassers(root: Path, package: str = "ligand_async") -> dict[str, set[str]]:
    """Map each file of the repository at `root` that goes past a door to the names that it takes there."""
    modules = find_modules(root / package)
    doors = {
        name: _read_all(path) for name, path in modules.items() if path.name == "__init__.py" or name.count(".") == 1
    }
    found: dict[str, set[str]] = defaultdict(set)
    for path in _find_files(root, package):
        for name in _read_names(path):
            module = longest_module(name, modules)
            if module and not _may_take(path.relative_to(root), package, module, name, doors):
                found[str(path.relative_to(root))].add(name)
    return dict(found)


def _find_files(root: Path, package: str) -> Iterator[Path]:
    for directory in (package, *USERS):
        yield from sorted((root / directory).rglob("*.py"))
    yield from (root / package).rglob("*.mako")
    yield from (root / package).rglob("*.template")
    yield from sorted([*root.glob("*.md"), *(root / "docs").rglob("*.md")])


def _read_names(path: Path) -> set[str]:
    """Return the full names that a file imports, also in the programs that stand in its strings and code blocks."""
    source = path.read_text(encoding="utf-8")
    if path.suffix == ".py":
        nodes = [*ast.walk(ast.parse(source))]
        strings = [
            node.value
            for node in nodes
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and "import " in node.value
        ]
        programs, names = strings, {*imports_among(nodes)}
    else:
        programs, names = _BLOCK.findall(source) if path.suffix == ".md" else [source], set()
    for program in programs:
        for statement in _STATEMENT.findall(program):
            try:
                names.update(read_imports(statement))
            except SyntaxError:  # prose that begins like an import
                continue
    return names


def _read_all(path: Path) -> set[str] | None:
    """Return the names that a module lists in `__all__`, None if it lists none."""
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and [ast.unparse(target) for target in node.targets] == ["__all__"]:
            return set(ast.literal_eval(node.value))
    return None


def _may_take(path: Path, package: str, module: str, name: str, doors: dict[str, set[str] | None]) -> bool:
    """Return whether a file may take a name from a module."""
    rest = name.removeprefix(module).lstrip(".")
    inside = module.split(".")[1:]
    if _is_test_of(path, inside):
        return True
    if rest.startswith("_") and not rest.endswith("__"):
        return False
    if path.suffix == ".py" and path.parts[0] == package and len(path.parts) > 2 and inside[:1] == [path.parts[1]]:
        return True  # the room itself; what its templates make stands outside
    if module in doors:
        return True
    parent, _, last = module.rpartition(".")
    # `from house.room import thing` takes the function if the door lists it, even if a module has the same name.
    return name == module and last in (doors.get(parent) or ())


def _is_test_of(path: Path, inside: list[str]) -> bool:
    """Return whether a file is `tests/<room>/test_<module>*.py`, with the names of packages between them or not."""
    if path.parts[0] != "tests" or not path.stem.startswith("test_") or not inside:
        return False
    subject = path.stem.removeprefix("test_")
    rooms = path.parts[1:-1]
    if len(inside) > 1 and not any(room in inside[:-1] for room in rooms):
        return False
    names = ["_".join(inside[start:]) for start in range(len(inside))]
    return any(subject == name or subject.startswith(f"{name}_") for name in names)
