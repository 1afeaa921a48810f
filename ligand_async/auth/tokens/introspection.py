"""Introspection of opaque tokens (RFC 7662): the verifier, its client, its answers, and its circuit breaker."""

import functools
import logging
import math
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from ligand_async.auth.errors import InvalidToken
from ligand_async.auth.failures import Windows, count_attempt
from ligand_async.auth.tokens.claims import ClaimProfile, check_claims, principal_of
from ligand_async.auth.tokens.issuer_http import Fetcher, FetchError, discover
from ligand_async.auth.tokens.token_cache import TokenCache
from ligand_async.auth.tokens.verifier import TrustedIssuer
from ligand_async.errors import ServiceUnavailable
from ligand_async.principal import Principal
from ligand_async.settings import Quota
from ligand_async.tasks import Cooldown, SingleFlight

logger = logging.getLogger(__name__)

COOL_DOWN = 1.0  # seconds in which an issuer that did not answer is not asked

# Errors about the token (RFC 7009 section 2.2.1), and errors about this service as a client.
_NO_TOKEN = frozenset({"unsupported_token_type", "invalid_token"})
_NOT_US = frozenset({"invalid_client", "unauthorized_client"})


class Unanswered(Exception):
    """The issuer did not say whether the token is active."""


class OutOfOrder(Unanswered):
    """The issuer would not answer for any other token now, either."""


