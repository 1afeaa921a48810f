"""A service's own settings, typed and with a prefix of its own."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from pydantic import Field, SecretStr, model_validator

from ligand_async.settings import Settings, SettingsError
from tests.machine import leave_bare

SAFE = {
    "database_url": "postgresql://pets@db/pets",
    "secret_key": "0123456789abcdefghijklmnopqrstuv",
    "service_public_url": "https://pets.example",
    "service_private_url": "http://pets:8000",
}


class PetSettings(
    Settings,
    prefix="PETSTORE_",
    defaults={"local": {"database_url": "sqlite+aiosqlite:///pets.db", "mail_url": "smtp://127.0.0.1"}},
):
    mail_url: str
    mail_password: SecretStr = SecretStr("")
    mail_retries: int = 3


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    leave_bare(monkeypatch, tmp_path)


def test_own_settings_are_typed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A subclass's settings are read and validated like ours."""
    monkeypatch.setenv("PETSTORE_MAIL_URL", "smtp://mail")
    monkeypatch.setenv("PETSTORE_MAIL_RETRIES", "5")

    settings = PetSettings.load("local")

    assert (settings.mail_url, settings.mail_retries) == ("smtp://mail", 5)


def test_prefix_renames_every_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a prefix of its own a service reads its own variables, and not ours."""
    monkeypatch.setenv("PETSTORE_PORT", "9000")
    monkeypatch.setenv("LIGAND_PORT", "9001")
    monkeypatch.setenv("LIGAND_ENVIRONMENT", "prod")
    monkeypatch.setenv("PETSTORE_ENVIRONMENT", "local")

    settings = PetSettings.load()

    assert (settings.environment, settings.port) == ("local", 9000)


def test_prefix_is_inherited() -> None:
    """A subclass of a subclass keeps the prefix, and its base keeps its own."""

    class More(PetSettings):
        pass

    assert More.vocabulary().prefix == "PETSTORE_"
    assert Settings.vocabulary().prefix == "LIGAND_"


def test_prefix_names_the_local_database() -> None:
    """The SQLite file of local is called after the prefix."""

    class Vets(Settings, prefix="VET_CLINIC_"):
        pass

    assert Vets.load("local").database_url.get_secret_value() == "sqlite+aiosqlite:///vet_clinic.db"


@pytest.mark.parametrize("environment", ["prod", "stage", "testing"])
def test_setting_without_default_is_required(environment: str) -> None:
    """A setting without default is required, and the mistake names its variable."""
    with pytest.raises(SettingsError) as caught:
        PetSettings.load(environment, **SAFE)

    (mistake,) = caught.value.mistakes
    assert (mistake.key, mistake.variable) == ("mail_url", "PETSTORE_MAIL_URL")


def test_cli_needs_no_setting_of_a_service() -> None:
    """In cli a required setting may be absent: reading it says which variable to set."""
    settings = PetSettings.load("cli")

    assert settings.sources["mail_url"] == "not set"
    with pytest.raises(AttributeError, match="PETSTORE_MAIL_URL"):
        settings.mail_url  # noqa: B018  # the law is about this access


@pytest.mark.filterwarnings("error")
def test_absent_setting_is_absent_everywhere() -> None:
    """What is not set in cli appears neither as text, nor in a dump, nor in the copy for app.config."""
    settings = PetSettings.load("cli")

    assert "mail_url" not in repr(settings)
    assert "mail_url" not in settings.model_dump_json()
    assert "MAIL_URL" not in settings.config_copy()
    assert "mail_url" not in settings.model_fields_set


def test_other_attributes_are_missed_as_usual() -> None:
    """An attribute that is not a setting raises Python's own error."""
    with pytest.raises(AttributeError, match="has no attribute 'mial_url'"):
        PetSettings.load("cli").mial_url  # type: ignore[attr-defined]  # noqa: B018  # the law is about this access


def test_cli_takes_what_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    """In cli a setting that is given counts."""
    monkeypatch.setenv("PETSTORE_MAIL_URL", "smtp://mail")

    assert PetSettings.load("cli").mail_url == "smtp://mail"


