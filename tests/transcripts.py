"""Transcripts in guides: commands of a terminal, and what they print."""

import os
import re
import shlex
import subprocess
from collections.abc import Mapping
from pathlib import Path

from tests.servers import LIGAND, ROOT, served

TRANSCRIPT = re.compile(r"<!-- transcript: (\S+) -->\n(.*?)\n## ", re.DOTALL)
CONSOLE = re.compile(r"```console\n(\$ .*?)```", re.DOTALL)
MARK = "-- what follows was printed by the next command --"


def commands_in(guide: str) -> list[tuple[str, str]]:
    """Return the commands of a guide's transcript with what they print, in which `...` stands for anything."""
    _, text = TRANSCRIPT.findall(guide)[0]
    blocks = "".join(CONSOLE.findall(text))
    parts = re.split(r"^\$ ", blocks, flags=re.MULTILINE)[1:]
    return [(part.partition("\n")[0], part.partition("\n")[2]) for part in parts]


def check_transcript(guide: str, directory: Path, variables: Mapping[str, str] | None = None) -> None:
    """Run the commands of a guide in order, against the service that it names: they must print what it shows."""
    target, _ = TRANSCRIPT.findall(guide)[0]
    commands = commands_in(guide)
    with served(target, directory, variables, by_ligand=True) as address:
        typed = f"\necho; echo '{MARK}'\n".join(command for command, _ in commands)
        run = subprocess.run(
            ["sh", "-e", "-c", typed.replace("http://127.0.0.1:8000", address)],
            cwd=directory,
            env=_make_terminal(directory) | {"PORT": address.rpartition(":")[2]},  # which the guide has as 8000
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
    assert run.returncode == 0, run.stderr
    outputs = run.stdout.replace("\r", "").split(MARK)
    for (command, expected), output in zip(commands, outputs, strict=True):
        printed = re.sub(r" +$", "", output.strip(), flags=re.MULTILINE)
        assert re.fullmatch(_pattern(expected), printed, re.DOTALL), (
            f"{command}\nprinted:\n{printed}\nexpected:\n{expected}"
        )


def _pattern(expected: str) -> str:
    return re.escape(expected.strip()).replace(re.escape("..."), ".*?")


def _make_terminal(directory: Path) -> dict[str, str]:
    """Return the variables of a terminal in which `ligand` is installed and nothing is set."""
    programs = directory / "bin"
    programs.mkdir()
    ligand = programs / "ligand"
    ligand.write_text(f'#!/bin/sh\nexec {shlex.join(LIGAND)} "$@"\n')
    ligand.chmod(0o755)
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("LIGAND_", "QUART_"))}
    return environment | {"PATH": f"{programs}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}
