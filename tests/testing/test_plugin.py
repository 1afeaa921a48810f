"""The pytest plugin in projects that are not this one."""

import subprocess
import sys
from pathlib import Path

import pytest

from ligand_async import testing

pytestmark = pytest.mark.extended

ROOT = Path(__file__).parents[2]
LOAD = """
import sys
pytest_plugins = [] if "ligand_async.testing.plugin" in sys.modules else ["ligand_async.testing.plugin"]
"""
# The facade imports the whole package, which is its job; a bare package in its place shows what the plugin adds.
IMPORT_WITHOUT_FACADE = """
import sys, types
package = types.ModuleType("ligand_async")
package.__path__ = [sys.argv[1]]
sys.modules["ligand_async"] = package
import ligand_async.testing.plugin
heavy = {"sqlalchemy", "quart", "asyncpg", "pydantic", "alembic", "jsonschema", "openapi_schema_validator"}
print(sorted(heavy & sys.modules.keys()))
"""


@pytest.fixture
def project(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """A project of somebody else that has this package installed."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    pytester.makeconftest(LOAD)
    pytester.makepyfile("def test_backend(database_url): assert database_url")
    return pytester


def test_plugin_imports_little() -> None:
    """The plugin itself imports neither the framework nor a database, nor what not everybody has installed."""
    command = [sys.executable, "-c", IMPORT_WITHOUT_FACADE, str(ROOT / "ligand_async")]
    answer = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert answer.stdout == "[]\n"


def test_every_name_of_the_door_is_there() -> None:
    """What the package lists can be imported, although each name is imported late."""
    for name in testing.__all__:
        assert getattr(testing, name).__name__ == name


def test_option_chooses_one_database(project: pytest.Pytester) -> None:
    """`--ligand-database=sqlite` runs the SQLite variants only."""
    outcome = project.runpytest_subprocess("--ligand-database=sqlite", "-v")
    outcome.assert_outcomes(passed=1, deselected=1)
    outcome.stdout.fnmatch_lines("*test_backend[[]sqlite[]] PASSED*")


def test_both_databases_by_default(project: pytest.Pytester) -> None:
    """Without a choice, a test runs on both databases."""
    project.runpytest_subprocess().assert_outcomes(passed=2)


def test_fixture_of_the_project_wins(project: pytest.Pytester) -> None:
    """A project's own `database_url` is left alone, whatever the option says."""
    project.makepyfile("""
        import pytest

        @pytest.fixture(params=["a", "b"])
        def database_url(request):
            return request.param

        def test_backend(database_url):
            assert database_url in {"a", "b"}
    """)
    project.runpytest_subprocess("--ligand-database=postgresql").assert_outcomes(passed=2)


def test_plugin_works_without_pytest_asyncio(project: pytest.Pytester) -> None:
    """The fixtures need no asyncio plugin."""
    project.runpytest_subprocess("-p", "no:asyncio").assert_outcomes(passed=2)


def test_plugin_works_under_xdist(project: pytest.Pytester) -> None:
    """Each worker of pytest-xdist has a server of its own."""
    pytest.importorskip("xdist")
    project.runpytest_subprocess("-n", "2").assert_outcomes(passed=2)
