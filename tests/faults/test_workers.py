"""FAULTS 113 and 114: several workers, one of which dies, by real signals on real processes."""

import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.faults.floods import BUSY
from tests.http import exchange_now, request
from tests.servers import LIGAND, ROOT, Launched, free_port, launched

pytestmark = pytest.mark.extended  # processes that die and come back


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Launched]:
    """Two workers."""
    with launched(BUSY, tmp_path, workers=2) as server:
        yield server


def find_workers(server: Launched, count: int, *, without: int = 0, seconds: float = 10.0) -> set[int]:
    """Ask until so many processes have answered; return them."""
    found: set[int] = set()
    deadline = time.monotonic() + seconds
    while len(found) < count and time.monotonic() < deadline:
        threads = [threading.Thread(target=_ask_process, args=(server, found)) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        found.discard(without)
    return found


def _ask_process(server: Launched, found: set[int]) -> None:
    with suppress(OSError):
        reply = exchange_now(server.address, request("GET", "/pid", "Connection: close"), timeout=5)
        if reply.status == 200:
            found.add(int(reply.body))


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_both_serve(server: Launched) -> None:
    """Two workers serve one address, and neither is the process that was started."""
    workers = find_workers(server, 2)
    code, _ = server.stop()

    assert len(workers) == 2
    assert server.process.pid not in workers
    assert code == 0
    assert not any(map(is_running, workers))


def test_dead_worker_is_replaced(server: Launched) -> None:
    """Row 113: after kill -9 of one worker the other serves on, and another is there within two seconds."""
    first, second = find_workers(server, 2)
    os.kill(first, signal.SIGKILL)
    start = time.monotonic()
    assert exchange_now(server.address, request("GET", "/")).status == 200
    workers = find_workers(server, 2, without=first)
    took = time.monotonic() - start
    code, _ = server.stop()

    assert second in workers
    assert len(workers) == 2
    assert took < 4  # two seconds, on a machine that is not busy with other tests
    assert code == 0
    assert f"worker {first} ended by signal 9" in server.log.read_text()


@pytest.mark.extended
def test_requests_in_flight_finish(server: Launched) -> None:
    """Row 115: a stop of all workers answers what each is serving."""
    find_workers(server, 2)
    answers: list[bytes] = []
    clients = [
        threading.Thread(target=lambda: answers.append(exchange_now(server.address, request("GET", "/nap/1.0")).body))
        for _ in range(6)
    ]
    for client in clients:
        client.start()
    time.sleep(0.4)
    code, _ = server.stop()
    for client in clients:
        client.join()

    assert (answers, code) == ([b"rested"] * 6, 0)


@pytest.mark.extended
def test_cut_request_shows_in_the_exit_code(tmp_path: Path) -> None:
    """Row 161: the exit code of the whole is 3 where a worker had to cut."""
    with launched(BUSY, tmp_path, {"LIGAND_GRACE_PERIOD": "0.5"}, workers=2) as server:
        asking = threading.Thread(target=exchange_now, args=(server.address, request("GET", "/nap/60.0")))
        asking.start()
        time.sleep(0.4)
        code, took = server.stop()
        asking.join()

    assert (code, took < 4) == (3, True)


def test_workers_that_do_not_start(tmp_path: Path) -> None:
    """Row 114: the exit code is 1, and the last line on stderr has the reason of the worker."""
    (tmp_path / "broken").touch()
    command = [*LIGAND, "--app", BUSY, "serve", "--port", str(free_port()), "--workers", "2"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "LIGAND_ENVIRONMENT": "local"}
    ended = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=30)

    assert ended.returncode == 1
    assert "the service did not start: RuntimeError: the cellar is flooded" in ended.stderr.splitlines()[-1]


@pytest.mark.extended
def test_lost_workers(server: Launched, tmp_path: Path) -> None:
    """Row 113: where new workers die while they start, and none is left, the supervisor gives up: exit code 4."""
    workers = find_workers(server, 2)
    (tmp_path / "broken").touch()
    for worker in workers:
        os.kill(worker, signal.SIGKILL)

    assert server.process.wait(30) == 4
    assert "no worker is left" in server.log.read_text().splitlines()[-1]


@pytest.mark.extended
def test_workers_end_with_their_supervisor(server: Launched) -> None:
    """Workers whose supervisor was killed stop, so that the address is free again."""
    workers = find_workers(server, 2)
    server.process.kill()
    server.process.wait()
    deadline = time.monotonic() + 10
    while any(map(is_running, workers)) and time.monotonic() < deadline:
        time.sleep(0.05)

    assert not any(map(is_running, workers))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
def test_other_signals_stop_it(server: Launched, number: signal.Signals) -> None:
    """SIGINT, and SIGHUP without TLS, end the supervisor and its workers like SIGTERM."""
    workers = find_workers(server, 2)
    code, _ = server.stop(number)

    assert (code, len(workers), any(map(is_running, workers))) == (0, 2, False)


def test_second_signal_hastens_it(tmp_path: Path) -> None:
    """Row 161: a second signal ends the grace period of all workers; what is cut shows in the exit code."""
    with launched(BUSY, tmp_path, {"LIGAND_GRACE_PERIOD": "60"}, workers=2) as server:
        asking = threading.Thread(target=exchange_now, args=(server.address, request("GET", "/nap/60.0")))
        asking.start()
        time.sleep(0.5)
        server.process.send_signal(signal.SIGTERM)
        time.sleep(1)
        assert server.process.poll() is None
        code, took = server.stop()
        asking.join()

    assert (code, took < 10) == (3, True)


def test_killed_again_and_again(server: Launched) -> None:
    """Row 113: however often the youngest worker is killed, the other serves on and a new one comes."""
    first, youngest = find_workers(server, 2)
    for _ in range(6):
        os.kill(youngest, signal.SIGKILL)
        assert exchange_now(server.address, request("GET", "/")).status == 200
        [youngest] = find_workers(server, 2, without=youngest, seconds=20) - {first}

    assert server.process.poll() is None


def test_failing_starts_are_paced(server: Launched, tmp_path: Path) -> None:
    """New workers that die while they start are not started in a loop while another worker serves."""
    first, second = find_workers(server, 2)
    before = server.log.read_text().count("started worker")
    (tmp_path / "broken").touch()
    os.kill(second, signal.SIGKILL)
    time.sleep(4)
    started = server.log.read_text().count("started worker") - before
    assert find_workers(server, 1) == {first}
    (tmp_path / "broken").unlink()

    assert 1 <= started <= 7
    assert len(find_workers(server, 2, seconds=30)) == 2


def test_workers_migrate_once(database_url: str, tmp_path: Path) -> None:
    """Two workers that start on an empty database both serve: one migrates, under the lock, and the other waits."""
    variables = {"DATABASE_URL": database_url, "LIGAND_DATABASE_AUTO_UPGRADE": "true"}
    with launched("examples.petstore.app:create_app", tmp_path, variables, workers=2) as server:
        deadline = time.monotonic() + 30
        while server.log.read_text().count("serving at") < 2 and time.monotonic() < deadline:
            time.sleep(0.05)
        replies = [exchange_now(server.address, request("GET", "/pets/", "Connection: close")) for _ in range(6)]
        code, _ = server.stop()
        log = server.log.read_text()

    assert {reply.status for reply in replies} == {200}
    assert (log.count("serving at"), log.count(" ended "), code) == (2, 0, 0)
