"""What the README says is so."""

import re
from pathlib import Path

import pytest

from tests.servers import ROOT
from tests.transcripts import check_transcript, commands_in

README = (ROOT / "README.md").read_text()
FILE_BLOCK = re.compile(r"<!-- file: (\S+) -->\n```python\n(.*?)```", re.DOTALL)
SILENT = ("export ", "TOKEN=")  # commands that print nothing
LINK = re.compile(r"\]\((?!https?://)([^)#]+)\)")


def test_code_is_the_examples() -> None:
    """A block that names a file is that file."""
    blocks = FILE_BLOCK.findall(README)

    assert blocks
    for name, code in blocks:
        assert code == (ROOT / name).read_text(), f"the README's copy of {name} is out of date"


def test_links_lead_somewhere() -> None:
    """Each relative link names a file of this repository."""
    links = LINK.findall(README)

    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_make_targets_exist() -> None:
    """Each `make` command has a target."""
    makefile = (ROOT / "Makefile").read_text()

    for target in set(re.findall(r"^(?:.*`)?make (?:-s )?([a-z-]+)", README, re.MULTILINE)):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


def test_transcript_is_what_happens(tmp_path: Path) -> None:
    """The commands of the README, run in order against its service, print what it shows."""
    check_transcript(README, tmp_path)


def test_transcript_shows_something() -> None:
    """The transcript is found and read whole: a test over nothing would always pass."""
    commands = commands_in(README)
    assert len(commands) == README.count("\n$ ")
    assert [command for command, expected in commands if bool(expected.strip()) == command.startswith(SILENT)] == []


@pytest.mark.parametrize("word", ["duplicate", "bad body", "No token", "plain Quart", "Who it is not for"])
def test_first_questions_are_answered(word: str) -> None:
    """The README speaks of what a newcomer asks first."""
    assert word in README
