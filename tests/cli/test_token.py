"""`ligand token`: a development token on stdout, or the reason why there is none."""

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from ligand_async import Settings, create_app
from ligand_async.auth import issuer_of
from ligand_async.cli import ligand
from tests.auth.issuing import claims_of
from tests.machine import leave_bare
from tests.servers import LIGAND, ROOT

SERVICE = """
from ligand_async import Settings, create_app
from ligand_async.auth import BearerAuthenticator

class RoleSettings(Settings):
    allowed_roles: tuple[str, ...] = ("user", "admin")

class KeySettings(Settings, defaults={"testing": {"secret_key": "k" * 40}}):
    pass

class Nobody:
    async def verify(self, token): ...

def make(settings=Settings, authenticators=(), environment=None):
    loaded = settings.load(environment)
    return create_app(__name__, title="S", version="1", settings=loaded, authenticators=authenticators)

def with_roles(): return make(RoleSettings)
def with_key(): return make(KeySettings)
def with_own(): return make(authenticators=[BearerAuthenticator(Nobody())])
"""


@pytest.fixture(autouse=True)
def service(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """Work in an empty directory but for a service, in `local`."""
    leave_bare(monkeypatch, tmp_path)
    monkeypatch.setattr(sys, "path", sys.path.copy())
    monkeypatch.setenv("LIGAND_ENVIRONMENT", "local")
    Path("shop.py").write_text(SERVICE)
    yield
    sys.modules.pop("shop", None)


def run(*arguments: str, app: str = "make") -> Result:
    return CliRunner().invoke(ligand, ["--app", f"shop:{app}", "token", *arguments], prog_name="ligand")


def printed(*arguments: str, app: str = "make") -> dict[str, Any]:
    """Return the claims of the token that was printed, and nothing else."""
    result = run(*arguments, app=app)
    assert result.exit_code == 0, result.output
    assert re.fullmatch(r"[\w-]+\.[\w-]+\.[\w-]+\n", result.stdout)
    assert result.stderr == ""
    return claims_of(result.stdout.strip())


def test_options_become_claims() -> None:
    """Roles and scopes may be repeated or written with commas, and stand in the token once."""
    claims = printed(
        *("--role", "user", "--role", "admin,user", "--scope", "pets:write, pets:read", "--scope", "x"),
        *("--subject", "Zoë O'Neill", "--expires", "60"),
    )

    assert (claims["roles"], claims["scope"]) == (["user", "admin"], "pets:write pets:read x")
    assert (claims["sub"], claims["exp"] - claims["iat"]) == ("Zoë O'Neill", 60)
    assert abs(claims["iat"] - time.time()) < 60


def test_without_options_it_is_ada_for_an_hour() -> None:
    """Somebody without roles or scopes."""
    claims = printed()

    assert (claims["sub"], claims["exp"] - claims["iat"]) == ("ada", 3600)
    assert {"roles", "scope"} & set(claims) == set()


@pytest.mark.parametrize(
    ("written", "claims"),
    [
        ("tenant=acme", {"tenant": "acme"}),
        ('groups=["a", "b"]', {"groups": ["a", "b"]}),
        ('address={"town": "Delft"}', {"address": {"town": "Delft"}}),
        ("level=3", {"level": 3}),
        ('level="3"', {"level": "3"}),
        ("level=007", {"level": "007"}),
        ("member=true", {"member": True}),
        ("member=True", {"member": "True"}),
        ("none=null", {"none": None}),
        ("empty=", {"empty": ""}),
        ("a=b=c", {"a": "b=c"}),
        ("https://example.org/tenant=acme", {"https://example.org/tenant": "acme"}),
        ("nan=NaN", {"nan": "NaN"}),
        ("name=Zoë", {"name": "Zoë"}),
    ],
)
def test_claims_are_json_or_else_text(written: str, claims: dict[str, Any]) -> None:
    """A value that is JSON is read as JSON; quotes make it text."""
    found = printed("--claim", written)

    assert {name: found[name] for name in claims} == claims


def test_claims_may_be_repeated() -> None:
    """Each option adds one."""
    found = printed("--claim", "tenant=acme", "--claim", "level=3", "--role", "admin")

    assert (found["tenant"], found["level"], found["roles"]) == ("acme", 3, ["admin"])


async def test_the_service_trusts_it() -> None:
    """The service that runs in the same directory has the same secret key, and so the same key pair."""
    token = run("--role", "admin").stdout.strip()
    app = create_app("shop", title="S", version="1", settings=Settings.load("local"))
    async with app.test_app():
        verified = await app.test_client().get("/livez", headers={"Authorization": f"Bearer {token}"})
        refused = await app.test_client().get("/livez", headers={"Authorization": f"Bearer {token}x"})

    assert (verified.status_code, refused.status_code) == (200, 401)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--role", "user,,admin"), "'--role'"),
        (("--role", ""), "'--role'"),
        (("--role", "shop owner"), "'--role'"),
        (("--scope", 'a"b'), "'--scope'"),
        (("--scope", "ü"), "'--scope'"),
        (("--subject", ""), "'--subject'"),
        (("--subject", "a\nb"), "'--subject'"),
        (("--subject", "a\udc00b"), "'--subject'"),
        (("--expires", "0"), "'--expires'"),
        (("--expires", "-5"), "'--expires'"),
        (("--expires", "1e3"), "'--expires'"),
        (("--expires", "9" * 400), "'--expires'"),
        (("--rôle", "x"), "No such option"),
        (("--claim", "tenant"), "write a claim as name=value"),
        (("--claim", "=acme"), "write a claim as name=value"),
        (("--claim", ""), "write a claim as name=value"),
        (("--claim", "a=1", "--claim", "a=2"), "the claim a is given twice"),
        (("--claim", "a=[1"), "begins like JSON"),
        (("--claim", 'a={"b": 1, "b": 2}'), "begins like JSON"),
        (("--claim", "exp=5"), "the development issuer sets the claim exp itself; use expires for it"),
        (("--claim", 'iss="x"'), "the development issuer sets the claim iss itself"),
        (("--claim", "a\nb=x"), "must be printable"),
        (("--claim", "a=\udcff"), "cannot be written as JSON"),
        (("--claim", f"a={'b' * 20_000}"), "no service would accept the token"),
        (("admin",), "unexpected extra argument"),
    ],
)
def test_rubbish_is_refused(arguments: tuple[str, ...], message: str) -> None:
    """What no token could carry names the option, with nothing on stdout."""
    result = run(*arguments)

    assert (result.exit_code, result.stdout) == (2, "")
    assert message in result.stderr
    assert "Traceback" not in result.stderr


