"""One throw-away PostgreSQL server: on a Unix socket, in memory, gone when its owner is gone."""

import contextlib
import ctypes
import os
import pwd
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from ligand_async.testing.directories import memory_directory, private_directory, temporary_directory
from ligand_async.testing.programs import copy_programs, find_programs, others_can_run

_START_TIMEOUT = 60.0
_STOP_TIMEOUT = 10.0
_SET_PARENT_DEATH_SIGNAL = 1
# Nothing of this server outlives the test run, so nothing waits for a disk.
_OPTIONS = {
    "listen_addresses": "",
    "max_connections": "200",
    "shared_buffers": "64MB",
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "timezone": "UTC",
    "dynamic_shared_memory_type": "mmap",  # below the data directory, so that nothing stays in the machine's own
}


class ThrowawayPostgres:
    """A PostgreSQL server of one's own, started on entry and removed on exit.

    It listens on a Unix socket in a private directory only, so there is no port to race for. When the process that
    started it dies, even by SIGKILL, the server stops too (on Linux), and the next one to start sweeps up its files.
    """

    def __init__(self, programs: Path | None = None) -> None:
        """Keep the directory of `initdb` and `postgres`; without one they are looked for on entry."""
        self._programs = programs
        self._cleanup = contextlib.ExitStack()
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        """Make the data directory and start the server.

        Raises:
            PostgresNotFound: When no server program is installed.
            RuntimeError: When the server does not come up.
        """
        try:
            self._prepare()
            self.start()
        except BaseException:
            self._cleanup.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Stop the server and remove its files."""
        try:
            self.stop()
        finally:
            self._cleanup.close()

    @property
    def socket_directory(self) -> Path:
        """The directory of the Unix socket: libpq's `host`."""
        return self._root

    def url(self, database: str = "postgres") -> str:
        """Return the SQLAlchemy URL of one database of this server."""
        return f"postgresql+asyncpg://postgres@/{database}?host={self._root}"

    def start(self) -> None:
        """Start the server on the existing data directory and wait until it takes connections.

        Raises:
            RuntimeError: When the server does not come up; the text ends with the end of its log.
        """
        options = _OPTIONS | {"unix_socket_directories": str(self._root)}
        arguments = [part for name, value in options.items() for part in ("-c", f"{name}={value}")]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [self._bin / "postgres", "-D", self._data, *arguments],
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # a Ctrl-C at the terminal is pytest's to handle
                preexec_fn=_death_with_parent(),
                **self._spawning,
            )
        self._wait_until_ready(self._process)

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """Stop the server: SIGINT drops its clients, SIGTERM waits for them, SIGQUIT is a crash."""
        process, self._process = self._process, None
        if process is None:
            return
        if process.poll() is None:
            process.send_signal(how)
        try:
            process.wait(_STOP_TIMEOUT)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(_STOP_TIMEOUT)

    def _prepare(self) -> None:
        self._bin = self._programs or find_programs()
        self._root = self._cleanup.enter_context(private_directory(memory_directory() or temporary_directory()))
        self._data = self._root / "data"
        self._log = self._root / "log"
        environment = {"PATH": "/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC", "HOME": str(self._root)}
        self._spawning: dict[str, Any] = {"env": environment, "cwd": "/"}
        if os.geteuid() == 0:  # the server refuses to run as root
            user = _unprivileged_user()
            self._spawning |= {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
            os.chown(self._root, user.pw_uid, user.pw_gid)
            if not others_can_run(self._bin):
                # Not beside the data: a container's memory file system often refuses to execute.
                copies = self._cleanup.enter_context(private_directory(temporary_directory()))
                copies.chmod(0o755)
                self._bin = copy_programs(self._bin, copies)
        self._initialise()

    def _initialise(self) -> None:
        flags = ["--username=postgres", "--auth=trust", "--encoding=UTF8", "--no-locale", "--no-sync"]
        answer = subprocess.run(
            [self._bin / "initdb", "-D", self._data, *flags],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=_START_TIMEOUT,
            check=False,
            **self._spawning,
        )
        if answer.returncode:
            raise RuntimeError(f"initdb failed with status {answer.returncode}:\n{answer.stdout.decode()}")

    def _wait_until_ready(self, process: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + _START_TIMEOUT
        while time.monotonic() < deadline and process.poll() is None:
            if self._state_of(process.pid) == "ready":
                return
            time.sleep(0.02)
        log = self._log.read_text(errors="replace")[-2000:]
        self.stop(signal.SIGQUIT)
        raise RuntimeError(f"PostgreSQL did not start:\n{log}")

    def _state_of(self, pid: int) -> str:
        # A server that crashed leaves this file behind, so the process id in it must be ours.
        with contextlib.suppress(OSError):
            lines = (self._data / "postmaster.pid").read_text().splitlines()
            if len(lines) >= 8 and lines[0] == str(pid):
                return lines[7].strip()
        return ""


def _unprivileged_user() -> pwd.struct_passwd:
    try:
        return pwd.getpwnam("postgres")
    except KeyError:
        return pwd.getpwnam("nobody")


def _death_with_parent() -> Callable[[], None] | None:
    if sys.platform != "linux":
        return None
    libc = ctypes.CDLL(None)

    def ask_kernel() -> None:
        libc.prctl(_SET_PARENT_DEATH_SIGNAL, signal.SIGINT)

    return ask_kernel
