"""Database URLs, as people write them."""

from sqlalchemy import URL

from ligand_async.settings import SettingsError
from ligand_async.settings.types import read_database_url, sqlite_file

ASYNC_DRIVERS = {
    "postgres": "postgresql+asyncpg",
    "postgresql": "postgresql+asyncpg",
    "postgresql+asyncpg": "postgresql+asyncpg",
    "sqlite": "sqlite+aiosqlite",
    "sqlite+aiosqlite": "sqlite+aiosqlite",
}


def parse_database_url(text: str) -> URL:
    """Turn a database URL into one that SQLAlchemy's asyncio engine takes.

    `postgres://`, `postgresql://` and `sqlite://` get the driver this framework runs on.

    Args:
        text: The URL; the text never appears in an error.

    Raises:
        SettingsError: It is not a URL, it names another database or driver, or it is an in-memory SQLite database,
            which every connection would see as its own.
    """
    url = read_database_url(text)
    if url is None:
        raise SettingsError(
            "the database URL cannot be read; write it as postgresql://user:password@host/database "
            "or sqlite:///path/to/file.db"
        )
    driver = ASYNC_DRIVERS.get(url.drivername)
    if driver is None:
        raise SettingsError(
            f"the database URL names {url.drivername!r}; this framework runs on postgresql+asyncpg and sqlite+aiosqlite"
        )
    url = url.set(drivername=driver)
    if is_sqlite(url) and sqlite_file(url) is None:
        raise SettingsError("in-memory SQLite is a database per connection; name a file (in tests, one in tmp_path)")
    return url


def is_sqlite(url: URL) -> bool:
    """Tell whether a URL names SQLite."""
    return url.get_backend_name() == "sqlite"
