"""The guide through the invoicing service: its commands print what it shows, and no file is left out."""

import re
from pathlib import Path

from tests.servers import ROOT
from tests.transcripts import check_transcript, commands_in

GUIDE = (ROOT / "docs" / "invoices.md").read_text()


def test_the_guide_is_what_happens(tmp_path: Path) -> None:
    """Its commands, run in order against the service, print what it shows."""
    assert len(commands_in(GUIDE)) == GUIDE.count("\n$ ")
    check_transcript(GUIDE, tmp_path, {"LIGAND_DATABASE_AUTO_UPGRADE": "1"})


def test_the_guide_names_each_file() -> None:
    """What is not in its table does not exist, and what exists is in it."""
    table = GUIDE.partition("## What each file shows")[2]
    named = {name.rstrip("/") for name in re.findall(r"`([a-z_/.]+)`", table) if not name.startswith("tests/")}
    there = {path.name for path in (ROOT / "examples" / "invoices").iterdir()} - {"__init__.py", "__pycache__"}

    assert there - named == set()
    assert {name for name in named if name.endswith((".py", ".pyi", ".json"))} - there == set()
