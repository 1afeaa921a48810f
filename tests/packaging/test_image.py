"""The Dockerfile, as far as it can be read."""

import json
import re
import subprocess
import sys
from pathlib import Path

from tests.packaging.checkout import ROOT

TEXT = (ROOT / "Dockerfile").read_text().replace("\\\n", " ")
STAGES = [stage for stage in re.split(r"(?m)^(?=FROM )", TEXT) if stage.startswith("FROM ")]
FINAL = STAGES[-1]


def instructions(stage: str, name: str) -> list[str]:
    return [found.strip() for found in re.findall(rf"(?m)^{name} +(.*)$", stage)]


def test_hadolint_has_nothing_to_say() -> None:
    """hadolint finds no fault with the Dockerfile."""
    hadolint = Path(sys.executable).with_name("hadolint")
    answer = subprocess.run([hadolint, "Dockerfile"], cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)
    assert (answer.returncode, answer.stdout) == (0, "")


def test_final_stage_builds_nothing() -> None:
    """The final stage takes what the first one built: no pip, no compiler, no package manager."""
    assert len(STAGES) == 2
    runs = " ".join(instructions(FINAL, "RUN"))
    assert re.findall(r"\b(apt|apt-get|pip|gcc|g\+\+|make|build-essential|cargo|curl|wget)\b", runs) == []
    assert "COPY --from=build /opt/venv /opt/venv" in FINAL


def test_stages_share_their_python() -> None:
    """The environment is built with the Python that it runs on, of a tag that a person can read."""
    bases = {stage.split()[1] for stage in STAGES}
    assert len(bases) == 1
    assert re.fullmatch(r"python:3\.\d+-slim-[a-z]+", bases.pop())


def test_packages_come_from_the_locks() -> None:
    """What is installed from an index is pinned by hash and needs no compiler; the rest asks no index."""
    installs = [
        line
        for stage in STAGES
        for run in instructions(stage, "RUN")
        for line in run.split("&&")
        if " install " in line
    ]
    assert installs
    for line in installs:
        hashed = (
            "--require-hashes" in line
            and "--only-binary=:all:" in line
            and re.search(r"-r requirements[\w-]*\.lock", line)
        )
        assert hashed or ("--no-deps" in line and "--no-index" in line), line


def test_server_is_not_root() -> None:
    """The service runs as 10001, and no later instruction takes that back."""
    assert instructions(FINAL, "USER") == ["10001:10001"]


def test_server_gets_the_signals() -> None:
    """No shell stands between the server and SIGTERM; it listens where a container is reached from outside."""
    [command] = instructions(FINAL, "CMD")[-1:]
    program, *arguments = json.loads(command)
    assert program == "ligand"
    assert arguments == ["--app", "examples.petstore.app:create_app", "serve", "--host", "0.0.0.0"]  # noqa: S104  (in a container)
    assert instructions(FINAL, "STOPSIGNAL") == ["SIGTERM"]


def test_healthcheck_is_python() -> None:
    """The health check is a program that compiles, and asks /livez at PORT."""
    [check] = instructions(FINAL, "HEALTHCHECK")
    python, flag, program = json.loads(check.partition(" CMD ")[2])
    assert (python, flag) == ("python", "-c")
    compile(program, "HEALTHCHECK", "exec")
    assert "/livez" in program
    assert "PORT" in program


def test_copied_files_are_let_through() -> None:
    """Whatever the Dockerfile copies from the checkout is there and is not ignored."""
    allowed = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    copied = {
        source
        for stage in STAGES
        for line in instructions(stage, "COPY")
        if not line.startswith("--from")
        for source in line.split()[:-1]
    }
    assert copied == allowed
    assert [name for name in copied if not (ROOT / name).exists()] == []


def test_image_keeps_no_secret() -> None:
    """No setting that holds a secret has a value in the image."""
    assert re.findall(r"(?i)(secret|password|token|database_url)\w*=", TEXT) == []
