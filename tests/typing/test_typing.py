"""What a type checker knows about operations."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

MISTAKES = Path(__file__).with_name("mistakes.py")
MARK = re.compile(r"# refused: ([\w -]+)$")
FOUND = re.compile(r"mistakes\.py:(\d+): error: .*\[([\w-]+)\]$", re.MULTILINE)


@pytest.mark.extended
def test_mypy_refuses_each_mistake_and_nothing_else() -> None:
    """mypy --strict reports the marked lines, each for its reason, and accepts what is right."""
    lines = MISTAKES.read_text().splitlines()
    marks = {number: match[1] for number, line in enumerate(lines, 1) if (match := MARK.search(line))}
    expected = {(number, code) for number, codes in marks.items() for code in codes.split()}

    run = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", str(MISTAKES)],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )

    assert {(int(line), code) for line, code in FOUND.findall(run.stdout)} == expected, run.stdout + run.stderr
