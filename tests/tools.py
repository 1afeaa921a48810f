"""Programs that some tests need and that are not Python packages."""

import os
import shutil
from pathlib import Path

import pytest

# Debian keeps its servers out of an ordinary user's PATH.
_PATH = os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/sbin"))
_NAMES = {"chromium": ("chromium", "chromium-browser", "google-chrome")}


def require_tool(name: str) -> Path:
    """Return the path of a program; skip the test where it is missing.

    `LIGAND_REQUIRE=chromium,node,java` turns the skip into a failure for the tools it names.
    """
    for candidate in _NAMES.get(name, (name,)):
        found = shutil.which(candidate, path=_PATH)
        if found is not None:
            return Path(found)
    required = {part.strip() for part in os.environ.get("LIGAND_REQUIRE", "").split(",")}
    if name in required:
        pytest.fail(f"{name} is not installed, and LIGAND_REQUIRE asks for it", pytrace=False)
    pytest.skip(f"{name} is not installed")
