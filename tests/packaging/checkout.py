"""This repository, copies of it such as a newcomer has, and `make run` in one of them."""

import os
import shutil
import signal
import socket
import subprocess
import time
import tomllib
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

ROOT = Path(__file__).parents[2]
_LEFT_OUT = shutil.ignore_patterns(
    ".git",
    ".venv*",
    ".bench",
    "__pycache__",
    ".*_cache",
    ".hypothesis",
    ".coverage*",
    "*.db",
    "*.db-*",
    "*.secret_key",
    "dist",
)


def read_project() -> dict[str, Any]:
    """Return pyproject.toml."""
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


def copy_checkout(target: Path) -> Path:
    """Copy what a fresh clone holds, with the changes that are not committed yet."""
    shutil.copytree(ROOT, target, ignore=_LEFT_OUT)
    return target


_OWN_VARIABLES = ("LIGAND_", "DATABASE_URL", "PORT", "MAKE", "MFLAGS", "PYTHON", "VIRTUAL_ENV", "COVERAGE")


class MakeRun:
    """One `make run`, stopped by Ctrl-C at the latest on exit."""

    def __init__(
        self, checkout: Path, *, environment: Mapping[str, str] | None = None, user: int | None = None
    ) -> None:
        """Keep what to run it with."""
        self._checkout = checkout
        self._environment = clean_environment() | dict(environment or {})
        self._user = user
        self.port = free_port()
        self.address = f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        """Start it."""
        self._log = self._checkout / "make-run.log"
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                ["make", "run", f"PORT={self.port}"],
                cwd=self._checkout,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                user=self._user,
                group=self._user,
                extra_groups=None if self._user is None else [],
            )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Kill what is still there."""
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait(10)

    @property
    def output(self) -> str:
        """What it has printed so far."""
        return self._log.read_text(errors="replace")

    def wait_until_ready(self, seconds: float) -> float:
        """Wait until it answers, and return how many seconds that took."""
        start = time.monotonic()
        while time.monotonic() < start + seconds:
            assert self._process.poll() is None, self.output
            try:
                with urllib.request.urlopen(f"{self.address}/readyz", timeout=2):
                    return time.monotonic() - start
            except (urllib.error.URLError, OSError):
                time.sleep(0.1)
        raise AssertionError(f"not ready after {seconds} s:\n{self.output}")

    def press_ctrl_c(self, seconds: float) -> int:
        """Send what a terminal sends, and return the exit status."""
        os.killpg(self._process.pid, signal.SIGINT)
        return self._process.wait(seconds)


def clean_environment() -> dict[str, str]:
    """Return this process's environment without what would change a run."""
    return {name: value for name, value in os.environ.items() if not name.startswith(_OWN_VARIABLES)}


def free_port() -> int:
    """Return a free port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
