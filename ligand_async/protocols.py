"""Where rooms meet: what one asks of another without knowing it."""

from collections.abc import Awaitable, Callable
from typing import Protocol

from quart import Response
from quart.wrappers.base import BaseRequestWebsocket

from ligand_async.errors import Problem
from ligand_async.principal import Principal


class HealthCheck(Protocol):
    """Something the service needs in order to be ready."""

    name: str

    async def check(self) -> None:
        """Return when it is well; raise when it is not. The caller bounds the time."""


ProblemRenderer = Callable[[Problem], Response]
"""Makes the response of a problem; replace it to change the shape of every error."""


class TokenVerifier(Protocol):
    """What tells whom an access token speaks for."""

    async def verify(self, token: str) -> Principal:
        """Return the principal of a token.

        Args:
            token: As it was sent, of any shape and length.

        Raises:
            InvalidToken: The token is not to be trusted: 401.
            ServiceUnavailable: Nobody can tell now, as the issuer does not answer: 503.
        """
        ...


class Authenticator(Protocol):
    """One way in which callers prove who they are.

    It may have a `security_scheme`, too: a name and a Security Scheme Object of OpenAPI, for the documentation.
    """

    @property
    def challenge(self) -> str | None:
        """What `WWW-Authenticate` offers where it is missing, such as `Basic realm="Petstore"`.

        None where there is no scheme for it (RFC 9110 section 11.6.1). An attribute will do.
        """
        ...

    async def authenticate(self, connection: BaseRequestWebsocket) -> Principal | None:
        """Return who is calling, or None where the request carries no credentials of this kind.

        Args:
            connection: The request, or the handshake of a websocket.

        Raises:
            Unauthorized: The credentials are wrong.
            BadRequest: The request cannot be read as one that carries credentials.
            ServiceUnavailable: Nobody can tell now.
        """
        ...


DenyList = Callable[[Principal], Awaitable[bool]]
"""Tells whether a principal is refused although its token is good, by its `token_id` (`jti`) or its `subject`."""
