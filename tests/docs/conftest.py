"""What the tests of the document share."""

from typing import Any

import pytest

from tests.docs import sample
from tests.docs.describing import describe, operations


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
