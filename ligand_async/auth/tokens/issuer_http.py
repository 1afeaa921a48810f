"""Requests to an issuer: its metadata (OpenID Connect Discovery 1.0, RFC 8414), tokens (RFC 6749) and introspection."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Literal
from urllib.parse import quote_plus, urlsplit

import httpx2
import jiter

from ligand_async.auth.http_client import HTTPClient, UnusableExchange, reason_of, shown_url

MAX_BYTES = 512 * 1024
TOKEN_LIFETIME = 300.0  # seconds, if the issuer does not name one (RFC 6749 section 5.1)

AuthMethod = Literal["client_secret_basic", "client_secret_post"]


class FetchError(Exception):
    """An issuer did not answer, or its answer cannot be used.

    Args:
        message: What happened, without a secret.
        status: The status of the response, if there was one.
    """

    def __init__(self, message: str, *, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True, slots=True)
class OAuthClient:
    """This service as a client of an issuer (RFC 6749 section 2.3.1).

    Attributes:
        client_id: Its identifier.
        client_secret: Its secret.
        auth_method: `client_secret_basic`, in the `Authorization` header, or `client_secret_post`, in the form.
    """

    client_id: str
    client_secret: str = field(repr=False)
    auth_method: AuthMethod = "client_secret_basic"


class Fetcher:
    """Requests to issuers, within the limits of `HTTPClient`.

    Args:
        timeout: Seconds for a whole call, redirects and body included.
        allow_http: Whether plain http is allowed: on one's own machine.
        transport: Replaces the network, such as `httpx2.ASGITransport`.
        client: This service's own client, for `fetch_token` and `introspect_token`.
    """

    def __init__(
        self,
        *,
        timeout: float,
        allow_http: bool,
        transport: httpx2.AsyncBaseTransport | None = None,
        client: OAuthClient | None = None,
    ) -> None:
        self.timeout = timeout
        self._http = HTTPClient(
            timeout=timeout,
            max_bytes=MAX_BYTES,
            allow_http=allow_http,
            transport=transport,
            make=httpx2.AsyncClient if client is None else _oauth_client(client),
        )

    async def get_json(self, url: str) -> dict[str, Any]:
        """Return the JSON object at an address.

        Raises:
            FetchError: The issuer did not answer, or not with status 200 and a JSON object.
        """
        async with self._calling(url):
            request = self._http.open().build_request("GET", url, headers={"Accept": "application/json"})
            response = await self._http.send(request)
        if response.status_code != 200:
            raise FetchError(f"{shown_url(url)} answered {response.status_code}", status=response.status_code)
        return _read_object(url, response)

    async def fetch_token(self, url: str, *, scope: str = "", audience: str | None = None) -> dict[str, Any]:
        """Get an access token by the client credentials grant (RFC 6749 section 4.4).

        Args:
            url: The token endpoint.
            scope: The scopes to ask for, separated by spaces.
            audience: The service that the token is for, if the issuer asks for it.

        Returns:
            The response, in which `expires_in` is a whole number of seconds.

        Raises:
            FetchError: There is no response with status 200 that is a JSON object, or it is an error.
        """
        async with self._calling(url):
            client: Any = self._http.open()
            found = await client.fetch_token(url, grant_type="client_credentials", scope=scope, audience=audience)
        return dict(found)

    async def introspect_token(self, url: str, token: str) -> tuple[int, dict[str, Any]]:
        """Ask for the state of a token (RFC 7662); return the status and the JSON object of the response.

        Args:
            url: The introspection endpoint.
            token: The access token.

        Raises:
            FetchError: There is no response, or it is not a JSON object.
        """
        async with self._calling(url):
            client: Any = self._http.open()
            response = await client.introspect_token(
                url,
                token,
                token_type_hint="access_token",  # noqa: S106  (the word of RFC 7009)
                headers={"Accept": "application/json"},
            )
        return response.status_code, _read_object(url, response)

    async def close(self) -> None:
        """Close the connections. A later call makes new ones."""
        await self._http.close()

    @asynccontextmanager
    async def _calling(self, url: str) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(self.timeout):
                yield
        except FetchError:
            raise
        except UnusableExchange as error:
            raise FetchError(f"{shown_url(url)} {error}", status=error.status) from error
        except Exception as error:  # whatever a transport raises, there is no answer
            raise FetchError(f"{shown_url(url)} did not answer: {reason_of(error)}") from error


def _oauth_client(client: OAuthClient) -> Callable[..., httpx2.AsyncClient]:
    # Imported here because it is slow, and most services have no client of their own.
    from authlib.integrations.httpx_client import AsyncOAuth2Client  # type: ignore[import-untyped]  # it has no types

    client_id, secret = client.client_id, client.client_secret
    if (
        client.auth_method == "client_secret_basic"
    ):  # form-encoded within the header, which Authlib leaves to its caller
        client_id, secret = quote_plus(client_id), quote_plus(secret)

    def make(**options: Any) -> httpx2.AsyncClient:
        made = AsyncOAuth2Client(client_id, secret, token_endpoint_auth_method=client.auth_method, **options)
        made.register_compliance_hook("access_token_response", _check_token_response)
        opened: httpx2.AsyncClient = made
        return opened

    return make


def _check_token_response(response: httpx2.Response) -> httpx2.Response:
    """Return a token response that Authlib can read.

    Authlib 1.9.10 takes a token from a response of any status below 500, accepts NaN, and fails on an `expires_in` that
    is not a number.
    """
    url, status = str(response.request.url), response.status_code
    document = _read_object(url, response) if status == 200 else {"error": ...}
    if "error" in document:
        raise FetchError(f"{shown_url(url)} answered {status} without a token", status=status)
    kept = {name: document[name] for name in ("access_token", "token_type") if name in document}
    return httpx2.Response(status, json={**kept, "expires_in": _read_lifetime(document.get("expires_in"))})


def _read_lifetime(expires_in: Any) -> float:
    """Return the seconds that a token lives; some issuers write the number as text."""
    try:
        seconds = float(expires_in)
    except (TypeError, ValueError, OverflowError):
        return TOKEN_LIFETIME
    return seconds if 0 < seconds < float("inf") and not isinstance(expires_in, bool) else TOKEN_LIFETIME


def _read_object(url: str, response: httpx2.Response) -> dict[str, Any]:
    try:
        document = jiter.from_json(response.content, allow_inf_nan=False)
    except ValueError:
        document = None
    if not isinstance(document, dict):
        raise FetchError(f"{shown_url(url)} did not answer with a JSON object", status=response.status_code)
    return document


@dataclass(frozen=True, slots=True)
class Metadata:
    """The members of an issuer's metadata that are used here (RFC 8414 section 2).

    Attributes:
        issuer: Its identifier.
        jwks_uri: The address of its keys.
        token_endpoint: Where clients get tokens.
        introspection_endpoint: Where tokens are introspected (RFC 7662).
        authorization_endpoint: Where users sign in.
    """

    issuer: str
    jwks_uri: str | None = None
    token_endpoint: str | None = None
    introspection_endpoint: str | None = None
    authorization_endpoint: str | None = None


async def discover(fetcher: Fetcher, issuer: str, private_url: str | None = None) -> Metadata:
    """Find an issuer's metadata, at the address of OpenID Connect first, then at that of OAuth.

    Args:
        fetcher: Sends the requests.
        issuer: The issuer's identifier; `issuer` in the metadata must be the very same string.
        private_url: The address at which this service reaches the issuer, instead of its identifier. Some issuers, such
            as Keycloak, then also name this address as `issuer`. Endpoints at the public address, which this service
            may not reach, are called at the private one.

    Raises:
        FetchError: The issuer does not answer, or has no metadata at either address.
    """
    failures = []
    for url in metadata_urls(private_url or issuer):
        try:
            return _read_metadata(await fetcher.get_json(url), issuer, url, private_url)
        except FetchError as error:
            if error.status is None:  # no answer here means no answer there
                raise
            failures.append(error)
    raise FetchError("; ".join(map(str, failures)), status=failures[-1].status)


def metadata_urls(issuer: str) -> Iterator[str]:
    """Yield the addresses at which an issuer's metadata may be."""
    yield f"{issuer.rstrip('/')}/.well-known/openid-configuration"
    url = urlsplit(issuer)
    yield f"{url.scheme}://{url.netloc}/.well-known/oauth-authorization-server{url.path.rstrip('/')}"


