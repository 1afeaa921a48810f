"""The five environments: rows of defaults and rules."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ligand_async.settings import Settings, SettingsError
from tests.machine import leave_bare

ROOT = Path(__file__).parents[2]
KEY = "0123456789abcdefghijklmnopqrstuv"
SAFE = {
    "database_url": "postgresql://pets@db/pets",
    "secret_key": KEY,
    "service_public_url": "https://pets.example",
    "service_private_url": "http://pets:8000",
}

# Runs with a hook that refuses every file, directory, socket and process, and with stat() refused too.
SEALED = """
import os, sys
from ligand_async.settings import Settings

class Pets(Settings, prefix="PETSTORE_"):
    mail_url: str
    port: int = 1

def refuse(event, arguments):
    if event.split(".")[0] in {"open", "os", "socket", "subprocess", "sqlite3", "tempfile", "shutil", "glob", "fcntl"}:
        raise PermissionError(event)

def no_stat(*arguments, **options):
    raise PermissionError("stat")

os.stat = os.lstat = os.access = no_stat
sys.addaudithook(refuse)
settings = Pets.load(*sys.argv[1:])
sys.stdout.write(f"{settings.environment} {settings.port}")
"""


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    leave_bare(monkeypatch, tmp_path)


def refused_keys(environment: str | None, **values: Any) -> set[str]:
    with pytest.raises(SettingsError) as caught:
        Settings.load(environment, **values)
    return {mistake.key for mistake in caught.value.mistakes}


def run_sealed(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", SEALED, *arguments],
        env={"PYTHONPATH": str(ROOT), **variables},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


@pytest.mark.parametrize("environment", ["prod", "stage"])
def test_strict_environment_starts_when_all_is_set(environment: str) -> None:
    """What prod and stage need is a database, a key and two URLs."""
    assert Settings.load(environment, **SAFE).environment == environment


@pytest.mark.parametrize("environment", ["prod", "stage", None])
@pytest.mark.parametrize("key", SAFE)
def test_strict_environment_needs_each(key: str, environment: str | None) -> None:
    """prod, the default, and stage refuse to start without any one of them."""
    assert refused_keys(environment, **{name: value for name, value in SAFE.items() if name != key}) == {key}


@pytest.mark.parametrize(("environment", "first"), [(None, True), ("prod", True), ("stage", False)])
def test_first_line_tells_a_newcomer_what_to_do(environment: str | None, first: bool) -> None:
    """The error of prod begins with the variable to set on one's own machine."""
    with pytest.raises(SettingsError) as caught:
        Settings.load(environment)

    assert ("LIGAND_ENVIRONMENT=local" in str(caught.value).splitlines()[0]) is first


def test_first_line_uses_the_service_s_prefix() -> None:
    """The hint names the variable of the service that failed."""

    class Pets(Settings, prefix="PETSTORE_"):
        pass

    with pytest.raises(SettingsError) as caught:
        Pets.load()

    assert "PETSTORE_ENVIRONMENT=local" in str(caught.value).splitlines()[0]


@pytest.mark.parametrize("environment", ["prod", "stage"])
@pytest.mark.parametrize("key", ["", "k" * 31])
def test_strict_environment_refuses_a_short_key(key: str, environment: str) -> None:
    """prod and stage refuse a secret key under 32 characters, and an empty one."""
    assert refused_keys(environment, **SAFE | {"secret_key": key}) == {"secret_key"}


@pytest.mark.parametrize("environment", ["prod", "stage"])
@pytest.mark.parametrize("key", ["k" * 64, "changeme" * 8, "0123456789"[:9] * 8, "\u00e9" * 40])
def test_strict_environment_refuses_a_key_of_few_characters(key: str, environment: str) -> None:
    """A repeated word is long enough and guessed at once: a key has at least 10 different bytes."""
    assert refused_keys(environment, **SAFE | {"secret_key": key}) == {"secret_key"}


@pytest.mark.parametrize("key", ["0123456789abcdef" * 2, "f3a1b0c9d8e7f6a5b4c3d2e1f0a9b8c7"])
def test_random_keys_in_hexadecimal_are_taken(key: str) -> None:
    """The fewest characters that a random key is written in."""
    assert Settings.load("prod", **SAFE | {"secret_key": key}).secret_key.get_secret_value() == key


