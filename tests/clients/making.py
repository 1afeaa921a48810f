"""Clients that tests generate, compile and run."""

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from zipfile import ZipFile

from tests.machine import do_without
from tests.provider.packages import install_packages
from tests.servers import LIGAND, ROOT

HERE = Path(__file__).parent
TIMEOUT = 120.0  # seconds
STRICT = ("--strict", "--types", "node")


def run(*command: str | Path, directory: Path, **variables: str) -> str:
    """Return what a command prints; it must end well."""
    outcome = subprocess.run(
        command,
        cwd=directory,
        env=os.environ | variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=TIMEOUT,
    )
    assert outcome.returncode == 0, outcome.stdout
    return outcome.stdout


def ligand_client(
    *arguments: str | Path,
    directory: Path,
    app: str = "examples.petstore.app:create_app",
    within: Sequence[str] = (),
) -> str:
    """Return what `ligand client` prints, where nothing is set; skip the test where a generator is missing.

    Args:
        *arguments: Those of the command.
        directory: Where it works.
        app: The service.
        within: The command that runs it.
    """
    unset = ("LIGAND_", "QUART_", "DATABASE_", "PORT")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(unset)}
    outcome = subprocess.run(
        [*within, *LIGAND, "--app", app, "client", *arguments],
        cwd=directory,
        env=environment | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
        timeout=TIMEOUT,
    )
    if "install the extra" in outcome.stderr:
        do_without("java", outcome.stderr.strip())
    assert outcome.returncode == 0, outcome.stderr
    return outcome.stdout


def without_network() -> list[str]:
    """Return the command that runs another where there is no network, not even this machine's own.

    The test is skipped where the kernel makes no such place.
    """
    if shutil.which("unshare"):
        for command in (["unshare", "--net"], ["unshare", "--map-root-user", "--net"]):
            if subprocess.run([*command, "true"], capture_output=True, check=False).returncode == 0:
                return command
    return do_without("unshare", "no network namespace can be made")


def unpack(archive: Path, directory: Path) -> Path:
    """Return the one directory that a zip has."""
    with ZipFile(archive) as opened:
        opened.extractall(directory)
    [top] = directory.iterdir()
    return top


def check_python(*paths: Path, source: Path) -> None:
    """Check types as strictly as mypy does.

    Args:
        *paths: What is checked.
        source: Where the generated package is.
    """
    cache = ROOT / ".mypy_cache" / "clients"
    options = ["--strict", "--config-file", os.devnull, "--cache-dir", str(cache)]
    run(sys.executable, "-m", "mypy", *options, *paths, directory=source, MYPYPATH=str(source))


class TypeScript:
    """A directory with the compiler, in which packages are found by their names.

    Args:
        node: The program.
        directory: The directory.
    """

    def __init__(self, node: Path, directory: Path) -> None:
        self.node = node
        self.directory = directory
        modules = install_packages(node, HERE)
        self.compiler = modules / "typescript" / "bin" / "tsc"
        (directory / "node_modules").mkdir(parents=True)
        for module in modules.iterdir():
            (directory / "node_modules" / module.name).symlink_to(module)

    def add(self, name: str, source: Path) -> None:
        """Compile a generated package as it says itself and strictly, so that it can be imported by its name."""
        package = self.directory / "node_modules" / name
        shutil.copytree(source, package)
        options = (*STRICT, "--typeRoots", self.directory / "node_modules" / "@types")
        run(self.node, self.compiler, "-p", package, *options, directory=self.directory)

    def compile(self, file: Path) -> Path:
        """Compile a program."""
        shutil.copy(file, self.directory)
        options = (*STRICT, "--target", "es2022", "--module", "node16", "--outDir", "built")
        run(self.node, self.compiler, *options, file.name, directory=self.directory)
        return self.directory / "built" / f"{file.stem}.js"
