"""A real Redis of a test's own, which can be stopped, killed, frozen and started again."""

import signal
import socket
import subprocess
import time
from pathlib import Path

from tests.servers import free_port

_START_TIMEOUT = 10.0  # seconds


class RedisServer:
    """A process of `redis-server` on a port of its own, without a file of its data.

    Args:
        program: The program.
        directory: Where its log goes.
    """

    def __init__(self, program: Path, directory: Path) -> None:
        self._program = program
        self._directory = directory
        self._process: subprocess.Popen[bytes] | None = None
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"

    def start(self, *options: str) -> None:
        """Start it, and wait until it listens."""
        where = ["--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--dir", str(self._directory)]
        with (self._directory / "redis.log").open("ab") as log:
            self._process = subprocess.Popen([str(self._program), *where, *options], stdout=log)
        deadline = time.monotonic() + _START_TIMEOUT
        while self._process.poll() is None and time.monotonic() < deadline:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.02)
        raise AssertionError("redis-server did not start")

    def stop(self, number: int = signal.SIGKILL) -> None:
        """End it, if it runs, and wait until it has ended."""
        if self._process is not None:
            self._process.send_signal(number)
            self._process.send_signal(signal.SIGCONT)
            self._process.wait(timeout=10)
            self._process = None

    def freeze(self) -> None:
        """Let it hold its connections and answer nothing, until `thaw` or `stop`."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it answer again."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)