@pytest.mark.parametrize("url", ["http://pets.example", "HTTP://pets.example"])
def test_prod_refuses_a_plain_public_url(url: str) -> None:
    """In prod the public URL is https."""
    assert refused_keys("prod", **SAFE | {"service_public_url": url}) == {"service_public_url"}


def test_stage_allows_a_plain_public_url() -> None:
    """A rehearsal may do without a certificate."""
    assert Settings.load("stage", **SAFE | {"service_public_url": "http://pets.example"}).environment == "stage"


@pytest.mark.parametrize("environment", ["prod", "stage"])
@pytest.mark.parametrize("variable", ["QUART_DEBUG", "FLASK_DEBUG"])
def test_strict_environment_refuses_debug(variable: str, environment: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A debug variable of Quart or Flask stops prod and stage."""
    monkeypatch.setenv(variable, "1")

    assert refused_keys(environment, **SAFE) == {"debug"}


@pytest.mark.parametrize("value", ["0", "false", "No", ""])
def test_debug_that_is_off_is_no_mistake(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A debug variable may say no."""
    monkeypatch.setenv("QUART_DEBUG", value)

    assert Settings.load("prod", **SAFE).environment == "prod"


def test_local_allows_debug(monkeypatch: pytest.MonkeyPatch) -> None:
    """On one's own machine debug mode is fine."""
    monkeypatch.setenv("QUART_DEBUG", "1")

    assert Settings.load("local").environment == "local"


def test_prod_allows_sqlite_in_a_file() -> None:
    """A service on a single machine may keep its data in SQLite."""
    assert Settings.load("prod", **SAFE | {"database_url": "sqlite+aiosqlite:////srv/pets.db"}).environment == "prod"


@pytest.mark.parametrize("environment", ["prod", "stage", "local", "testing", "cli"])
@pytest.mark.parametrize("url", ["sqlite+aiosqlite://", "sqlite:///:memory:", "sqlite:///file:x?mode=memory&uri=true"])
def test_no_environment_allows_sqlite_in_memory(url: str, environment: str) -> None:
    """SQLite in memory is another database for each connection: refused everywhere."""
    assert refused_keys(environment, **SAFE | {"database_url": url}) == {"database_url"}


def test_default_in_the_class_is_not_enough_for_prod() -> None:
    """A secret key or database URL that is the default of a subclass does not make prod start."""

    class Careless(Settings):
        secret_key: Any = KEY
        database_url: Any = "sqlite+aiosqlite:///pets.db"

    values = {key: value for key, value in SAFE.items() if key.startswith("service")}
    with pytest.raises(SettingsError) as caught:
        Careless.load("prod", **values)

    assert {mistake.key for mistake in caught.value.mistakes} == {"secret_key", "database_url"}


def test_local_needs_nothing() -> None:
    """In local a SQLite file of the working directory is the database, and the service is on this machine."""
    settings = Settings.load("local")

    assert settings.database_url.get_secret_value() == "sqlite+aiosqlite:///ligand.db"
    assert settings.service_public_url == settings.service_private_url == "http://127.0.0.1:8000"
    assert settings.sources["database_url"] == "default of local"


@pytest.mark.parametrize("environment", ["local", "cli"])
def test_urls_follow_the_port(environment: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the URLs are not set, they name the port that is."""
    monkeypatch.setenv("PORT", "9000")

    assert Settings.load(environment).service_public_url == "http://127.0.0.1:9000"


@pytest.mark.parametrize("port", ["x", 0, 70000, None])
def test_wrong_port_is_one_mistake(port: object) -> None:
    """A port that is none does not make the URLs wrong as well."""
    assert refused_keys("cli", port=port) == {"port"}


def test_testing_has_a_new_database_and_key_each_time() -> None:
    """Two apps under test share neither database nor key."""
    one, two = Settings.load("testing"), Settings.load("testing")

    assert one.database_url != two.database_url
    assert one.secret_key != two.secret_key


def test_testing_leaves_nothing_behind() -> None:
    """The temporary database goes when the process ends, but not when a fork of it does."""
    program = (
        "import os\n"
        "from pathlib import Path\n"
        "from ligand_async.settings import Settings\n"
        "path = Path(Settings.load('testing').database_url.get_secret_value().partition('///')[2])\n"
        "path.touch()\n"
        "child = os.fork()\n"
        "if child:\n"
        "    os.waitpid(child, 0)\n"
        "    print(path.parent, path.is_file())\n"
    )
    outcome = subprocess.run(
        [sys.executable, "-c", program],
        env={"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )

    directory, lived = outcome.stdout.split()
    assert lived == "True"
    assert not Path(directory).exists()


@pytest.mark.parametrize("how", [pytest.param("argument", marks=pytest.mark.extended), "variable"])
def test_cli_does_no_io(how: str, tmp_path: Path) -> None:
    """cli touches no file, directory or socket, although a dotenv file and a config file are there."""
    (tmp_path / ".env").write_text("PETSTORE_PORT=9000\n")
    named = ("cli",) if how == "argument" else ()
    variables = {} if how == "argument" else {"PETSTORE_ENVIRONMENT": "cli"}

    outcome = run_sealed(*named, PETSTORE_CONFIG_FILE="service.toml", PETSTORE_PORT="7000", **variables)

    assert (outcome.stdout, outcome.stderr) == ("cli 7000", "")


def test_seal_of_the_cli_test_holds() -> None:
    """The seal under which cli is tested does stop another environment."""
    assert "PermissionError" in run_sealed("local", PETSTORE_MAIL_URL="smtp://x").stderr


def test_cli_leaves_no_file(tmp_path: Path) -> None:
    """cli makes no secret file and no database."""
    Settings.load("cli")

    assert list(tmp_path.iterdir()) == []


def test_cli_named_in_a_file_takes_nothing_else_from_it() -> None:
    """Where a file names cli, its other settings do not count."""
    Path(".env").write_text("LIGAND_ENVIRONMENT=cli\nLIGAND_PORT=9000\nLIGAND_PROT=1\n")

    settings = Settings.load()

    assert (settings.environment, settings.port, settings.sources["environment"]) == ("cli", 8000, ".env")


def test_cli_still_refuses_what_is_wrong() -> None:
    """cli needs nothing, but what it is given must be right."""
    assert refused_keys("cli", port="x", prot=1) == {"port", "prot"}


@pytest.mark.parametrize("how", ["argument", "variable", ".env", "service.toml"])
def test_testing_takes_only_arguments(how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Row 159: whatever the shell and the files of the directory say, a suite gets a database of its own."""
    urls = {name: f"postgresql://ann:hunter2@{name}/live" for name in ("shell", "plain", "dotenv", "file")}
    monkeypatch.setenv("LIGAND_DATABASE_URL", urls["shell"])
    monkeypatch.setenv("LIGAND_DATABASE_DIRECT_URL", urls["shell"])
    monkeypatch.setenv("LIGAND_RATE_LIMIT_STORAGE", "redis://live")
    monkeypatch.setenv("LIGAND_SECRET_KEY", KEY)
    monkeypatch.setenv("LIGAND_NO_SUCH_SETTING", "x")
    monkeypatch.setenv("DATABASE_URL", urls["plain"])
    monkeypatch.setenv("PORT", "9000")
    monkeypatch.setenv("LIGAND_CONFIG_FILE", "service.toml")
    named = "environment = 'testing'\n" if how == "service.toml" else ""
    Path("service.toml").write_text(f"{named}database_url = '{urls['file']}'\n")
    Path(".env").write_text(f"LIGAND_DATABASE_REPLICA_URLS={urls['dotenv']}\n")
    if how == "variable":
        monkeypatch.setenv("LIGAND_ENVIRONMENT", "testing")
    elif how == ".env":
        Path(".env").write_text(f"LIGAND_ENVIRONMENT=testing\nLIGAND_DATABASE_URL={urls['dotenv']}\n")

    settings = Settings.load("testing" if how == "argument" else None, max_body_bytes=7)

    assert settings.database_url.get_secret_value().startswith("sqlite+aiosqlite:///")
    assert (settings.database_direct_url, settings.database_replica_urls) == (None, ())
    assert (settings.port, settings.rate_limit_storage, settings.max_body_bytes) == (8000, None, 7)
    assert settings.secret_key.get_secret_value() != KEY
    assert set(settings.sources.values()) == {
        "argument",
        "default",
        "default of testing",
        settings.sources["environment"],
    }


def test_testing_reads_what_the_test_gives(monkeypatch: pytest.MonkeyPatch) -> None:
    """A test that wants the shell's database says so."""
    monkeypatch.setenv("DATABASE_URL", "sqlite+aiosqlite:///own.db")
    settings = Settings.load("testing", database_url=os.environ["DATABASE_URL"])

    assert settings.database_url.get_secret_value() == "sqlite+aiosqlite:///own.db"
