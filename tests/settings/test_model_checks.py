"""What create_app asks: no debug in production, no config that hides a setting."""

from pathlib import Path

import pytest

from ligand_async.settings import Settings, SettingsError, check_config, check_production
from tests.machine import leave_bare

SAFE = {
    "database_url": "postgresql://pets@db/pets",
    "secret_key": "0123456789abcdefghijklmnopqrstuv",
    "service_public_url": "https://pets.example",
    "service_private_url": "http://pets:8000",
}


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    leave_bare(monkeypatch, tmp_path)


@pytest.mark.parametrize("environment", ["prod", "stage"])
@pytest.mark.parametrize(("debug", "testing"), [(True, False), (False, True), (True, True)])
def test_production_refuses_debug_and_testing(environment: str, debug: bool, testing: bool) -> None:
    """In prod and stage an app with debug or testing on is refused, with both mistakes in one error."""
    with pytest.raises(SettingsError) as caught:
        check_production(Settings.load(environment, **SAFE), debug=debug, testing=testing)

    assert [mistake.key for mistake in caught.value.mistakes] == ["debug"] * debug + ["testing"] * testing
    assert ("LIGAND_ENVIRONMENT=local" in str(caught.value).splitlines()[0]) is (environment == "prod")


@pytest.mark.parametrize("environment", ["prod", "stage"])
def test_production_starts_plainly(environment: str) -> None:
    """An app with both off passes, and nothing is returned to act upon."""
    settings = Settings.load(environment, **SAFE)

    check_production(settings, debug=False, testing=False)

    assert settings.environment == environment


@pytest.mark.parametrize("environment", ["local", "testing", "cli"])
def test_elsewhere_both_are_allowed(environment: str) -> None:
    """Debug and testing are for these environments."""
    settings = Settings.load(environment)

    check_production(settings, debug=True, testing=True)

    assert settings.environment == environment


def test_config_is_returned() -> None:
    """Upper-case keys of Quart and its extensions pass, as a dict of one's own."""
    config = {"TEMPLATES_AUTO_RELOAD": True, "QUART_AUTH_MODE": "cookie"}

    checked = check_config(config, Settings.load("testing"))

    assert checked == config
    assert checked is not config


@pytest.mark.parametrize(
    ("key", "remedy"),
    [
        ("templates_auto_reload", "write TEMPLATES_AUTO_RELOAD"),
        ("Templates", "write TEMPLATES"),
        ("TITLE", "give it to create_app(title=...)"),
        ("VERSION", "give it to create_app(version=...)"),
        ("CLIENT_NAME", "give it to create_app(client_name=...)"),
        ("title", "give it to create_app(title=...)"),
        ("PORT", "give it to Settings.load(port=...) or set the variable"),
        ("port", "give it to Settings.load(port=...) or set the variable"),
        ("SECRET_KEY", "give it to Settings.load(secret_key=...) or set the variable"),
        ("LIGAND_DATABASE_URL", "give it to Settings.load(database_url=...) or set the variable"),
    ],
)
def test_key_that_does_not_belong_is_refused(key: str, remedy: str) -> None:
    """Lower-case keys, settings and what belongs to create_app are refused, each with its remedy."""
    with pytest.raises(SettingsError) as caught:
        check_config({key: "hunter2"}, Settings.load("testing"))

    (mistake,) = caught.value.mistakes
    assert (mistake.key, mistake.remedy) == (key, remedy)
    assert "hunter2" not in str(caught.value)


def test_all_keys_are_reported_at_once() -> None:
    """One error lists every key that is refused."""
    with pytest.raises(SettingsError) as caught:
        check_config({"port": 1, "TITLE": "x", "FINE": 1, "low": 1}, Settings.load("testing"))

    assert [mistake.key for mistake in caught.value.mistakes] == ["port", "TITLE", "low"]


def test_settings_of_a_subclass_are_protected_too() -> None:
    """A service's own setting cannot be hidden by config either."""

    class Pets(Settings, prefix="PETSTORE_"):
        mail_url: str = ""

    with pytest.raises(SettingsError, match="PETSTORE_MAIL_URL"):
        check_config({"MAIL_URL": "x"}, Pets.load("testing"))
