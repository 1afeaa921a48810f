"""`ligand openapi`: the document, written and checked."""

import json
import sys
from pathlib import Path

import pytest
import yaml  # type: ignore[import-untyped]  # it comes with pydantic-settings, its stubs do not
from click.testing import CliRunner, Result

from ligand_async.cli import ligand
from tests.machine import leave_bare
from tests.servers import ROOT

EXAMPLES = pytest.mark.parametrize("example", ["petstore", "invoices"])
SERVICE = '''
from typing import Annotated, Any
from pydantic import WithJsonSchema
from quart import Blueprint
from ligand_async import Settings, create_app as create, operation

INLINE = {"type": "object", "properties": {"a": {"type": "string"}}}
things = Blueprint("things", __name__)

@things.get("/nameless")
@operation
async def read_nameless() -> Annotated[dict[str, Any], WithJsonSchema(INLINE)]:
    """Read."""

@things.get("/undeclared")
async def read_undeclared(): ...

def create_app():
    return create(__name__, title="Thïngs", version="1", settings=Settings.load(), blueprints=[things])
'''


@pytest.fixture
def service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A service with a schema written by hand and a view that declares nothing."""
    leave_bare(monkeypatch, tmp_path)
    (tmp_path / "service.py").write_text(SERVICE)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "service", raising=False)
    return "service:create_app"


def run(app: str, *arguments: str) -> Result:
    return CliRunner().invoke(ligand, ["--app", app, "openapi", *arguments])


@EXAMPLES
def test_the_document_of_an_example_is_kept(example: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On every Python, in every process, the same bytes: `make openapi` renews the file, for reviewers to see."""
    leave_bare(monkeypatch, tmp_path)
    kept = ROOT / "examples" / example / "openapi.json"
    assert run(f"examples.{example}.app:create_app", "write").stdout_bytes == kept.read_bytes()


@EXAMPLES
def test_the_document_of_an_example_is_valid(example: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its document is OpenAPI 3.1, and the command says nothing on stdout."""
    leave_bare(monkeypatch, tmp_path)
    result = run(f"examples.{example}.app:create_app", "check")
    assert (result.exit_code, result.stdout) == (0, "")


def test_what_is_not_openapi_is_listed(service: str, tmp_path: Path) -> None:
    """A schema that somebody wrote by hand and wrongly is found with its place."""
    path = tmp_path / "service.py"
    path.write_text(SERVICE.replace('"type": "object"', '"type": "thing"'))
    result = run(service, "check")
    assert result.exit_code == 1
    assert "is not valid: " in result.stdout


def test_a_missing_validator_is_reported(service: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The message has the command that installs it, and no document is reported as valid."""
    monkeypatch.setitem(sys.modules, "openapi_spec_validator", None)  # as if it were not installed
    result = run(service, "check")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "pip install openapi-spec-validator" in result.stderr


@pytest.mark.parametrize("arguments", [["-o", "a.yaml"], ["-o", "a.txt", "--format", "yaml"]])
def test_yaml_says_the_same(service: str, arguments: list[str]) -> None:
    """YAML is chosen by the file's name or by the option, and holds what JSON holds."""
    written = json.loads(run(service, "write").stdout)
    assert run(service, "write", *arguments).exit_code == 0
    text = Path(arguments[1]).read_text(encoding="utf-8")
    assert yaml.safe_load(text) == written
    assert "Thïngs" in text
    assert "&id" not in text


def test_a_file_is_replaced_whole(service: str, tmp_path: Path) -> None:
    """The old file is replaced, with its permissions, and nothing is left beside it."""
    target = tmp_path / "out" / "openapi.json"
    target.parent.mkdir()
    target.write_text("old")
    target.chmod(0o600)
    assert run(service, "write", "-o", str(target)).exit_code == 0
    assert json.loads(target.read_text())["info"]["title"] == "Thïngs"
    assert target.stat().st_mode & 0o777 == 0o600
    assert list(target.parent.iterdir()) == [target]


def test_a_file_that_cannot_be_written_is_named(service: str) -> None:
    """No traceback, and the name of the file."""
    result = run(service, "write", "-o", "nowhere/openapi.json")
    assert result.exit_code == 1
    assert "nowhere/openapi.json cannot be written: No such file or directory" in result.output


def test_a_document_that_cannot_be_built_is_reported(service: str, tmp_path: Path) -> None:
    """A clash of names is one message and exit code 2."""
    clash = '@things.get("/x")\n@operation_id("read_things_nameless")\nasync def other(): ...\n'
    path = tmp_path / "service.py"
    path.write_text(
        SERVICE.replace("def create_app", f"from quart_schema import operation_id\n\n{clash}\ndef create_app")
    )
    result = run(service, "write")
    assert result.exit_code == 2
    assert "two operations have the operationId 'read_things_nameless'" in result.output


def test_an_environment_that_is_named_counts(service: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment is `cli` by default; a chosen one has its own rules."""
    monkeypatch.setenv("LIGAND_ENVIRONMENT", "prod")
    result = run(service, "write")
    assert result.exit_code == 2
    assert "LIGAND_DATABASE_URL" in result.output


def test_addresses_come_from_the_settings(service: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The servers are the public and the private address."""
    monkeypatch.setenv("LIGAND_SERVICE_PUBLIC_URL", "https://things.example.org")
    monkeypatch.setenv("LIGAND_SERVICE_PRIVATE_URL", "http://things:8000")
    servers = json.loads(run(service, "write").stdout)["servers"]
    assert [server["url"] for server in servers] == ["https://things.example.org", "http://things:8000"]
