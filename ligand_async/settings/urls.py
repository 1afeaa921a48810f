"""The URLs among the settings: which are refused, and how they are shown."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, SecretStr
from pydantic_core import PydanticCustomError
from sqlalchemy import URL
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

MASK = "***"
PASSWORD = re.compile(r"(?<=://)([^/@:\s]*):\S*(?=@)")


@dataclass(frozen=True, slots=True)
class DatabaseAddress:
    """Marks a secret as a database URL, which can be shown without its password."""


def read_database_url(text: str) -> URL | None:
    """Return a SQLAlchemy URL, or None where the text is none."""
    try:
        return make_url(text)
    except (ArgumentError, ValueError):
        return None


def sqlite_file(url: URL | None) -> Path | None:
    """Return the file that a SQLite URL names; None for another database and for one in memory."""
    if url is None or url.get_backend_name() != "sqlite":
        return None
    name = (url.database or "").partition("?")[0].removeprefix("file:")
    if name in {"", ":memory:"} or url.query.get("mode") == "memory":
        return None
    return Path(name)


def check_database_url(value: SecretStr) -> SecretStr:
    """Refuse what is no URL, and SQLite in memory, which is another database for each connection."""
    url = read_database_url(value.get_secret_value())
    if url is None:
        raise PydanticCustomError(
            "ligand_database_url",
            "write it as postgresql://user:password@host/database or sqlite+aiosqlite:///path/to/file.db",
        )
    if url.get_backend_name() == "sqlite" and sqlite_file(url) is None:
        raise PydanticCustomError("ligand_in_memory", "an in-memory database is refused, name a file")
    return value


def check_service_url(value: str) -> str:
    """Refuse what no client can call; return the URL without a slash at its end."""
    try:
        url = urlsplit(value)
        whole = url.scheme in {"http", "https"} and bool(url.hostname) and url.port != 0 and url.username is None
    except ValueError:
        whole = False
    if not whole or not value.isprintable() or any(mark in value for mark in "?# "):
        raise PydanticCustomError(
            "ligand_service_url", "write it as https://host or https://host:port/path, no user, query or fragment"
        )
    return value.rstrip("/")


def masked(value: str) -> str:
    """Show a database URL without its password and options, so that it can be printed.

    Args:
        value: The URL; what cannot be read as one is hidden wholly.
    """
    url = read_database_url(value)
    if url is None:
        return MASK
    shown = url.set(query={}).render_as_string(hide_password=True)
    return f"{shown}?{MASK}" if url.query else shown


def without_passwords(text: str) -> str:
    """Hide the password of every URL in a text."""
    return PASSWORD.sub(rf"\1:{MASK}", text)


DatabaseURL = Annotated[SecretStr, AfterValidator(check_database_url), DatabaseAddress()]
ServiceURL = Annotated[str, AfterValidator(check_service_url)]
