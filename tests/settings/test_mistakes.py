"""All mistakes at once, each with a remedy, none with a value."""

import ast
import os
import re
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import given, strategies
from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_core import PydanticCustomError

from ligand_async.settings import Mistake, Settings, SettingsError
from tests.machine import leave_bare


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    leave_bare(monkeypatch, tmp_path)


def refusal(environment: str | None = "local", cls: type[Settings] = Settings, /, **overrides: Any) -> SettingsError:
    with pytest.raises(SettingsError) as caught:
        cls.load(environment, **overrides)
    return caught.value


def mistake_of(error: SettingsError, key: str) -> Mistake:
    (mistake,) = [mistake for mistake in error.mistakes if mistake.key == key]
    return mistake


def test_error_is_a_runtime_error() -> None:
    """Code that knows nothing of settings can catch a RuntimeError."""
    assert isinstance(refusal("prod"), RuntimeError)


def test_all_mistakes_come_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wrong, unknown and missing settings of all sources are reported in one error."""
    monkeypatch.setenv("LIGAND_PORT", "many")
    monkeypatch.setenv("LIGAND_CONFIG_FILE", "service.toml")
    Path(".env").write_text("LIGAND_DATABASE_POOL_SIZE=0\nLIGAND_SECRET_KYE=x\n")
    Path("service.toml").write_text("colour = 'red'\n")

    error = refusal("prod", max_body_bytes=-1, databse_url="x")

    assert {mistake.key for mistake in error.mistakes} == {
        "port", "database_pool_size", "secret_kye", "colour", "max_body_bytes", "databse_url",
        "database_url", "secret_key", "service_public_url", "service_private_url",
    }  # fmt: skip
    assert all(str(mistake) in str(error) for mistake in error.mistakes)


def test_mistake_names_key_variable_and_remedy() -> None:
    """A mistake says which setting it is, which variable sets it, and what to do."""
    mistake = mistake_of(refusal("prod"), "database_url")

    assert mistake.variable == "LIGAND_DATABASE_URL or DATABASE_URL"
    assert mistake.problem == "is not set"
    assert mistake.remedy.startswith("set LIGAND_DATABASE_URL, such as postgresql://")


@pytest.mark.parametrize(
    ("source", "place"),
    [
        ("argument", "the arguments"),
        ("variable", "the environment"),
        (".env", ".env"),
        ("service.json", "service.json"),
    ],
)
def test_wrong_value_is_reported_with_its_place(source: str, place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """For a value that is not valid, the remedy says where it stands."""
    overrides = {"port": 70000} if source == "argument" else {}
    if source == "variable":
        monkeypatch.setenv("PORT", "70000")
    elif source == ".env":
        Path(".env").write_text("PORT=70000\n")
    elif source == "service.json":
        monkeypatch.setenv("LIGAND_CONFIG_FILE", source)
        Path(source).write_text('{"port": 70000}')

    mistake = mistake_of(refusal(**overrides), "port")

    assert mistake.remedy == f"correct it in {place}"
    assert mistake.variable == ("PORT" if source in {"variable", ".env"} else "LIGAND_PORT")
    assert "less than or equal to 65535" in mistake.problem


@pytest.mark.parametrize(
    ("key", "meant"),
    [("databse_url", "database_url"), ("prot", "port"), ("DATABASE_URL", "database_url"), ("LIGAND_PORT", "port")],
)
def test_unknown_argument_is_guessed(key: str, meant: str) -> None:
    """An argument that is not a setting is a mistake, and the setting it may mean is named."""
    assert mistake_of(refusal(**{key: "x"}), key).remedy == f"did you mean {meant}?"


def test_unknown_argument_without_likeness() -> None:
    """An argument like no setting may belong to a service's own settings."""
    assert "declare it in your subclass of Settings" in mistake_of(refusal(zzz=1), "zzz").remedy


