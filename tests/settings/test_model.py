"""Settings: read once, in order, and then fixed."""

import pickle
from pathlib import Path

import pytest
from pydantic import Field, SecretStr, ValidationError

from ligand_async.settings import Settings, SettingsError
from tests.machine import leave_bare

PASSWORD = "correct-horse-battery"
URL = f"postgresql://pets:{PASSWORD}@db.example/pets"
KEY = "0123456789abcdefghijklmnopqrstuv"
SAFE = {
    "database_url": URL,
    "secret_key": KEY,
    "service_public_url": "https://pets.example",
    "service_private_url": "http://pets:8000",
}
# Each source as what puts a port into it, the strongest first.
SOURCES = ("argument", "LIGAND_PORT", "PORT", ".env", ".quartenv", ".flaskenv", "service.toml", "default")


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    leave_bare(monkeypatch, tmp_path)


def put_port(source: str, port: int, monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    if source == "argument":
        return {"port": port}
    if source.endswith("PORT"):
        monkeypatch.setenv(source, str(port))
    elif source.endswith("env"):
        Path(source).write_text(f"LIGAND_PORT={port}\n")
    elif source == "service.toml":
        monkeypatch.setenv("LIGAND_CONFIG_FILE", source)
        Path(source).write_text(f"port = {port}\n")
    return {}


@pytest.mark.parametrize("strongest", range(len(SOURCES)))
def test_stronger_source_wins(strongest: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A value comes from the strongest source that has one, and the settings remember which that was."""
    overrides: dict[str, int] = {}
    for place, source in list(enumerate(SOURCES))[strongest:]:
        overrides |= put_port(source, 9000 + place, monkeypatch)

    settings = Settings.load("local", **overrides)

    assert settings.sources["port"] == SOURCES[strongest]
    assert settings.port == (8000 if SOURCES[strongest] == "default" else 9000 + strongest)


@pytest.mark.parametrize("prefixed", [True, False])
def test_database_url_is_understood_without_prefix(prefixed: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """DATABASE_URL is read, but LIGAND_DATABASE_URL beside it wins."""
    monkeypatch.setenv("DATABASE_URL", "sqlite+aiosqlite:///plain.db")
    if prefixed:
        monkeypatch.setenv("LIGAND_DATABASE_URL", "sqlite+aiosqlite:///prefixed.db")

    settings = Settings.load("local")

    name = "prefixed" if prefixed else "plain"
    assert settings.database_url.get_secret_value() == f"sqlite+aiosqlite:///{name}.db"


def test_process_variable_without_prefix_beats_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    """The source decides first: PORT of the process is stronger than LIGAND_PORT of a dotenv file."""
    monkeypatch.setenv("PORT", "9001")
    Path(".env").write_text("LIGAND_PORT=9002\n")

    assert Settings.load("local").port == 9001


@pytest.mark.parametrize("source", ["argument", "variable", ".env", "service.toml"])
def test_environment_is_found_in_every_source(source: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment is named by argument, variable, dotenv file or config file."""
    if source == "variable":
        monkeypatch.setenv("LIGAND_ENVIRONMENT", "testing")
    elif source == ".env":
        Path(".env").write_text("LIGAND_ENVIRONMENT=testing\n")
    elif source == "service.toml":
        Path(".env").write_text("LIGAND_CONFIG_FILE=service.toml\n")
        Path("service.toml").write_text('environment = "testing"\n')

    assert Settings.load("testing" if source == "argument" else None).environment == "testing"


def test_environment_is_prod_by_default() -> None:
    """Where nothing names an environment, it is prod."""
    assert Settings.load(**SAFE).environment == "prod"


def test_settings_cannot_be_changed() -> None:
    """A setting cannot be assigned."""
    settings = Settings.load("testing")

    with pytest.raises(ValidationError, match="frozen"):
        settings.port = 1


def test_constructor_reads_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only load reads the environment."""
    monkeypatch.setenv("LIGAND_PORT", "9000")

    assert Settings(environment="prod", **SAFE).port == 8000


def test_constructor_refuses_unknown_settings() -> None:
    """An unknown setting is refused by the constructor too, without showing the value."""
    with pytest.raises(ValidationError) as caught:
        Settings(environment="prod", **SAFE, prot=PASSWORD)

    assert "prot" in str(caught.value)
    assert PASSWORD not in str(caught.value)


@pytest.mark.parametrize(
    "show", [repr, str, lambda settings: settings.model_dump_json(), lambda s: repr(s.model_dump())]
)
def test_secrets_are_never_shown(show: object) -> None:
    """No form of the settings as text holds a secret key or the password in a database URL."""
    assert callable(show)
    settings = Settings.load("prod", **SAFE | {"database_replica_urls": [URL], "database_direct_url": URL})

    text = show(settings)

    assert PASSWORD not in text
    assert KEY not in text


def test_secrets_are_not_logged_by_pydantic_settings(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """PYDANTIC_SETTINGS_DEBUG, which logs raw values, makes no secret of ours appear."""
    monkeypatch.setenv("PYDANTIC_SETTINGS_DEBUG", "1")
    caplog.set_level("DEBUG")

    Settings.load("prod", **SAFE)

    assert PASSWORD not in caplog.text


def test_secrets_are_accepted_wrapped() -> None:
    """An argument may be a SecretStr already."""
    settings = Settings.load("testing", database_url=SecretStr(URL), secret_key=SecretStr(KEY))

    assert settings.database_url.get_secret_value() == URL
    assert settings.secret_key.get_secret_value() == KEY


def test_config_copy_is_upper_case() -> None:
    """The copy for app.config holds every setting by its upper-case name."""
    copy = Settings.load("testing", port=9000).config_copy()

    assert copy.keys() == {key.upper() for key in Settings.model_fields}
    assert copy["PORT"] == 9000


def test_config_copy_reveals_the_secret_key_only() -> None:
    """In the copy Quart finds its secret key as text, while database URLs stay wrapped."""
    copy = Settings.load("prod", **SAFE).config_copy()

    assert copy["SECRET_KEY"] == KEY
    assert isinstance(copy["DATABASE_URL"], SecretStr)
    assert PASSWORD not in repr(copy)


def test_changing_the_copy_changes_no_setting() -> None:
    """What happens to app.config, also deep inside a value, does not reach the settings."""

    class Nested(Settings):
        limits: dict[str, int] = Field(default_factory=lambda: {"pets": 1})

    settings = Nested.load("testing")
    copy = settings.config_copy()
    copy["LIMITS"]["pets"] = 2
    copy["PORT"] = 1

    assert settings.limits == {"pets": 1}
    assert settings.port == 8000


def test_copies_remember_their_sources() -> None:
    """A copy with changed values, as tests make them, still knows where the others came from."""
    changed = Settings.load("testing", port=9000).model_copy(update={"database_pooler": "transaction"})

    assert changed.sources["port"] == "argument"


def test_sources_cannot_be_changed() -> None:
    """The record of sources is read-only."""
    with pytest.raises(TypeError):
        Settings.load("testing").sources["port"] = "me"  # type: ignore[index]  # the law is that this fails


def test_settings_error_survives_pickling() -> None:
    """A SettingsError that another process raised still lists its mistakes."""
    with pytest.raises(SettingsError) as caught:
        Settings.load("prod")

    revived = pickle.loads(pickle.dumps(caught.value))  # noqa: S301  # what we pickled one line before

    assert revived.mistakes == caught.value.mistakes
    assert str(revived) == str(caught.value)
