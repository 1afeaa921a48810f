"""Database URLs, as people write them."""

import pytest
from sqlalchemy import text

from ligand_async.data import parse_database_url
from ligand_async.settings import SettingsError
from tests.services import db, make_app, running


@pytest.mark.parametrize(
    ("written", "driver"),
    [
        ("postgres://user@host/pets", "postgresql+asyncpg"),
        ("postgresql://user@host/pets", "postgresql+asyncpg"),
        ("postgresql+asyncpg://user@host/pets", "postgresql+asyncpg"),
        ("sqlite:///pets.db", "sqlite+aiosqlite"),
        ("sqlite+aiosqlite:////var/lib/pets.db", "sqlite+aiosqlite"),
    ],
)
def test_driver_is_filled_in(written: str, driver: str) -> None:
    """Whatever form a hosting platform hands out, the driver is the asyncio one."""
    assert parse_database_url(written).drivername == driver


def test_the_rest_of_the_url_stays() -> None:
    """User, password, host, port, name and options are left as they are."""
    url = parse_database_url("postgres://us%40er:p%2Fw@host:6432/pets?ssl=require")

    assert url.render_as_string(hide_password=False) == (
        "postgresql+asyncpg://us%40er:p%2Fw@host:6432/pets?ssl=require"
    )


@pytest.mark.parametrize(
    "url",
    [
        "sqlite://",
        "sqlite:///:memory:",
        "sqlite+aiosqlite://",
        "sqlite:///file::memory:?cache=shared&uri=true",
        "sqlite:///file:pets?mode=memory&uri=true",
    ],
)
def test_in_memory_databases_are_refused(url: str) -> None:
    """A database per connection would lose what was written: the error says to name a file."""
    with pytest.raises(SettingsError, match="in-memory SQLite is a database per connection; name a file"):
        parse_database_url(url)


def test_create_app_refuses_an_in_memory_database() -> None:
    """The mistake shows when the app is made, not at the first request."""
    with pytest.raises(SettingsError, match="memory"):
        make_app("sqlite+aiosqlite:///:memory:")


@pytest.mark.parametrize("url", ["mysql://secret@host/pets", "postgresql+psycopg2://secret@host/pets"])
def test_other_drivers_are_refused_by_name(url: str) -> None:
    """The error names the driver and those that would do, and none of the rest."""
    with pytest.raises(SettingsError, match=r"(mysql|psycopg2).*runs on postgresql\+asyncpg") as caught:
        parse_database_url(url)
    assert "secret" not in str(caught.value)


def test_what_is_no_url_is_not_repeated() -> None:
    """The text of a URL that cannot be read may be a password: it is in no error, nor in what that was raised from."""
    with pytest.raises(SettingsError, match="cannot be read") as caught:
        parse_database_url("secret")
    assert "secret" not in str(caught.value)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize("scheme", ["postgres", "postgresql"])
async def test_plain_urls_work_end_to_end(postgres_url: str, scheme: str) -> None:
    """A service runs on a URL without a driver, as platforms hand them out."""
    app = make_app(postgres_url.replace("postgresql+asyncpg", scheme))
    async with running(app, tables=False), db.read() as session:
        assert await session.scalar(text("SELECT 1")) == 1
