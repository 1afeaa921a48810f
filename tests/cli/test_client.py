"""`ligand client`: what it refuses before a generator runs; tests/clients/ runs them."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from ligand_async import Settings
from ligand_async.cli import ligand
from ligand_async.cli.client import server_of
from tests.machine import do_without, leave_bare

SERVICE = """
import ligand_async

def make(**options):
    return ligand_async.create_app(__name__, title="Shop", version="1.0", **options)
"""


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """Work in an empty directory with a service in it, and forget its module afterwards."""
    leave_bare(monkeypatch, tmp_path)
    monkeypatch.setattr(sys, "path", sys.path.copy())
    Path("clientshop.py").write_text(SERVICE)
    yield
    sys.modules.pop("clientshop", None)


def run(*arguments: str, app: str = "clientshop:make()") -> Result:
    return CliRunner().invoke(ligand, ["--app", app, "client", *arguments], prog_name="ligand")


@pytest.mark.parametrize("generator", ["Python", "../x", "", "a b", "-g"])
def test_what_is_not_a_generator_is_refused(generator: str) -> None:
    """Before anything is run, and nothing is made."""
    result = run("generate", "-o", "out", "--", generator)

    assert (result.exit_code, result.stdout) == (1, "")
    assert "is not a generator; write python, typescript" in result.stderr
    assert not Path("out").exists()


def test_what_is_there_is_not_overwritten() -> None:
    """A directory with something in it is left alone."""
    Path("out").mkdir()
    Path("out/mine").touch()
    result = run("generate", "python", "-o", "out")

    assert (result.exit_code, result.stdout) == (1, "")
    assert "out is not empty; choose another directory" in result.stderr
    assert [path.name for path in Path("out").iterdir()] == ["mine"]


@pytest.mark.parametrize("command", [("generate", "python", "-o", "out"), ("build",)])
def test_a_name_that_no_package_can_have_is_reported(command: tuple[str, ...]) -> None:
    """With where it comes from; exit code 1 and no traceback."""
    result = run(*command, app="clientshop:make(client_name='The Shop')")

    assert (result.exit_code, result.stdout) == (1, "")
    assert "create_app(client_name=...)" in result.stderr


def test_an_app_that_is_not_ours_is_reported() -> None:
    """A plain Quart has no document."""
    Path("plainshop.py").write_text("from quart import Quart\napp = Quart(__name__)\n")
    result = run("build", app="plainshop:app")

    assert (result.exit_code, result.stdout) == (2, "")
    assert "was not made by ligand_async.create_app()" in result.stderr


@pytest.mark.parametrize(("private", "address"), [(False, "https://shop.example"), (True, "http://shop.internal")])
def test_the_default_address_is_the_public_one(private: bool, address: str) -> None:
    """Unless the private one is asked for."""
    urls = {"service_public_url": "https://shop.example", "service_private_url": "http://shop.internal"}

    assert server_of(Settings.load("cli", **urls), private=private) == address


@pytest.mark.extended
def test_a_generator_has_so_much_time(tmp_path: Path) -> None:
    """Which `--timeout` says; nothing is made then."""
    result = run("generate", "typescript", "-o", "out", "--timeout", "1")
    if "install the extra" in result.stderr:
        do_without("java", result.stderr)

    assert result.exit_code == 1
    assert "typescript did not end within 1 s; give it more with --timeout" in result.stderr
    assert not Path("out").exists()
