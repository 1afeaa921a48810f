"""The verifier of opaque access tokens: their issuer is asked about each (RFC 7662)."""

import functools
import re
import time
from collections.abc import Callable
from dataclasses import dataclass

from ligand_async.auth.refusals import InvalidToken
from ligand_async.auth.tokens.circuit import CircuitOpen
from ligand_async.auth.tokens.introspection_answer import read_answer
from ligand_async.auth.tokens.introspection_client import IntrospectionClient, Unanswered
from ligand_async.auth.tokens.token_cache import MAX_AGE, TokenCache
from ligand_async.auth.tokens.verifier import TrustedIssuer
from ligand_async.errors import ServiceUnavailable
from ligand_async.principal import Principal
from ligand_async.tasks import Flights

MAX_TOKEN = 4 * 1024  # characters
SHAPE = re.compile(r"[A-Za-z0-9._~+/-]+=*", re.ASCII)  # b64token of RFC 6750 section 2.1
REFUSED_SIZE = 1_000
REFUSED_AGE = 10.0  # seconds


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was found out about a token: whom it speaks for, else why it is refused, else nothing."""

    principal: Principal | None = None
    reason: str | None = None


class IntrospectionVerifier:
    """Verifies opaque access tokens by asking their issuer.

    It is a `TokenVerifier`, and a `HealthCheck` that passes once the issuer has said where it is to be asked. A good
    answer is kept for a minute and never past the token's end, a bad one for ten seconds. Requests with the same token
    wait for one answer.

    Args:
        issuer: Whom to believe.
        client: What asks; its fetcher is closed with the verifier.
        clock: The time of day, in seconds since 1970.
        monotonic: Seconds that never go back.
    """

    name = "token_introspection"

    def __init__(
        self,
        issuer: TrustedIssuer,
        client: IntrospectionClient,
        *,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.issuer = issuer
        self.client = client
        self.clock = clock
        self.good: TokenCache[Principal] = TokenCache(clock=monotonic)
        # Apart, so that a flood of wrong tokens drives out no good one.
        self.refused: TokenCache[str] = TokenCache(size=REFUSED_SIZE, max_age=REFUSED_AGE, clock=monotonic)
        self.flights: Flights[Verdict] = Flights()

    async def verify(self, token: str) -> Principal:
        """Return the principal of a token.

        Raises:
            InvalidToken: It is not to be trusted.
            ServiceUnavailable: Its issuer does not say.
        """
        if len(token) > MAX_TOKEN or not SHAPE.fullmatch(token):
            raise InvalidToken("shape")
        verdict = Verdict(self.good.get(token), self.refused.get(token))
        if verdict == Verdict():
            verdict = await self.flights.share(token, functools.partial(self.find_out, token))
        if verdict.principal is not None:
            return verdict.principal
        if verdict.reason is not None:
            raise InvalidToken(verdict.reason)
        raise ServiceUnavailable(
            "the token's issuer cannot be asked about it now",
            headers={"Retry-After": str(self.client.circuit.retry_after)},
        )

    async def find_out(self, token: str) -> Verdict:
        """Ask about a token, and keep what was answered."""
        try:
            answer = await self.client.ask(token)
        except (Unanswered, CircuitOpen):
            return Verdict()
        now = self.clock()
        try:
            principal = read_answer(answer, self.issuer, now=now)
        except InvalidToken as refusal:
            self.refused.keep(token, refusal.reason, seconds=REFUSED_AGE)
            return Verdict(reason=refusal.reason)
        expires = principal.expires_at
        self.good.keep(token, principal, seconds=MAX_AGE if expires is None else expires.timestamp() - now)
        return Verdict(principal)

    async def start(self) -> None:
        """Wait for nothing: the issuer is asked where it is to be asked when that is needed, readiness included."""

    async def stop(self) -> None:
        """End what is under way, and close the fetcher."""
        await self.flights.stop()
        await self.client.fetcher.close()

    async def check(self) -> None:
        """Pass when tokens can be asked about.

        Raises:
            Unanswered: The issuer has never said where.
            CircuitOpen: It did not answer a moment ago.
        """
        await self.client.check()
