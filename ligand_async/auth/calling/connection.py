"""The connection to another service: one request and its whole answer, which comes from there and is not too long."""

import functools
import ssl
from http.cookiejar import CookieJar, DefaultCookiePolicy

import httpx2

from ligand_async.auth.calling.failures import UpstreamFailed, bad_answer, failure_of_error
from ligand_async.auth.tokens.fetcher import origin

CONNECT_TIMEOUT = 2.0  # seconds
MAX_REDIRECTS = 3
FOLLOWED = frozenset({"GET", "HEAD"})


class UpstreamConnection:
    """An HTTP client that keeps nothing of one call for the next but its connections.

    Args:
        timeout: Seconds without a byte.
        max_bytes: The largest body.
        transport: Instead of the network's.
    """

    def __init__(self, *, timeout: float, max_bytes: int, transport: httpx2.AsyncBaseTransport | None) -> None:
        brief = min(CONNECT_TIMEOUT, timeout)
        self._timeout = httpx2.Timeout(timeout, connect=brief, pool=brief)
        self._max_bytes = max_bytes
        self._transport = transport
        self._client: httpx2.AsyncClient | None = None
        self._closed = False

    def open(self) -> httpx2.AsyncClient:
        """Return the client, made in the loop that first asks.

        Raises:
            RuntimeError: It was closed.
        """
        if self._closed:
            raise RuntimeError("the ServiceClient was closed; make another")
        if self._client is None:
            # What one caller's answer sets must not travel with another caller's request.
            cookies = CookieJar(DefaultCookiePolicy(allowed_domains=[]))
            self._client = httpx2.AsyncClient(
                timeout=self._timeout, transport=self._transport, cookies=cookies, verify=trusted_authorities()
            )
        return self._client

    async def close(self) -> None:
        """Close the connections."""
        client, self._client, self._closed = self._client, None, True
        if client is not None:
            await client.aclose()

    async def send(self, request: httpx2.Request) -> httpx2.Response:
        """Send a request and read its answer; GET and HEAD follow up to three redirects within the origin.

        Raises:
            UpstreamFailed: There is no answer, or none that can be taken.
            ValueError: A header cannot be sent.
        """
        try:
            for _ in range(MAX_REDIRECTS + 1):
                response = await self._send_once(request)
                if request.method not in FOLLOWED or not response.has_redirect_location:
                    return response
                request = redirected(request, response)
        except httpx2.LocalProtocolError:
            raise ValueError("a header of the call cannot be sent over HTTP") from None  # the error holds it
        except httpx2.HTTPError as error:
            raise failure_of_error(error) from error
        raise UpstreamFailed(bad_answer(), f"it redirects more than {MAX_REDIRECTS} times")

    async def _send_once(self, request: httpx2.Request) -> httpx2.Response:
        answer = await self.open().send(request, stream=True)
        try:
            if request.method != "HEAD" and answer.headers.get("Content-Encoding", "identity").lower() != "identity":
                raise UpstreamFailed(bad_answer(), "it answers in a coding that was not asked for")
            body = bytearray()
            async for part in answer.aiter_raw():
                body += part
                if len(body) > self._max_bytes:
                    raise UpstreamFailed(bad_answer(), f"it answers more than {self._max_bytes} bytes")
        finally:
            await answer.aclose()
        return httpx2.Response(answer.status_code, headers=answer.headers, content=bytes(body), request=request)


@functools.cache
def trusted_authorities() -> ssl.SSLContext:
    """Return whose certificates are believed; read once, as that takes long."""
    return httpx2.create_ssl_context()


def redirected(request: httpx2.Request, response: httpx2.Response) -> httpx2.Request:
    """Return the request for where an answer leads.

    Raises:
        UpstreamFailed: It leads to another origin, or nowhere.
    """
    try:
        target = request.url.join(response.headers["Location"])
    except (httpx2.InvalidURL, ValueError):
        raise UpstreamFailed(bad_answer(), "it redirects to what is no address") from None  # which is not logged
    if origin(target) != origin(request.url) or target.userinfo:
        raise UpstreamFailed(bad_answer(), "it redirects to another origin")
    return httpx2.Request(request.method, target, headers=request.headers, extensions=request.extensions)
