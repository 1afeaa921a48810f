"""A pgbouncer of one's own, in transaction mode, before a PostgreSQL server on a Unix socket."""

import os
import pwd
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import make_url

from tests.serving import free_port

CONFIGURATION = """
[databases]
{name} = host={host} port={server_port} user={user} dbname={name}

[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = {size}
max_client_conn = 200
"""


@contextmanager
def bounced(program: Path, url: str, *, size: int) -> Iterator[str]:
    """Put pgbouncer before a database, with so many connections to it, and yield the URL by way of it."""
    with (
        tempfile.TemporaryDirectory(prefix="ligand-bouncer-") as name,
        run(program, url, Path(name), size) as bounced_url,
    ):
        yield bounced_url


@contextmanager
def run(program: Path, url: str, directory: Path, size: int) -> Iterator[str]:
    """Run pgbouncer with its files in a directory of its own."""
    target = make_url(url)
    port = free_port()
    configuration = directory / "pgbouncer.ini"
    configuration.write_text(
        CONFIGURATION.format(
            name=target.database,
            host=target.query.get("host") or target.host,
            server_port=target.port or 5432,
            user=target.username,
            port=port,
            size=size,
        )
    )
    other_user: dict[str, Any] = {}
    if os.geteuid() == 0:  # pgbouncer refuses to run as root; the directory of the socket is its server's
        user = pwd.getpwuid(socket_owner(target.query.get("host")))
        other_user = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
        os.chown(directory, user.pw_uid, user.pw_gid)
        os.chown(configuration, user.pw_uid, user.pw_gid)
    with (directory / "log").open("wb") as log:
        process = subprocess.Popen([program, configuration], stdout=log, stderr=log, cwd="/", **other_user)
    try:
        wait_until_ready(process, directory / "log")
        yield target.set(host="127.0.0.1", port=port, query={}).render_as_string(hide_password=False)
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def socket_owner(host: object) -> int:
    """Return who owns the directory of a Unix socket, or `nobody` for a server elsewhere."""
    if isinstance(host, str) and host.startswith("/"):
        return Path(host).stat().st_uid
    return pwd.getpwnam("nobody").pw_uid


def wait_until_ready(process: "subprocess.Popen[bytes]", log: Path) -> None:
    """Wait until pgbouncer says that it is up."""
    for _ in range(200):
        if "process up" in log.read_text():
            return
        assert process.poll() is None, log.read_text()
        time.sleep(0.02)
    raise AssertionError(log.read_text())
