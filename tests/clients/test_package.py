"""What clients are called."""

import pytest

from ligand_async.docs.clients import ClientError
from ligand_async.docs.clients.package import Package


@pytest.mark.parametrize("name", ["petstore-client", "a.b_c", "x2"])
def test_names_become_modules(name: str) -> None:
    """A name that package managers take can be imported."""
    assert Package(name, "1").module.isidentifier()


@pytest.mark.parametrize("name", ["", "Petstore", "bob's", "a--b", "-a", "2x", "a/b", "é"])
def test_other_names_are_refused(name: str) -> None:
    """The message says where the name comes from."""
    with pytest.raises(ClientError, match="client_name="):
        Package(name, "1")


@pytest.mark.parametrize(
    ("version", "semantic"), [("1.2.3", "1.2.3"), ("1.0", "1.0.0"), ("2", "2.0.0"), ("1.0.0-rc.1+b", "1.0.0-rc.1+b")]
)
def test_versions_have_three_numbers_where_they_must(version: str, semantic: str) -> None:
    """npm refuses any other."""
    assert Package("a", version).semantic_version == semantic


@pytest.mark.parametrize("version", ["next", "", "1.0 beta", "v1.0.0", "1,2"])
def test_other_versions_are_refused(version: str) -> None:
    """By both languages, with what to do."""
    package = Package("a", version)

    with pytest.raises(ClientError, match="version="):
        _ = package.semantic_version
    with pytest.raises(ClientError, match="version="):
        _ = package.python_version
