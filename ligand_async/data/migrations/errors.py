"""Errors of migrations, for the people who run them, without secrets and values."""

import os
import socket
import ssl
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from alembic.script.revision import RevisionError
from alembic.util import CommandError
from sqlalchemy import URL
from sqlalchemy.exc import DBAPIError

from ligand_async.data.errors import sqlstate_of


class MigrationError(RuntimeError):
    """A migration, or a command about migrations, did not do what was asked."""


class MigrationsNotFound(MigrationError):
    """The migrations directory was not found, or could not be made."""


class MigrationLockHeld(MigrationError):
    """Another process was still migrating the same database when the time to wait was over."""


class MigrationFailed(MigrationError):
    """A migration raised an error; the text says in which file and line."""


def explain_unreachable(url: URL, error: BaseException) -> str:
    """Return the message for a database that cannot be reached, with the reason as far as it is known."""
    return f"cannot reach the database {_name_of(url)}: {reason_of(error)}"


def _name_of(url: URL) -> str:
    """Return a database's URL without user, password and options."""
    host = url.host or url.query.get("host") or None
    plain_host = ",".join(host) if isinstance(host, tuple) else host
    return URL.create(url.get_backend_name(), host=plain_host, port=url.port, database=url.database).render_as_string()


def reason_of(error: BaseException) -> str:
    """Return why, by the innermost error: the driver's or the system's own words."""
    while error.__cause__ is not None:
        error = error.__cause__
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, socket.gaierror):
        return error.strerror or "unknown host"
    if isinstance(error, ssl.SSLError):
        return getattr(error, "verify_message", None) or error.reason
    if isinstance(error, OSError) and error.errno:
        return os.strerror(error.errno)
    return _first_line(error)


def _first_line(error: BaseException) -> str:
    """Return the first line of an error: what follows in a database's errors are values."""
    return (str(error).splitlines() or [type(error).__name__])[0]


@contextmanager
def naming_failures(directory: Path) -> Iterator[None]:
    """Return the migration and the line in which something failed.

    Raises:
        MigrationFailed: A migration raised.
        MigrationError: Alembic cannot do what was asked.
    """
    try:
        yield
    except MigrationError:
        raise
    except (CommandError, RevisionError) as error:
        raise MigrationError(str(error)) from error
    except Exception as error:
        place = _place_in(directory, error)
        raise MigrationFailed(f"{place}{words_of(error)}") from error


def _place_in(directory: Path, error: BaseException) -> str:
    """Return the file and line below a directory where an error came from, or nothing."""
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        file = Path(frame.filename)
        if file.is_relative_to(directory) and file.name != "env.py":
            return f"{file.relative_to(directory)}, line {frame.lineno}: "
    return ""


def words_of(error: BaseException) -> str:
    """Return what an error says: the database's own words with their SQLSTATE, or the exception as Python shows it."""
    if isinstance(error, DBAPIError):
        driver_error = error.orig.__cause__ if error.orig is not None and error.orig.__cause__ else error.orig
        state = sqlstate_of(error)
        return _first_line(driver_error or error) + (f" ({state})" if state else "")
    return f"{type(error).__name__}: {_first_line(error)}"
