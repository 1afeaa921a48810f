"""Ten thousand requests that mean no good."""

import asyncio
import json
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.fuzz.inputs import Hostile, hostile_requests
from tests.servers import get_token, served

SEED = 20_261_120
TOGETHER = 16
PATIENCE = 30.0  # seconds
PROBLEM = b"application/problem+json"


def test_hostile_requests_are_answered_well(tmp_path: Path, figure: Callable[[int, int], int]) -> None:
    """No 5xx, no HTML, no echo of what was sent, and an answer to each; every error is a problem document."""
    amount = figure(500, 10_000)
    variables = {"LIGAND_DATABASE_AUTO_UPGRADE": "1"}
    with served("examples.petstore.app:create_app", tmp_path, variables, by_ligand=True) as address:
        port = int(address.rpartition(":")[2])
        token = get_token(address, roles=["user", "admin"])
        faults, statuses = asyncio.run(send_all(port, hostile_requests(SEED, amount, token)))

    assert faults == []
    assert sum(statuses.values()) == amount
    # What is refused for one reason only would show little.
    assert statuses.keys() >= {400, 401, 404, 405, 413, 414, 415, 422, 431}


async def send_all(port: int, requests: Iterator[Hostile]) -> tuple[list[str], Counter[int]]:
    """Send requests, several at a time; return what is wrong with the answers, and their statuses."""
    faults: list[str] = []
    statuses: Counter[int] = Counter()

    async def send_some() -> None:
        for hostile in requests:
            head, body = await send(port, hostile.sent)
            status = int(head.split()[1]) if head else 0
            statuses[status] += 1
            faults.extend(
                f"{fault}: {hostile.sent[:300]!r} -> {head!r} {body[:300]!r}"
                for fault in faults_of(hostile, status, head, body)
            )

    await asyncio.gather(*(send_some() for _ in range(TOGETHER)))
    return faults, statuses


async def send(port: int, sent: bytes) -> tuple[bytes, bytes]:
    """Send bytes, and return the head and the body of the first answer, or nothing."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(sent)
        async with asyncio.timeout(PATIENCE):
            head = await reader.readuntil(b"\r\n\r\n")
            fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:-2])
            length = 0 if sent.startswith(b"HEAD ") else int(fields.get(b"content-length", 0))
            return head, await reader.readexactly(length)
    except (asyncio.IncompleteReadError, ConnectionError):
        return b"", b""
    finally:
        writer.transport.abort()


def faults_of(hostile: Hostile, status: int, head: bytes, body: bytes) -> Iterator[str]:
    """Say what is wrong with an answer."""
    if not head:
        yield "no answer"
        return
    if status >= 500 and status != 501:  # a method that nobody knows (RFC 9110, 15.6.2)
        yield "a fault of ours"
    if b"text/html" in head.lower() or b"<html" in body.lower():
        yield "HTML"
    if status >= 400 and hostile.word in body:
        yield "an echo"
    if status >= 400 and PROBLEM not in head:
        yield "no problem"
    if status >= 400 and body and json.loads(body)["status"] != status:
        yield "another status"
