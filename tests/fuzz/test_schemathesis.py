"""What schemathesis finds in the petstore: nothing."""

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.servers import get_token, served

SCHEMATHESIS = Path(sys.executable).parent / "schemathesis"
TIMEOUT = 900  # seconds
CONFIG = Path(__file__).parent / "schemathesis.toml"


@pytest.mark.extended
def test_schemathesis_finds_nothing(database_url: str, tmp_path: Path, figure: Callable[[int, int], int]) -> None:
    """All checks, on valid and invalid requests, single ones and sequences, against a real server and database."""
    variables = {
        "LIGAND_DATABASE_URL": database_url,
        "LIGAND_DATABASE_AUTO_UPGRADE": "1",
        "LIGAND_REQUIRE_PRECONDITIONS": "false",  # or hardly anything would ever be changed
    }
    options = ["--checks", "all", "--max-examples", str(figure(25, 300)), "--seed", "1", "--no-color"]

    with served("examples.petstore.app:create_app()", tmp_path, variables) as address:
        token = get_token(address, roles=["user", "admin"])
        run = subprocess.run(
            [
                *(SCHEMATHESIS, "--config-file", CONFIG, "run", f"{address}/openapi.json"),
                *("--header", f"Authorization: Bearer {token}", *options),
            ],
            cwd=tmp_path,
            env={name: value for name, value in os.environ.items() if not name.startswith("SCHEMATHESIS_")},
            capture_output=True,
            text=True,
            timeout=TIMEOUT,
            check=False,
        )

    assert re.search(r"Selected: (\d+)/\1\s+Tested: \1\b", run.stdout), run.stdout + run.stderr
    assert run.returncode == 0, run.stdout
