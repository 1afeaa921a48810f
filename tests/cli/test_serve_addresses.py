"""`ligand serve`: where it listens, and that port, public URL and development issuer agree, by real processes."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.cli.serving import started, wait_for_address
from tests.servers import LIGAND, ROOT, free_port, wait_until_live

pytestmark = pytest.mark.extended

METADATA = "/_dev/issuer/.well-known/openid-configuration"


def ask(address: str, path: str, *, uds: Path | None = None, method: str = "GET", **options: Any) -> httpx2.Response:
    """Send one request, through a Unix socket if there is one."""
    transport = httpx2.HTTPTransport(uds=str(uds) if uds else None, **options)
    with httpx2.Client(transport=transport, timeout=10) as client:
        return client.request(method, f"{address}{path}")


def agree_on(address: str, url: str, *, uds: Path | None = None) -> None:
    """The issuer, and the servers of the document, are at the public URL."""
    assert ask(address, METADATA, uds=uds).json()["issuer"] == f"{url}/_dev/issuer"
    assert ask(address, "/openapi.json", uds=uds).json()["servers"][0]["url"] == url


@pytest.mark.parametrize(
    ("arguments", "variables", "host", "workers"),
    [
        (["--port", "PORT"], {}, "127.0.0.1", "1"),
        (["--port", "PORT"], {"PORT": "9"}, "127.0.0.1", "2"),
        ([], {"PORT": "PORT"}, "127.0.0.1", "2"),
        (["--host", "0.0.0.0"], {"LIGAND_PORT": "PORT"}, "127.0.0.1", "1"),  # noqa: S104  (all addresses have this one)
        (["--host", "::1", "--port", "PORT"], {}, "[::1]", "1"),
        (["--bind", "localhost:PORT", "--bind", "[::1]:0"], {"PORT": "9"}, "localhost", "1"),
        (["--port", "0"], {}, "127.0.0.1", "1"),
        (["--port", "0"], {"PORT": "9"}, "127.0.0.1", "2"),
        (["--bind", "127.0.0.1:0"], {"PORT": "9"}, "127.0.0.1", "1"),
    ],
)
def test_port_url_and_issuer_agree(
    arguments: Sequence[str], variables: dict[str, str], host: str, workers: str, tmp_path: Path
) -> None:
    """Whatever names the port: it is that of the public URL, of the issuer and of the socket."""
    port = str(free_port())
    arguments = [one.replace("PORT", port) for one in arguments]
    variables = {name: value.replace("PORT", port) for name, value in variables.items()}
    with started(tmp_path, "make", *arguments, "--workers", workers, **variables) as (process, log):
        served = wait_for_address(log, process)
        if "0" not in arguments and "127.0.0.1:0" not in arguments:
            assert served.endswith(f":{port}")
        url = f"http://{host}:{served.rpartition(':')[2]}"
        wait_until_live(url, process, log)
        agree_on(url, url)


def test_url_that_is_set_stays(tmp_path: Path) -> None:
    """A public URL that is set is not made from the port."""
    with started(tmp_path, "make", "--port", "0", LIGAND_SERVICE_PUBLIC_URL="http://a.example") as (process, log):
        agree_on(wait_for_address(log, process), "http://a.example")


def test_token_of_a_port(tmp_path: Path) -> None:
    """`ligand token --port` gives a token for what `serve --port` serves."""
    port = free_port()
    with started(tmp_path, "make", "--port", str(port)) as (process, log):
        wait_until_live(f"http://127.0.0.1:{port}", process, log)
        environment = {**os.environ, "LIGAND_ENVIRONMENT": "local", "PYTHONPATH": f"{tmp_path}:{ROOT}"}
        command = [*LIGAND, "token", "--app", "service:make", "--port", str(port)]
        token = subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
        ).stdout
        headers = {"Authorization": f"Bearer {token.strip()}"}

        assert httpx2.get(f"http://127.0.0.1:{port}/pid", headers=headers).status_code == 200


def test_unix_socket_needs_a_url(tmp_path: Path) -> None:
    """Where there is no port, the setting that is needed is named, and nothing is left behind."""
    with started(tmp_path, "make", "--bind", "unix:x.sock") as (process, log):
        assert process.wait(60) == 2

    assert "LIGAND_SERVICE_PUBLIC_URL" in log.read_text()
    assert "the service listens on a Unix socket" in log.read_text()
    assert not (tmp_path / "x.sock").exists()


@pytest.mark.parametrize("workers", ["1", "2"])
def test_unix_socket(workers: str, tmp_path: Path) -> None:
    """It is served with its permissions, refused to a second server, replaced after kill -9, and removed at the end."""
    path, url = tmp_path / "x.sock", "http://a.example"
    options = ("--bind", "unix:x.sock", "--socket-mode", "600", "--workers", workers)
    with started(tmp_path, "make", *options, LIGAND_SERVICE_PUBLIC_URL=url) as (process, log):
        assert wait_for_address(log, process) == f"unix:{path}"
        assert path.stat().st_mode & 0o777 == 0o600
        agree_on("http://localhost", url, uds=path)
        (tmp_path / "second").mkdir()
        command = (f"--bind=unix:{path}",)
        with started(tmp_path / "second", "make", *command, LIGAND_SERVICE_PUBLIC_URL=url) as (second, words):
            assert second.wait(60) == 1
        assert "another server listens there" in words.read_text().splitlines()[-1]
        process.kill()
        process.wait()
    with started(tmp_path, "make", *options, LIGAND_SERVICE_PUBLIC_URL=url) as (process, log):
        wait_for_address(log, process)
        agree_on("http://localhost", url, uds=path)
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
    assert not path.exists()


HAND_OVER = """
import os, socket, sys
listeners = [socket.create_server(("127.0.0.1", 0)), socket.create_server(("127.0.0.1", 0))]
print("port", listeners[0].getsockname()[1], flush=True)
for number, listener in enumerate(listeners, 3):
    os.dup2(listener.fileno(), number)
    os.set_inheritable(number, True)
