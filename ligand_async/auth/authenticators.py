"""Authenticators for access tokens, names and passwords (RFC 7617), and API keys.

The `Authorization` header is read strictly (RFC 9110 section 11.6.2).
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
from ligand_async.auth.failures import count_attempt
from ligand_async.context import current_principal
from ligand_async.errors import BadRequest, Unauthorized
from ligand_async.principal import Principal
from ligand_async.protocols import TokenVerifier

_TOKEN = re.compile(r"[A-Za-z0-9._~+/-]+=*")  # RFC 6750 section 2.1: b64token
_BETWEEN = re.compile(r"[\s,]")


class TokenAuthenticator:
    """The base of the authenticators for access tokens, which differ in where the token is.

    Args:
        verifier: Verifies the tokens.
    """

    challenge: str | None = None  # the framework makes it, with the error that RFC 6750 wants

    def __init__(self, verifier: TokenVerifier | None) -> None:
        self.verifier = verifier

    def find_verifier(self) -> TokenVerifier:
        """Return the verifier."""
        assert self.verifier is not None  # noqa: S101  (a child that takes None finds another)
        return self.verifier

    async def verify(self, token: str) -> Principal:
        """Return the principal of a token.

        Raises:
            InvalidToken: The token is not valid.
            ServiceUnavailable: The token cannot be verified now.
        """
        if not _TOKEN.fullmatch(token):
            raise InvalidToken("shape")
        verifier = self.find_verifier()
        principal = await verifier.verify(token)
        if not isinstance(principal, Principal):
            raise TypeError(f"{type(verifier).__name__}.verify() must return a Principal, or raise InvalidToken")
        _keep_caller_token(principal, token)
        return principal

    def refusal(self, reason: str) -> InvalidToken:
        """Return the problem for a token that is not accepted.

        Args:
            reason: A short word for the log.
        """
        return InvalidToken(reason)


class BearerAuthenticator(TokenAuthenticator):
    """Access tokens in the `Authorization` header (RFC 6750 section 2.1), and nowhere else.

    Args:
        verifier: Verifies the tokens.
    """

    def __init__(self, verifier: TokenVerifier) -> None:
        super().__init__(verifier)

    async def authenticate(self, connection: BaseRequestWebsocket) -> Principal | None:
        """Return the principal of the request's token, or None if it has none.

        Raises:
            InvalidRequest: There are two `Authorization` headers, two tokens in one, or a scheme without a token.
            InvalidToken: The token is not valid.
            ServiceUnavailable: The token cannot be verified now.
        """
        credentials = _credentials_of(connection)
        if credentials is None or credentials.scheme != "bearer":
            return None
        token = credentials.value
        if not token or _BETWEEN.search(token):
            raise InvalidRequest("the Authorization header does not hold one access token")
        return await self.verify(token)


@dataclass(frozen=True, slots=True)
class BasicCredentials:
    """A user's name and password (RFC 7617)."""

    username: str
    password: str = field(repr=False)


class BasicAuthenticator:
    """A user's name and password (RFC 7617), in UTF-8.

    Args:
        hook: Returns the principal of a name and a password, or None if they are wrong. It should take as long for an
            unknown name as for a wrong password.
        realm: The protection space, such as the service's title (RFC 9110 section 11.5).
    """

    security_scheme = ("basic", {"type": "http", "scheme": "basic"})

    def __init__(self, hook: Callable[[BasicCredentials], Awaitable[Principal | None]], *, realm: str) -> None:
        self.hook = hook
        self.challenge: str | None = f'Basic realm="{quoted(realm)}", charset="UTF-8"'

    async def authenticate(self, connection: BaseRequestWebsocket) -> Principal | None:
        """Return the principal of the request's name and password, or None if it has none.

        Raises:
            InvalidRequest: There are two `Authorization` headers.
            TooManyRequests: The caller's network has failed too often.
            Unauthorized: The name or the password is wrong or malformed.
        """
        credentials = _credentials_of(connection)
        if credentials is None or credentials.scheme != "basic":
            return None
        read = _read_basic(credentials.value)
        count_attempt(credentials.value)
        principal = await self.hook(read) if read is not None else None
        if principal is None:
            raise Unauthorized("the name or the password is wrong")
        return principal


def _read_basic(value: str) -> BasicCredentials | None:
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
        hook: Returns the principal of a key, or None for an unknown key. It should compare digests, or use
            `hmac.compare_digest`: the time that it takes must not show how much of a key is right.
        header: The header's name.
    """

    challenge: str | None = None  # no scheme stands for a header

    def __init__(self, hook: Callable[[str], Awaitable[Principal | None]], *, header: str = "X-API-Key") -> None:
        self.hook = hook
        self.header = header
        self.security_scheme = ("apiKey", {"type": "apiKey", "in": "header", "name": header})

    async def authenticate(self, connection: BaseRequestWebsocket) -> Principal | None:
        """Return the principal of the request's key, or None if it has none.

        Raises:
            Unauthorized: The key is unknown.
            BadRequest: There are two keys.
            TooManyRequests: The caller's network has failed too often.
        """
        values = connection.headers.getlist(self.header)
        if not values:
            return None
        if len(values) > 1:
            raise BadRequest(f"more than one {self.header} header")
        count_attempt(values[0])
        principal = await self.hook(values[0]) if values[0] else None
        if principal is None:
            raise Unauthorized("the API key is not valid here")
        return principal


_SCHEME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")


class Credentials(NamedTuple):
    """The credentials of an `Authorization` header.

    Attributes:
        scheme: The scheme, in lower case.
        value: The rest of the header, which may be empty.
    """

    scheme: str
    value: str


def _credentials_of(connection: BaseRequestWebsocket) -> Credentials | None:
    """Return the `Authorization` header of a request or a handshake, or None if there is none.

    Raises:
        InvalidRequest: There are two, or it does not begin with a scheme.
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
    _caller_token_var.set((principal, SecretStr(token)))


def current_caller_token() -> str | None:
    """Return the access token of the current principal, or None if it was authenticated in another way."""
    kept = _caller_token_var.get()
    if kept is None or kept[0] is not current_principal():
        return None
    return kept[1].get_secret_value()
