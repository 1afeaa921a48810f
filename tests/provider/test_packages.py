"""What the provider and the compilers are made of is pinned, and comes from no particular registry."""

import json
from pathlib import Path

import pytest

from tests import clients
from tests.provider.packages import HERE

pytestmark = pytest.mark.parametrize("home", [HERE, Path(clients.__path__[0])], ids=lambda home: home.name)


def test_lock_names_no_registry(home: Path) -> None:
    """Each package has a version and a hash, and none an address: npm asks the registry that the machine has."""
    packages = json.loads((home / "package-lock.json").read_text())["packages"]
    pinned = [package for name, package in packages.items() if name]

    assert len(pinned) > 3
    assert all(package["integrity"].startswith("sha512-") and package["version"] for package in pinned)
    assert not any("resolved" in package or package.get("hasInstallScript") for package in pinned)


def test_lock_is_up_to_date(home: Path) -> None:
    """The lock is that of package.json, which names exact versions."""
    wanted = json.loads((home / "package.json").read_text())["dependencies"]
    locked = json.loads((home / "package-lock.json").read_text())["packages"]

    assert locked[""]["dependencies"] == wanted
    assert {name: locked[f"node_modules/{name}"]["version"] for name in wanted} == wanted
