"""Authenticators for pages in a browser: an access token in a cookie, or in the subprotocols of a websocket.

`EventSource` and `WebSocket` of a browser cannot send `Authorization`. A cookie is sent with the requests of every
page, also of a hostile one, so these authenticators also check which page a request comes from (RFC 6454 section 7).
"""

import logging
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import TypeVar

from quart import current_app
from quart.wrappers import Websocket
from quart.wrappers.base import BaseRequestWebsocket
from werkzeug.http import dump_cookie
from werkzeug.sansio.response import Response

from ligand_async.auth.authenticators import BearerAuthenticator, TokenAuthenticator, current_caller_token
from ligand_async.auth.enforcement import enforcement_of
from ligand_async.auth.errors import InvalidRequest, InvalidToken
from ligand_async.context import current_principal, request_state, service_of
from ligand_async.errors import Forbidden
from ligand_async.paths import origin_of
from ligand_async.principal import Principal
from ligand_async.protocols import Authenticator, TokenVerifier
from ligand_async.settings import is_field_name, is_origin

logger = logging.getLogger(__name__)

R = TypeVar("R", bound=Response)

_SAFE = frozenset({"GET", "HEAD"})
_OWN_SITE = (["same-origin"], ["none"])  # of `Sec-Fetch-Site`, which pages cannot set: our own page, or no page at all
_MAX_COOKIE = 4096  # bytes of name and value, which every browser takes (RFC 6265bis section 5.6)


class BrowserAuthenticator(TokenAuthenticator):
    """The base of the authenticators for browsers: it finds the verifier, and checks which page is calling.

    Args:
        verifier: Verifies the tokens; by default the verifier of the app's `BearerAuthenticator`.
        origins: The origins of the pages, instead of the setting `browser_origins`. The origin of
            `service_public_url` is always one of them.

    Raises:
        ValueError: One of the origins is not written as browsers send it.
    """

    def __init__(self, verifier: TokenVerifier | None = None, *, origins: Iterable[str] | None = None) -> None:
        super().__init__(verifier)
        if isinstance(origins, str):
            raise TypeError("origins must be a list of origins, not a string")
        self.origins = None if origins is None else tuple(origins)
        if not all(map(is_origin, self.origins or ())):
            raise ValueError(
                "write origins as browsers send them, https://app.example.org: scheme and host in lower case, a port "
                "only if it is not the scheme's own, no path, no *"
            )

    def find_verifier(self) -> TokenVerifier:
        """Return the verifier: its own, or that of the app."""
        return self.verifier or _shared_verifier(enforcement_of(current_app).authenticators)

    def check_origin(self, connection: BaseRequestWebsocket) -> None:
        """Check that a request comes from a page that may call.

        Such a request has the `Origin` of such a page. For GET and HEAD to its own origin a browser does not send
        `Origin`, but `Sec-Fetch-Site`.

        Raises:
            Forbidden: It comes from another page, or does not say from which one.
        """
        sent = connection.headers.getlist("Origin")
        settings = service_of(current_app).settings
        own = settings.browser_origins if self.origins is None else self.origins
        if len(sent) == 1 and sent[0] in _allowed(settings.service_public_url, own):
            return
        reads = connection.method in _SAFE and not isinstance(connection, Websocket)
        if not sent and reads and connection.headers.getlist("Sec-Fetch-Site") in _OWN_SITE:
            return
        logger.warning(
            "a request with an access token of a browser was refused: its Origin is %.100r; "
            "browser_origins names those that may call besides service_public_url",
            ", ".join(sent),
        )
        raise Forbidden("the page that sent this request may not call this service with a browser's credentials")


