"""Names and passwords (RFC 7617), which a hook of the service's own knows."""

import base64
import binascii
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from quart.wrappers.base import BaseRequestWebsocket

from ligand_async.auth.credentials import credentials_of
from ligand_async.auth.refusals import quoted
from ligand_async.errors import Unauthorized
from ligand_async.principal import Principal


@dataclass(frozen=True, slots=True)
class BasicCredentials:
    """A user's name and password (RFC 7617)."""

    username: str
    password: str = field(repr=False)


class BasicAuthenticator:
    """A user's name and password (RFC 7617), in UTF-8.

    Args:
        hook: Returns the principal of a name and a password, or None where they are wrong. Let it take as long for a
            name that nobody has as for a wrong password.
        realm: What the credentials are good for, such as the service's title.
    """

    security_scheme = ("basic", {"type": "http", "scheme": "basic"})

    def __init__(self, hook: Callable[[BasicCredentials], Awaitable[Principal | None]], *, realm: str) -> None:
        self.hook = hook
        self.challenge: str | None = f'Basic realm="{quoted(realm)}", charset="UTF-8"'

    async def authenticate(self, connection: BaseRequestWebsocket) -> Principal | None:
        """Return the principal of the request's name and password; None where there are none.

        Raises:
            InvalidRequest: There are two `Authorization` headers.
            Unauthorized: Name or password are wrong, or cannot be read.
        """
        credentials = credentials_of(connection)
        if credentials is None or credentials.scheme != "basic":
            return None
        read = read_basic(credentials.value)
        principal = await self.hook(read) if read is not None else None
        if principal is None:
            raise Unauthorized("the name or the password is wrong")
        return principal


def read_basic(value: str) -> BasicCredentials | None:
    """Return the name and password of an `Authorization` header; None where it is not one that RFC 7617 allows."""
    try:
        text = base64.b64decode(value.encode(), validate=True).decode()
    except (binascii.Error, UnicodeError):
        return None
    username, colon, password = text.partition(":")
    if not colon or any(character < " " or "\x7f" <= character < "\xa0" for character in text):
        return None
    return BasicCredentials(username, password)
