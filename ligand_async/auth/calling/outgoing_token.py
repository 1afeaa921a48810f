"""The token that a call to another service carries, wherever it comes from."""

from typing import Protocol

from quart import has_request_context, has_websocket_context

from ligand_async.auth.caller_token import current_caller_token
from ligand_async.auth.calling.client_token import ClientToken
from ligand_async.auth.calling.credentials import ClientCredentials, ForwardToken
from ligand_async.auth.tokens.fetcher import Fetcher
from ligand_async.errors import Unauthorized

ISSUER_TIMEOUT = 5.0  # seconds


class OutgoingToken(Protocol):
    """Knows which token a call carries."""

    async def get(self) -> str | None:
        """Return the token, or None for a call that carries none."""
        ...

    async def renew(self, refused: str) -> str | None:
        """Return another than the one that was refused, or None where there is none to be had."""
        ...

    async def close(self) -> None:
        """Stop knowing."""
        ...


class NoToken:
    """Calls carry no token."""

    async def get(self) -> str | None:
        """Return nothing."""
        return None

    async def renew(self, refused: str) -> str | None:  # noqa: ARG002  (the protocol's signature)
        """Return nothing: there is no other."""
        return None

    async def close(self) -> None:
        """Do nothing."""


class ForwardedToken(NoToken):
    """Calls carry the token of the request being served."""

    async def get(self) -> str:
        """Return the caller's token.

        Raises:
            Unauthorized: Whoever calls sent none, or is known by something else.
            RuntimeError: No request is being served.
        """
        token = current_caller_token()
        if token is not None:
            return token
        if not (has_request_context() or has_websocket_context()):
            raise RuntimeError("ForwardToken: no request is being served, so there is no token; use ClientCredentials")
        raise Unauthorized("an access token is required")


def outgoing_token_of(credentials: ClientCredentials | ForwardToken | None) -> OutgoingToken:
    """Return what knows the token that credentials stand for."""
    match credentials:
        case ClientCredentials():
            return ClientToken(
                credentials, fetcher=Fetcher(timeout=ISSUER_TIMEOUT, allow_http=credentials.may_be_plain)
            )
        case ForwardToken():
            return ForwardedToken()
        case None:
            return NoToken()
