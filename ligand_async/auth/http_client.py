"""The HTTP client for everything outside: issuers and other services, with the same limits for both."""

import functools
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Iterator
from http.cookiejar import CookieJar, DefaultCookiePolicy
from urllib.parse import urlsplit

import httpx2

from ligand_async.paths import is_below

_MAX_REDIRECTS = 3
_FOLLOWED = frozenset({"GET", "HEAD"})


class UnusableExchange(httpx2.RequestError):
    """The client does not send this request, or does not read this response.

    Args:
        reason: The rest of a sentence that begins with the address, such as "answered more than 10 bytes".
        status: The status of the response, if there is one.
    """

    def __init__(self, reason: str, *, status: int | None = None) -> None:
        super().__init__(reason)
        self.status = status


_UNKNOWN_AUTHORITY = frozenset({18, 19, 20, 21})  # X509_V_ERR_…: self-signed, or the issuer is not known


def reason_of(error: BaseException) -> str:
    """Return why there was no response, for the log: a problem of TLS, of the certificate or of the connection.

    The text comes from OpenSSL and the name of an error. It contains no part of the request or of the response.
    """
    for cause in _causes_of(error):
        match cause:
            case ssl.SSLCertVerificationError():
                hint = "; set SSL_CERT_FILE to a file with its authority" * (cause.verify_code in _UNKNOWN_AUTHORITY)
                return f"its certificate is not valid: {cause.verify_message}{hint}"
            case ssl.SSLError() if cause.reason:
                return f"TLS failed: {cause.reason.lower().replace('_', ' ')}"
            case socket.gaierror():
                return "its host name was not found"
            case ConnectionRefusedError():
                return "it refused the connection"
    return type(error).__name__


def _causes_of(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and those that led to it, the outermost first."""
    left, seen = [error], set[int]()
    while left:
        one = left.pop()
        if id(one) in seen:
            continue
        seen.add(id(one))
        yield one
        more = (one.__context__, one.__cause__, *(one.exceptions if isinstance(one, BaseExceptionGroup) else ()))
        left += [cause for cause in more if cause is not None]


def shown_url(url: str) -> str:
    """Return an address for the log, without user, query and fragment, which may hold secrets."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return "an invalid address"
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}" if parts.netloc else "an invalid address"


