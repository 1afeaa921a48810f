"""`ligand`, and `ligand settings`: which service is meant, and what its settings are."""

import itertools
import json
import os
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from quart.cli import ScriptInfo
from quart.cli import cli as quart_cli

from ligand_async.cli import COMMANDS, ligand
from ligand_async.cli.settings import settings as settings_command
from tests.machine import leave_bare

ROOT = Path(__file__).parents[2]
PASSWORD = "correct-horse-battery"
NAMES = ("--app", "LIGAND_APP", "QUART_APP", "pyproject.toml")
SERVICE = """
from pydantic import BaseModel, SecretStr
from ligand_async.app import create_app as make
from ligand_async.settings import Settings

class Owner(BaseModel):
    name: str

class PetSettings(Settings, prefix="PETSTORE_"):
    greeting: str
    colours: tuple[str, ...] = ("red", "green")
    limits: dict[str, int] = {"pets": 3}
    hook: SecretStr | None = SecretStr("https://u:correct-horse-battery@hooks.example/secret/path")
    broker: str = "amqp://u:correct-horse-battery@broker/v"
    tokens: dict[str, SecretStr] = {"a": SecretStr("correct-horse-battery")}
    owner: Owner = Owner(name="Ann")

def create_app(environment=None, **overrides):
    return make(__name__, title="Pets", version="1", settings=PetSettings.load(environment, **overrides))
"""


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """Work in an empty directory, and forget the modules that the commands imported from it."""
    leave_bare(monkeypatch, tmp_path)
    monkeypatch.setattr(sys, "path", sys.path.copy())
    known = set(sys.modules)
    yield
    for name in set(sys.modules) - known:
        if (getattr(sys.modules[name], "__file__", None) or "").startswith(str(tmp_path)):
            del sys.modules[name]


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Path:
    """Write a service whose settings come from every kind of source."""
    Path("pets.py").write_text(SERVICE)
    Path(".env").write_text("PETSTORE_ENVIRONMENT=local\nPETSTORE_DATABASE_POOL_SIZE=3\n")
    Path("service.toml").write_text("max_body_bytes = 1000\n")
    monkeypatch.setenv("PETSTORE_CONFIG_FILE", "service.toml")
    monkeypatch.setenv("PETSTORE_GREETING", "hello")
    monkeypatch.setenv("PORT", "9000")
    monkeypatch.setenv("DATABASE_URL", f"postgresql://u:{PASSWORD}@db.example/pets")
    monkeypatch.setenv("PETSTORE_DATABASE_REPLICA_URLS", f"postgresql://u:{PASSWORD}@one/pets")
    return Path("pets.py")


def run(*arguments: str) -> Result:
    return CliRunner().invoke(ligand, arguments, prog_name="ligand")


def rows_of(result: Result) -> dict[str, dict[str, Any]]:
    assert result.exit_code == 0, result.output
    return {row["setting"]: row for row in json.loads(result.stdout)}


@pytest.mark.usefixtures("service")
def test_json_tells_value_and_source() -> None:
    """Each setting is printed with its variable, its value and where that came from."""
    rows = rows_of(
        run("--app", "pets:create_app('local', database_pooler='transaction')", "settings", "--format", "json")
    )

    told = {key: (row["variable"], row["value"], row["source"]) for key, row in rows.items()}
    assert told["environment"] == ("PETSTORE_ENVIRONMENT", "local", "argument")
    assert told["database_pooler"] == ("PETSTORE_DATABASE_POOLER", "transaction", "argument")
    assert told["greeting"] == ("PETSTORE_GREETING", "hello", "PETSTORE_GREETING")
    assert told["port"] == ("PETSTORE_PORT", 9000, "PORT")
    assert told["database_pool_size"] == ("PETSTORE_DATABASE_POOL_SIZE", 3, ".env")
    assert told["max_body_bytes"] == ("PETSTORE_MAX_BODY_BYTES", 1000, "service.toml")
    assert told["service_public_url"] == ("PETSTORE_SERVICE_PUBLIC_URL", "http://127.0.0.1:9000", "default of local")
    assert told["database_auto_upgrade"] == ("PETSTORE_DATABASE_AUTO_UPGRADE", False, "default")
    assert told["database_direct_url"] == ("PETSTORE_DATABASE_DIRECT_URL", None, "default")
    assert told["colours"] == ("PETSTORE_COLOURS", ["red", "green"], "default")
    assert told["limits"] == ("PETSTORE_LIMITS", {"pets": 3}, "default")


