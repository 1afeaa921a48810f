"""What the tests of the document share."""

from pathlib import Path
from typing import Any

import pytest

from tests.docs import sample
from tests.docs.documents import describe, operations
from tests.servers import ROOT


@pytest.fixture(scope="session")
def screenshots() -> Path:
    """Where pictures of the page are kept, to be looked at: `make clean` removes them."""
    directory = ROOT / "dist" / "screenshots"
    directory.mkdir(parents=True, exist_ok=True)
    return directory


@pytest.fixture(scope="session")
def document() -> dict[str, Any]:
    return describe(sample.make_app())


@pytest.fixture(scope="session")
def documented(document: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return operations(document)


@pytest.fixture(scope="session")
def components(document: dict[str, Any]) -> dict[str, Any]:
    schemas: dict[str, Any] = document["components"]["schemas"]
    return schemas