@pytest.mark.parametrize("key", ["title", "version", "client_name"])
def test_what_belongs_to_create_app_is_protected(key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Title, version and client name are no settings, in no source; the remedy names create_app."""
    monkeypatch.setenv(f"LIGAND_{key.upper()}", "x")
    monkeypatch.setenv("LIGAND_CONFIG_FILE", "service.toml")
    Path("service.toml").write_text(f"{key} = 'x'\n")

    error = refusal(**{key: "x"})

    assert [mistake.remedy for mistake in error.mistakes] == [f"give it to create_app({key}=...)"] * 3


def test_config_file_is_no_argument() -> None:
    """The config file is named by its variable, and the mistake says so."""
    assert mistake_of(refusal(config_file="x.toml"), "config_file").remedy == "set the variable LIGAND_CONFIG_FILE"


@pytest.mark.parametrize("place", ["process", ".env"])
@pytest.mark.parametrize("variable", ["LIGAND_DATABASE_ULR", "ligand_database_url", "Ligand_Database_Url"])
def test_unknown_variable_with_our_prefix_is_a_mistake(
    variable: str, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A variable that begins with the prefix and sets nothing is a mistake, however it is written."""
    if place == "process":
        monkeypatch.setenv(variable, "x")
    else:
        Path(".env").write_text(f"{variable}=x\n")

    (mistake,) = refusal().mistakes

    assert mistake.variable == variable
    assert mistake.remedy == "did you mean LIGAND_DATABASE_URL?"


def test_unknown_environment_is_guessed() -> None:
    """An unknown environment is one mistake, with the closest one named, and no rule of another is applied."""
    (mistake,) = refusal("lokal").mistakes

    assert (mistake.key, mistake.remedy) == ("environment", "did you mean local?")


@pytest.mark.parametrize("name", [None, 3, ["prod"]])
def test_environment_of_another_type_is_a_mistake(name: Any) -> None:
    """An environment that is not a text is a mistake like any other."""
    Path("service.yaml").write_text(f"environment: {'null' if name is None else name}\n")
    os.environ["LIGAND_CONFIG_FILE"] = "service.yaml"
    try:
        assert [mistake.key for mistake in refusal(None).mistakes] == ["environment"]
    finally:
        del os.environ["LIGAND_CONFIG_FILE"]


def test_bad_json_in_a_variable_is_one_mistake(monkeypatch: pytest.MonkeyPatch) -> None:
    """A list begun as JSON and not finished is a mistake, reported without its text."""
    monkeypatch.setenv("LIGAND_DATABASE_REPLICA_URLS", '["postgresql://u:hunter2@h/d"')

    error = refusal()

    assert mistake_of(error, "database_replica_urls").problem == "is not valid JSON"
    assert "hunter2" not in str(error)


def test_item_of_a_list_is_counted() -> None:
    """A mistake inside a list says in which item, counted from 1."""
    error = refusal(database_replica_urls=["sqlite:///a.db", "nonsense"])

    assert "in item 2" in mistake_of(error, "database_replica_urls").problem


VALUES = strategies.text(
    strategies.characters(codec="utf-8", exclude_categories=("C", "Z")), min_size=6, max_size=30
).map(lambda text: f"\u00a7{text}")


@given(value=VALUES, key=strategies.sampled_from(sorted(Settings.model_fields)))
def test_no_mistake_shows_a_value(value: str, key: str) -> None:
    """Whatever is given for whichever setting, no error or traceback of load shows it."""
    overrides = {key: [value]} | ({"service_private_url": f"{value}"} if key != "service_private_url" else {})
    try:
        Settings.load(None, **{name: item for name, item in overrides.items() if name != "environment"})
    except SettingsError as error:
        shown = "".join(traceback.format_exception(error))
        assert value not in shown
    else:
        pytest.fail("prod needs more than that")


class Strict(Settings):
    colour: str = "red"
    pin: SecretStr = SecretStr("")
    shade: Literal["dark", "light"] = "dark"
    codes: dict[str, int] = Field(default_factory=dict)

    @field_validator("colour")
    @classmethod
    def check_colour(cls, colour: str) -> str:
        if colour == "custom":
            raise PydanticCustomError("my_kind", "the colour {colour} is not sold", {"colour": colour})
        assert colour != "mauve", f"not {colour}"
        if colour != "red":
            raise ValueError("only red is sold" if colour == "green" else f"{colour} is not sold")
        return colour

    @field_validator("pin")
    @classmethod
    def check_pin(cls, pin: SecretStr) -> SecretStr:
        if pin.get_secret_value():
            raise ValueError(f"the PIN {pin.get_secret_value()[::-1]} reversed is wrong")
        return pin

    @model_validator(mode="after")
    def check_together(self) -> "Strict":
        if self.port == 6000:
            raise ValueError("a dark shade needs another port")
        if self.port == 6001:
            raise ValueError(f"the port {self.port} is taken")
        return self


def test_validator_s_words_are_reported() -> None:
    """What a service's validator says reaches the operator."""
    problem = mistake_of(refusal("testing", Strict, colour="green"), "colour").problem
    assert problem == "is not valid: only red is sold"


@pytest.mark.parametrize("colour", ["blue", "mauve", "custom"])
def test_validator_s_words_with_the_value_are_not(colour: str) -> None:
    """A validator that quotes the value is not quoted."""
    mistake = mistake_of(refusal("testing", Strict, colour=colour), "colour")
    assert mistake.problem == "is refused by its validator"


def test_pydantic_s_words_with_the_value_are_not() -> None:
    """Where even pydantic's own words happen to hold the value, they are left out."""
    assert "integer" not in str(refusal(port="integer"))


def test_empty_value_leaves_pydantic_s_words() -> None:
    """An empty value hides no message."""
    assert "valid integer" in mistake_of(refusal(port=""), "port").problem


def test_validator_of_a_secret_is_never_quoted() -> None:
    """Of a secret not even a transformed value can slip through a validator's words."""
    mistake = mistake_of(refusal("testing", Strict, pin="1234"), "pin")
    assert mistake.problem == "is refused by its validator"


def test_settings_that_do_not_agree_are_reported() -> None:
    """An error of a validator over several settings is a mistake of the settings together."""
    assert mistake_of(refusal("testing", Strict, port=6000), "settings").problem == (
        "do not agree: a dark shade needs another port"
    )


def test_settings_that_do_not_agree_keep_their_values() -> None:
    """A validator over several settings that quotes one of them is not quoted."""
    assert mistake_of(refusal("testing", Strict, port=6001), "settings").problem == "do not agree"


def test_choice_is_guessed() -> None:
    """For a setting with few values, the closest one is named."""
    assert mistake_of(refusal("testing", Strict, shade="drak"), "shade").remedy == "did you mean dark?"


def test_wrong_default_is_reported_as_such() -> None:
    """A default in the code that is not valid is a mistake in the code."""

    class Wrong(Settings):
        pets: int = "many"  # type: ignore[assignment]  # the law is about this mistake

    assert mistake_of(refusal("testing", Wrong), "pets").remedy == "correct it in the code"


def test_key_inside_a_mapping_is_not_shown() -> None:
    """What a mapping is given as key is a value too."""
    assert "hunter2" not in str(refusal("testing", Strict, codes={"hunter2": "x"}))


def test_no_message_has_our_prefix() -> None:
    """A service may choose another prefix, so no text of the package names one of its variables by ours."""
    variables = {f"LIGAND_{key.upper()}" for key in (*Settings.model_fields, "config_file")}
    found = [
        (path.name, node.lineno)
        for path in (Path(__file__).parents[2] / "ligand_async").rglob("*.py")
        for node in _texts_of(ast.parse(path.read_text()))
        if variables.intersection(re.findall(r"LIGAND_[A-Z0-9_]+", str(node.value)))
    ]

    assert found == []


def _texts_of(tree: ast.Module) -> Iterator[ast.Constant]:
    """Yield the texts of a module that are not docstrings."""
    docstrings = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings:
            yield node
