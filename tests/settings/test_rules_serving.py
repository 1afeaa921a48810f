"""The settings about the server: options of a command, the addresses that are made of them, TLS and root path."""

from pathlib import Path
from typing import Any

import pytest

from ligand_async.settings import CommandLine, Given, Settings, SettingsError, with_options
from tests.machine import leave_bare
from tests.settings.test_environments import SAFE, refused_keys


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    leave_bare(monkeypatch, tmp_path)


def options(**values: Any) -> CommandLine:
    """The options of a command."""
    return CommandLine({key: Given(value, f"--{key}") for key, value in values.items()})


def test_options_are_the_strongest_source(monkeypatch: pytest.MonkeyPatch) -> None:
    """An option counts before arguments, variables and files, also in testing, until the command ends."""
    monkeypatch.setenv("PORT", "7000")
    with with_options(options(port=9000)):
        for environment in ("local", "testing", "cli"):
            settings = Settings.load(environment, port=8000)
            assert (settings.port, settings.sources["port"]) == (9000, "--port")
            assert settings.service_public_url == "http://127.0.0.1:9000"

    assert Settings.load("local").port == 7000


def test_wrong_option_is_corrected_there() -> None:
    """A mistake names the option as its place."""
    with with_options(options(root_path="api")), pytest.raises(SettingsError, match="correct it in --root_path"):
        Settings.load("local")


@pytest.mark.parametrize(
    ("host", "settings", "url"),
    [
        ("127.0.0.1", {}, "http://127.0.0.1:8000"),
        ("[::1]", {"port": 9000}, "http://[::1]:9000"),
        ("localhost", {"root_path": "/api/"}, "http://localhost:8000/api"),
        ("127.0.0.1", {"tls_certificate": "a.pem"}, "https://127.0.0.1:8000"),
    ],
)
def test_address_is_where_it_is_served(host: str, settings: dict[str, Any], url: str) -> None:
    """The default of both URLs has the scheme, host, port and path that are served."""
    with with_options(CommandLine(host=host)):
        loaded = Settings.load("local", **settings)

    assert (loaded.service_public_url, loaded.service_private_url) == (url, url)


def test_without_a_port_the_public_url_is_needed() -> None:
    """On Unix sockets alone only the public URL is asked for, by name, and the private one is the same."""
    with with_options(CommandLine(has_port=False)):
        with pytest.raises(SettingsError, match="because the service listens on a Unix socket") as caught:
            Settings.load("local")
        loaded = Settings.load("local", service_public_url="https://a.example")

    assert [mistake.key for mistake in caught.value.mistakes] == ["service_public_url"]
    assert loaded.service_private_url == "https://a.example"


def test_key_without_certificate() -> None:
    """A key alone is a mistake; a certificate alone may hold its key."""
    assert refused_keys("prod", **SAFE, tls_key="a.key") == {"tls_key"}
    assert Settings.load("prod", **SAFE, tls_certificate="a.pem").tls_key is None


@pytest.mark.parametrize("path", ["/", "/api", "/a/b/"])
def test_root_path_is_that_of_the_public_url(path: str) -> None:
    """A slash at the end is no difference; another path is a mistake."""
    values = {**SAFE, "service_public_url": f"https://a.example{path}"}

    assert Settings.load("prod", **values, root_path=path).root_path == path.rstrip("/")
    assert refused_keys("prod", **values, root_path="/other") == {"root_path"}


@pytest.mark.parametrize("path", ["api", "//api", "/a/../b", "/a%2fb", "/a?b", "http://a/b"])
def test_other_text_is_no_root_path(path: str) -> None:
    """A root path begins with a slash and has plain segments."""
    assert refused_keys("local", root_path=path) == {"root_path"}
