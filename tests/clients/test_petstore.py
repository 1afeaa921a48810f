"""The petstore's clients: built as for an image, handed out, checked, and run with the tokens of a real issuer."""

import json
import re
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.error import HTTPError

import pytest

from tests.clients.making import HERE, TypeScript, check_python, ligand_client, run, unpack, without_network
from tests.provider.running import Provider
from tests.servers import ROOT, served

pytestmark = pytest.mark.extended

GUIDE = (ROOT / "docs" / "clients.md").read_text()


@pytest.fixture(scope="module")
def zips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The clients, built where nothing is set, as in an image."""
    directory = tmp_path_factory.mktemp("zips")
    ligand_client("build", "-o", directory, directory=directory)
    return directory


@pytest.fixture(scope="module")
def token(provider: Provider) -> str:
    """What a caller has who is user and administrator."""
    return provider.token("svc")


@pytest.fixture(scope="module")
def address(zips: Path, provider: Provider, token: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The petstore, on another port than its clients were built for, and with an issuer that they know nothing of."""
    variables = {
        "LIGAND_DATABASE_AUTO_UPGRADE": "1",
        "LIGAND_CLIENTS_DIRECTORY": str(zips),
        "LIGAND_OIDC_ISSUER": provider.issuer,
        "LIGAND_OIDC_AUDIENCE": provider.audience,
    }
    directory = tmp_path_factory.mktemp("petstore")
    with served("examples.petstore.app:create_app()", directory, variables) as address:
        for name in ("Ada", "Bob", "Cat", "Dog", "Eve"):
            add_pet(address, token, name)
        yield address


def add_pet(address: str, token: str, name: str) -> None:
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    request = urllib.request.Request(f"{address}/pets/", json.dumps({"name": name}).encode(), headers)
    urllib.request.urlopen(request, timeout=10).close()


def fetch(address: str, kind: str, directory: Path) -> Path:
    """Return a client as a stranger gets it: the directory in the zip that the service hands out."""
    with urllib.request.urlopen(f"{address}/openapi/clients/{kind}", timeout=10) as answer:
        assert answer.headers["Content-Type"] == "application/zip"
        archive = directory / f"{kind}.zip"
        archive.write_bytes(answer.read())
    return unpack(archive, directory / kind)


def shown(language: str) -> tuple[str, str]:
    """Return the program in the guide, and what it prints there."""
    found = re.search(rf"```{language}\n(.*?)```\n\n```text\n(.*?)```", GUIDE, re.DOTALL)
    assert found is not None
    return found[1], found[2]


def test_python_client_lives_a_pet_s_life(address: str, token: str, tmp_path: Path) -> None:
    """Strictly typed, it creates, reads, changes, lists and deletes; 412 and 422 are problems with their members."""
    program, printed = shown("python")
    source = fetch(address, "python", tmp_path)
    check_python(source / "petstore_client", HERE / "crud.py", source=source)

    told = run(sys.executable, HERE / "crud.py", address, token, directory=tmp_path, PYTHONPATH=str(source))

    assert program == (HERE / "crud.py").read_text()
    assert told == printed


def test_typescript_client_lives_a_pet_s_life(
    address: str, token: str, require_tool: Callable[[str], Path], tmp_path: Path
) -> None:
    """The same by `tsc --strict` and Node."""
    program, printed = shown("typescript")
    source = fetch(address, "typescript", tmp_path)
    node = require_tool("node")
    compiler = TypeScript(node, tmp_path / "work")
    compiler.add("petstore-client", source)
    built = compiler.compile(HERE / "crud.ts")

    told = run(node, built, address, token, directory=tmp_path)

    assert program == (HERE / "crud.ts").read_text()
    assert told == printed


def test_clients_carry_the_service_s_name_and_version(zips: Path, tmp_path: Path) -> None:
    """They are packages of their own, and hold no trace of where they were made."""
    python, typescript = (unpack(next(zips.glob(f"{kind}-*")), tmp_path / kind) for kind in ("python", "typescript"))
    metadata = json.loads((typescript / "package.json").read_text())
    everything = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())

    assert python.name == typescript.name == "petstore-client-1.0.0"
    assert 'name = "petstore-client"\nversion = "1.0.0"' in (python / "pyproject.toml").read_text()
    assert (metadata["name"], metadata["version"]) == ("petstore-client", "1.0.0")
    assert metadata.keys().isdisjoint({"author", "license", "repository"})
    assert b"ligand-client-" not in everything
    assert str(ROOT).encode() not in everything


def test_no_network_is_needed(zips: Path, address: str, tmp_path: Path) -> None:
    """Where nothing can be reached the same clients are built, byte for byte."""
    cut_off = without_network()
    probe = [sys.executable, "-c", f"import urllib.request as r; r.urlopen('{address}/livez', timeout=5).close()"]
    reached = [subprocess.run([*within, *probe], capture_output=True).returncode == 0 for within in ([], cut_off)]
    ligand_client("build", "-o", tmp_path, directory=tmp_path, within=cut_off)

    assert reached == [True, False]
    assert contents_of(tmp_path) == contents_of(zips)


def contents_of(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.iterdir()}


def test_what_was_not_built_is_not_there(address: str) -> None:
    """Another generator's client is a problem that says how there would be one."""
    with pytest.raises(HTTPError, match="404") as caught:
        urllib.request.urlopen(f"{address}/openapi/clients/typescript-axios", timeout=10)

    assert "ligand client build typescript-axios" in json.load(caught.value)["detail"]


def test_axios_client_lives_a_pet_s_life(
    address: str, token: str, require_tool: Callable[[str], Path], tmp_path: Path
) -> None:
    """`typescript-axios` does the same, and calls the private address by default."""
    source = tmp_path / "client"
    ligand_client("generate", "typescript-axios", "--private", "-o", source, directory=tmp_path)
    node = require_tool("node")
    compiler = TypeScript(node, tmp_path / "work")
    compiler.add("petstore-client", source)
    built = compiler.compile(HERE / "crud_axios.ts")
    told = run(node, built, address, token, directory=tmp_path)

    assert 'BASE_PATH = "http://127.0.0.1:8000"' in (source / "base.ts").read_text()
    assert told == shown("typescript")[1]
