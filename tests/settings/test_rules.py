"""The settings about callers fit together, or nothing starts."""

from collections import deque
from pathlib import Path
from typing import Any

import pytest

from ligand_async.settings import Settings, SettingsError
from tests.machine import leave_bare
from tests.settings.test_environments import SAFE, refused_keys

ISSUER = {"oidc_issuer": "https://id.example", "oidc_audience": "https://api.example"}
CLIENT = {"oidc_client_id": "api", "oidc_client_secret": "s3cret-of-the-client"}


class Each:
    """An iterator over issuers, new for each test."""

    def __init__(self, *issuers: str) -> None:
        self.issuers = issuers


SERVICES = ["prod", "stage", "local", "testing"]


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    leave_bare(monkeypatch, tmp_path)


@pytest.mark.parametrize("environment", SERVICES)
def test_issuer_needs_an_audience(environment: str) -> None:
    """An issuer without an audience would let in tokens that were made for others: refused in every environment."""
    assert refused_keys(environment, **SAFE, oidc_issuer="https://id.example") == {"oidc_audience"}


def test_cli_needs_no_audience() -> None:
    """Commands that only look at the code need nothing."""
    assert Settings.load("cli", oidc_issuer="https://id.example").oidc_audience == ()


def test_issuer_in_the_class_needs_an_audience_too() -> None:
    """The rule holds for an issuer that a service's own settings have as default."""

    class Pets(Settings):
        oidc_issuer: tuple[str, ...] = ("https://id.example",)

    with pytest.raises(SettingsError, match="oidc_audience"):
        Pets.load("testing")


@pytest.mark.parametrize("environment", ["prod", "stage"])
@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("oidc_issuer", "http://id.example"),
        ("oidc_issuer", "HTTP://id.example"),
        ("oidc_issuer", ("https://id.example", "http://other.example")),
        ("oidc_issuer", ["https://id.example", "http://other.example"]),
        ("oidc_issuer", {"http://id.example"}),
        ("oidc_issuer", frozenset({"http://id.example"})),
        ("oidc_issuer", deque(["http://id.example"])),
        ("oidc_issuer", dict.fromkeys(["http://id.example"]).keys()),
        ("oidc_issuer", Each("http://id.example")),
        ("oauth_authorization_url", "http://id.example/authorize"),
        ("oauth_token_url", "http://id.example/token"),
    ],
)
def test_strict_environment_refuses_an_issuer_without_tls(environment: str, key: str, value: Any) -> None:
    """An issuer over plain http is refused: anybody on the way could replace its keys."""
    sent = iter(value.issuers) if isinstance(value, Each) else value
    assert refused_keys(environment, **SAFE | ISSUER | {key: sent}) == {key}


def test_tokens_bound_to_a_key_need_a_proxy() -> None:
    """Row 132: a proxy that checks keys is a proxy that is trusted."""
    bound = {"oidc_key_bound_tokens": "proxy"}

    assert refused_keys("prod", **SAFE | ISSUER | bound) == {"oidc_key_bound_tokens"}
    assert Settings.load("prod", **SAFE | ISSUER | bound | {"trusted_proxies": 1}).oidc_key_bound_tokens == "proxy"


@pytest.mark.parametrize("environment", ["prod", "stage"])
def test_strict_environment_refuses_a_client_s_secret_of_few_characters(environment: str) -> None:
    """Such a secret is an example that somebody left there."""
    client = CLIENT | {"oidc_client_secret": "secret"}

    assert refused_keys(environment, **SAFE | ISSUER | client) == {"oidc_client_secret"}


def test_all_issuers_of_a_variable_are_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    """A variable with several issuers is split before it is judged."""
    monkeypatch.setenv("LIGAND_OIDC_ISSUER", "https://id.example,http://other.example")

    assert refused_keys("prod", **SAFE, oidc_audience="api") == {"oidc_issuer"}


@pytest.mark.parametrize("environment", ["local", "testing"])
def test_own_machine_may_do_without_tls(environment: str) -> None:
    """An issuer on one's own machine speaks plain http."""
    settings = Settings.load(environment, oidc_issuer="http://127.0.0.1:9000", oidc_audience="api")

    assert settings.oidc_issuer == ("http://127.0.0.1:9000",)


@pytest.mark.parametrize("environment", SERVICES)
@pytest.mark.parametrize("tokens", ["opaque", "both"])
@pytest.mark.parametrize("missing", ["oidc_client_id", "oidc_client_secret"])
def test_introspection_needs_a_client(environment: str, tokens: str, missing: str) -> None:
    """Who asks the issuer about tokens must be able to say who he is."""
    values = {key: value for key, value in CLIENT.items() if key != missing}

    assert refused_keys(environment, **SAFE | ISSUER | values, oidc_tokens=tokens) == {missing}


@pytest.mark.parametrize("tokens", ["opaque", "both"])
def test_introspection_needs_an_issuer(tokens: str) -> None:
    """There must be somebody to ask."""
    assert refused_keys("testing", **CLIENT, oidc_tokens=tokens) == {"oidc_issuer"}


@pytest.mark.parametrize("tokens", ["jwt", "opaque", "both"])
def test_whole_settings_are_accepted(tokens: str) -> None:
    """Nothing is asked for beyond that."""
    assert Settings.load("prod", **SAFE | ISSUER | CLIENT, oidc_tokens=tokens).oidc_tokens == tokens


@pytest.mark.parametrize("algorithm", ["HS256", "HS384", "HS512", "none", "None", "ES256K", "RSA1_5"])
def test_row_68_symmetric_algorithms_cannot_be_configured(algorithm: str) -> None:
    """Row 68: no environment accepts HS256, with which everybody who can verify a token can make one."""
    assert refused_keys("testing", oidc_algorithms=("RS256", algorithm)) == {"oidc_algorithms"}


@pytest.mark.parametrize("value", ["ftp://id.example", "id.example", "https://id.example?x=1", "https://u@id.example"])
def test_issuer_is_an_identifier(value: str) -> None:
    """An issuer is a URL without user, query and fragment (OpenID Connect Discovery 1.0)."""
    assert refused_keys("testing", oidc_issuer=value, oidc_audience="api") == {"oidc_issuer"}
