"""FAULTS 167: the rules hold whoever made the settings, and `cli` does not serve."""

from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from ligand_async import Settings, create_app
from ligand_async.context import service_of
from ligand_async.settings import SettingsError, check_settings
from tests.machine import leave_bare
from tests.settings.test_environments import KEY
from tests.settings.test_environments import SAFE as SAFE_VALUES

SAFE: dict[str, Any] = {**SAFE_VALUES}


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    leave_bare(monkeypatch, tmp_path)


class Birds(Settings, prefix="BIRD_"):
    nest: int = 1


def start(settings: Settings) -> Settings:
    """Make an app and return the settings that it got."""
    app = create_app(__name__, title="Birds", version="1", settings=settings)
    return service_of(app).settings


def mistakes_of(settings: Settings) -> set[str]:
    """Return the keys of the mistakes for which no app is made."""
    with pytest.raises(SettingsError) as caught:
        create_app(__name__, title="Birds", version="1", settings=settings)
    assert "hunter2" not in str(caught.value)
    assert "LIGAND_" not in str(caught.value)
    return {mistake.key for mistake in caught.value.mistakes}


WRONG: dict[str, tuple[dict[str, Any], set[str]]] = {
    "short key": ({"secret_key": "hunter2"}, {"secret_key"}),
    "plain http": ({"service_public_url": "http://birds.example"}, {"service_public_url"}),
    "issuer without audience": ({"oidc_issuer": ("https://id.example",)}, {"oidc_audience"}),
    "opaque tokens without a client": (
        {"oidc_tokens": "opaque", "oidc_issuer": ("https://id.example",), "oidc_audience": ("birds",)},
        {"oidc_client_id", "oidc_client_secret"},
    ),
    "issuer by http": ({"oidc_issuer": ("http://id.example",), "oidc_audience": ("birds",)}, {"oidc_issuer"}),
}


@pytest.mark.parametrize(("values", "keys"), WRONG.values(), ids=WRONG)
@pytest.mark.parametrize("how", ["constructor", "copy", "construct"])
def test_rules_hold_whoever_made_the_settings(how: str, values: dict[str, Any], keys: set[str]) -> None:
    """What `load` would refuse, no app is made with: of `Settings(...)`, `model_copy` or `model_construct`."""
    if how == "constructor":
        settings = Birds(environment="prod", **SAFE | values)
    elif how == "copy":
        settings = Birds.load("prod", **SAFE).model_copy(update=values)
    else:
        settings = Birds.model_construct(environment="prod", **SAFE | values)

    assert mistakes_of(settings) == keys


def test_debug_variables_count(monkeypatch: pytest.MonkeyPatch) -> None:
    """Debug mode asked for by the environment is refused in prod, for settings of the constructor, too."""
    monkeypatch.setenv("FLASK_DEBUG", "1")

    assert mistakes_of(Birds(environment="prod", **SAFE)) == {"debug"}


def test_required_settings_are_required_of_a_copy() -> None:
    """Settings of `cli` in another environment lack what that one requires."""
    settings = Birds.load("cli").model_copy(update={"environment": "local"})
    missing = Settings.load("cli").model_copy(update={"environment": "local"})
    assert check_settings(settings).environment == check_settings(missing).environment == "local"

    class Owls(Birds):
        mice: int

    assert mistakes_of(Owls.load("cli").model_copy(update={"environment": "local"})) == {"mice"}


def test_default_in_the_code_does_not_count_in_prod() -> None:
    """A required setting whose value is a default of the class stops the start, as it stops `load`."""

    class Kites(Birds):
        database_url: Any = SecretStr("postgresql://h/d")

    given = {key: value for key, value in SAFE.items() if key != "database_url"}

    assert mistakes_of(Kites(environment="prod", **given)) == {"database_url"}


@pytest.mark.parametrize(
    ("key", "value"),
    [("port", 99999), ("environment", "prdo"), ("database_url", "postgresql://u:hunter2@h/d?sslmode=x"), ("nset", 1)],
)
def test_values_of_a_copy_are_validated(key: str, value: Any) -> None:
    """`model_copy` checks nothing; the start does."""
    assert mistakes_of(Birds.load("testing").model_copy(update={key: value})) == {key}


def test_values_of_a_copy_get_their_types() -> None:
    """A text that stands for a secret, a number or a list becomes one, as in `load`."""
    settings = Birds.load("testing").model_copy(update={"database_url": "sqlite:///birds.db", "port": "9000"})
    got = start(settings)

    assert (got.database_url, got.port) == (SecretStr("sqlite:///birds.db"), 9000)
    assert (got.sources["port"], got.sources["nest"], got.sources["environment"]) == ("the code", "default", "argument")


def test_settings_that_are_right_stay_the_same_object() -> None:
    """Nothing is validated twice: a service's own validators see each value once."""
    for settings in (Birds.load("testing"), Birds(environment="prod", **SAFE)):
        assert check_settings(settings) is settings


def test_sources_of_the_constructor() -> None:
    """What code gives is told apart from a default."""
    sources = Birds(environment="prod", **SAFE).sources

    assert (sources["secret_key"], sources["nest"]) == ("the code", "default")


def test_unset_settings_of_cli_stay_unset() -> None:
    """A copy of `cli`'s settings, too, raises for what is not set, and makes an app for the document."""

    class Terns(Birds):
        fish: int

    got = start(Terns.load("cli").model_copy(update={"nest": "2"}))

    assert got.nest == 2  # type: ignore[attr-defined]  # of Birds
    with pytest.raises(AttributeError, match="BIRD_FISH"):
        got.fish  # type: ignore[attr-defined]  # noqa: B018  # the law is about this access


@pytest.mark.parametrize("how", ["load", "copy"])
async def test_cli_does_not_serve(how: str) -> None:
    """Row 167: an app with the settings of `cli` can be made and looked at, but not started."""
    settings = Birds.load("cli")
    if how == "copy":
        settings = Birds.load("testing", secret_key=KEY).model_copy(update={"environment": "cli"})
    app = create_app(__name__, title="Birds", version="1", settings=settings)
    async with app.app_context():
        assert (await app.test_client().get("/openapi.json")).status_code == 200

    with pytest.raises(SettingsError, match=r"cli .* cannot serve; set BIRD_ENVIRONMENT to prod, stage or local"):
        await app.startup()
