"""A server that dies between a commit and its reply."""

import http.client
import json
import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.servers import HYPERCORN, ROOT, free_port, served, wait_until_live
from tests.web.orders import count, make_shop, new_key, orders


def post(address: str, key: dict[str, str]) -> tuple[int, str | None, str]:
    """Post and return status, whether it was replayed, and the order's id."""
    with closing(http.client.HTTPConnection(urlsplit(address).netloc, timeout=20)) as connection:
        connection.request("POST", "/orders/last", headers=key)
        response = connection.getresponse()
        return response.status, response.getheader("Idempotency-Replayed"), json.loads(response.read())["id"]


@contextmanager
def mortal(database_url: str, log: Path) -> Iterator[str]:
    """Serve until it dies by itself, which it must."""
    address = f"http://127.0.0.1:{free_port()}"
    command = [*HYPERCORN, "--bind", urlsplit(address).netloc, "tests.faults.dying_service:app"]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "DATABASE_URL": database_url, "MORTAL": "1"}
    with log.open("wb") as output:
        process = subprocess.Popen(command, cwd=log.parent, env=environment, stdout=output, stderr=output)
    try:
        wait_until_live(address, process, log)
        yield address
        assert process.wait(10) == -9
    finally:
        process.kill()
        process.wait()


@pytest.mark.extended
async def test_who_got_no_reply_gets_the_kept_one(
    database_url: str, tmp_path: Path, figure: Callable[[int, int], int]
) -> None:
    """Killed after the commit and before the answer, with kill -9: the retry finds the order placed, once."""
    app, keys = make_shop(database_url), [new_key() for _ in range(figure(2, 30))]
    async with app.test_app(), app.app_context():
        await orders.create_tables()
    for key in keys:
        with mortal(database_url, tmp_path / "mortal.log") as address, pytest.raises(ConnectionError):
            post(address, key)
    with served("tests.faults.dying_service:app", tmp_path, {"DATABASE_URL": database_url}) as address:
        replies = [post(address, key) for key in keys]

    assert [(status, replayed) for status, replayed, _ in replies] == [(201, "true")] * len(keys)
    async with app.test_app(), app.app_context():
        assert await count() == len(keys) == len({order for _, _, order in replies})
