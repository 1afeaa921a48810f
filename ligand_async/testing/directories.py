"""Private directories that vanish with their owner, or are swept up by the next one."""

import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

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


def memory_directory() -> Path | None:
    """Return the machine's directory in memory, if it has one with room for a database."""
    with contextlib.suppress(OSError):
        room = os.statvfs(_MEMORY)
        if room.f_bavail * room.f_frsize >= _MEMORY_NEEDED and os.access(_MEMORY, os.W_OK | os.X_OK):
            return _MEMORY
    return None


def temporary_directory() -> Path:
    """Return the usual temporary directory, or `/tmp` where that is too long for the path of a Unix socket."""
    usual = Path(tempfile.gettempdir())
    return usual if len(str(usual)) <= _LONGEST_BASE else Path("/tmp")  # noqa: S108  as above


def _sweep(base: Path) -> None:
    for path in base.glob(f"{_PREFIX}*/{_LOCK_NAME}"):
        with contextlib.suppress(OSError), path.open() as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(path.parent, ignore_errors=True)
