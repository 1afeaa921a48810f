"""The secret key that `local` makes once and keeps."""

import fcntl
import os
from pathlib import Path
from secrets import token_urlsafe

from ligand_async.settings.environments import MIN_SECRET_KEY
from ligand_async.settings.mistakes import Mistake


def secret_key_file(database_file: Path | None, name: str) -> Path:
    """Return where the key is kept: beside the SQLite database, else in the working directory.

    Args:
        database_file: The SQLite database, if there is one.
        name: What the file is called where there is none, without suffix.
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
        ValueError: The file holds something else than a key.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
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
