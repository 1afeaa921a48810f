"""Private certificate authorities, as the guide of the settings tells."""

import os
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.machine import require_tool
from tests.servers import ROOT
from tests.tls import Authority

# In a process of its own, because the authorities are read once.
CALL = """
import asyncio, sys
from ligand_async.errors import Problem
from ligand_async.upstream import ServiceClient

async def call():
    async with ServiceClient(sys.argv[1], retries=0) as client:
        try:
            print((await client.get("/")).status_code)
        except Problem as problem:
            print(problem.status)

asyncio.run(call())
"""


class Handler(BaseHTTPRequestHandler):
    """Answers 204."""

    def do_GET(self) -> None:
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    """An authority that no machine knows."""
    return Authority(tmp_path / "authority")


@pytest.fixture
def address(authority: Authority) -> Iterator[str]:
    """The address of a service with a certificate of that authority."""
    files = authority.issue("localhost")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(files.certificate, files.key)
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"https://localhost:{server.server_port}"
        server.shutdown()
        thread.join()


def call(address: str, **variables: str) -> str:
    """Call the service from a new process; return the status."""
    known = {name: value for name, value in os.environ.items() if not name.startswith("SSL_CERT_")}
    outcome = subprocess.run(
        [sys.executable, "-c", CALL, address],
        cwd=ROOT,
        env=known | variables,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return outcome.stdout.strip()


def test_private_authority_is_trusted_by_variable(address: str, authority: Authority) -> None:
    """SSL_CERT_FILE makes calls trust an authority; without it the service is not spoken to."""
    assert call(address) == "502"
    assert call(address, SSL_CERT_FILE=str(authority.root)) == "204"


@pytest.mark.extended
def test_private_authority_is_trusted_by_directory(address: str, authority: Authority, tmp_path: Path) -> None:
    """SSL_CERT_DIR takes a directory that `openssl rehash` has prepared."""
    directory = tmp_path / "hashed"
    directory.mkdir()
    (directory / "root.pem").write_bytes(authority.root.read_bytes())
    subprocess.run([require_tool("openssl"), "rehash", str(directory)], check=True, capture_output=True)

    assert call(address, SSL_CERT_DIR=str(directory)) == "204"
