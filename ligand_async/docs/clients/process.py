"""A generator as a process: nothing of our environment, a time limit, and few words when it fails."""

import os
import re
import signal
import subprocess
import sys
import sysconfig
from collections.abc import Sequence
from pathlib import Path

from ligand_async.docs.clients.errors import ClientError

LINES = 12
WIDTH = 300
DIRECTORIES = re.compile(r"(?<![\w:/.])(?:file:)?/(?:[\w.@+~-]+/)+")


def run_generator(name: str, command: Sequence[str], directory: Path, *, timeout: float) -> None:
    """Run a generator in a directory of its own.

    It sees none of the variables of this process, which may hold secrets.

    Args:
        name: What it is called.
        command: The program and its arguments.
        directory: Where it works, which is its home too.
        timeout: Seconds after which it is ended, with all that it started.

    Raises:
        ClientError: It failed, or took too long.
    """
    scripts = dict.fromkeys([sysconfig.get_path("scripts"), str(Path(sys.executable).parent)])
    places = {name: str(directory) for name in ("HOME", "TMPDIR", "XDG_CACHE_HOME")}
    environment = {"PATH": os.pathsep.join([*scripts, os.defpath]), "LANG": "C.UTF-8", "NO_COLOR": "1", **places}
    process = subprocess.Popen(
        command,
        cwd=directory,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        errors="replace",
        start_new_session=True,
    )
    try:
        output, _ = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired as error:
        raise ClientError(f"{name} did not end within {timeout:g} s; give it more with --timeout") from error
    finally:
        end(process)
    if process.returncode != 0:
        raise ClientError(f"{name} failed with exit code {process.returncode}:\n{shorten(output)}")


def end(process: "subprocess.Popen[str]") -> None:
    """End a process and whatever it started, if they have not ended by themselves."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def shorten(output: str) -> str:
    """Return the first lines of an output that say something, without directories.

    A Java program's stack is left out: its message comes first.
    """
    told = [line.strip() for line in output.splitlines()]
    lines = [line for line in told if line and not line.startswith(("at ", "... "))]
    shown = [DIRECTORIES.sub("", line)[:WIDTH] for line in lines]
    return "\n".join(shown[:LINES]) + ("\n..." if len(shown) > LINES else "") or "it said nothing"