def test_unknown_roles_are_refused() -> None:
    """Where the service says which roles exist, a typing error would only be seen as a 403 otherwise."""
    result = run("--role", "user,amdin", app="with_roles")

    assert (result.exit_code, result.stdout) == (2, "")
    assert "there is no role amdin; allowed_roles has user, admin" in result.stderr
    assert printed("--role", "user,admin", app="with_roles")["roles"] == ["user", "admin"]


@pytest.mark.parametrize("environment", ["prod", "stage", "cli"])
def test_elsewhere_there_is_none(environment: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """In other environments the message says where to get a token, and the exit code is 2."""
    monkeypatch.setenv("LIGAND_ENVIRONMENT", environment)
    monkeypatch.setenv("LIGAND_DATABASE_URL", "sqlite:///shop.db")
    monkeypatch.setenv("LIGAND_SECRET_KEY", "0123456789abcdefghijklmnopqrstuv")
    for name in ("PUBLIC", "PRIVATE"):
        monkeypatch.setenv(f"LIGAND_SERVICE_{name}_URL", "https://shop.example")
    monkeypatch.setenv("LIGAND_OIDC_ISSUER", "https://issuer.example")
    monkeypatch.setenv("LIGAND_OIDC_AUDIENCE", "shop")
    result = run()

    assert (result.exit_code, result.stdout) == (2, "")
    assert f"no development issuer in {environment}" in result.stderr
    assert "LIGAND_OIDC_ISSUER" in result.stderr


def test_beside_a_real_issuer_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """The message names the issuer that the service trusts."""
    monkeypatch.setenv("LIGAND_OIDC_ISSUER", "https://issuer.example")
    monkeypatch.setenv("LIGAND_OIDC_AUDIENCE", "shop")
    result = run()

    assert (result.exit_code, result.stdout) == (2, "")
    assert "the service trusts https://issuer.example" in result.stderr


def test_beside_an_authenticator_of_its_own_there_is_none() -> None:
    """A token that the service would not read is not printed."""
    result = run(app="with_own")

    assert (result.exit_code, result.stdout) == (2, "")
    assert "reads bearer tokens with an authenticator of its own" in result.stderr


def test_in_testing_the_key_must_be_shared(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process of `testing` makes a key of its own, so that a token from another one would be worth nothing."""
    monkeypatch.setenv("LIGAND_ENVIRONMENT", "testing")
    monkeypatch.setenv("LIGAND_SECRET_KEY", "0123456789abcdefghijklmnopqrstuv")  # which testing does not read
    result = run()
    assert (result.exit_code, result.stdout) == (2, "")
    assert "give both the same secret_key in the code" in result.stderr

    assert printed(app="with_key")["sub"] == "ada"


def test_an_app_that_is_not_ours_is_reported() -> None:
    """A plain Quart has no issuer."""
    Path("plain.py").write_text("from quart import Quart\napp = Quart(__name__)\n")
    result = CliRunner().invoke(ligand, ["--app", "plain:app", "token"])

    assert (result.exit_code, result.stdout) == (2, "")
    assert "was not made by ligand_async.create_app()" in result.stderr


def test_a_process_prints_nothing_else(tmp_path: Path) -> None:
    """Neither the log nor a warning stands beside the token, so that `$(ligand token)` is one."""
    outcome = subprocess.run(
        [*LIGAND, "--app", "shop:with_roles", "token", "--role", "admin"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    app = create_app("shop", title="S", version="1", settings=Settings.load("local"))
    issuer = issuer_of(app)

    assert issuer is not None
    assert (outcome.stderr, outcome.stdout.count("\n")) == ("", 1)
    assert claims_of(outcome.stdout.strip())["iss"] == issuer.issuer
