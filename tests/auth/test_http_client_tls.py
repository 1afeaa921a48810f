"""Issuers over TLS: certificates are verified, and the log says why one is not accepted."""

import logging
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from ligand_async.auth.http_client import _tls_context
from ligand_async.auth.tokens import FetchError
from ligand_async.errors import BadGateway, ServiceUnavailable
from ligand_async.upstream import ClientCredentials, ServiceClient
from tests.auth.certificates import Authority
from tests.auth.issuing import CLIENT, KEYS, SECRET, IntrospectingIssuer, Issuer
from tests.auth.verifying import Clock, fetcher, make_verifier, outcome, verify, verifying


@pytest.fixture
def authority(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Authority]:
    """Make an authority that this process trusts, by `SSL_CERT_FILE`."""
    made = Authority(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(made.file))
    _tls_context.cache_clear()
    yield made
    _tls_context.cache_clear()


async def reason(issuer: Issuer) -> str:
    """Return why the keys of an issuer cannot be fetched."""
    asks = fetcher()
    try:
        with pytest.raises(FetchError) as caught:
            await asks.get_json(issuer.origin + KEYS)
    finally:
        await asks.close()
    return str(caught.value)


async def test_an_authority_of_ones_own_is_trusted(authority: Authority) -> None:
    """With `SSL_CERT_FILE`, tokens of an issuer with a self-made certificate are verified."""
    with Issuer("/realms/acme", tls=authority.server(), host="localhost") as issuer:
        assert (await verify(issuer.mint(), issuer)).issuer == issuer.url


@pytest.mark.parametrize(
    ("days", "names", "expected"),
    [
        (-1, ("127.0.0.1",), "its certificate is not valid: certificate has expired"),
        (3, ("127.0.0.1",), "its certificate is not valid: certificate is not yet valid"),
        (1, ("id.example",), "its certificate is not valid: IP address mismatch"),
    ],
)
async def test_certificates_are_refused_with_their_reason(
    authority: Authority, days: int, names: tuple[str, ...], expected: str
) -> None:
    """An expired one, one from the future, and one of another host."""
    with Issuer(tls=authority.server(days=days, names=names)) as issuer:
        assert expected in await reason(issuer)
        assert not issuer.asked


async def test_a_name_that_differs_is_said(authority: Authority) -> None:
    """A certificate for another name than the one that is called."""
    with Issuer(tls=authority.server(names=("id.example",)), host="localhost") as issuer:
        assert "Hostname mismatch, certificate is not valid for 'localhost'" in await reason(issuer)


async def test_an_unknown_authority_is_said(authority: Authority, tmp_path: Path) -> None:
    """It is named as the reason, with the variable that would make it known."""
    other = tmp_path / "other"
    other.mkdir()
    with Issuer(tls=Authority(other).server()) as issuer:
        said = await reason(issuer)

    assert "its certificate is not valid: unable to get local issuer certificate; set SSL_CERT_FILE" in said


async def test_a_port_without_tls_is_said() -> None:
    """Somebody wrote https for a port that speaks plain http."""
    with Issuer() as issuer:
        asks = fetcher()
        with pytest.raises(FetchError, match=r"did not answer: TLS failed: \w+"):
            await asks.get_json(issuer.origin.replace("http:", "https:") + KEYS)
        await asks.close()


async def test_failures_of_the_connection_are_said() -> None:
    """A host name that does not exist, and a port where nobody listens."""
    issuer = Issuer()
    issuer.start()
    issuer.stop()
    asks = fetcher()
    with pytest.raises(FetchError, match="did not answer: it refused the connection"):
        await asks.get_json(issuer.origin + KEYS)
    with pytest.raises(FetchError, match="did not answer: its host name was not found"):
        await asks.get_json("https://no-such-host.invalid/keys")
    await asks.close()


async def test_the_log_has_the_reason_and_no_secret(authority: Authority, caplog: pytest.LogCaptureFixture) -> None:
    """For keys, for introspection and for this service's own token; without secrets, users, queries and tokens."""
    expired = authority.server(days=-1)
    with ExitStack() as stack:
        issuer = stack.enter_context(IntrospectingIssuer(tls=expired))
        with caplog.at_level(logging.INFO):
            async with verifying(issuer) as verifier:
                with pytest.raises(ServiceUnavailable):
                    await verifier.verify(token := issuer.mint())
            asks = make_verifier(issuer, Clock())
            assert await outcome(asks, "an-opaque-token") == "unknown"
            asks.client.endpoint = f"{issuer.origin.replace('//', '//user:pass@')}/introspect?key=hidden"
            asks.client.circuit._has_failed = False
            assert await outcome(asks, "an-opaque-token") == "unknown"
            await asks.stop()
            credentials = ClientCredentials(CLIENT, SECRET, issuer=issuer.url)
            async with ServiceClient(issuer.origin, credentials=credentials) as client:
                with pytest.raises(ServiceUnavailable):
                    await client.get("/x")
            async with ServiceClient(issuer.origin, retries=0) as client:
                with pytest.raises(BadGateway):
                    await client.get("/x")

    said = [record.getMessage() for record in caplog.records if "certificate has expired" in record.getMessage()]
    assert len(said) == 5
    assert not any(word in caplog.text for word in (SECRET, token, "an-opaque-token", "user:pass", "hidden"))


SCRIPT = """
import asyncio, sys
from ligand_async.auth.tokens import Fetcher, discover

async def main():
    fetcher = Fetcher(timeout=5, allow_http=False)
    print((await discover(fetcher, sys.argv[1])).issuer)
    await fetcher.close()

asyncio.run(main())
"""


@pytest.mark.extended
def test_another_process_takes_the_authority_from_its_environment(tmp_path: Path) -> None:
    """`SSL_CERT_FILE` is read by the service itself, when it first calls out."""
    authority = Authority(tmp_path)
    with Issuer(tls=authority.server()) as issuer:
        for file, code in ((str(authority.file), 0), (os.devnull, 1)):
            done = subprocess.run(
                [sys.executable, "-c", SCRIPT, issuer.url],
                env={**os.environ, "SSL_CERT_FILE": file},
                capture_output=True,
                text=True,
                timeout=60,
            )
            assert done.returncode == code, done.stderr
        assert "SSL_CERT_FILE does not name a file of certificates" in done.stderr


async def test_an_old_version_of_tls_is_said() -> None:
    """A server that refuses our versions of TLS is a failure of TLS, not of the connection."""
    listener = socket.create_server(("127.0.0.1", 0))

    def refuse() -> None:
        connection, _ = listener.accept()
        connection.recv(4096)
        connection.sendall(b"\x15\x03\x01\x00\x02\x02\x46")  # a fatal alert: protocol_version
        connection.close()

    threading.Thread(target=refuse, daemon=True).start()
    asks = fetcher()
    with pytest.raises(FetchError, match=r"TLS failed: .*version"):
        await asks.get_json(f"https://127.0.0.1:{listener.getsockname()[1]}/")
    await asks.close()
    listener.close()
