"""API keys: a secret in a header of its own."""

from collections.abc import Awaitable, Callable

from quart.wrappers.base import BaseRequestWebsocket

from ligand_async.errors import BadRequest, Unauthorized
from ligand_async.principal import Principal


class APIKeyAuthenticator:
    """A secret in a header of its own.

    Args:
        hook: Returns the principal of a key, or None for a key that nobody has. Let it compare digests, or with
            `hmac.compare_digest`: how long it takes must not tell how much of a key is right.
        header: The header's name.
    """

    challenge: str | None = None  # no scheme stands for a header

    def __init__(self, hook: Callable[[str], Awaitable[Principal | None]], *, header: str = "X-API-Key") -> None:
        self.hook = hook
        self.header = header
        self.security_scheme = ("apiKey", {"type": "apiKey", "in": "header", "name": header})

    async def authenticate(self, connection: BaseRequestWebsocket) -> Principal | None:
        """Return the principal of the request's key; None where there is none.

        Raises:
            Unauthorized: Nobody has that key.
            BadRequest: There are two.
        """
        values = connection.headers.getlist(self.header)
        if not values:
            return None
        if len(values) > 1:
            raise BadRequest(f"more than one {self.header} header")
        principal = await self.hook(values[0]) if values[0] else None
        if principal is None:
            raise Unauthorized("the API key is not valid here")
        return principal