@pytest.mark.usefixtures("service")
def test_secrets_are_masked() -> None:
    """No password is printed; of database URLs host and database are, of other secrets nothing is."""
    result = run("--app", "pets:create_app", "settings", "--format", "json")
    rows = rows_of(result)

    assert PASSWORD not in result.output
    assert rows["database_url"]["value"] == "postgresql://u:***@db.example/pets"
    assert rows["database_replica_urls"]["value"] == ["postgresql://u:***@one/pets"]
    assert rows["secret_key"]["value"] == rows["hook"]["value"] == "***"
    assert rows["tokens"]["value"] == {"a": "***"}
    assert rows["broker"]["value"] == "amqp://u:***@broker/v"


@pytest.mark.usefixtures("service")
def test_table_is_aligned() -> None:
    """The table has a header, one line for each setting, and columns that begin at the same place."""
    result = run("--app", "pets:create_app", "settings")

    header, *lines = result.stdout.splitlines()
    starts = [header.index(name) for name in ("setting", "variable", "value", "source")]
    assert result.exit_code == 0
    assert len(lines) == len(rows_of(run("--app", "pets:create_app", "settings", "--format", "json")))
    assert all(line[start - 2 : start] == "  " and line[start] != " " for line in lines for start in starts[1:])
    assert PASSWORD not in result.output


@pytest.mark.usefixtures("service")
def test_what_cli_does_without_is_shown_as_unset(monkeypatch: pytest.MonkeyPatch) -> None:
    """A required setting that cli does without is printed as not set."""
    monkeypatch.delenv("PETSTORE_GREETING")

    row = rows_of(run("--app", "pets:create_app('cli')", "settings", "--format", "json"))["greeting"]

    assert (row["value"], row["source"]) == (None, "not set")