class CookieAuthenticator(BrowserAuthenticator):
    """Access tokens in a cookie, for pages of the service's own origin.

    Args:
        verifier: Verifies the tokens; by default the verifier of the app's `BearerAuthenticator`.
        cookie: The name of the cookie. With the prefix `__Host-` no other host can set it (RFC 6265bis section 4.1.3).
        origins: The origins of the pages, instead of the setting `browser_origins`.

    Raises:
        ValueError: The name is not that of a cookie, or one of the origins is not written as browsers send it.
    """

    def __init__(
        self,
        verifier: TokenVerifier | None = None,
        *,
        cookie: str = "__Host-access_token",
        origins: Iterable[str] | None = None,
    ) -> None:
        super().__init__(verifier, origins=origins)
        if not is_field_name(cookie):
            raise ValueError("the name of a cookie has letters, digits and hyphens, no spaces")
        self.cookie = cookie
        self.security_scheme = ("cookie", {"type": "apiKey", "in": "cookie", "name": cookie})

    async def authenticate(self, connection: BaseRequestWebsocket) -> Principal | None:
        """Return the principal of the token in the cookie, or None if there is no cookie.

        Raises:
            Forbidden: The request comes from another page.
            InvalidRequest: The cookie is there twice.
            InvalidToken: The token is not valid; the response deletes the cookie.
            ServiceUnavailable: The token cannot be verified now.
        """
        values = connection.cookies.getlist(self.cookie)
        if not values:
            return None
        self.check_origin(connection)
        if len(values) > 1:
            raise InvalidRequest("the cookie with the access token is there twice")
        try:
            return await self.verify(values[0])
        except InvalidToken as error:
            raise self.refusal(error.reason) from error

    def refusal(self, reason: str) -> InvalidToken:
        """Return the problem for a token that is not accepted. It deletes the cookie, which is sent again otherwise."""
        return InvalidToken(reason, headers={"Set-Cookie": self._dump("", 0)})

    def remember(self, response: R) -> R:
        """Set the cookie to the current caller's access token, and return the response.

        The cookie is `HttpOnly`, `Secure` and `SameSite=Strict`. It ends with the token.

        Args:
            response: The response of the current request.

        Raises:
            RuntimeError: The caller was not authenticated by an access token.
            ValueError: The token is too long for a cookie.
        """
        token, principal = current_caller_token(), current_principal()
        if token is None or principal is None:
            raise RuntimeError("there is no access token to remember; call remember() on a route that needs one")
        if len(self.cookie) + len(token) > _MAX_COOKIE:
            raise ValueError(f"the access token is too long for a cookie, which holds {_MAX_COOKIE} bytes")
        ends = principal.expires_at
        seconds = None if ends is None else max(0, int((ends - datetime.now(UTC)).total_seconds()))
        response.headers.add("Set-Cookie", self._dump(token, seconds))
        return response

    def forget(self, response: R) -> R:
        """Delete the cookie, and return the response.

        Args:
            response: The response of the current request.
        """
        response.headers.add("Set-Cookie", self._dump("", 0))
        return response

    def _dump(self, value: str, seconds: int | None) -> str:
        return dump_cookie(
            self.cookie, value, max_age=seconds, path="/", secure=True, httponly=True, samesite="Strict", max_size=0
        )


class SubprotocolAuthenticator(BrowserAuthenticator):
    """Access tokens in the subprotocols of a websocket, for pages of any origin that may call.

    A page opens `new WebSocket(url, ["access_token", token])`. The handshake is answered with `access_token`, unless
    the handler accepts another subprotocol that was offered (RFC 6455 section 4.2.2). The token is never answered.

    Args:
        verifier: Verifies the tokens; by default the verifier of the app's `BearerAuthenticator`.
        subprotocol: The subprotocol that stands before the token.
        origins: The origins of the pages, instead of the setting `browser_origins`.

    Raises:
        ValueError: The name is not that of a subprotocol, or one of the origins is not written as browsers send it.
    """

    def __init__(
        self,
        verifier: TokenVerifier | None = None,
        *,
        subprotocol: str = "access_token",
        origins: Iterable[str] | None = None,
    ) -> None:
        super().__init__(verifier, origins=origins)
        if not is_field_name(subprotocol):
            raise ValueError("the name of a subprotocol has letters, digits and hyphens, no spaces or commas")
        self.subprotocol = subprotocol

    async def authenticate(self, connection: BaseRequestWebsocket) -> Principal | None:
        """Return the principal of the token in the subprotocols, or None if there is none.

        Raises:
            Forbidden: The handshake comes from another page.
            InvalidRequest: No token follows, or there are two.
            InvalidToken: The token is not valid.
            ServiceUnavailable: The token cannot be verified now.
        """
        if not isinstance(connection, Websocket) or self.subprotocol not in connection.requested_subprotocols:
            return None
        self.check_origin(connection)
        offered = connection.requested_subprotocols
        place = offered.index(self.subprotocol)
        if offered.count(self.subprotocol) > 1 or place + 1 == len(offered):
            raise InvalidRequest(f"one access token must follow the subprotocol {self.subprotocol}")
        principal = await self.verify(offered[place + 1])
        del offered[place : place + 2]  # a handler that chooses among the others cannot answer with the token
        request_state().subprotocol = self.subprotocol
        return principal


@lru_cache(maxsize=16)
def _allowed(public_url: str, origins: tuple[str, ...]) -> frozenset[str]:
    own = origin_of(public_url)
    return frozenset(origins if own is None else {own, *origins})


def _shared_verifier(authenticators: Sequence[Authenticator]) -> TokenVerifier:
    for one in authenticators:
        if isinstance(one, BearerAuthenticator):
            return one.find_verifier()
    raise RuntimeError("there is no verifier of access tokens; check_verifiers() has not run")


def check_verifiers(authenticators: Sequence[Authenticator]) -> None:
    """Check that every authenticator for browsers has a verifier.

    Raises:
        ValueError: One has none, and the app has no `BearerAuthenticator`.
    """
    if any(isinstance(one, BearerAuthenticator) for one in authenticators):
        return
    for one in authenticators:
        if isinstance(one, BrowserAuthenticator) and one.verifier is None:
            raise ValueError(
                f"{type(one).__name__} has no verifier of access tokens; set oidc_issuer, or give it a verifier"
            )
