"""Config files of four formats."""

from pathlib import Path

import pytest

from ligand_async.settings import Settings, SettingsError
from tests.machine import leave_bare

SAME = {
    "service.toml": 'port = 9000\ndatabase_auto_upgrade = true\ndatabase_replica_urls = ["sqlite:///a.db", "sqlite:///b.db"]',
    "service.yaml": "port: 9000\ndatabase_auto_upgrade: yes\ndatabase_replica_urls:\n- sqlite:///a.db\n- sqlite:///b.db",
    "service.yml": '{port: 9000, database_auto_upgrade: true, database_replica_urls: ["sqlite:///a.db", "sqlite:///b.db"]}',
    "service.json": (
        '{"port": 9000, "database_auto_upgrade": true, "database_replica_urls": ["sqlite:///a.db", "sqlite:///b.db"]}'
    ),
    "service.ini": (
        "[other]\nkey = 1\n[ligand]\nPort = 9000\ndatabase_auto_upgrade = yes\n"
        "database_replica_urls = sqlite:///a.db, sqlite:///b.db\nsecret_key =\n"
    ),
    "service.CFG": (
        "[ligand]\nport: 9000\ndatabase_auto_upgrade: on\n"
        'database_replica_urls = ["sqlite:///a.db",\n  "sqlite:///b.db"]\n'
    ),
}


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    leave_bare(monkeypatch, tmp_path)


def refusal() -> SettingsError:
    with pytest.raises(SettingsError) as caught:
        Settings.load("local")
    return caught.value


@pytest.mark.parametrize("name", SAME)
def test_formats_say_the_same(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same settings can be written in TOML, YAML, JSON and INI."""
    monkeypatch.setenv("LIGAND_CONFIG_FILE", name)
    Path(name).write_text(SAME[name])

    settings = Settings.load("local")

    assert settings.port == 9000
    assert settings.database_auto_upgrade is True
    assert [url.get_secret_value() for url in settings.database_replica_urls] == ["sqlite:///a.db", "sqlite:///b.db"]
    assert settings.sources["port"] == name


def test_file_can_be_named_in_a_dotenv_file(tmp_path: Path) -> None:
    """LIGAND_CONFIG_FILE is read from dotenv files too, and may be an absolute path."""
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc" / "service.toml").write_text("port = 9000")
    Path(".quartenv").write_text(f"LIGAND_CONFIG_FILE={tmp_path / 'etc' / 'service.toml'}\n")

    assert Settings.load("local").port == 9000


def test_file_follows_the_prefix(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a prefix of its own, a service has its own variable and its own section."""

    class Pets(Settings, prefix="PETSTORE_"):
        pass

    monkeypatch.setenv("PETSTORE_CONFIG_FILE", "all.ini")
    Path("all.ini").write_text("[ligand]\nport = 1\n[petstore]\nport = 9000\n")

    assert Pets.load("local").port == 9000


def test_empty_file_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty config file is not a mistake."""
    monkeypatch.setenv("LIGAND_CONFIG_FILE", "service.yaml")
    Path("service.yaml").touch()

    assert Settings.load("local").port == 8000


@pytest.mark.parametrize(
    "name", ["service.toml", "service.yaml", "service.json", "service.ini", "service.conf", "service"]
)
def test_missing_file_is_a_mistake(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A config file that is not there, or of no known kind, is a mistake of the variable that names it."""
    monkeypatch.setenv("LIGAND_CONFIG_FILE", name)

    (mistake,) = refusal().mistakes

    assert mistake.variable == "LIGAND_CONFIG_FILE"
    known = name.endswith((".toml", ".yaml", ".json", ".ini"))
    assert mistake.problem == f"names a file {'that does not exist' if known else 'of an unknown kind'}"


@pytest.mark.parametrize(
    ("name", "text", "problem"),
    [
        ("service.toml", "port = 1\nsecret_key = hunter2", "cannot be read at line 2"),
        ("service.yaml", "port: 1\nsecret_key: [hunter2", "cannot be read at line 2"),
        ("service.yaml", "- hunter2", "cannot be read"),
        ("service.yaml", "hunter2", "cannot be read"),
        ("service.yaml", "1: hunter2", "cannot be read"),
        ("service.json", '{\n"secret_key": hunter2}', "cannot be read at line 2"),
        ("service.json", '["hunter2"]', "cannot be read"),
        ("service.ini", "[ligand]\nsecret_key hunter2", "cannot be read at line 2"),
        ("service.ini", "secret_key = hunter2", "cannot be read at line 1"),
        ("service.ini", "[lignad]\nsecret_key = hunter2", "without a section [ligand]"),
    ],
)
def test_broken_file_is_a_mistake(name: str, text: str, problem: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that cannot be read is reported with the line, if there is one, and never with its content."""
    monkeypatch.setenv("LIGAND_CONFIG_FILE", name)
    Path(name).write_text(text)

    error = refusal()

    assert problem in error.mistakes[0].problem
    assert "hunter2" not in str(error)
    assert error.__context__ is None


@pytest.mark.parametrize(
    ("text", "key", "remedy"),
    [
        ("prot = 1", "prot", "did you mean port?"),
        ("PORT = 1", "PORT", "did you mean port?"),
        ("LIGAND_PORT = 1", "LIGAND_PORT", "did you mean port?"),
        ("[ligand]\nport = 1", "ligand", "put its keys at the top of the file"),
        ("zzz = 1", "zzz", "remove it, or declare it in your subclass of Settings"),
    ],
)
def test_unknown_key_is_a_mistake(text: str, key: str, remedy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A key that is not a setting is a mistake, and the setting it may mean is named."""
    monkeypatch.setenv("LIGAND_CONFIG_FILE", "service.toml")
    Path("service.toml").write_text(text)

    (mistake,) = refusal().mistakes

    assert (mistake.key, mistake.remedy) == (key, remedy)
    assert "service.toml" in mistake.problem


def test_bad_list_in_an_ini_file_is_a_mistake(monkeypatch: pytest.MonkeyPatch) -> None:
    """Text of an INI file is read like that of a variable, with the same mistakes."""
    monkeypatch.setenv("LIGAND_CONFIG_FILE", "service.ini")
    Path("service.ini").write_text('[ligand]\ndatabase_replica_urls = ["x"\n')

    (mistake,) = refusal().mistakes

    assert (mistake.problem, mistake.remedy) == ("is not valid JSON", "correct it in service.ini")
