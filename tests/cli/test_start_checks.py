"""Every command that loads the service refuses one that cannot start, and says why."""

import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from ligand_async.cli import ligand
from tests.machine import leave_bare

SERVICE = '''
from uuid import UUID
from quart import Blueprint, Quart
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import DeclarativeBase
import ligand_async
from ligand_async import Database, Model, Settings, operation, public, requires, role

class Base(Model, DeclarativeBase): ...
class Mailer: ...
class Sender: ...

db = Database(Base)
bp = Blueprint("things", __name__)

{fault}

def create_app() -> Quart:
    app = ligand_async.create_app(
        __name__, title="Things", version="1", settings=Settings.load("local", database_url="sqlite+aiosqlite:///t.db",
            allowed_roles=["user"]),
        blueprints=[bp], database=db, provide=provide)

    @app.cli.command("tidy")
    def tidy() -> None:
        """Tidy up."""

    return app
'''
FAULTS = {
    "rule": "provide = {}\n@bp.get('/<uuid:thing_id>')\n@operation\nasync def read() -> str: ...",
    "role": "provide = {}\n@bp.get('/')\n@requires(role('nobody'))\n@operation\nasync def read() -> str: ...",
    "two names": "provide = {}\n@bp.get('/')\n@public\n@operation(location='no.where')\nasync def read() -> str: ...",
    "service": (
        "from ligand_async import app_scope\n"
        "def make(mailer: Mailer) -> Sender: ...\n"
        "provide = {Sender: app_scope(make)}"
    ),
}
COMMANDS = (
    "openapi check",
    "openapi write",
    "auth routes",
    "auth check --public routes.txt",
    "settings",
    "token",
    "shell",
    "run service:create_app",
    "db current",
    "db check",
    "db upgrade",
    "audit show",
    "idempotency prune",
    "client generate python -o out",
    "tidy",
)


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A current directory for the module `service`."""
    leave_bare(monkeypatch, tmp_path)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "routes.txt").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "service", raising=False)
    return tmp_path


@pytest.mark.parametrize("fault", FAULTS.values(), ids=list(FAULTS))
def test_every_command_refuses(directory: Path, fault: str) -> None:
    """A fault in the code that stops the start of the app stops every command, with one message."""
    (directory / "service.py").write_text(SERVICE.format(fault=fault))
    for command in COMMANDS:
        result = CliRunner().invoke(ligand, ["--app", "service:create_app", *command.split()])
        assert (command, result.exit_code, result.stdout) == (command, 2, "")
        assert "Error: " in result.stderr


def test_help_is_there_all_the_same(directory: Path) -> None:
    """The list of commands does not need a service that can start."""
    (directory / "service.py").write_text(SERVICE.format(fault=FAULTS["rule"]))
    result = CliRunner().invoke(ligand, ["--app", "service:create_app", "--help"])
    assert (result.exit_code, "tidy" in result.stdout) == (0, True)
