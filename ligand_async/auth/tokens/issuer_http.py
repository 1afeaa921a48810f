"""HTTP to an issuer: bounded in time and size, never redirected elsewhere; its metadata (RFC 8414); our credentials.

An issuer publishes its metadata by OpenID Connect Discovery 1.0 and RFC 8414. This service's own client shows who it is
as RFC 6749 section 2.3.1 says.
"""

import asyncio
import functools
import ssl
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import quote_plus, urlsplit

import httpx2
import jiter

_MAX_REDIRECTS = 3
MAX_BYTES = 512 * 1024
# What is not compressed cannot grow on arrival.
_HEADERS = {"Accept": "application/json", "Accept-Encoding": "identity"}


class FetchError(Exception):
    """An issuer gave no answer, or none that can be used.

    Args:
        message: What happened, without a secret.
        status: The status of the answer, where there was one.
    """

    def __init__(self, message: str, *, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


@functools.cache
def _tls_context() -> ssl.SSLContext:
    """Return how certificates are verified; reading those of the authorities takes 20 ms."""
    return httpx2.create_ssl_context()


class Fetcher:
    """An HTTP client for issuers.

    Certificates are always verified. Proxies are taken from the environment (`HTTPS_PROXY`, `NO_PROXY`), as a closed
    network has no other way out.

    Args:
        timeout: Seconds for a whole call, redirects and body included.
        allow_http: Whether plain http will do: on a machine of one's own.
        transport: Goes before the network, such as `httpx2.ASGITransport`.
        max_bytes: The largest body.
    """

    def __init__(
        self,
        *,
        timeout: float,
        allow_http: bool,
        transport: httpx2.AsyncBaseTransport | None = None,
        max_bytes: int = MAX_BYTES,
    ) -> None:
        self.timeout = timeout
        self.allow_http = allow_http
        self.transport = transport
        self.max_bytes = max_bytes
        self._client: httpx2.AsyncClient | None = None

    async def get_json(self, url: str) -> dict[str, Any]:
        """Return a JSON object.

        Redirects are followed within one origin, three at most.

        Raises:
            FetchError: There is none at this address, or not now.
        """
        try:
            async with asyncio.timeout(self.timeout):
                address = self.check_url(url)
                for _ in range(_MAX_REDIRECTS + 1):
                    status, location, body = await self.send("GET", address)
                    if location is None:
                        break
                    address = self.check_redirect(address, location)
                else:
                    raise FetchError(f"{url} redirects more than {_MAX_REDIRECTS} times", status=status)
        except FetchError:
            raise
        except Exception as error:  # whatever a transport raises, there is no answer
            raise FetchError(f"{url} gave no answer: {type(error).__name__}") from error
        if status != 200:
            raise FetchError(f"{url} answered {status}", status=status)
        return _read_object(url, status, body)

    async def post_form(
        self,
        url: str,
        form: Mapping[str, str],
        *,
        auth: httpx2.Auth | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> tuple[int, dict[str, Any]]:
        """Send a form, and return the status and the JSON object of the answer; no redirect is followed.

        Args:
            url: The endpoint.
            form: The fields.
            auth: How this service's own client shows who it is.
            headers: More request headers.

        Raises:
            FetchError: There is no answer, or no JSON object in it.
        """
        try:
            async with asyncio.timeout(self.timeout):
                status, _, body = await self.send(
                    "POST", self.check_url(url), data=dict(form), auth=auth, headers=headers
                )
        except FetchError:
            raise
        except Exception as error:  # whatever a transport raises, there is no answer
            raise FetchError(f"{url} gave no answer: {type(error).__name__}") from error
        return status, _read_object(url, status, body)

    async def send(
        self,
        method: str,
        url: httpx2.URL,
        *,
        data: dict[str, str] | None = None,
        auth: httpx2.Auth | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> tuple[int, str | None, bytes]:
        """Send one request; return the status, where a redirect leads, and the body."""
        async with self.client().stream(
            method, url, data=data, auth=auth, headers={**_HEADERS, **(headers or {})}, follow_redirects=False
        ) as response:
            if response.is_redirect:
                return response.status_code, response.headers["Location"], b""
            if response.headers.get("Content-Encoding", "identity").lower() != "identity":
                raise FetchError(f"{url} answered in a coding that was not asked for", status=response.status_code)
            body = bytearray()
            async for chunk in response.aiter_bytes():
                body += chunk
                if len(body) > self.max_bytes:
                    raise FetchError(f"{url} answered more than {self.max_bytes} bytes", status=response.status_code)
            return response.status_code, None, bytes(body)

    def check_url(self, url: str) -> httpx2.URL:
        """Refuse what is not https where it must be.

        Raises:
            FetchError: It is not to be asked.
        """
        address = httpx2.URL(url)
        if address.scheme != "https" and not (self.allow_http and address.scheme == "http"):
            raise FetchError(f"{url} is not https")
        if not address.host:
            raise FetchError(f"{url} names no host")
        return address

    def check_redirect(self, address: httpx2.URL, location: str) -> httpx2.URL:
        """Return where a redirect leads, within the same origin.

        Raises:
            FetchError: It leads to another.
        """
        target = address.join(location)
        if origin(target) != origin(address):
            raise FetchError(f"{address} redirects to another origin", status=302)
        return target

    def client(self) -> httpx2.AsyncClient:
        """Return the client, made in the loop that first asks."""
        if self._client is None:
            self._client = httpx2.AsyncClient(timeout=self.timeout, transport=self.transport, verify=_tls_context())
        return self._client

    async def close(self) -> None:
        """Close the connections; a later call makes new ones."""
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()


def origin(url: httpx2.URL) -> tuple[str, str, int | None]:
    """Return what two URLs of one origin have in common (RFC 6454 section 4)."""
    return url.scheme, url.host, url.port or {"http": 80, "https": 443}.get(url.scheme)


def _read_object(url: str, status: int, body: bytes) -> dict[str, Any]:
    """Return the JSON object of an answer.

    Raises:
        FetchError: It holds none.
    """
    try:
        document = jiter.from_json(body, allow_inf_nan=False)
    except ValueError:
        document = None
    if not isinstance(document, dict):
        raise FetchError(f"{url} answered no JSON object", status=status)
    return document


@dataclass(frozen=True, slots=True)
class Metadata:
    """An issuer's metadata, as far as it matters here.

    Attributes:
        issuer: What it calls itself.
        jwks_uri: Where its keys are.
        token_endpoint: Where clients get tokens.
        introspection_endpoint: Where it says what a token is (RFC 7662).
        authorization_endpoint: Where people sign in.
    """

    issuer: str
    jwks_uri: str | None = None
    token_endpoint: str | None = None
    introspection_endpoint: str | None = None
    authorization_endpoint: str | None = None


async def discover(fetcher: Fetcher, issuer: str) -> Metadata:
    """Find an issuer's metadata: OpenID Connect's place first, then OAuth's.

    Args:
        fetcher: What asks.
        issuer: The issuer's identifier; the document must hold the very same text.

    Raises:
        FetchError: The issuer does not answer, or neither place holds its metadata.
    """
    failures = []
    for url in metadata_urls(issuer):
        try:
            return _read_metadata(await fetcher.get_json(url), issuer, url)
        except FetchError as error:
            if error.status is None:  # whoever does not answer here does not answer there
                raise
            failures.append(error)
    raise FetchError("; ".join(map(str, failures)), status=failures[-1].status)


def metadata_urls(issuer: str) -> Iterator[str]:
    """Yield where an issuer's metadata can be."""
    yield f"{issuer.rstrip('/')}/.well-known/openid-configuration"
    url = urlsplit(issuer)
    yield f"{url.scheme}://{url.netloc}/.well-known/oauth-authorization-server{url.path.rstrip('/')}"


def _read_metadata(document: dict[str, Any], issuer: str, url: str) -> Metadata:
    """Return the metadata of a document.

    Raises:
        FetchError: It is another issuer's.
    """
    if document.get("issuer") != issuer:
        raise FetchError(f"{url} is not about the issuer {issuer}", status=200)
    return Metadata(
        issuer=issuer,
        jwks_uri=_text_of(document, "jwks_uri"),
        token_endpoint=_text_of(document, "token_endpoint"),
        introspection_endpoint=_text_of(document, "introspection_endpoint"),
        authorization_endpoint=_text_of(document, "authorization_endpoint"),
    )


def _text_of(document: dict[str, Any], name: str) -> str | None:
    """Return a member that is a text."""
    value = document.get(name)
    return value if isinstance(value, str) else None


AuthMethod = Literal["client_secret_basic", "client_secret_post"]


def client_auth(client_id: str, client_secret: str, method: AuthMethod) -> httpx2.Auth:
    """Return what adds a client's credentials to a request that has a form.

    Args:
        client_id: The client.
        client_secret: Its secret.
        method: `client_secret_basic`, in the `Authorization` header, or `client_secret_post`, in the form.
    """
    # Slow to import, and most services have no client of their own.
    from authlib.integrations.httpx_client import OAuth2ClientAuth  # type: ignore[import-untyped]  # it has no types

    if method == "client_secret_basic":  # form-encoded within the header, which Authlib leaves to its caller
        client_id, client_secret = quote_plus(client_id), quote_plus(client_secret)
    auth: httpx2.Auth = OAuth2ClientAuth(client_id, client_secret, method)
    return auth