class IntrospectionClient:
    """The introspection endpoint of one issuer.

    An issuer that does not answer is not asked for a second; then one request tries it.

    Attributes:
        is_throttled: Whether its last failure was a 429: it works, and is asked too often.

    Args:
        issuer: Its identifier.
        fetcher: Sends the requests, with a client of this service.
        private_url: The address at which this service reaches the issuer, if that is not its identifier.
        clock: Seconds that never go back.
    """

    def __init__(
        self,
        issuer: str,
        *,
        fetcher: Fetcher,
        private_url: str | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.issuer = issuer
        self.private_url = private_url
        self.fetcher = fetcher
        self.circuit = Circuit(cool_down=COOL_DOWN, clock=clock)
        self.endpoint: str | None = None
        self.is_throttled = False

    async def ask(self, token: str) -> dict[str, Any]:
        """Return the introspection response for a token: an object whose `active` is true or false.

        Raises:
            Unanswered: The issuer gave no such response.
            CircuitOpen: The issuer failed a moment ago, and is not asked now.
        """
        with self.circuit.passing(OutOfOrder):
            endpoint = await self.find_endpoint()
            try:
                status, answer = await self.fetcher.introspect_token(endpoint, token)
            except FetchError as error:
                raise self.failure(error.status, {}, error) from error
            if status == 200 and isinstance(answer.get("active"), bool):
                self.is_throttled = False
                return answer
            if status == 400 and answer.get("error") in _NO_TOKEN:
                return {"active": False}
            raise self.failure(status, answer)

    async def check(self) -> None:
        """Make sure that the endpoint is known.

        Raises:
            Unanswered: The issuer's metadata has never been read.
            CircuitOpen: The issuer failed a moment ago, and is not asked now.
        """
        if self.endpoint is None:
            with self.circuit.passing(OutOfOrder):
                await self.find_endpoint()

    async def find_endpoint(self) -> str:
        """Return the endpoint, for which the issuer's metadata is read once."""
        if self.endpoint is not None:
            return self.endpoint
        try:
            metadata = await discover(self.fetcher, self.issuer, self.private_url)
        except FetchError as error:
            logger.warning("tokens of the issuer %s cannot be introspected: %s", self.issuer, error)
            raise OutOfOrder("no metadata") from error
        if metadata.introspection_endpoint is None:
            logger.error(
                "the metadata of the issuer %s has no introspection_endpoint; set oidc_tokens to jwt", self.issuer
            )
            raise OutOfOrder("no endpoint")
        self.endpoint = metadata.introspection_endpoint
        return self.endpoint

    def failure(self, status: int | None, answer: dict[str, Any], error: FetchError | None = None) -> Unanswered:
        """Log a failure, and return the exception for it."""
        if status in {401, 403} or answer.get("error") in _NOT_US:
            logger.error(
                "the issuer %s rejects this service as a client with status %s; check oidc_client_id, "
                "oidc_client_secret and oidc_client_auth_method, and whether that client may introspect",
                self.issuer,
                status,
            )
            # Something before the issuer may refuse one odd token with 403, and nothing else.
            return Unanswered("refused") if status == 403 else OutOfOrder("refused")
        logger.warning("the issuer %s did not answer an introspection request: %s", self.issuer, error or status)
        if status in {404, 410}:
            self.endpoint = None  # it may be elsewhere by now
        self.is_throttled = status == 429
        return OutOfOrder("no answer") if status is None or status >= 500 or status == 429 else Unanswered("odd answer")


class CircuitOpen(Exception):
    """The issuer failed a moment ago, and is not asked now."""


class Circuit:
    """A circuit breaker for one issuer.

    A failure opens it for a while: callers fail at once instead of each waiting for a timeout. Then one of them tries,
    and the others still fail until it has an answer. An answer closes the circuit.

    Args:
        cool_down: Seconds before the next trial.
        clock: Seconds that never go back.
    """

    def __init__(self, *, cool_down: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.cool_down = cool_down
        self._cooldown = Cooldown(clock=clock)
        self._has_failed = False
        self._is_tried = False

    @property
    def retry_after(self) -> int:
        """The whole seconds after which asking again makes sense."""
        return max(1, math.ceil(self.cool_down))

    @contextmanager
    def passing(self, *failures: type[Exception]) -> Iterator[None]:
        """Pass the circuit; the block's exception, or none, decides whether it opens or closes.

        Args:
            *failures: The exceptions that open it. Others leave it as it was.

        Raises:
            CircuitOpen: It is open.
        """
        is_trial = self._has_failed
        if is_trial and (self._is_tried or self._cooldown.seconds_left):
            raise CircuitOpen
        self._is_tried = self._is_tried or is_trial
        try:
            yield
        except failures:
            self._has_failed = True
            self._cooldown.begin(self.cool_down)
            raise
        else:
            self._has_failed = False
            self._cooldown.end()
        finally:
            if is_trial:
                self._is_tried = False


_MAX_TOKEN = 4 * 1024  # characters
_SHAPE = re.compile(r"[A-Za-z0-9._~+/-]+=*", re.ASCII)  # b64token of RFC 6750 section 2.1
_REFUSED_SIZE = 1_000
_STALE_AGE = 600.0  # seconds
_ALL = "unknown tokens"  # one count for all callers
REFUSED_AGE = 10.0  # seconds


@dataclass(frozen=True, slots=True)
class _Verdict:
    """The result for a token: its principal, or the reason why it is rejected, or neither."""

    principal: Principal | None = None
    reason: str | None = None


class IntrospectionVerifier:
    """Verifies opaque access tokens by asking their issuer.

    It is a `TokenVerifier`, and a `HealthCheck` that passes once the introspection endpoint is known. A good answer is
    cached for a minute and never past the token's end, a bad one for ten seconds. Requests with the same token wait for
    one answer. Tokens that nobody has seen here have a quota, so that a flood of them does not use up what the issuer
    answers; and while the issuer answers 429, good answers hold for ten minutes.

    Args:
        issuer: The trusted issuer.
        client: The introspection client; its fetcher is closed with the verifier.
        unknown: How many unknown tokens the issuer is asked about; empty for any number.
        clock: The time of day, in seconds since 1970.
        monotonic: Seconds that never go back.
    """

    name = "token_introspection"

    def __init__(
        self,
        issuer: TrustedIssuer,
        client: IntrospectionClient,
        *,
        unknown: tuple[Quota, ...] = (),
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.issuer = issuer
        self.client = client
        self.clock = clock
        self.good: TokenCache[Principal] = TokenCache(clock=monotonic)
        self.stale: TokenCache[Principal] = TokenCache(max_age=_STALE_AGE, clock=monotonic)
        self.unknown = Windows(unknown, monotonic)
        # Apart, so that a flood of wrong tokens does not drive out good ones.
        self.refused: TokenCache[str] = TokenCache(size=_REFUSED_SIZE, max_age=REFUSED_AGE, clock=monotonic)
        self.flights: SingleFlight[_Verdict] = SingleFlight()

    async def verify(self, token: str) -> Principal:
        """Return the principal of a token.

        Raises:
            InvalidToken: The token is not valid.
            ServiceUnavailable: Its issuer does not answer, or would be asked about too many unknown tokens.
            TooManyRequests: The caller's network has failed too often.
        """
        if len(token) > _MAX_TOKEN or not _SHAPE.fullmatch(token):
            raise InvalidToken("shape")
        verdict = _Verdict(self.good.get(token), self.refused.get(token))
        if verdict == _Verdict():
            count_attempt(token)
            verdict = await self.flights.share(token, functools.partial(self.find_out, token))
        if verdict.principal is not None:
            return verdict.principal
        if verdict.reason is not None:
            raise InvalidToken(verdict.reason)
        raise ServiceUnavailable(
            "the issuer of the access token does not answer now",
            headers={"Retry-After": str(self.client.circuit.retry_after)},
        )

    async def find_out(self, token: str) -> _Verdict:
        """Introspect a token, and cache the answer."""
        known = self.stale.get(token)
        if known is None:
            if self.unknown.full_for(_ALL) is not None:
                return _Verdict()
            self.unknown.add(_ALL, 1)
        try:
            answer = await self.client.ask(token)
        except (Unanswered, CircuitOpen):
            return _Verdict(known if self.client.is_throttled else None)
        now = self.clock()
        try:
            principal = _read_answer(answer, self.issuer, now=now)
        except InvalidToken as refusal:
            self.refused.keep(token, refusal.reason, seconds=REFUSED_AGE)
            self.stale.drop(token)
            return _Verdict(reason=refusal.reason)
        expires = principal.expires_at
        if known is None:
            self.unknown.add(_ALL, -1)
        left = _STALE_AGE if expires is None else expires.timestamp() - now
        self.good.keep(token, principal, seconds=left)
        self.stale.keep(token, principal, seconds=left)
        return _Verdict(principal)

    async def start(self) -> None:
        """Do nothing: the endpoint is looked up when a token or the health check needs it."""

    async def stop(self) -> None:
        """Cancel the requests under way, and close the fetcher."""
        await self.flights.stop()
        await self.client.fetcher.close()

    async def check(self) -> None:
        """Pass if tokens can be introspected.

        Raises:
            Unanswered: The issuer's metadata has never been read.
            CircuitOpen: The issuer did not answer a moment ago.
        """
        await self.client.check()


_ACCESS = frozenset({"access_token", "access"})  # values of `token_use`; refresh tokens are active, too


def _read_answer(answer: Mapping[str, Any], issuer: TrustedIssuer, *, now: float) -> Principal:
    """Return the principal of an introspection response.

    `aud` must name this service, though RFC 7662 lets an issuer leave it out: without it a token for any other service
    would be accepted. `iss` may be missing, as the issuer that was asked is known, and so may `exp`, which the issuer
    has checked.

    Args:
        answer: The response, with `active`.
        issuer: The issuer that was asked.
        now: Seconds since 1970.

    Raises:
        InvalidToken: The token is not valid.
    """
    if answer["active"] is not True:
        raise InvalidToken("inactive")
    if not _is_bearer(answer, takes_bound=issuer.takes_bound):
        raise InvalidToken("token_type")
    claims = {name: value for name, value in answer.items() if name != "active" and value is not None}
    claims.setdefault("iss", issuer.issuer)
    profile = _profile_of(claims, issuer.profile)
    check_claims(
        {"exp": now + 1, **claims},
        profile,
        issuer=issuer.issuer,
        audience=issuer.audience,
        now=now,
        leeway=issuer.leeway,
        takes_bound=issuer.takes_bound,
    )
    return principal_of(claims, profile, issuer=issuer.issuer, client_subject=issuer.client_subject)


def _is_bearer(answer: Mapping[str, Any], *, takes_bound: bool) -> bool:
    """Return whether it is a bearer token, not bound to a key (RFC 9449), and an access token, not a refresh token."""
    kinds = {"bearer", "dpop"} if takes_bound else {"bearer"}
    kind, use = answer.get("token_type"), answer.get("token_use")
    is_plain = kind is None or (isinstance(kind, str) and kind.lower() in kinds)
    return is_plain and (use is None or (isinstance(use, str) and use in _ACCESS))


def _profile_of(claims: Mapping[str, Any], profile: ClaimProfile) -> ClaimProfile:
    """Return the profile of an issuer's introspection responses.

    They have `scope` in any case (section 2.2), and may leave out the claims that distinguish access tokens.
    """
    return replace(
        profile,
        scopes=tuple(dict.fromkeys((*profile.scopes, "scope"))),
        needs=(),
        fixed=tuple((name, value) for name, value in profile.fixed if name in claims),
    )
