"""Variables, dotenv files, and how text becomes a value."""

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Optional, Union

import pytest
from hypothesis import given, strategies
from pydantic import BaseModel, Field, SecretStr

from ligand_async.settings import Settings, SettingsError
from ligand_async.settings.sources import parse_text
from tests.machine import leave_bare


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    leave_bare(monkeypatch, tmp_path)


class Limits(BaseModel):
    pets: int


@dataclass
class Owner:
    name: str


class Pets(Settings, prefix="PETSTORE_"):
    colours: tuple[str, ...] = ()
    sizes: list[int] = Field(default_factory=list)
    tags: frozenset[str] | None = None
    limits: Limits | None = None
    owner: Owner | None = None
    codes: dict[str, int] = Field(default_factory=dict)
    loud: bool = False
    note: str = ""


@pytest.mark.parametrize(
    ("key", "text", "value"),
    [
        ("colours", "red,green", ("red", "green")),
        ("colours", " red , green ,", ("red", "green")),
        ("colours", '["red, dark", "green"]', ("red, dark", "green")),
        ("colours", "red", ("red",)),
        ("sizes", "1,2", [1, 2]),
        ("sizes", "[1, 2]", [1, 2]),
        ("tags", "a,b,a", frozenset({"a", "b"})),
        ("limits", '{"pets": 3}', Limits(pets=3)),
        ("owner", '{"name": "Ann"}', Owner("Ann")),
        ("codes", '{"a": 1}', {"a": 1}),
        ("loud", "true", True),
        ("loud", "0", False),
        ("loud", "on", True),
        ("port", "9000", 9000),
        ("database_pool_timeout", "0.5", 0.5),
        ("note", "[a, b", "[a, b"),
        ("note", "a,b", "a,b"),
    ],
)
@pytest.mark.parametrize("place", ["process", ".env"])
def test_text_becomes_a_value(key: str, text: str, value: object, place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Collections are written with commas or as JSON, mappings and models as JSON, the rest plainly."""
    if place == "process":
        monkeypatch.setenv(f"PETSTORE_{key.upper()}", text)
    else:
        Path(".env").write_text(f"PETSTORE_{key.upper()}='{text}'\n")

    assert getattr(Pets.load("local"), key) == value


@given(items=strategies.lists(strategies.text(max_size=20), max_size=5))
def test_every_list_can_be_written(items: list[str]) -> None:
    """Any list of texts, commas and brackets included, has a form in a variable: its JSON."""
    assert parse_text(tuple[str, ...], json.dumps(items)) == items


@given(items=strategies.lists(strategies.from_regex(r"[a-z0-9:/.@-]+", fullmatch=True), min_size=1, max_size=5))
def test_plain_items_need_no_json(items: list[str]) -> None:
    """Items without commas, spaces and brackets are written with commas between them."""
    assert parse_text(tuple[str, ...], ",".join(items)) == items


@pytest.mark.parametrize(
    ("annotation", "text", "value"),
    [
        (Optional[list[str]], "a,b", ["a", "b"]),  # noqa: UP045  # services may write it so
        (Union[tuple[str, ...], None], "a", ["a"]),  # noqa: UP007  # services may write it so
        (Annotated[tuple[Annotated[str, Field(min_length=1)], ...], Field(min_length=1)], "a", ["a"]),
        (Sequence[str], "a", ["a"]),
        (set[str], "a", ["a"]),
        (dict[str, str] | None, "{}", {}),
        (Literal["a,b"], "a,b", "a,b"),
        (SecretStr, "[x", "[x"),
        (bytes, "a,b", "a,b"),
        (Any, "a,b", "a,b"),
        (int | str, "1", "1"),
    ],
)
def test_form_follows_the_type(annotation: Any, text: str, value: object) -> None:
    """Unions and annotated types are opened to see whether a collection is meant."""
    assert parse_text(annotation, text) == value


def test_deep_json_is_a_mistake(monkeypatch: pytest.MonkeyPatch) -> None:
    """JSON too deep to be read does not escape as another error."""
    monkeypatch.setenv("PETSTORE_SIZES", "[" * 100_000)

    with pytest.raises(SettingsError, match="sizes"):
        Pets.load("local")


def test_empty_variable_counts_as_absent(monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty variable leaves the word to the next source, also when it is unknown."""
    monkeypatch.setenv("LIGAND_PORT", "")
    monkeypatch.setenv("LIGAND_PROT", "")
    Path(".env").write_text("LIGAND_PORT=9000\nLIGAND_CONFIG_FILE=\n")

    assert Settings.load("local").port == 9000


@pytest.mark.parametrize("name", [".env", ".quartenv", ".flaskenv"])
def test_dotenv_file_is_a_source(name: str) -> None:
    """Each dotenv file of the working directory is read, and named as the source."""
    Path(name).write_text("export LIGAND_PORT='9000' # comment\nOTHER=1\n")

    settings = Settings.load("local")

    assert (settings.port, settings.sources["port"]) == (9000, name)


def test_dotenv_file_does_not_change_the_process() -> None:
    """Reading a dotenv file leaves the process's variables as they were."""
    Path(".env").write_text("LIGAND_PORT=9000\n")
    before = dict(os.environ)

    Settings.load("local")

    assert dict(os.environ) == before


def test_dotenv_files_of_parents_are_not_read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A dotenv file counts in the working directory only."""
    Path(".env").write_text("LIGAND_PORT=9000\n")
    (tmp_path / "inside").mkdir()
    monkeypatch.chdir(tmp_path / "inside")

    assert Settings.load("local").port == 8000


def test_dotenv_files_can_be_skipped(monkeypatch: pytest.MonkeyPatch) -> None:
    """QUART_SKIP_DOTENV, Quart's own switch, is obeyed."""
    monkeypatch.setenv("QUART_SKIP_DOTENV", "1")
    Path(".env").write_text("LIGAND_PORT=9000\n")

    assert Settings.load("local").port == 8000


def test_directory_named_like_a_dotenv_file_is_left_alone() -> None:
    """A virtual environment in `.env` is not a source."""
    Path(".env").mkdir()

    assert Settings.load("local").port == 8000


def test_unreadable_dotenv_file_is_a_mistake() -> None:
    """A dotenv file that is not UTF-8 is a mistake, reported without its content."""
    Path(".env").write_bytes(b"LIGAND_SECRET_KEY=hunter\xff2\n")

    with pytest.raises(SettingsError, match=r"\.env cannot be read") as caught:
        Settings.load("local")

    assert "hunter" not in str(caught.value)


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("PETSTORE_SERVICE_HOST", "10.0.0.1"),
        ("PETSTORE_SERVICE_PORT", "80"),
        ("PETSTORE_SERVICE_PORT_HTTP", "80"),
        ("PETSTORE_PORT", "tcp://10.0.0.1:80"),
        ("PETSTORE_PORT_80_TCP", "tcp://10.0.0.1:80"),
        ("PETSTORE_PORT_80_TCP_PROTO", "tcp"),
        ("PETSTORE_PORT_80_TCP_PORT", "80"),
        ("PETSTORE_PORT_80_TCP_ADDR", "10.0.0.1"),
        ("PETSTORE_DB_SERVICE_HOST", "10.0.0.2"),
        ("PETSTORE_DB_PORT", "tcp://10.0.0.2:5432"),
        ("PETSTORE_DB_PORT_5432_TCP", "tcp://10.0.0.2:5432"),
    ],
)
def test_variables_of_kubernetes_are_no_mistakes(variable: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What Kubernetes sets for Services whose names begin like the prefix neither counts nor hurts."""
    monkeypatch.setenv(variable, value)

    assert Pets.load("local").port == 8000


def test_port_beside_a_service_link_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """A service link in the prefixed variable leaves the word to PORT."""
    monkeypatch.setenv("PETSTORE_PORT", "tcp://10.0.0.1:80")
    monkeypatch.setenv("PORT", "9000")

    assert Pets.load("local").port == 9000


@pytest.mark.parametrize(
    "variable", ["LIGAND_APP", "LIGAND_REQUIRE", "LIGAND_SOAK", "LIGAND_TEST_DATABASE_URL", "LIGAND_CONFIG_FILE"]
)
def test_variables_of_our_tools_are_no_mistakes(variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the command line and the test tools read is known."""
    Path("x.toml").touch()
    monkeypatch.setenv(variable, "x.toml")

    assert Settings.load("local").port == 8000


def test_port_like_a_typing_error_is_a_mistake(monkeypatch: pytest.MonkeyPatch) -> None:
    """A port with a plain value is not a service link."""
    monkeypatch.setenv("PETSTORE_DB_PORT", "5432")

    with pytest.raises(SettingsError, match="PETSTORE_DB_PORT"):
        Pets.load("local")
