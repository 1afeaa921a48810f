"""The URLs among the settings."""

from pathlib import Path

import pytest
from hypothesis import given, strategies
from sqlalchemy import URL

from ligand_async.settings import Settings, SettingsError, masked, read_database_url, sqlite_file, without_passwords
from tests.machine import leave_bare


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    leave_bare(monkeypatch, tmp_path)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql+asyncpg://u:hunter2@h:5/d", "postgresql+asyncpg://u:***@h:5/d"),
        ("postgres://h/d", "postgres://h/d"),
        ("postgresql://u@h/d?password=hunter2&sslmode=require", "postgresql://u@h/d?***"),
        ("sqlite+aiosqlite:///pets.db", "sqlite+aiosqlite:///pets.db"),
        ("hunter2", "***"),
        ("postgresql://u:hunter2@h:port/d", "***"),
    ],
)
def test_masked_url_shows_host_and_database(url: str, shown: str) -> None:
    """A masked URL shows where the database is, but neither password nor options."""
    assert masked(url) == shown


@given(password=strategies.text(min_size=8).filter(lambda text: "*" not in text))
def test_masked_url_never_shows_the_password(password: str) -> None:
    """Whatever the password, and however SQLAlchemy writes it, it is masked."""
    url = URL.create("postgresql", "u", password, "h", 5432, "d").render_as_string(hide_password=False)

    assert masked(url) == "postgresql://u:***@h:5432/d"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("amqp://u:hunter2@h/v", "amqp://u:***@h/v"),
        ("redis://:hunter2@h", "redis://:***@h"),
        ("redis://:hunter/2@h", "redis://:***@h"),
        ("see amqp://u:p@h and http://h/x", "see amqp://u:***@h and http://h/x"),
        ("http://h:80/a", "http://h:80/a"),
        ("plain", "plain"),
    ],
)
def test_passwords_in_other_urls_are_hidden(text: str, shown: str) -> None:
    """A plain setting that holds a URL with a password is shown without it."""
    assert without_passwords(text) == shown


@pytest.mark.parametrize(
    ("url", "file"),
    [
        ("sqlite:///pets.db", "pets.db"),
        ("sqlite+aiosqlite:////srv/pets.db", "/srv/pets.db"),
        ("sqlite:///file:pets.db?uri=true", "pets.db"),
        ("sqlite://", None),
        ("sqlite:///:memory:", None),
        ("sqlite:///file::memory:?uri=true", None),
        ("sqlite:///file:x?mode=memory&uri=true", None),
        ("postgresql://h/d", None),
        ("nonsense", None),
    ],
)
def test_sqlite_file_is_found(url: str, file: str | None) -> None:
    """A SQLite URL names a file, or none where it is in memory."""
    assert sqlite_file(read_database_url(url)) == (Path(file) if file else None)


@pytest.mark.parametrize("key", ["service_public_url", "service_private_url"])
@pytest.mark.parametrize(
    "url",
    [
        "pets.example",
        "/pets",
        "ftp://pets.example",
        "javascript:alert(1)",
        "http://",
        "http://u:hunter2@pets.example",
        "http://pets.example?x=1",
        "http://pets.example#x",
        "http://pets.example:0",
        "http://pets.example:99999",
        "http://[pets.example",
        "http://pets example",
        "http://pets.example\n",
        "",
    ],
)
def test_url_no_client_can_call_is_refused(key: str, url: str) -> None:
    """A service's URL is http or https with a host, and nothing that is not for every client."""
    with pytest.raises(SettingsError, match=key) as caught:
        Settings.load("testing", **{key: url})

    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("url", ["https://pets.example", "http://127.0.0.1:8000", "https://[::1]:8443/pets"])
def test_url_loses_its_last_slash(url: str) -> None:
    """Paths can be appended to a service's URL."""
    assert Settings.load("testing", service_public_url=f"{url}/").service_public_url == url


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("database_pool_size", 0),
        ("database_pool_timeout", 0),
        ("database_connect_timeout", "nan"),
        ("database_statement_timeout", "inf"),
        ("database_command_timeout", -1),
        ("database_lock_timeout", 0),
        ("max_body_bytes", 0),
        ("port", 0),
        ("database_pooler", "session"),
        ("database_url", "nonsense"),
        ("database_direct_url", "nonsense"),
        ("database_replica_urls", ["nonsense"]),
    ],
)
def test_value_out_of_bounds_is_refused(key: str, value: object) -> None:
    """Sizes and seconds are positive and finite, URLs can be read."""
    with pytest.raises(SettingsError, match=key):
        Settings.load("testing", **{key: value})
