"""The page about settings says what the model says."""

import json
import re
from pathlib import Path
from typing import Any, get_args

import pytest

from ligand_async.settings import DOTENV_FILES, Settings, SettingsError, masked
from tests.machine import leave_bare

PAGE = (Path(__file__).parents[2] / "docs" / "settings.md").read_text(encoding="utf-8")
ENVIRONMENTS = get_args(Settings.model_fields["environment"].annotation)
STRICT = ("prod", "stage")
MADE = {
    ("testing", "database_url"): "a new temporary file",
    ("local", "secret_key"): "made once and kept",
    ("testing", "secret_key"): "new each time",
    ("cli", "secret_key"): "new each time",
}


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    leave_bare(monkeypatch, tmp_path)


def table(heading: str) -> list[list[str]]:
    lines = PAGE.partition(f"## {heading}\n")[2].partition("\n## ")[0].splitlines()
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines if line.startswith("| `")]


def code(value: object) -> str:
    return f"`{value if isinstance(value, str) else json.dumps(value)}`"


def default_in(environment: str, key: str) -> str:
    info = Settings.model_fields[key]
    if (environment, key) in MADE:
        return MADE[environment, key]
    row = Settings.environment_rows.get(environment, {})
    if key in row:
        return code(row[key])
    if not info.is_required():
        return "none" if info.default in (None, ()) else code(info.default)
    if environment in STRICT:
        return "required"
    value = getattr(Settings.load(environment), key)
    return code(value if isinstance(value, str) else masked(value.get_secret_value()))


def test_table_of_settings_is_the_model() -> None:
    """Each setting stands in the page's table with its variables, meaning and default in every environment."""
    assert table("The settings") == expected_rows()


def expected_rows() -> list[list[str]]:
    vocabulary = Settings.vocabulary()
    return [
        [
            code(key),
            " or ".join(map(code, vocabulary.variables(key))),
            str(info.description),
            *(default_in(environment, key) for environment in ("prod", "local", "testing", "cli")),
        ]
        for key, info in Settings.model_fields.items()
        if key != "environment"
    ]


def test_prod_and_stage_require_the_same() -> None:
    """One column of the table serves prod and stage: both refuse to start without the settings that it requires."""
    required = {row[0].strip("`") for row in table("The settings") if row[3] == "required"}
    for environment in STRICT:
        with pytest.raises(SettingsError) as caught:
            Settings.load(environment)
        assert {mistake.key for mistake in caught.value.mistakes} == required


def test_every_environment_is_reported() -> None:
    """The page has a row for each environment."""
    assert [row[0].strip("`") for row in table("Environments")] == list(ENVIRONMENTS)


def test_dotenv_files_stand_in_their_order() -> None:
    """The page names the dotenv files, the strongest first."""
    assert re.search(", then ".join(f"`{re.escape(name)}`" for name in DOTENV_FILES), PAGE)


def test_page_names_what_quart_reads_anew() -> None:
    """The page says which keys of app.config are still read after the start: two, and both by Quart itself."""
    part = PAGE.partition("## After the start\n")[2].partition("\n## ")[0]

    assert set(re.findall(r"`([A-Z_]+)`", part)) == {"SECRET_KEY", "MAX_CONTENT_LENGTH"}


def test_python_on_the_page_runs() -> None:
    """The page's Python runs from top to bottom, and the service's own settings are what the page says."""
    names: dict[str, Any] = {"__name__": "page"}
    for block in re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL):
        exec(block, names)  # noqa: S102  # the page is ours

    assert names["settings"].port == 9000
    assert names["PetSettings"].load("local").mail_url == "smtp://127.0.0.1"
    assert names["PetSettings"].load("testing", mail_url="x").mail_retries == 3


@pytest.mark.parametrize("kind", ["toml", "yaml", "json", "ini"])
def test_config_file_on_the_page_is_read(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each config file on the page gives the same settings."""
    monkeypatch.setenv("LIGAND_CONFIG_FILE", f"service.{kind}")
    found = re.search(rf"```{kind}\n(.*?)```", PAGE, re.DOTALL)
    assert found is not None
    Path(f"service.{kind}").write_text(found[1])

    settings = Settings.load("local")

    assert (settings.port, len(settings.database_replica_urls)) == (9000, 2)
