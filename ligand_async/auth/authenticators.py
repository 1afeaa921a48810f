"""Access tokens: how most callers prove who they are."""

import re

from quart.wrappers.base import BaseRequestWebsocket

from ligand_async.auth.caller_token import keep_caller_token
from ligand_async.auth.credentials import credentials_of
from ligand_async.auth.refusals import InvalidRequest, InvalidToken
from ligand_async.principal import Principal
from ligand_async.protocols import TokenVerifier

TOKEN = re.compile(r"[A-Za-z0-9._~+/-]+=*")  # RFC 6750 section 2.1: b64token
BETWEEN = re.compile(r"[\s,]")


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
        credentials = credentials_of(connection)
        if credentials is None or credentials.scheme != "bearer":
            return None
        token = credentials.value
        if not TOKEN.fullmatch(token):
            if not token or BETWEEN.search(token):
                raise InvalidRequest("the Authorization header does not hold one access token")
            raise InvalidToken("shape")
        principal = await self.verifier.verify(token)
        keep_caller_token(principal, token)
        return principal
