"""The imports of a package as a graph, read from its source."""

import ast
import graphlib
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path


def build_graph(package: Path) -> dict[str, set[str]]:
    """Map each module of `package` to the modules of it that importing the module runs.

    Every import statement counts, wherever it stands: in a function, under `TYPE_CHECKING`, in a `try`.
    """
    modules = find_modules(package)
    graph: dict[str, set[str]] = {}
    for name, path in modules.items():
        within = name if path.name == "__init__.py" else name.rpartition(".")[0]
        named = {longest_module(imported, modules.keys()) for imported in read_imports(path.read_text(), within)}
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


def find_modules(package: Path) -> dict[str, Path]:
    """Map the full name of each module of `package`, itself included, to its file."""
    return {_name(path, package): path for path in package.rglob("*.py")}


def longest_module(imported: str, modules: Collection[str]) -> str:
    """Return the module `a.b` that the name `a.b.c` is taken from, or an empty string."""
    return next((name for name in (imported, *reversed(_around(imported))) if name in modules), "")


def read_imports(source: str, within: str = "") -> Iterator[str]:
    """Yield every name that `source` imports, in full; `within` is the package that its relative imports start from."""
    yield from imports_among(ast.walk(ast.parse(source)), within)


def imports_among(nodes: Iterable[ast.AST], within: str = "") -> Iterator[str]:
    """Yield every name that the import statements among `nodes` import, in full."""
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            start = ".".join(within.split(".")[: within.count(".") + 2 - node.level]) if node.level else ""
            origin = ".".join(part for part in (start, node.module) if part)
            yield from (f"{origin}.{alias.name}" for alias in node.names)


def _name(path: Path, package: Path) -> str:
    parts = path.relative_to(package.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _around(name: str) -> list[str]:
    parts = name.split(".")
    return [".".join(parts[:length]) for length in range(1, len(parts))]
