"""The provider as a process."""

import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.servers import ROOT

PROGRAM = """
import pathlib, sys, time
from tests.provider.running import Provider
provider = Provider(pathlib.Path(sys.argv[1]), "http://127.0.0.1:8000")
provider.start()
print(provider.port, flush=True)
time.sleep(60)
"""


def is_listening(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.mark.extended
def test_provider_ends_with_whoever_started_it(tmp_path: Path, require_tool: Callable[[str], Path]) -> None:
    """Not even a test run that is killed leaves an issuer behind."""
    require_tool("node")
    starter = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(tmp_path)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert starter.stdout is not None
    port = int(starter.stdout.readline())
    was_listening = is_listening(port)
    starter.kill()
    starter.communicate()
    deadline = time.monotonic() + 10
    while is_listening(port) and time.monotonic() < deadline:
        time.sleep(0.05)

    assert (was_listening, is_listening(port)) == (True, False)
