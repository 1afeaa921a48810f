"""Authenticators: access tokens, names and passwords (RFC 7617), API keys; the `Authorization` header.

The header is read strictly (RFC 9110 section 11.6.2).
"""

import base64
import binascii
import re
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import NamedTuple

from pydantic import SecretStr
from quart.wrappers.base import BaseRequestWebsocket

from ligand_async.auth.errors import InvalidRequest, InvalidToken, quoted
from ligand_async.context import current_principal
from ligand_async.errors import BadRequest, Unauthorized
from ligand_async.principal import Principal
from ligand_async.protocols import TokenVerifier

_TOKEN = re.compile(r"[A-Za-z0-9._~+/-]+=*")  # RFC 6750 section 2.1: b64token
_BETWEEN = re.compile(r"[\s,]")


class BearerAuthenticator:
    """Access tokens in the `Authorization` header (RFC 6750 section 2.1), and nowhere else.

    Args:
        verifier: Tells whom a token speaks for.
    """

    challenge: str | None = None  # the framework makes it, with the error that RFC 6750 wants

    def __init__(self, verifier: TokenVerifier) -> None:
        self.verifier = verifier

    async def authenticate(self, connection: BaseRequestWebsocket) -> Principal | None:
        """Return the principal of the request's token; None where there is none.

        Raises:
            InvalidRequest: There are two `Authorization` headers, two tokens in one, or a scheme without a token.
            InvalidToken: The token is not to be trusted.
            ServiceUnavailable: Nobody can tell now.
        """
        credentials = _credentials_of(connection)
        if credentials is None or credentials.scheme != "bearer":
            return None
        token = credentials.value
        if not _TOKEN.fullmatch(token):
            if not token or _BETWEEN.search(token):
                raise InvalidRequest("the Authorization header does not hold one access token")
            raise InvalidToken("shape")
        principal = await self.verifier.verify(token)
        _keep_caller_token(principal, token)
        return principal


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
        credentials = _credentials_of(connection)
        if credentials is None or credentials.scheme != "basic":
            return None
        read = _read_basic(credentials.value)
        principal = await self.hook(read) if read is not None else None
        if principal is None:
            raise Unauthorized("the name or the password is wrong")
        return principal


def _read_basic(value: str) -> BasicCredentials | None:
    """Return the name and password of an `Authorization` header; None where it is not one that RFC 7617 allows."""
    try:
        text = base64.b64decode(value.encode(), validate=True).decode()
    except (binascii.Error, UnicodeError):
        return None
    username, colon, password = text.partition(":")
    if not colon or any(character < " " or "\x7f" <= character < "\xa0" for character in text):
        return None
    return BasicCredentials(username, password)


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


_SCHEME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")


class Credentials(NamedTuple):
    """What a header says.

    Attributes:
        scheme: In lower case.
        value: What follows it; empty where nothing does.
    """

    scheme: str
    value: str


def _credentials_of(connection: BaseRequestWebsocket) -> Credentials | None:
    """Return what a request or a handshake says in `Authorization`; None where it has no such header.

    Raises:
        InvalidRequest: It has two, or one that does not begin with a scheme.
    """
    values = connection.headers.getlist("Authorization")
    if not values:
        return None
    if len(values) > 1:
        raise InvalidRequest("more than one Authorization header")
    scheme, _, value = values[0].strip(" \t").partition(" ")
    if not _SCHEME.fullmatch(scheme):
        raise InvalidRequest("the Authorization header does not begin with a scheme")
    return Credentials(scheme.lower(), value.lstrip(" "))


# It stands apart from the principal, which is shown, logged and stored; and it is a secret in whatever shows it.
_caller_token_var: ContextVar[tuple[Principal, SecretStr] | None] = ContextVar("ligand_caller_token", default=None)


def _keep_caller_token(principal: Principal, token: str) -> None:
    """Remember a token that was verified.

    Args:
        principal: Whom it speaks for.
        token: As it was sent.
    """
    _caller_token_var.set((principal, SecretStr(token)))


def current_caller_token() -> str | None:
    """Return the token by which the current principal is known; None where it is known by something else."""
    kept = _caller_token_var.get()
    if kept is None or kept[0] is not current_principal():
        return None
    return kept[1].get_secret_value()
