"""`ligand serve` with TLS: the protocols, the certificate and its renewal, by real processes."""

import http.client
import shutil
import signal
import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import httpx2
import pytest

from tests.cli.serving import started, wait_for, wait_for_address
from tests.tls import Authority, Certificate

pytestmark = pytest.mark.extended


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    """Issued the certificates of a test."""
    return Authority(tmp_path / "authority")


def put(directory: Path, *, certificate: Path, key: Path) -> dict[str, str]:
    """Copy a certificate and a key to where the settings name them; return the settings."""
    shutil.copy(certificate, directory / "tls.crt")
    shutil.copy(key, directory / "tls.key")
    return {"LIGAND_TLS_CERTIFICATE": "tls.crt", "LIGAND_TLS_KEY": "tls.key"}


@contextmanager
def connected(
    address: str, authority: Authority, *, newest: ssl.TLSVersion = ssl.TLSVersion.MAXIMUM_SUPPORTED
) -> Iterator[ssl.SSLSocket]:
    """Connect with TLS, as a client that verifies the certificate."""
    context = ssl.create_default_context(cafile=str(authority.root))
    context.maximum_version = newest
    port = urlsplit(address).port
    plain = socket.create_connection(("127.0.0.1", port or 0), 20)
    with plain, context.wrap_socket(plain, server_hostname="localhost") as connection:
        yield connection


def serial_of(address: str, authority: Authority) -> int:
    """Return the serial number of the certificate that new connections get."""
    with connected(address, authority) as connection:
        return int(str((connection.getpeercert() or {})["serialNumber"]), 16)


def ask(address: str, authority: Authority) -> tuple[int, bytes]:
    """Send a request over HTTP/1.1."""
    with connected(address, authority) as connection:
        connection.sendall(b"GET /pid HTTP/1.1\r\nHost: localhost\r\n\r\n")
        response = http.client.HTTPResponse(connection)
        response.begin()
        return response.status, response.read()


