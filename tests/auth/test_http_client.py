"""Requests to the outside are bounded in time and size, and are never led elsewhere."""

import asyncio
import gzip

import httpx2
import pytest

from ligand_async.auth.tokens import Fetcher, FetchError
from tests.auth.issuing import KEYS, Issuer
from tests.auth.verifying import fetcher

MAX_BYTES = 512 * 1024  # of a Fetcher


async def fetch(url: str, asks: Fetcher | None = None) -> dict[str, object]:
    asks = asks or fetcher()
    try:
        return await asks.get_json(url)
    finally:
        await asks.close()


async def failure(url: str, asks: Fetcher | None = None) -> str:
    with pytest.raises(FetchError) as caught:
        await fetch(url, asks)
    return str(caught.value)


async def test_object_is_returned() -> None:
    """A JSON object is returned."""
    with Issuer() as issuer:
        assert (await fetch(issuer.origin + KEYS)).keys() == {"keys"}


async def test_http_is_refused_unless_allowed() -> None:
    """Outside one's own machine an address is https, and nobody is asked before that is sure."""
    with Issuer() as issuer:
        assert "not https" in await failure(issuer.origin + KEYS, Fetcher(timeout=1, allow_http=False))
        assert not issuer.asked


@pytest.mark.parametrize("url", ["ftp://id.example/", "file:///etc/passwd", "https://", "", "x", "http://[", "//x/"])
async def test_odd_addresses_are_refused(url: str) -> None:
    """What is no web address is a failed fetch and no other error."""
    await failure(url)


async def test_redirects_within_the_origin_are_followed() -> None:
    """Three redirects within one origin are followed, absolute or relative; a fourth is one too many."""
    with Issuer() as issuer:
        issuer.answer("/1", status=302, headers={"Location": "/2"})
        issuer.answer("/2", status=307, headers={"Location": f"{issuer.origin}/3"})
        issuer.answer("/3", status=301, headers={"Location": "keys"})
        issuer.answer("/0", status=308, headers={"Location": "/1"})

        assert await fetch(f"{issuer.origin}/1")
        assert "redirects more than" in await failure(f"{issuer.origin}/0")


async def test_redirects_to_another_origin_are_refused() -> None:
    """A redirect to another host, port or scheme is refused, and nobody is asked there."""
    with Issuer() as issuer, Issuer() as other:
        for location in (other.origin + KEYS, other.origin.replace("127.0.0.1", "localhost"), "https://127.0.0.1/x"):
            issuer.answer(KEYS, status=302, headers={"Location": location})
            assert "another origin" in await failure(issuer.origin + KEYS)
        assert not other.asked


async def test_redirect_to_nowhere_is_a_failure() -> None:
    """A redirect that names no address is a failed fetch."""
    with Issuer() as issuer:
        for location in ("", "http://[", "javascript:alert(1)"):
            issuer.answer(KEYS, status=302, headers={"Location": location})
            await failure(issuer.origin + KEYS)


@pytest.mark.parametrize("status", [204, 400, 401, 404, 500, 503])
async def test_only_200_is_an_answer(status: int) -> None:
    """Any other status is a failed fetch that tells the status."""
    with Issuer() as issuer:
        issuer.answer(KEYS, status=status, body=b'{"keys": []}' if status != 204 else b"")

        assert f"answered {status}" in await failure(issuer.origin + KEYS)


@pytest.mark.parametrize("body", [b"", b"[]", b"5", b"null", b"<html>", b"{", b"\xff", b'{"a":NaN}', b"[" * 100_000])
async def test_only_objects_are_answers(body: bytes) -> None:
    """What is no JSON object is a failed fetch."""
    with Issuer() as issuer:
        issuer.answer(KEYS, body=body)

        assert "did not answer with a JSON object" in await failure(issuer.origin + KEYS)


async def test_body_is_bounded() -> None:
    """A body beyond the bound is not read to its end."""
    with Issuer() as issuer:
        issuer.answer(KEYS, body=b" " * (MAX_BYTES * 20) + b"{}")

        assert f"more than {MAX_BYTES}" in await failure(issuer.origin + KEYS)


async def test_body_does_not_grow_on_arrival() -> None:
    """A compressed body, which nobody asked for, is refused: a small one may become a large one."""
    with Issuer() as issuer:
        bomb = gzip.compress(b" " * 10_000_000 + b"{}")
        issuer.answer(KEYS, body=bomb, headers={"Content-Encoding": "gzip"})

        assert "coding" in await failure(issuer.origin + KEYS)
        assert issuer.requests[0].headers["Accept-Encoding"] == "identity"


async def test_silence_ends() -> None:
    """An issuer that never answers is given up after the timeout."""
    with Issuer() as issuer:
        issuer.hang(KEYS)
        async with asyncio.timeout(5):
            assert "TimeoutError" in await failure(issuer.origin + KEYS, fetcher(0.1))


async def test_trickle_ends() -> None:
    """An issuer that sends a little now and then is given up too: the timeout is for the whole call."""

    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
        for _ in range(100):
            writer.write(b" ")
            await asyncio.sleep(0.05)

    server = await asyncio.start_server(drip, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with asyncio.timeout(3):
        assert "did not answer" in await failure(f"http://127.0.0.1:{port}/", fetcher(0.3))
    server.close()


async def test_nobody_there_is_a_failure() -> None:
    """A port where nobody listens is a failed fetch without a status."""
    issuer = Issuer()
    issuer.start()
    issuer.stop()
    with pytest.raises(FetchError) as caught:
        await fetch(issuer.origin + KEYS)

    assert caught.value.status is None


async def test_broken_transport_is_a_failure() -> None:
    """Whatever goes wrong on the way is a failed fetch."""

    class Broken(httpx2.AsyncBaseTransport):
        async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
            raise ZeroDivisionError(request.method)

    assert "ZeroDivisionError" in await failure("http://x/", fetcher(transport=Broken()))


async def test_client_is_made_anew_after_close() -> None:
    """A fetcher can be used again after it was closed, and closed twice."""
    with Issuer() as issuer:
        asks = fetcher()
        for _ in range(2):
            assert await asks.get_json(issuer.origin + KEYS)
            await asks.close()
        await asks.close()