os.environ.update(LISTEN_FDS="2", LISTEN_PID=str(os.getpid()))
os.execv(sys.argv[1], sys.argv[1:])
"""


@pytest.mark.parametrize("workers", ["1", "2"])
def test_sockets_are_handed_over(workers: str, tmp_path: Path) -> None:
    """Sockets of the service manager are served, and their port is that of the public URL, not PORT."""
    wrapper = [sys.executable, "-c", HAND_OVER]
    with started(tmp_path, "make", "--workers", workers, wrapper=wrapper, PORT="9") as (process, log):
        url = wait_for_address(log, process)
        wait_until_live(url, process, log)
        agree_on(url, url)
        assert f"port {url.rpartition(':')[2]}\n" in log.read_text()
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0


def test_address_is_named_once(tmp_path: Path) -> None:
    """Two answers to one question are a mistake: host and port beside addresses, or beside sockets handed over."""
    for arguments, wrapper in [
        (["--bind", "127.0.0.1:0", "--port", "9"], []),
        (["--host", "127.0.0.1"], [sys.executable, "-c", HAND_OVER]),
        (["--bind", "127.0.0.1:9", "--bind", "127.0.0.1:9"], []),
        (["--bind", "nowhere"], []),
        (["--socket-mode", "9"], []),
    ]:
        with started(tmp_path, "make", *arguments, wrapper=wrapper) as (process, log):
            assert process.wait(60) == 2
        assert "Traceback" not in log.read_text()


def test_descriptor(tmp_path: Path) -> None:
    """A descriptor that is not a socket is named, with the exit code of a failed start."""
    with started(tmp_path, "make", "--bind", "fd:99") as (process, log):
        assert process.wait(60) == 1

    assert "cannot listen on descriptor 99 of --bind: it is not open" in log.read_text().splitlines()[-1]


def test_two_that_start_at_once(tmp_path: Path) -> None:
    """Of two servers that have bound one address before either listens, one serves and the other says why not."""
    port = free_port()
    (tmp_path / "other").mkdir()
    with (
        started(tmp_path, "make", "--port", str(port)) as (first, log),
        started(tmp_path / "other", "make", "--port", str(port)) as (second, words),
    ):
        ended = _wait_for_any(first, second)
        assert ended.wait() == 1
        loser = log if ended is first else words
        assert "it is in use; choose another port" in loser.read_text().splitlines()[-1]
        assert "Traceback" not in loser.read_text()


def _wait_for_any(*processes: "subprocess.Popen[bytes]") -> "subprocess.Popen[bytes]":
    for _ in range(400):
        for process in processes:
            try:
                process.wait(0.05)
            except subprocess.TimeoutExpired:
                continue
            return process
    raise AssertionError("both run")


@pytest.mark.parametrize("path", ["/api", ""])
def test_root_path(path: str, tmp_path: Path) -> None:
    """Addresses have the root path, whether the proxy has cut it off from the path or not; probes need none."""
    with started(tmp_path, "make", "--port", "0", "--root-path", "/api/") as (process, log):
        address = wait_for_address(log, process)
        agree_on(f"{address}{path}", f"{address}/api")
        made = ask(address, f"{path}/things", method="POST")
        assert (made.status_code, made.headers["Location"]) == (201, "/api/things/1")
        assert ask(address, made.headers["Location"]).json() == {"thing_id": 1}
        assert ask(address, f"{path}/livez").status_code == 200
        assert ask(address, f"{path}/docs").status_code == 200
        assert ask(address, "/apiary/things/1").status_code == 404


def test_root_path_that_is_not_that_of_the_url(tmp_path: Path) -> None:
    """A root path that the public URL does not have is a mistake in the settings."""
    url = "http://a.example/other"
    with started(tmp_path, "make", "--root-path", "/api", LIGAND_SERVICE_PUBLIC_URL=url) as (process, log):
        assert process.wait(60) == 2

    assert "root_path (LIGAND_ROOT_PATH) is not the path of LIGAND_SERVICE_PUBLIC_URL" in log.read_text()


def test_option_that_does_not_reach_the_settings(tmp_path: Path) -> None:
    """An app that makes its settings in another way is not served at a port that its URL does not have."""
    with started(tmp_path, "make_by_hand", "--port", "9") as (process, log):
        assert process.wait(60) == 2

    assert "--port does not reach the settings" in log.read_text()


def test_management_port(tmp_path: Path) -> None:
    """Health is on a port of its own, whatever the Host, nothing else is there, and it answers to the end."""
    port, management = free_port(), free_port()
    options = ("--port", str(port), "--management-port", str(management))
    variables = {"LIGAND_TRUSTED_HOSTS": "127.0.0.1", "LIGAND_DRAIN_DELAY": "0.1"}
    with started(tmp_path, "make", *options, **variables) as (process, log):
        inside, outside = f"http://127.0.0.1:{management}", f"http://127.0.0.1:{port}"
        wait_until_live(inside, process, log)
        host = {"Host": "10.0.0.7"}
        assert httpx2.get(f"{inside}/readyz", headers=host).json()["status"] == "ok"
        assert [ask(outside, path).status_code for path in ("/livez", "/readyz", "/pid")] == [404, 404, 200]
        other = ask(inside, "/pid")
        assert (other.status_code, other.headers["Content-Type"]) == (404, "application/problem+json")
        with socket.create_connection(("127.0.0.1", port), 10) as client:
            client.sendall(b"GET /nap HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
            while "napping" not in log.read_text():
                pass
            process.send_signal(signal.SIGTERM)
            while "stopping" not in log.read_text():
                pass
            assert (ask(inside, "/livez").status_code, ask(inside, "/readyz").status_code) == (200, 503)
            answer = b"".join(iter(lambda: client.recv(65536), b""))
        assert answer.endswith(b"rested")
        assert process.wait(10) == 0


def test_management_port_of_workers(tmp_path: Path) -> None:
    """Any of the workers answers on the one management port, also where the service is on a Unix socket."""
    management = free_port()
    options = ("--bind", "unix:x.sock", "--management-port", str(management), "--workers", "2")
    with started(tmp_path, "make", *options, LIGAND_SERVICE_PUBLIC_URL="http://a.example") as (process, log):
        wait_until_live(f"http://127.0.0.1:{management}", process, log)
        wait_for_address(log, process)
        assert ask("http://a", "/livez", uds=tmp_path / "x.sock").status_code == 404
        lines = json.dumps(log.read_text())
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
    assert f"health checks are at http://127.0.0.1:{management}" in lines
