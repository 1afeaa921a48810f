"""The imports of a package as a graph, read from its source."""

import ast
import graphlib
from collections.abc import Collection, Iterator
from pathlib import Path


def build_graph(package: Path) -> dict[str, set[str]]:
    """Map each module of `package` to the modules of it that importing the module runs.

    Every import statement counts, wherever it stands: in a function, under `TYPE_CHECKING`, in a `try`.
    """
    modules = {_name(path, package): path for path in package.rglob("*.py")}
    graph: dict[str, set[str]] = {}
    for name, path in modules.items():
        named = {_longest_module(imported, modules.keys()) for imported in _imports(name, path)}
        # Importing a module runs the packages around it. The ones around the importer are running already.
        around = {package for target in named for package in _around(target)} - {name, *_around(name)}
        graph[name] = (named | around) & modules.keys() - {name}
    return graph


def find_cycle(graph: dict[str, set[str]]) -> list[str]:
    """Return the modules of one cycle, the first of them again at the end, or nothing."""
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        cycle: list[str] = error.args[1]
        return cycle
    return []


def _name(path: Path, package: Path) -> str:
    parts = path.relative_to(package.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _around(name: str) -> list[str]:
    parts = name.split(".")
    return [".".join(parts[:length]) for length in range(1, len(parts))]


def _longest_module(imported: str, modules: Collection[str]) -> str:
    """Tell the module `a.b` from the name `a.b.c` that is taken from it."""
    return next((name for name in (imported, *reversed(_around(imported))) if name in modules), "")


def _imports(name: str, path: Path) -> Iterator[str]:
    """Yield every imported name in full."""
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            start = ".".join(package.split(".")[: package.count(".") + 2 - node.level]) if node.level else ""
            source = ".".join(part for part in (start, node.module) if part)
            yield from (f"{source}.{alias.name}" for alias in node.names)
