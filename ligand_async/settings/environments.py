"""The environments, and what they make: throw-away databases, and the secret key that `local` makes once and keeps."""

import atexit
import fcntl
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from pathlib import Path
from secrets import token_hex, token_urlsafe
from shutil import rmtree
from tempfile import mkdtemp
from typing import Literal, get_args

from ligand_async.settings.mistakes import Mistake

Environment = Literal["prod", "stage", "local", "testing", "cli"]

ENVIRONMENTS: tuple[Environment, ...] = get_args(Environment)

STRICT: frozenset[str] = frozenset({"prod", "stage"})
MIN_SECRET_KEY = 32
MIN_DISTINCT_BYTES = 10  # 32 random characters have 14 even in hexadecimal; a repeated word has fewer
MIN_DISTINCT_OF_CLIENT = 6  # of a client's secret, which the issuer has made

default_environment: ContextVar[Environment] = ContextVar("ligand_environment", default="prod")


@contextmanager
def without_choice(environment: Environment) -> Iterator[None]:
    """Set the environment of settings loaded inside, if no source names one; outside it is `prod`."""
    token = default_environment.set(environment)
    try:
        yield
    finally:
        default_environment.reset(token)


def throwaway_database_url() -> str:
    """Return the URL of a new SQLite file, which goes when the process ends."""
    return f"sqlite+aiosqlite:///{_throwaway_directory(os.getpid()) / f'{token_hex(8)}.db'}"


@cache
def _throwaway_directory(process: int) -> Path:
    """Make the directory for a process's test databases."""
    path = Path(mkdtemp(prefix="ligand-testing-"))
    atexit.register(_remove_directory, path, process)
    return path


def _remove_directory(path: Path, process: int) -> None:
    """Remove a directory, unless this is a fork of the process that made it."""
    if os.getpid() == process:
        rmtree(path, ignore_errors=True)


def secret_key_file(database_file: Path | None, name: str) -> Path:
    """Return where the key is kept: beside the SQLite database, else in the working directory.

    Args:
        database_file: The SQLite database, if there is one.
        name: The name of the file if there is no database file, without suffix.
    """
    if database_file is None:
        return Path(f"{name}.secret_key")
    return database_file.with_name(f"{database_file.name}.secret_key")


def keep_secret_key(path: Path) -> str:
    """Return the key kept in a file, after making both if need be.

    Processes that start at once agree on one key: each takes the file's lock before it looks inside.

    Args:
        path: The file, readable by its owner only (mode 0600).

    Raises:
        OSError: The file cannot be made, read or written.
        ValueError: The file does not hold a key, or it is not a regular file of this user with one name.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o600)
    found = os.fstat(descriptor)
    if not stat.S_ISREG(found.st_mode) or found.st_uid != os.geteuid() or found.st_nlink != 1:
        os.close(descriptor)  # somebody else may have put it there, or reads it by another name
        raise ValueError("the file is not a regular file of this user with one name")
    with os.fdopen(descriptor, "r+", encoding="ascii") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        os.fchmod(file.fileno(), 0o600)
        key = file.read().strip()
        if not key:
            key = token_urlsafe(MIN_SECRET_KEY)
            file.write(f"{key}\n")
            file.flush()
            os.fsync(file.fileno())
    if len(key) < MIN_SECRET_KEY:
        raise ValueError("the file holds no whole key")
    return key


def not_kept(path: Path, variable: str) -> Mistake:
    """Describe a key that cannot be kept."""
    remedy = f"make its directory writable, or delete the file if it holds something else, or set {variable}"
    return Mistake("secret_key", variable, f"cannot be kept in {path.name}", remedy)
