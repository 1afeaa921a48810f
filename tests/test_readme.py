"""What the README says is so."""

import re
import subprocess
from pathlib import Path

import pytest

from tests.serving import ROOT, served

README = (ROOT / "README.md").read_text()
FILE_BLOCK = re.compile(r"<!-- file: (\S+) -->\n```python\n(.*?)```", re.DOTALL)
TRANSCRIPT = re.compile(r"<!-- transcript: (\S+) -->\n(.*?)\n## ", re.DOTALL)
CONSOLE = re.compile(r"```console\n(\$ .*?)```", re.DOTALL)
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

    for target in set(re.findall(r"^(?:.*`)?make ([a-z-]+)", README, re.MULTILINE)):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


def commands() -> list[tuple[str, str]]:
    """Return the transcript's commands with what they print."""
    _, text = TRANSCRIPT.findall(README)[0]
    blocks = "".join(CONSOLE.findall(text))
    return [(part.partition("\n")[0], part.partition("\n")[2]) for part in blocks.split("$ ")[1:]]


def pattern(expected: str) -> str:
    """Turn expected output, where `...` stands for anything, into a pattern."""
    return re.escape(expected.strip()).replace(re.escape("..."), ".*?")


def test_transcript_is_what_happens(tmp_path: Path) -> None:
    """The commands of the README, run in order against its service, print what it shows."""
    target, _ = TRANSCRIPT.findall(README)[0]

    with served(target, tmp_path, by_ligand=True) as address:
        for command, expected in commands():
            typed = command.replace("http://127.0.0.1:8000", address)
            run = subprocess.run(
                ["sh", "-c", typed],
                capture_output=True,
                text=True,
                check=True,
                timeout=20,
            )
            printed = run.stdout.replace("\r", "").strip()
            assert re.fullmatch(pattern(expected), re.sub(r" +$", "", printed, flags=re.MULTILINE), re.DOTALL), (
                f"{command}\nprinted:\n{printed}\nexpected:\n{expected}"
            )


def test_transcript_shows_something() -> None:
    """The transcript is found and read whole: a test over nothing would always pass."""
    assert len(commands()) == README.count("\n$ curl")
    assert all(expected.strip() for _, expected in commands())


@pytest.mark.parametrize("word", ["duplicate", "bad body", "No token", "plain Quart", "Who it is not for"])
def test_first_questions_are_answered(word: str) -> None:
    """The README speaks of what a newcomer asks first."""
    assert word in README