def test_protocols(authority: Authority, tmp_path: Path) -> None:
    """TLS 1.2 and later, HTTP/2 by ALPN and HTTP/1.1 without, https in the public URL, and no traceback in the log."""
    files: Certificate = authority.issue("localhost")
    variables = put(tmp_path, certificate=files.certificate, key=files.key)
    with started(tmp_path, "make", "--port", "0", **variables) as (process, log):
        address = wait_for_address(log, process)
        assert address.startswith("https://127.0.0.1:")
        assert ask(address, authority)[0] == 200
        trusting = ssl.create_default_context(cafile=str(authority.root))
        with httpx2.Client(http2=True, verify=trusting) as client:
            reply = client.get(f"https://localhost:{urlsplit(address).port}/pid")
        assert (reply.http_version, reply.status_code) == ("HTTP/2", 200)
        assert "strict-transport-security" in reply.headers
        with connected(address, authority, newest=ssl.TLSVersion.TLSv1_2) as connection:
            assert connection.version() == "TLSv1.2"
        with socket.create_connection(("127.0.0.1", urlsplit(address).port or 0), 20) as plain:
            plain.sendall(b"GET /pid HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert not plain.recv(100).startswith(b"HTTP/")
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
    assert "Traceback" not in log.read_text()
    assert f"the keys of {address}/_dev/issuer" in log.read_text()


def test_oldest_version(authority: Authority, tmp_path: Path) -> None:
    """The setting refuses TLS 1.2; certificate and key may be one file."""
    files = authority.issue("localhost")
    (tmp_path / "both.pem").write_bytes(files.certificate.read_bytes() + files.key.read_bytes())
    variables = {"LIGAND_TLS_CERTIFICATE": "both.pem", "LIGAND_TLS_MINIMUM_VERSION": "1.3"}
    with started(tmp_path, "make", "--port", "0", **variables) as (process, log):
        address = wait_for_address(log, process)
        with connected(address, authority) as connection:
            assert connection.version() == "TLSv1.3"
        with pytest.raises(ssl.SSLError), connected(address, authority, newest=ssl.TLSVersion.TLSv1_2):
            pass


@pytest.mark.parametrize("workers", ["1", "2"])
def test_certificate_is_renewed(workers: str, authority: Authority, tmp_path: Path) -> None:
    """SIGHUP reads the files anew: a wrong pair changes nothing, a right one is that of the next connection."""
    old, new = authority.issue("localhost"), Authority(tmp_path / "other").issue("localhost")
    variables = put(tmp_path, certificate=old.certificate, key=old.key)
    with started(tmp_path, "make", "--port", "0", "--workers", workers, **variables) as (process, log):
        address = wait_for_address(log, process)
        for _ in range(400):
            if log.read_text().count("serving at") == int(workers):
                break
            time.sleep(0.05)
        put(tmp_path, certificate=old.certificate, key=new.key)
        process.send_signal(signal.SIGHUP)
        wait_for(log, "the old certificate stays in use: LIGAND_TLS_CERTIFICATE (tls.crt) and LIGAND_TLS_KEY (tls.key)")
        assert serial_of(address, authority) == old.serial

        renewed = authority.issue("localhost")
        put(tmp_path, certificate=renewed.certificate, key=renewed.key)
        process.send_signal(signal.SIGHUP)
        for _ in range(400):
            if log.read_text().count("the certificate was read anew") == int(workers):
                break
            time.sleep(0.05)
        assert {serial_of(address, authority) for _ in range(8)} == {renewed.serial}
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0


@pytest.mark.parametrize(
    ("change", "reason", "workers"),
    [
        ("mismatch", "tls.crt) and LIGAND_TLS_KEY (tls.key): the key is not that of the certificate", "1"),
        ("mismatch", "tls.crt) and LIGAND_TLS_KEY (tls.key): the key is not that of the certificate", "2"),
        ("missing", "LIGAND_TLS_CERTIFICATE names tls.crt, which cannot be read: No such file or directory", "1"),
        ("directory", "LIGAND_TLS_KEY names tls.key, which cannot be read: Is a directory", "1"),
        ("text", "there is no certificate with its key in PEM", "1"),
        ("encrypted", "the key is encrypted; write it without a password", "1"),
    ],
)
def test_wrong_files(change: str, reason: str, workers: str, authority: Authority, tmp_path: Path) -> None:
    """Files that cannot be used are named with the reason, in one line, with the exit code of a failed start."""
    files = authority.issue("localhost", password="secret" if change == "encrypted" else None)
    variables = put(tmp_path, certificate=files.certificate, key=files.key)
    if change == "mismatch":
        put(tmp_path, certificate=files.certificate, key=Authority(tmp_path / "b").issue("localhost").key)
    elif change == "missing":
        (tmp_path / "tls.crt").unlink()
    elif change == "directory":
        (tmp_path / "tls.key").unlink()
        (tmp_path / "tls.key").mkdir()
    elif change == "text":
        (tmp_path / "tls.crt").write_text("nothing\n")
    with started(tmp_path, "make", "--port", "0", "--workers", workers, **variables) as (process, log):
        assert process.wait(60) == 1

    [line] = log.read_text().splitlines()
    assert reason in line


def test_handshake_that_does_not_end(authority: Authority, tmp_path: Path) -> None:
    """A client that never shakes hands does not delay a stop."""
    files = authority.issue("localhost")
    variables = put(tmp_path, certificate=files.certificate, key=files.key)
    with started(tmp_path, "make", "--port", "0", **variables) as (process, log):
        address = wait_for_address(log, process)
        with socket.create_connection(("127.0.0.1", urlsplit(address).port or 0), 20):
            time.sleep(0.3)
            process.send_signal(signal.SIGTERM)
            assert process.wait(20) == 0
    assert "stopped after 0." in log.read_text()
