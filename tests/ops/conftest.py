"""The loops that the server may run on: uvloop, and asyncio's own where the platform has no uvloop."""

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import uvloop

_LOOPS: Mapping[str, Callable[[], asyncio.AbstractEventLoop]] = {
    "uvloop": uvloop.new_event_loop,
    "asyncio": asyncio.new_event_loop,
}


def pytest_asyncio_loop_factories(config: pytest.Config, item: pytest.Item) -> Mapping[str, object]:
    """Run each test on both."""
    return _LOOPS


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave asyncio's loop to `make test-all`."""
    for item in items:
        if item.path.parent == Path(__file__).parent and _loop_of(item) is _LOOPS["asyncio"]:
            item.add_marker(pytest.mark.extended)


def _loop_of(item: pytest.Item) -> object:
    callspec = getattr(item, "callspec", None)
    return None if callspec is None else callspec.params.get("_asyncio_loop_factory")
