"""What the README says is so."""

import os
import re
import shlex
import subprocess
from pathlib import Path

import pytest

from tests.servers import LIGAND, ROOT, served

README = (ROOT / "README.md").read_text()
FILE_BLOCK = re.compile(r"<!-- file: (\S+) -->\n```python\n(.*?)```", re.DOTALL)
TRANSCRIPT = re.compile(r"<!-- transcript: (\S+) -->\n(.*?)\n## ", re.DOTALL)
CONSOLE = re.compile(r"```console\n(\$ .*?)```", re.DOTALL)
SILENT = ("export ", "TOKEN=")  # commands that print nothing
MARK = "-- what follows was printed by the next command --"
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
        typed = f"\necho; echo '{MARK}'\n".join(command for command, _ in commands())
        run = subprocess.run(
            ["sh", "-e", "-c", typed.replace("http://127.0.0.1:8000", address)],
            cwd=tmp_path,
            env=make_terminal(tmp_path),
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
    assert run.returncode == 0, run.stderr
    outputs = run.stdout.replace("\r", "").split(MARK)
    for (command, expected), output in zip(commands(), outputs, strict=True):
        printed = re.sub(r" +$", "", output.strip(), flags=re.MULTILINE)
        assert re.fullmatch(pattern(expected), printed, re.DOTALL), (
            f"{command}\nprinted:\n{printed}\nexpected:\n{expected}"
        )


def make_terminal(directory: Path) -> dict[str, str]:
    """Return the variables of a terminal in which `ligand` is installed and nothing is set."""
    programs = directory / "bin"
    programs.mkdir()
    ligand = programs / "ligand"
    ligand.write_text(f'#!/bin/sh\nexec {shlex.join(LIGAND)} "$@"\n')
    ligand.chmod(0o755)
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("LIGAND_", "QUART_"))}
    return environment | {"PATH": f"{programs}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}


def test_transcript_shows_something() -> None:
    """The transcript is found and read whole: a test over nothing would always pass."""
    assert len(commands()) == README.count("\n$ ")
    assert [command for command, expected in commands() if bool(expected.strip()) == command.startswith(SILENT)] == []


@pytest.mark.parametrize("word", ["duplicate", "bad body", "No token", "plain Quart", "Who it is not for"])
def test_first_questions_are_answered(word: str) -> None:
    """The README speaks of what a newcomer asks first."""
    assert word in README
