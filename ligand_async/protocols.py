"""The protocols by which packages of the framework and services plug into each other."""

from collections.abc import Awaitable, Callable
from typing import Final, Protocol

from quart import Response
from quart.wrappers.base import BaseRequestWebsocket

from ligand_async.errors import Problem
from ligand_async.principal import Principal


class CheckFailed(Exception):
    """A health check failed, for this reason. It is logged, so it must not hold a secret."""


class HealthCheck(Protocol):
    """A check that the service must pass in order to be ready. It may have a `timeout`, in seconds."""

    name: str

    async def check(self) -> None:
        """Return if all is well, and raise if not. The caller limits the time.

        Raises:
            CheckFailed: Something is wrong. Of other exceptions only the class is logged.
        """


ProblemRenderer = Callable[[Problem], Response]
"""Makes the response for a problem. Replace it to change the shape of every error."""


class TokenVerifier(Protocol):
    """A verifier of access tokens."""

    async def verify(self, token: str) -> Principal:
        """Return the principal of a token.

        Args:
            token: The token as it was sent, of any shape and length.

        Raises:
            InvalidToken: The token is not valid (401).
            ServiceUnavailable: The token cannot be verified now, as the issuer does not answer (503).
        """
        ...


class Authenticator(Protocol):
    """One way to authenticate callers.

    It may also have a `security_scheme`: a name and a Security Scheme Object of OpenAPI, for the document.
    """

    @property
    def challenge(self) -> str | None:
        """The challenge in `WWW-Authenticate` of a 401, such as `Basic realm="Petstore"`; an attribute is enough.

        None if there is no scheme for it (RFC 9110 section 11.6.1).
        """
        ...

    async def authenticate(self, connection: BaseRequestWebsocket) -> Principal | None:
        """Return the caller, or None if the request has no credentials of this kind.

        Args:
            connection: The request, or the handshake of a websocket.

        Raises:
            Unauthorized: The credentials are wrong.
            BadRequest: The credentials are malformed.
            ServiceUnavailable: The caller cannot be authenticated now.
        """
        ...


DenyList = Callable[[Principal], Awaitable[bool]]
"""Returns True if a principal is refused although its token is valid, by its `token_id` (`jti`) or `subject`."""


SERVED_REQUEST: Final = "ligand_async.request"
"""The key in a scope's `extensions` under which `ligand serve` puts the `ServedRequest`; other servers put nothing."""


class ServedRequest(Protocol):
    """A request as the server sees it, beside the messages of ASGI.

    With it an app need not wait for messages in a task of its own: it takes a body that has come already, and is called
    when the client leaves. `receive` works as ever beside it.
    """

    def take_body(self) -> bytes | None:
        """Return the whole body if all of it has come; `receive` does not return it then.

        None if a part is missing, or was received before. Its length is not checked against any limit but the one that
        `Content-Length` was checked against.
        """
        ...

    def call_when_left(self, callback: Callable[[], None]) -> None:
        """Call a function in the event loop, once, if the client leaves before the response is whole.

        A client that has left already is reported in the next turn of the loop. Nothing is called after the app has
        returned. A second function takes the place of the first.
        """
        ...