def _read_metadata(document: dict[str, Any], issuer: str, url: str, private_url: str | None) -> Metadata:
    named = document.get("issuer")
    if named != issuer and not (private_url is not None and named == private_url):
        raise FetchError(
            f"{shown_url(url)} is not the metadata of the issuer {issuer}, but of {_shown_name(named)}; oidc_issuer is "
            "the `iss` of its tokens, and oidc_private_url the address at which this service reaches it",
            status=200,
        )
    public, private = _bases_of(issuer, private_url or issuer)

    def endpoint(name: str) -> str | None:
        address = _text_of(document, name)
        is_public = address is not None and (address == public or address.startswith(f"{public}/"))
        return private + address[len(public) :] if address is not None and is_public else address

    return Metadata(
        issuer=issuer,
        jwks_uri=endpoint("jwks_uri"),
        token_endpoint=endpoint("token_endpoint"),
        introspection_endpoint=endpoint("introspection_endpoint"),
        authorization_endpoint=_text_of(document, "authorization_endpoint"),  # for browsers, and so the public one
    )


def _bases_of(public_url: str, private_url: str) -> tuple[str, str]:
    """Return both addresses without the path that they have in common at their ends.

    For `https://id.example/auth/realms/a` and `http://keycloak:8080/realms/a` these are `https://id.example/auth` and
    `http://keycloak:8080`: below them an issuer has its endpoints, also those beside its own path.
    """
    public, private = public_url.rstrip("/").split("/"), private_url.rstrip("/").split("/")
    while min(len(public), len(private)) > 3 and public[-1] == private[-1]:  # scheme, "", host
        del public[-1], private[-1]
    return "/".join(public), "/".join(private)


_MAX_SHOWN = 200


def _shown_name(value: Any) -> str:
    """Return what another issuer calls itself, for the log."""
    is_name = isinstance(value, str) and value.isascii() and value.isprintable() and 0 < len(value) <= _MAX_SHOWN
    return str(value) if is_name else "another issuer"


def _text_of(document: dict[str, Any], name: str) -> str | None:
    value = document.get(name)
    return value if isinstance(value, str) else None
