"""The lock files: complete, hashed, of no particular machine."""

import re
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from tests.packaging.checkout import ROOT, read_project

NAMES = ("requirements.lock", "requirements-build.lock", "requirements-clients.lock", "tests/requirements.lock")
LOCKS = [CORE, BUILD, CLIENTS, TEST] = [ROOT / name for name in NAMES]


def read_pins(lock: Path) -> dict[str, str]:
    """Return the pinned version of each package, and fail on a package with two."""
    pins: dict[str, str] = {}
    for line in lock.read_text().splitlines():
        if line and not line.startswith((" ", "#")):
            requirement = Requirement(line.removesuffix(" \\"))
            assert requirement.name not in pins, f"{requirement.name} has two versions"
            [specifier] = requirement.specifier
            assert specifier.operator == "=="
            pins[requirement.name] = specifier.version
    return pins


def wanted(lock: Path) -> list[Requirement]:
    project = read_project()
    groups: dict[str, list[str]] = project["dependency-groups"]
    texts = {
        CORE: project["project"]["dependencies"],
        BUILD: [*groups["build"], *project["build-system"]["requires"]],
        CLIENTS: [*project["project"]["dependencies"], *project["project"]["optional-dependencies"]["clients"]],
        TEST: [*project["project"]["dependencies"], *groups["build"], *groups["test"]],
    }[lock]
    return [Requirement(text) for text in texts]


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.name)
def test_lock_names_no_address_and_no_machine(lock: Path) -> None:
    """A lock holds nothing but pins and hashes: no index, no link, no path."""
    others = [
        line
        for line in lock.read_text().splitlines()
        if not re.fullmatch(
            r"#.*make lock.*|[a-z0-9-]+==[^ /:]+( ;[^/:]*)?( \\)?|    --hash=sha256:[0-9a-f]{64}( \\)?", line
        )
    ]
    assert others == []


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.name)
def test_every_pin_has_a_hash(lock: Path) -> None:
    """Each pinned package is followed by at least one hash."""
    lines = lock.read_text().splitlines()
    pins = [index for index, line in enumerate(lines) if "==" in line]
    assert pins
    assert all(lines[index + 1].startswith("    --hash=sha256:") for index in pins)


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.name)
def test_lock_is_up_to_date(lock: Path) -> None:
    """What pyproject.toml asks for is pinned at a version that it accepts."""
    pins = read_pins(lock)
    assert [str(need) for need in wanted(lock) if not need.specifier.contains(pins.get(need.name.lower(), "0"))] == []


def test_tests_run_on_the_core_that_is_shipped() -> None:
    """The test tools move no version of the core or of the build tools."""
    pins = read_pins(TEST)
    assert (read_pins(CORE) | read_pins(BUILD)).items() <= pins.items()


def test_generators_move_nothing() -> None:
    """What generates clients can be installed beside the core, and beside the test tools."""
    pins, generators = read_pins(TEST), read_pins(CLIENTS)
    assert read_pins(CORE).items() <= generators.items()
    assert {name: pins[name] for name in generators.keys() & pins.keys()}.items() <= generators.items()


def test_core_has_no_test_tools() -> None:
    """What `make run` and the image install has no test tool in it."""
    tools = {Requirement(text).name for text in read_project()["dependency-groups"]["test"]}
    assert tools & read_pins(CORE).keys() == set()
