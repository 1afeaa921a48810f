"""What `WWW-Authenticate` offers to whoever was refused (RFC 9110 section 11.6.1, RFC 6750 section 3)."""

from collections.abc import Sequence

from ligand_async.auth.authenticators import BearerAuthenticator
from ligand_async.auth.refusals import InvalidRequest, bearer_challenge
from ligand_async.errors import Problem
from ligand_async.protocols import Authenticator


class Challenges:
    """The challenges of one app.

    Args:
        realm: The service's title.
        authenticators: Those of the app.
    """

    def __init__(self, realm: str, authenticators: Sequence[Authenticator]) -> None:
        self.realm = realm
        self.others = [one.challenge for one in authenticators if one.challenge is not None]
        # A 401 must have a challenge; where no scheme is known at all, it is this one.
        self.takes_tokens = not self.others or any(isinstance(one, BearerAuthenticator) for one in authenticators)

    def bearer(self, error: str | None = None, *, scope: str | None = None) -> str:
        """Return the challenge for access tokens."""
        return bearer_challenge(self.realm, error=error, scope=scope)

    def add(self, problem: Problem) -> None:
        """Add the challenges to a 401, or to the 400 of RFC 6750, unless it has its own."""
        if (problem.status != 401 and not isinstance(problem, InvalidRequest)) or "WWW-Authenticate" in problem.headers:
            return
        error = getattr(problem, "error", None)
        if self.takes_tokens or error is not None:
            problem.headers.add("WWW-Authenticate", self.bearer(error))
        for challenge in self.others:
            problem.headers.add("WWW-Authenticate", challenge)
