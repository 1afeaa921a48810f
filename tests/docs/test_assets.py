"""The files in the package."""

from importlib.resources import files

import pytest

ASSETS = files("ligand_async.docs") / "assets"


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("LICENSE", "Apache License"),
        ("NOTICE", "SmartBear"),
        ("VERSION", "swagger-ui-dist 5."),
        ("swagger-ui-bundle.js.LICENSE.txt", "MIT"),
    ],
)
def test_licences_come_with_the_assets(name: str, words: str) -> None:
    """Whoever gets Swagger UI from us gets its licence, its notices, and what version it is."""
    assert words in (ASSETS / name).read_text()
