"""The threat model in the guide of security is held by tests, and says so truly."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
GUIDE = (ROOT / "docs" / "security.md").read_text()
PROMISES = re.compile(r"^\| (\w[\w ]*) \| ([^|]+) \| `(tests/[\w/]+\.py)::(\w+)` \|$", re.MULTILINE)
ATTACKERS = {"stranger", "caller", "web page", "neighbour", "mistake"}


def functions_in(path: Path) -> set[str]:
    nodes = ast.parse(path.read_text()).body
    return {node.name for node in nodes if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}


def test_each_promise_has_its_test() -> None:
    """Every row of the table names an attacker and a test that exists, and every attacker has a promise."""
    promises = PROMISES.findall(GUIDE)
    table = GUIDE.partition("| against | promise | test |\n| --- | --- | --- |\n")[2].partition("\n\n")[0]

    assert len(promises) == len(table.splitlines()) > 20
    assert {attacker for attacker, *_ in promises} == ATTACKERS
    assert [test for *_, file, test in promises if test not in functions_in(ROOT / file)] == []


def test_reports_have_a_way() -> None:
    """The guide leads to the page that says how to report, and that page leads back to the promises."""
    page = (ROOT / "SECURITY.md").read_text()

    assert "[SECURITY.md](../SECURITY.md)" in GUIDE
    assert "docs/security.md#what-the-framework-promises" in page
