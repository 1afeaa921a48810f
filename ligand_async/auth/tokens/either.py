"""The verifier of services that take signed and opaque tokens."""

from ligand_async.auth.tokens.compact import SHAPE
from ligand_async.principal import Principal
from ligand_async.protocols import TokenVerifier


class EitherVerifier:
    """Takes a token with the look of a signed one for that, and asks about any other; neither gets a second chance.

    Args:
        jwt: Verifies signed tokens: three parts in base64url.
        opaque: Verifies the others.
    """

    def __init__(self, jwt: TokenVerifier, opaque: TokenVerifier) -> None:
        self.jwt = jwt
        self.opaque = opaque

    async def verify(self, token: str) -> Principal:
        """Return the principal of a token.

        Raises:
            InvalidToken: It is not to be trusted.
            ServiceUnavailable: Nobody can tell now.
        """
        return await (self.jwt if SHAPE.fullmatch(token) else self.opaque).verify(token)
