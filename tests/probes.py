"""Send hostile requests to the petstore and print what answers them: `make probes`.

Two servers are asked: `ligand serve`, and the `hypercorn` command, which makes some replies itself. The exit status is
1 if `ligand serve` answers an error that is no problem document, a 5xx that the matrix does not want, or another status
than the matrix has.
"""

import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.faults.probes import PROBES, Probe
from tests.faults.wire import PROBLEM, WireReply, exchange
from tests.serving import get_token, served

FACTORY = "examples.petstore.app:create_app"
SETTINGS = {"LIGAND_DATABASE_AUTO_UPGRADE": "true", "LIGAND_TRUSTED_HOSTS": "127.0.0.1"}
PATIENCE = 20.0  # seconds; a body that does not come is waited for by the server
TOGETHER = 8  # requests at once
HEADINGS = ("row", "input", "ligand serve", "content type", "problem type", "hypercorn", "content type", "")


def ask_all(*, by_ligand: bool) -> list[WireReply]:
    """Serve the petstore on a SQLite file, and send it everything."""
    target = FACTORY if by_ligand else f"{FACTORY}()"
    with (
        TemporaryDirectory() as directory,
        served(target, Path(directory), SETTINGS, by_ligand=by_ligand) as address,
        ThreadPoolExecutor(TOGETHER) as pool,
    ):
        field = f"\r\nAuthorization: Bearer {get_token(address, roles=['user'])}\r\n".encode()
        return list(pool.map(lambda probe: exchange(address, authorized(probe.sent, field), timeout=PATIENCE), PROBES))


def authorized(sent: bytes, field: bytes) -> bytes:
    """Return a request with an access token if it would store a pet: it is to be refused for what it is."""
    return sent.replace(b"\r\n", field, 1) if sent.startswith(b"POST /pets/ ") else sent


def find_fault(probe: Probe, reply: WireReply) -> str:
    """Return what is wrong with an answer of our server, or nothing."""
    if reply.status is None:
        return "no answer"
    if reply.status >= 400 and kind_of(reply) != PROBLEM:
        return "no problem document"
    if reply.status not in probe.statuses:
        return f"should be {' or '.join(map(str, probe.statuses))}"
    return ""


def kind_of(reply: WireReply) -> str:
    """Return an answer's media type."""
    return reply.headers.get("content-type", "-").partition(";")[0]


def problem_of(reply: WireReply) -> str:
    """Return the type of the problem that an answer is."""
    return str(reply.document.get("type", "-")) if kind_of(reply) == PROBLEM and reply.body else "-"


def rows(ours: list[WireReply], stock: list[WireReply]) -> Iterator[tuple[str, ...]]:
    """Return the lines of the table."""
    for probe, mine, theirs in zip(PROBES, ours, stock, strict=True):
        yield (
            str(probe.row),
            probe.name,
            str(mine.status or "-"),
            kind_of(mine),
            problem_of(mine),
            str(theirs.status or "-"),
            kind_of(theirs),
            find_fault(probe, mine),
        )


def main() -> int:
    """Print the table, and return the exit status."""
    with ThreadPoolExecutor() as pool:
        ours, stock = pool.map(lambda by_ligand: ask_all(by_ligand=by_ligand), (True, False))
    table = [HEADINGS, *sorted(rows(ours, stock), key=lambda line: int(line[0]))]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    for line in table:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())
    faults = sum(1 for line in table[1:] if line[-1])
    print(f"\n{len(PROBES)} inputs, {faults} faults")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
