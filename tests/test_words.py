"""Plain English in docstrings, messages and guides, as far as a program can check it."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FIRST_WORDS = re.compile(r"(Tell|What|Whoever)\b")
# "There is no pet" is English; "the key is no pet" should be "the key is not a pet".
IS_NO = re.compile(r"(?<!there) (is|are|was|were) no (?!longer\b|more than\b|less than\b)\w", re.IGNORECASE)
CODE = re.compile(r"```.*?```|`[^`]*`", re.DOTALL)


def find_violations(path: Path) -> Iterator[str]:
    """Yield each sentence of a file that breaks a rule."""
    text = path.read_text()
    if path.suffix == ".md":
        yield from (match[0] for match in IS_NO.finditer(CODE.sub("``", text)))
        return
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            docstring = ast.get_docstring(node) or ""
            if FIRST_WORDS.match(docstring):
                yield docstring.partition("\n")[0]
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield from (match[0] for match in IS_NO.finditer(node.value))


def checked_files() -> dict[str, Path]:
    """Return the package's modules, the guides and what stands beside them."""
    package = sorted((ROOT / "ligand_async").rglob("*.py"))
    pages = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]
    return {str(path.relative_to(ROOT)): path for path in (*package, *pages)}


def find_by_room() -> dict[str, list[str]]:
    """Return the violations in each room of the package, and in each page."""
    found: dict[str, list[str]] = {}
    for name, path in checked_files().items():
        room = "/".join(name.split("/")[:2]) if name.startswith("ligand_async/") else name
        found.setdefault(room, []).extend(f"{name}: {text}" for text in find_violations(path))
    return found


def test_words_are_plain() -> None:
    """No docstring begins with Tell, What or Whoever, and nothing "is no" thing."""
    assert {room: lines for room, lines in find_by_room().items() if lines} == {}


@pytest.mark.parametrize(
    ("name", "text", "count"),
    [
        ("a.py", '"""Tell whether it rains."""', 1),
        ("a.py", '"""Telling.\n\nThe key is no text, and they are no keys."""', 2),
        ("a.py", 'def f():\n    raise ValueError("this is no number")', 1),
        ("a.py", '"""Rain.\n\nThere is no key; it is no longer there and is no more than 3."""', 0),
        ("a.md", "A key is no text. `a is no b`.\n```python\n# this is no text\n```\n", 1),
    ],
)
def test_violations_are_found(tmp_path: Path, name: str, text: str, count: int) -> None:
    """Docstrings, messages and prose are searched, and code in guides is not."""
    path = tmp_path / name
    path.write_text(text)

    assert len(list(find_violations(path))) == count
