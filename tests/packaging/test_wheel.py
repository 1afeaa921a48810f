"""What the wheel and the source distribution hold."""

import os
import subprocess
import sys
import tarfile
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest

from tests.packaging.checkout import ROOT, copy_checkout

INSPECT = """
import importlib.metadata, importlib.resources, ligand_async
print(ligand_async.__file__)
print(importlib.metadata.version("ligand-async") == ligand_async.__version__)
print((importlib.resources.files("ligand_async") / "py.typed").is_file())
"""


@pytest.fixture(scope="module")
def distributions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build both distributions of a clean copy."""
    checkout = copy_checkout(tmp_path_factory.mktemp("build") / "checkout")
    command = [sys.executable, "-m", "hatchling", "build", "-d", "dist"]
    subprocess.run(command, cwd=checkout, check=True, capture_output=True, timeout=120)
    return checkout / "dist"


@pytest.fixture(scope="module")
def wheel(distributions: Path) -> Path:
    """Return the wheel."""
    [path] = distributions.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def contents(wheel: Path) -> list[str]:
    """Return the names of the wheel's files."""
    with zipfile.ZipFile(wheel) as archive:
        return archive.namelist()


def test_wheel_holds_the_package_only(contents: list[str]) -> None:
    """Nothing of tests, examples or migrations gets into the site-packages of a user."""
    assert {name.split("/")[0].split("-")[0] for name in contents} == {"ligand_async"}


def test_wheel_holds_no_trash(contents: list[str]) -> None:
    """Neither bytecode nor databases nor secrets are shipped."""
    assert [name for name in contents if name.endswith((".pyc", ".db", ".secret_key")) or "/." in name] == []


@pytest.mark.parametrize(
    "name",
    [
        "py.typed",
        "docs/assets/swagger-ui-bundle.js",
        "docs/assets/swagger-ui.css",
        "docs/assets/LICENSE",
        "docs/assets/NOTICE",
    ],
)
def test_wheel_holds_what_is_no_python(contents: list[str], name: str) -> None:
    """The type marker and the docs page's own assets are in the wheel."""
    assert f"ligand_async/{name}" in contents


def test_wheel_holds_every_source_file(contents: list[str]) -> None:
    """Each module of the package is in the wheel, and the template of the migration environment too."""
    package = Path(__file__).parents[2] / "ligand_async"
    sources = {f"ligand_async/{path.relative_to(package).as_posix()}" for path in package.rglob("*.py*")}
    assert {name for name in sources if "__pycache__" not in name} - set(contents) == set()


def test_wheel_carries_the_licences(contents: list[str]) -> None:
    """Our licence, and licence and notice of the assets, are in the metadata directory."""
    licences = sorted(name.partition("/licenses/")[2] for name in contents if "/licenses/" in name)
    assert licences == ["LICENSE", "ligand_async/docs/assets/LICENSE", "ligand_async/docs/assets/NOTICE"]


def test_wheel_metadata(wheel: Path) -> None:
    """Name, Python and licence are what the project says."""
    with zipfile.ZipFile(wheel) as archive:
        [name] = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
        metadata = Parser().parsestr(archive.read(name).decode())
    assert metadata["Name"] == "ligand-async"
    assert metadata["Requires-Python"] == ">=3.11"
    assert metadata["License-Expression"] == "MIT"
    assert {"all", "clients", "ratelimit", "redis"} == set(metadata.get_all("Provides-Extra", []))


def test_installed_wheel_can_be_imported(wheel: Path, tmp_path: Path) -> None:
    """The wheel alone, installed elsewhere, is a working package."""
    site = tmp_path / "site"
    install = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-deps",
        "--no-index",
        "--target",
        str(site),
        str(wheel),
    ]
    subprocess.run(install, check=True, capture_output=True, timeout=120)
    environment = os.environ | {"PYTHONPATH": str(site)}
    answer = subprocess.run(
        [sys.executable, "-c", INSPECT],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert answer.stdout.split() == [str(site / "ligand_async" / "__init__.py"), "True", "True"]


def test_source_distribution_can_be_tested(distributions: Path) -> None:
    """The source distribution has the package, its tests, guides and commands, and nothing that a run leaves behind."""
    [path] = distributions.glob("*.tar.gz")
    with tarfile.open(path) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"Makefile", "tests/requirements.lock", "ligand_async/py.typed", ".ci/venv", "pyproject.toml"} <= names
    assert {f"docs/{path.name}" for path in (ROOT / "docs").iterdir() if path.name != "__pycache__"} <= names
    assert [name for name in names if name.startswith((".venv", ".git/", "dist"))] == []
