"""A second linter, Redocly's, has nothing to say about our documents."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from quart import Quart

from examples.invoices.app import create_app as create_invoices
from examples.petstore.app import create_app
from ligand_async.docs import document_of
from tests.docs import sample
from tests.provider.packages import install_packages

HERE = Path(__file__).parent / "linter"


@pytest.fixture
def lint(require_tool: Callable[[str], Path], tmp_path: Path) -> Callable[[bytes], list[str]]:
    node = require_tool("node")
    (tmp_path / "node_modules").symlink_to(install_packages(node, HERE))
    (tmp_path / "lint.mjs").write_text((HERE / "lint.mjs").read_text())

    def run(document: bytes) -> list[str]:
        command = [str(node), "--preserve-symlinks", str(tmp_path / "lint.mjs")]
        outcome = subprocess.run(command, input=document, cwd=tmp_path, capture_output=True, check=True, timeout=60)
        return outcome.stdout.decode().splitlines()

    return run


@pytest.mark.extended
@pytest.mark.parametrize("create", [create_app, create_invoices])
def test_the_document_of_an_example_is_clean(create: Callable[..., Quart], lint: Callable[[bytes], list[str]]) -> None:
    """With an issuer, under the strictest rules."""
    app = create("testing", service_public_url="https://example.org")
    assert lint(document_of(app).content) == []


@pytest.mark.extended
def test_a_lie_is_found(lint: Callable[[bytes], list[str]]) -> None:
    """The linter does look: a reference to nothing and an operation without summary are found."""
    document = json.loads(document_of(create_app("testing")).content)
    document["paths"]["/me"]["get"]["responses"]["200"]["content"]["application/json"]["schema"]["$ref"] += "s"
    del document["paths"]["/pets/"]["get"]["summary"]
    found = {line.split()[0] for line in lint(json.dumps(document).encode())}
    assert {"no-unresolved-refs", "operation-summary"} <= found


@pytest.mark.extended
def test_one_of_everything_is_structurally_clean(lint: Callable[[bytes], list[str]]) -> None:
    """Whatever a service is made of, its document has the structure of OpenAPI, and examples that fit."""
    problems = {line.split()[0] for line in lint(document_of(sample.make_app()).content)}
    assert problems.isdisjoint({"struct", "no-unresolved-refs", "no-invalid-schema-examples", "path-params-defined"})


def test_lock_of_the_linter_names_no_registry() -> None:
    """Each package has a version and a hash, and none an address."""
    packages = json.loads((HERE / "package-lock.json").read_text())["packages"]
    pinned = [package for name, package in packages.items() if name]
    assert len(pinned) > 5
    assert all(package["integrity"].startswith("sha512-") for package in pinned)
    assert not any("resolved" in package or package.get("hasInstallScript") for package in pinned)
