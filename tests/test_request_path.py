"""The number of files of the package that one request visits."""

import pytest

from tests.request_trace import trace_requests

# Status and files, at most. A change that makes a path shorter writes the new number down.
LISTED = {
    "GET /pets/<id>": (200, 27),  # signals.py is visited where another app of the process listens
    "POST /pets/": (201, 38),
    "POST /pets/ with a key": (201, 39),
    "POST /pets/ with a new token": (201, 41),
    "GET /pets/": (200, 34),
    "404": (404, 23),
}
SLACK = 2


@pytest.mark.ligand_conformance("off", reason="its checks visit files, too")
async def test_no_request_visits_more_files_than_listed(sqlite_url: str) -> None:
    """A request visits no more files than its number above, and two less at the most: improvements are written down."""
    traces = await trace_requests(sqlite_url)

    assert {name: trace.status for name, trace in traces.items()} == {name: row[0] for name, row in LISTED.items()}
    wrong = {
        name: f"listed {LISTED[name][1]}, visited {len(trace.files)}: {' '.join(trace.files)}"
        for name, trace in traces.items()
        if not LISTED[name][1] - SLACK <= len(trace.files) <= LISTED[name][1]
    }
    assert wrong == {}