@pytest.mark.parametrize(
    "source", ["--app", "-A", "LIGAND_APP", "QUART_APP", ".env", ".flaskenv", "pyproject.toml", "app.py"]
)
def test_service_is_found(source: str, service: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The service is named by option, variable, dotenv file or pyproject.toml, or is in app.py, as Quart has it."""
    options: list[str] = []
    if source.startswith("-"):
        options = [source, "pets:create_app"]
    elif source.endswith("_APP"):
        monkeypatch.setenv(source, "pets:create_app")
    elif source.startswith("."):
        with Path(source).open("a") as file:
            file.write("LIGAND_APP=pets:create_app\n")
    elif source == "pyproject.toml":
        Path(source).write_text('[tool.ligand]\napp = "pets:create_app"\n')
    else:
        service.rename(source)

    assert rows_of(run(*options, "settings", "--format", "json"))["greeting"]["value"] == "hello"


@pytest.mark.parametrize(("stronger", "weaker"), list(itertools.combinations(NAMES, 2)))
def test_stronger_name_of_the_service_wins(
    stronger: str, weaker: str, service: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Option, LIGAND_APP, QUART_APP, pyproject.toml: the first that names a service is asked."""
    options: list[str] = []
    for name, app in ((stronger, f"{service.stem}:create_app"), (weaker, "missing:create_app")):
        if name == "--app":
            options = [name, app]
        elif name == "pyproject.toml":
            Path(name).write_text(f'[tool.ligand]\napp = "{app}"\n')
        else:
            monkeypatch.setenv(name, app)

    assert run(*options, "settings").exit_code == 0


@pytest.mark.usefixtures("service")
@pytest.mark.parametrize(
    "command",
    [
        ["settings", "--app", "pets:create_app"],
        ["--app", "missing:create_app", "settings", "-A", "pets:create_app"],
        ["db", "--app", "pets:create_app", "check", "--help"],
        ["db", "check", "--app", "pets:create_app", "--help"],
    ],
)
def test_option_may_stand_behind_the_command(command: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """`--app` is also an option of every command and of those in a group; the last one counts, even past a mistake."""
    monkeypatch.setenv("LIGAND_APP", "missing:create_app")
    Path("pyproject.toml").write_text("[tool")

    result = run(*command)

    assert result.exit_code == 0, result.stderr


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("--app", "--app names missing:create_app"),
        ("QUART_APP", "QUART_APP names missing:create_app"),
        (".env", "LIGAND_APP in .env names missing:create_app"),
        ("pyproject.toml", "pyproject.toml names"),
        (None, "no app is named, so app.py is tried"),
    ],
)
@pytest.mark.parametrize("command", [["settings"], ["serve"], ["db", "current"], ["token"]])
def test_error_names_what_chose_the_app(
    source: str | None, said: str, command: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each command says where the name of an app that it cannot load came from."""
    options: list[str] = []
    if source == "--app":
        options = ["--app", "missing:create_app"]
    elif source == "QUART_APP":
        monkeypatch.setenv(source, "missing:create_app")
    elif source == ".env":
        Path(source).write_text("LIGAND_APP=missing:create_app\n")
    elif source is not None:
        Path(source).write_text('[tool.ligand]\napp = "missing:create_app"\n')

    result = run(*command, *options)

    assert result.exit_code == 2
    assert said in result.stderr


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("def create_app(:\n", "SyntaxError: invalid syntax at "),
        ("def create_app():\n    return 1 / 0\n", "ZeroDivisionError: division by zero\n  at "),
    ],
)
def test_failing_code_is_one_message(code: str, said: str) -> None:
    """Code that fails is named by file and line, without a traceback, and the exit code is 2."""
    Path("pets.py").write_text(code)

    result = run("settings", "--app", "pets:create_app")

    assert result.exit_code == 2
    assert said in result.stderr
    assert "pets.py:" in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.usefixtures("service")
def test_pyproject_counts_from_its_own_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From a directory below, the nearest pyproject.toml above names the service beside it."""
    Path("pyproject.toml").write_text('[tool.ligand]\napp = "pets:create_app"\n')
    Path("docs").mkdir()
    monkeypatch.chdir("docs")
    monkeypatch.setenv("PETSTORE_CONFIG_FILE", str(tmp_path / "service.toml"))
    monkeypatch.setenv("PETSTORE_ENVIRONMENT", "local")

    assert run("settings").exit_code == 0


@pytest.mark.parametrize(
    ("text", "message"),
    [("[tool", "cannot be read"), ("[tool.ligand]\napp = 3\n", 'write it as "module:factory"')],
)
def test_wrong_pyproject_is_reported(text: str, message: str) -> None:
    """A pyproject.toml that cannot be used is named with its path, and the exit code is 2."""
    Path("pyproject.toml").write_text(text)

    result = run("settings")

    assert result.exit_code == 2
    assert message in result.stderr
    assert "pyproject.toml" in result.stderr


def test_pyproject_without_our_table_says_nothing() -> None:
    """Another project's pyproject.toml is not a mistake."""
    Path("pyproject.toml").write_text("[project]\n")

    assert "No module named 'app'" in run("settings").stderr


def test_missing_service_is_reported_with_the_remedy() -> None:
    """Without any service the message says how to name one."""
    result = run("settings")

    assert result.exit_code == 2
    assert "[tool.ligand]" in result.stderr
    assert "LIGAND_APP" in result.stderr


def test_failing_import_is_one_message() -> None:
    """An import that fails inside the service's module is shown by its last line, without a traceback."""
    Path("pets.py").write_text("import no_such_module\n")

    result = run("--app", "pets:create_app", "settings")

    assert result.exit_code == 2
    assert "No module named 'no_such_module'" in result.stderr
    assert "Traceback" not in result.stderr
    assert 'File "' not in result.stderr


@pytest.mark.usefixtures("service")
def test_missing_factory_is_reported_with_the_remedy() -> None:
    """A factory that the module does not have is named, with how to name another."""
    result = run("--app", "pets:make_it", "settings")

    assert result.exit_code == 2
    assert "make_it" in result.stderr
    assert "LIGAND_APP" in result.stderr


@pytest.mark.usefixtures("service")
def test_settings_error_is_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Settings that do not allow a start are listed on stderr, and the exit code is 2."""
    monkeypatch.setenv("PETSTORE_PORT", "x")
    monkeypatch.setenv("PETSTORE_ENVIRONMENT", "prod")

    result = run("--app", "pets:create_app", "settings")

    assert (result.exit_code, result.stdout) == (2, "")
    assert "PETSTORE_ENVIRONMENT=local" in result.stderr.splitlines()[0]
    assert "port (PETSTORE_PORT) is not valid" in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.usefixtures("service")
def test_settings_error_at_import_is_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A module that makes its app when it is imported fails no less clearly."""
    with Path("pets.py").open("a") as file:
        file.write("app = create_app('nowhere')\n")

    result = run("--app", "pets:app", "settings")

    assert result.exit_code == 2
    assert "environment" in result.stderr


def test_app_that_is_not_ours_is_reported() -> None:
    """An app that create_app did not make has no settings of ours."""
    Path("plain.py").write_text("from quart import Quart\napp = Quart(__name__)\n")

    result = run("--app", "plain:app", "settings")

    assert result.exit_code == 2
    assert "was not made by ligand_async.create_app()" in result.stderr


@pytest.mark.usefixtures("service")
def test_command_line_leaves_debug_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """The app keeps the debug mode its factory gave it."""
    with Path("pets.py").open("a") as file:
        file.write("app = create_app()\napp.debug = True\n")

    run("--app", "pets:app", "settings")

    assert sys.modules["pets"].app.debug is True


def test_command_runs_under_quart_too(service: Path) -> None:
    """The command works in Quart's own command line, which makes its own ScriptInfo."""
    info = ScriptInfo(app_import_path=f"{service}:create_app")

    result = CliRunner().invoke(settings_command, ["--format", "json"], obj=info)

    assert rows_of(result)["greeting"]["value"] == "hello"


def test_entry_points_name_existing_commands() -> None:
    """What pyproject.toml registers with Quart exists under the same name."""
    points = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"]["quart.commands"]

    assert points == {name: COMMANDS[name] for name in points}
    assert not set(points) & set(quart_cli.commands)


def test_help_lists_the_commands() -> None:
    """The group shows every command with its first line."""
    result = run("--help")

    assert result.exit_code == 0
    assert {line.split()[0] for line in result.stdout.partition("Commands:")[2].splitlines() if line.strip()} >= set(
        COMMANDS
    )


def test_unknown_command_is_refused() -> None:
    """A command that does not exist is a usage error."""
    assert run("settigns").exit_code == 2


def test_version_names_us_and_quart() -> None:
    """`ligand --version` prints both versions, without any service."""
    result = run("--version")

    assert result.exit_code == 0
    assert result.stdout.startswith("ligand-async ")
    assert "Quart 0." in result.stdout


@pytest.mark.usefixtures("service")
def test_whole_command_runs_in_a_process() -> None:
    """The console script's function does it all, from the command line on."""
    outcome = subprocess.run(
        [sys.executable, "-c", "from ligand_async.cli import main; main()", "-A", "pets:create_app", "settings"],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )

    assert (outcome.returncode, outcome.stderr) == (0, "")
    assert "postgresql://u:***@db.example/pets" in outcome.stdout


def test_options_of_issuers_are_printed_as_they_are_written(service: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A setting that is a list of objects is printed as JSON, with the members that were given."""
    options = [{"issuer": "https://id.example", "profile": "keycloak"}]
    monkeypatch.setenv("PETSTORE_OIDC_ISSUER", "https://id.example")
    monkeypatch.setenv("PETSTORE_OIDC_AUDIENCE", "pets")
    monkeypatch.setenv("PETSTORE_OIDC_ISSUER_OPTIONS", json.dumps(options))
    rows = rows_of(run("--app", f"{service.stem}:create_app", "settings", "--format", "json"))

    assert rows["oidc_issuer_options"]["value"] == options