class HTTPClient:
    """An HTTP client with limits.

    The limits are event hooks, so that Authlib's client, which is a subclass of httpx2's, has them too.

    - Certificates are always verified. Plain http needs `allow_http`.
    - A response has at most `max_bytes`, and is not compressed: a small compressed body may become a large one.
    - GET and HEAD follow up to three redirects within the origin, and below `base_url`. Nothing else follows any.
    - Cookies are not kept: what one caller's response sets must not travel with another caller's request.
    - Proxies are taken from the environment (`HTTPS_PROXY`, `NO_PROXY`), as a closed network has no other way out.

    The timeouts are those of httpx2, for each step of a call. Callers bound the whole call with `asyncio.timeout`.

    Args:
        timeout: Seconds without a byte.
        max_bytes: The largest body of a response.
        allow_http: Whether plain http is allowed.
        base_url: The address that redirects do not leave: what is beside it may be another service, which must not see
            the credentials of the request. None for the whole origin.
        transport: Replaces the network, such as `httpx2.ASGITransport`.
        make: The class of the client.
    """

    def __init__(
        self,
        *,
        timeout: float | httpx2.Timeout,
        max_bytes: int,
        allow_http: bool,
        base_url: str | None = None,
        transport: httpx2.AsyncBaseTransport | None = None,
        make: Callable[..., httpx2.AsyncClient] = httpx2.AsyncClient,
    ) -> None:
        self._timeout = timeout
        self._max_bytes = max_bytes
        self._allow_http = allow_http
        self._base = "/" if base_url is None else _path_of(httpx2.URL(base_url))
        self._transport = transport
        self._make = make
        self._client: httpx2.AsyncClient | None = None

    def open(self) -> httpx2.AsyncClient:
        """Return the client, which is made in the loop that first uses it."""
        if self._client is None:
            self._client = self._make(
                timeout=self._timeout,
                transport=self._transport,
                verify=_tls_context(),
                cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
                headers={"Accept-Encoding": "identity"},
                max_redirects=_MAX_REDIRECTS,
                event_hooks={"request": [self._check_request], "response": [self._check_response]},
            )
        return self._client

    async def send(self, request: httpx2.Request) -> httpx2.Response:
        """Send a request, and read the whole response.

        Args:
            request: Made by `open().build_request()`.

        Raises:
            UnusableExchange: The request or the response is outside the limits.
            httpx2.HTTPError: There is no response.
        """
        try:
            return await self.open().send(request, follow_redirects=request.method in _FOLLOWED)
        except httpx2.TooManyRedirects as error:
            raise UnusableExchange(f"redirects more than {_MAX_REDIRECTS} times", status=302) from error

    async def close(self) -> None:
        """Close the connections. A later call makes new ones."""
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()

    async def _check_request(self, request: httpx2.Request) -> None:
        if request.url.scheme != "https" and not (self._allow_http and request.url.scheme == "http"):
            raise UnusableExchange("is not https")
        if not request.url.host:
            raise UnusableExchange("has no host")

    async def _check_response(self, response: httpx2.Response) -> None:
        request, status = response.request, response.status_code
        if request.method in _FOLLOWED and response.has_redirect_location:
            _check_redirect(request.url, response, self._base)
        if request.method == "HEAD":
            return
        if response.headers.get("Content-Encoding", "identity").lower() != "identity":
            raise UnusableExchange("answered in a content coding that was not requested", status=status)
        too_long = UnusableExchange(f"answered more than {self._max_bytes} bytes", status=status)
        length = response.headers.get("Content-Length", "")
        if length.isdecimal() and int(length[:20]) > self._max_bytes:
            raise too_long
        response.stream = _BoundedStream(response.stream, self._max_bytes, too_long)


class _BoundedStream(httpx2.AsyncByteStream):
    def __init__(self, stream: httpx2.SyncByteStream | httpx2.AsyncByteStream, limit: int, error: Exception) -> None:
        assert isinstance(stream, httpx2.AsyncByteStream)  # noqa: S101  (an async client has no other)
        self._stream = stream
        self._limit = limit
        self._error = error

    async def __aiter__(self) -> AsyncIterator[bytes]:
        left = self._limit
        async for part in self._stream:
            left -= len(part)
            if left < 0:
                raise self._error
            yield part

    async def aclose(self) -> None:
        await self._stream.aclose()


def _check_redirect(url: httpx2.URL, response: httpx2.Response, base: str) -> None:
    try:
        target = url.join(response.headers["Location"])
    except (httpx2.InvalidURL, ValueError):  # without the address, which may be long
        raise UnusableExchange("redirects to an invalid address", status=response.status_code) from None
    if _origin(target) != _origin(url) or target.userinfo:
        raise UnusableExchange("redirects to another origin", status=response.status_code)
    if not is_below(_path_of(target), base):
        raise UnusableExchange("redirects to a path outside of its address", status=response.status_code)


def _path_of(url: httpx2.URL) -> str:
    """Return the path as it is sent, percent-encoded."""
    return url.raw_path.partition(b"?")[0].decode("ascii")


def _origin(url: httpx2.URL) -> tuple[str, str, int | None]:
    """Return scheme, host and port (RFC 6454 section 4)."""
    return url.scheme, url.host, url.port or {"http": 80, "https": 443}.get(url.scheme)


@functools.cache
def _tls_context() -> ssl.SSLContext:
    """Return the context that verifies certificates; reading the authorities takes 20 ms."""
    try:
        return httpx2.create_ssl_context()
    except (OSError, ssl.SSLError) as error:
        raise UnusableExchange("cannot be called, as SSL_CERT_FILE does not name a file of certificates") from error
