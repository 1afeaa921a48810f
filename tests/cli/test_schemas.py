"""`ligand schemas`: stubs, written and checked."""

import ast
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from ligand_async.cli import ligand
from ligand_async.data.schemas import stub_of
from tests.machine import leave_bare
from tests.typing.stubs import schemas

SCHEMAS = """
from ligand_async import CreateSchema, Database, Identified, Model, ReadSchema
from sqlalchemy.orm import DeclarativeBase, Mapped

class Base(Model, DeclarativeBase): ...

class Pet(Identified, Base):
    __tablename__ = "pet"
    name: Mapped[str]
    owner: Mapped[str]{more}

class PetRead(ReadSchema, model=Pet): ...
"""
SERVICE = """
from ligand_async import Settings, create_app as create
import pet_schemas

def create_app():
    return create(__name__, title="Pets", version="1", settings=Settings.load())
"""


@pytest.fixture
def service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The directory of a service with a module of schemas, where nothing is set."""
    leave_bare(monkeypatch, tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "pet_service.py").write_text(SERVICE)
    (tmp_path / "pet_schemas.py").write_text(SCHEMAS.format(more=""))
    return tmp_path


def stub(*arguments: str) -> Result:
    for name in ("pet_service", "pet_schemas"):
        sys.modules.pop(name, None)
    return CliRunner().invoke(ligand, ["--app", "pet_service:create_app", "schemas", "stub", *arguments])


def test_a_stub_has_the_derived_fields(service: Path) -> None:
    """It is written beside the module, and has everything else of the module, too."""
    assert stub().stdout == f"{service / 'pet_schemas.pyi'}\n"

    text = (service / "pet_schemas.pyi").read_text()
    assert "class PetRead(ReadSchema):\n    id: _uuid.UUID\n    name: str\n    owner: str\n" in text
    assert 'class Pet(Identified, Base):\n    __tablename__ = "pet"\n    name: Mapped[str]' in text


def test_a_stub_that_is_out_of_date_fails_the_check(service: Path) -> None:
    """A new column of the model makes it so, and a missing stub, too; the check writes nothing."""
    file = service / "pet_schemas.pyi"
    missing = stub("--check")
    stub()
    current = stub("--check")
    (service / "pet_schemas.py").write_text(SCHEMAS.format(more="\n    salary: Mapped[int]"))
    stale = stub("--check")

    assert (missing.exit_code, missing.stdout) == (1, f"{file} is not there\n")
    assert (current.exit_code, current.stdout) == (0, "")
    assert (stale.exit_code, stale.stdout) == (1, f"{file} is out of date\n")
    assert "salary" not in file.read_text()


def test_a_stub_of_no_use_is_removed(service: Path) -> None:
    """It would hide a module that derives nothing any more; the check says so before."""
    stub()
    (service / "pet_schemas.py").write_text("from ligand_async import Settings\n")
    checked = stub("--check")
    written = stub()

    assert (checked.exit_code, checked.stdout) == (1, f"{service / 'pet_schemas.pyi'} is of no use\n")
    assert (written.exit_code, (service / "pet_schemas.pyi").exists()) == (0, False)


def test_a_stub_of_others_is_not_overwritten(service: Path) -> None:
    """What somebody wrote by hand stays."""
    (service / "pet_schemas.pyi").write_text("class PetRead: ...\n")
    result = stub()

    assert (result.exit_code, "was not written by this command" in result.stderr) == (2, True)
    assert (service / "pet_schemas.pyi").read_text() == "class PetRead: ...\n"


@pytest.mark.parametrize(
    ("name", "message"), [("json", "json does not derive a schema"), ("no_such_module", "No module named")]
)
def test_a_module_that_derives_nothing_is_refused(service: Path, name: str, message: str) -> None:
    """By its name."""
    result = stub(name)

    assert (result.exit_code, message in result.stderr) == (2, True)


def test_a_named_module_is_written_alone(service: Path) -> None:
    """Others are left alone."""
    result = stub("pet_schemas")

    assert (result.exit_code, result.stdout) == (0, f"{service / 'pet_schemas.pyi'}\n")


def test_a_stub_is_python_and_always_the_same() -> None:
    """Whatever stands in the module: what is written is parsed, has no body of a function, and does not change."""
    text = stub_of(schemas)
    tree = ast.parse(text)
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]

    assert text == stub_of(schemas)
    assert [ast.unparse(function.body[0]) for function in functions] == ["..."] * len(functions)
    assert "    nick: Annotated[str, Field(max_length=5)] | MISSING = ...  # optional, as all of a patch\n" in text
    assert "    name: str | MISSING = ...  # type: ignore[assignment]  # optional here\n" in text
