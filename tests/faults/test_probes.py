"""`make probes`: the table of hostile requests, and what counts as a fault in it."""

import subprocess
import sys

import pytest

from tests.faults.probes import PROBES, Probe, find_fault
from tests.http import PROBLEM, WireReply
from tests.servers import ROOT

PROBE = Probe(13, "garbage", b"hello\r\n\r\n", (400,))


def reply(status: int | None, content_type: str = PROBLEM) -> WireReply:
    return WireReply(status, {"content-type": content_type}, b"{}", True, b"")


@pytest.mark.parametrize(
    ("answer", "fault"),
    [
        (reply(400), ""),
        (reply(None), "no answer"),
        (reply(400, "text/html"), "no problem document"),
        (reply(500), "should be 400"),
        (reply(200, "application/json"), "should be 400"),
    ],
)
def test_faults_are_seen(answer: WireReply, fault: str) -> None:
    """An answer that is none, no problem document or of another status is a fault."""
    assert find_fault(PROBE, answer) == fault


@pytest.mark.extended
def test_probes_find_no_fault() -> None:
    """Our server answers each error with a problem document, and with no 5xx but 501 and 505."""
    answer = subprocess.run(
        [sys.executable, "-m", "tests.faults.probes"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )

    assert answer.stdout.endswith(f"{len(PROBES)} inputs, 0 faults\n"), answer.stdout + answer.stderr
    assert answer.returncode == 0
    assert {status for probe in PROBES for status in probe.statuses if status >= 500} == {501, 505}