def test_defaults_of_a_class_are_the_environment_s() -> None:
    """A class adds to the row of an environment, and the source says so."""
    settings = PetSettings.load("local")

    assert settings.database_url.get_secret_value() == "sqlite+aiosqlite:///pets.db"
    assert settings.sources["mail_url"] == "default of local"
    assert Path("pets.db.secret_key").is_file()


def test_defaults_of_a_subclass_lie_over_those_of_its_base() -> None:
    """Rows are merged key by key, the subclass's being stronger."""

    class More(PetSettings, defaults={"local": {"mail_url": "smtp://more"}, "testing": {"mail_url": "smtp://test"}}):
        pass

    local = More.load("local")

    assert (local.mail_url, More.load("testing").mail_url) == ("smtp://more", "smtp://test")
    assert local.database_url.get_secret_value() == "sqlite+aiosqlite:///pets.db"
    assert PetSettings.load("local").mail_url == "smtp://127.0.0.1"


def test_default_of_a_setting_beats_the_framework_s_row() -> None:
    """A subclass that gives one of our settings a default means it, where no rule forbids that."""

    class Vets(Settings):
        service_public_url: Any = "http://vets"

    assert Vets.load("local").service_public_url == "http://vets"


def test_defaults_may_hold_what_prod_requires() -> None:
    """A service without a database says so for prod in its class."""

    class Vets(Settings, defaults={"prod": {"database_url": "sqlite:///none.db"}}):
        pass

    settings = Vets.load("prod", **{key: value for key, value in SAFE.items() if key != "database_url"})

    assert settings.sources["database_url"] == "default of prod"


def test_validators_see_a_key_in_local() -> None:
    """A service's validator may read every setting, the kept key included."""

    class Vets(Settings):
        @model_validator(mode="after")
        def check_key(self) -> "Vets":
            assert len(self.secret_key.get_secret_value()) >= 32
            return self

    assert Vets.load("local").environment == "local"


@pytest.mark.parametrize("prefix", ["", "PETSTORE", "petstore_", "PET-STORE_", "_", "1_"])
def test_unusable_prefix_is_refused(prefix: str) -> None:
    """A prefix is upper-case with an underscore at its end, or the class cannot be made."""
    with pytest.raises(TypeError, match="upper-case and end with '_'"):
        type("Vets", (Settings,), {}, prefix=prefix)


@pytest.mark.parametrize(
    ("defaults", "message"),
    [
        ({"lokal": {}}, "the environments are prod, stage"),
        ({"local": {"prot": 1}}, "name no setting: prot"),
        ({"local": {"environment": "prod"}}, "name no setting: environment"),
        ({"prod": {"secret_key": "0123456789abcdefghijklmnopqrstuv"}}, "a secret must not stand in the code"),
        ({"stage": {"secret_key": "0123456789abcdefghijklmnopqrstuv"}}, "a secret must not stand in the code"),
    ],
)
def test_unusable_defaults_are_refused(defaults: Mapping[str, Mapping[str, Any]], message: str) -> None:
    """Rows of defaults that could never hold, or should not, are refused with the class."""
    with pytest.raises(TypeError, match=message):
        type("Vets", (Settings,), {}, defaults=defaults)


@pytest.mark.filterwarnings("ignore:Field name")
@pytest.mark.parametrize(
    ("name", "default", "message"),
    [
        ("title", "x", "reserved name"),
        ("version", "x", "reserved name"),
        ("client_name", "x", "reserved name"),
        ("config_file", "x", "reserved name"),
        ("mailURL", "x", "must be lower-case"),
        ("load", "x", "hides an attribute"),
        ("sources", "x", "hides an attribute"),
        ("mail", Field("x", alias="post"), "has an alias"),
        ("mail", Field("x", validation_alias="post"), "has an alias"),
    ],
)
def test_unusable_setting_is_refused(name: str, default: Any, message: str) -> None:
    """A setting that could not be read, or would hide something, is refused with the class."""
    with pytest.raises(TypeError, match=message):
        type("Vets", (Settings,), {"__annotations__": {name: str}, name: default})


def test_model_options_are_kept() -> None:
    """Options of pydantic's models can still be given with the class."""

    class Vets(Settings, str_strip_whitespace=True, prefix="VETS_"):
        name: str = ""

    assert Vets.load("testing", name=" Ann ").name == "Ann"
