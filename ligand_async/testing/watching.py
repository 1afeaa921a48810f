"""The part of the pytest plugin that checks every response of a suite: loaded where `ligand_conformance` is set."""

from collections.abc import Iterator
from typing import Any

import pytest
from quart.testing import QuartClient

from ligand_async.testing.conformance import Conformance, WatchedClient
from ligand_async.testing.documented import Presence
from ligand_async.web import LigandQuart

_MODES = ("off", "lenient", "strict")
_MARKER = "ligand_conformance"
_KEY = "ligand_presence"


class Watching:
    """Lets the test clients of every app check their responses, as the setting and the test's marker say.

    Args:
        mode: What the setting says.
    """

    def __init__(self, mode: str) -> None:
        self.mode = mode
        self.presence = Presence()
        self.current: Conformance | None = None
        self.checks = {"lenient": Conformance(strict=False), "strict": Conformance(strict=True)}
        for conformance in self.checks.values():
            conformance.presence = self.presence
        watching = self

        class Watched(WatchedClient, QuartClient):
            def conformance(self) -> Conformance | None:
                return watching.current

        # Before any test module makes its app; what mixes into an app's own client builds on this.
        LigandQuart.test_client_class = Watched  # type: ignore[assignment]  # Quart's protocol leaves the constructor open

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self) -> Iterator[None]:
        """Stop when a test has ended, its fixtures too."""
        try:
            return (yield)
        finally:
            self.current = None

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        """Begin before the fixtures of a test."""
        self.current = self.checks.get(self.mode_of(item))

    def mode_of(self, item: pytest.Item) -> str:
        """Return how strictly a test's responses are checked.

        Raises:
            pytest.UsageError: The marker is wrong.
        """
        marker = item.get_closest_marker(_MARKER)
        if marker is None:
            return self.mode
        mode = marker.args[0] if len(marker.args) == 1 else None
        if mode not in _MODES:
            raise pytest.UsageError(f"{item.nodeid}: the marker {_MARKER} takes one of {', '.join(_MODES)}")
        if mode == "off" and not marker.kwargs.get("reason"):
            raise pytest.UsageError(f'{item.nodeid}: {_MARKER}("off") needs a reason="..."')
        return str(mode)

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Give what was seen to the process that reports, under pytest-xdist."""
        output = getattr(session.config, "workeroutput", None)
        if output is not None:
            output[_KEY] = self.presence.dump()

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        """Take what a worker of pytest-xdist has seen."""
        self.presence.load(getattr(node, "workeroutput", {}).get(_KEY, []))

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        """List what the documents call optional although it was there always, or never."""
        habits = [*self.presence.habits(5)]
        if habits:
            terminalreporter.section("optional members that are not (ligand_conformance)")
            for habit in habits:
                terminalreporter.line(habit)
