"""What every test of this repository can ask for."""

import gc
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests import machine
from tests.provider.running import Provider, running_provider
from tests.redis_server import RedisServer

_PLUGIN = "ligand_async.testing.plugin"
# Its entry point loads it where the package is installed; a bare checkout needs it named.
pytest_plugins = ["pytester"] if _PLUGIN in sys.modules else ["pytester", _PLUGIN]


EXAMPLES = Path(__file__).parent / "examples"
SHOWN = ("test_guides.py", "test_readme.py")
SOAKING = os.environ.get("LIGAND_SOAK") == "1"


# Thousands of tests make a hundred thousand objects that stay: looking for garbage among them took a tenth of a run.
gc.set_threshold(50_000, 20, 100)


def pytest_collection_finish() -> None:
    """Leave what was imported and collected out of the search for garbage."""
    gc.collect()
    gc.freeze()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Under `make soak`, run the tests that have a full form and no others.

    What is shown to be read keeps to its documents strictly; services that tests make up may raise what they like.
    """
    for item in items:
        if EXAMPLES in item.path.parents or item.path.name in SHOWN:
            item.add_marker(pytest.mark.ligand_conformance("strict"))
    if SOAKING:
        others = [item for item in items if "figure" not in getattr(item, "fixturenames", ())]
        config.hook.pytest_deselected(items=others)
        items[:] = [item for item in items if item not in others]


@pytest.fixture
def require_tool() -> Callable[[str], Path]:
    """Return the function that finds a program, and skips or fails the test where it is missing."""
    return machine.require_tool


@pytest.fixture
def redis_server(require_tool: Callable[[str], Path], tmp_path: Path) -> Iterator[RedisServer]:
    """Run a Redis of the test's own."""
    server = RedisServer(require_tool("redis-server"), tmp_path)
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def provider(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Provider]:
    """Run a real issuer for all tests; one that stops it or rotates its keys runs another of its own."""
    with running_provider(tmp_path_factory.mktemp("provider")) as running:
        yield running


@pytest.fixture(scope="session")
def figure() -> Callable[[int, int], int]:
    """Return the function that picks a figure: `figure(quick, full)` is `full` under `make soak`, else `quick`."""

    def pick(quick: int, full: int) -> int:
        return full if SOAKING else quick

    return pick
