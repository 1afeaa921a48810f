"""The access token of this service itself: fetched once for all who wait, renewed before it ends."""

import asyncio
import contextvars
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ligand_async.auth.calling.credentials import ClientCredentials, is_plain
from ligand_async.auth.calling.failures import RETRY_AFTER, unavailable
from ligand_async.auth.tokens.client_auth import client_auth
from ligand_async.auth.tokens.fetcher import Fetcher, FetchError
from ligand_async.auth.tokens.metadata import discover
from ligand_async.errors import BadGateway, Problem

logger = logging.getLogger(__name__)

LEEWAY = 30.0  # seconds before its end in which a token is renewed
MARGIN = 5.0  # seconds before its end in which a token is not used any more
LIFETIME = 300.0  # seconds, where the issuer does not say (RFC 6749 section 5.1)
COOL_DOWN = 1.0  # seconds after a failure in which the issuer is left alone
REFUSED_COOL_DOWN = 10.0  # seconds in which a second token is not fetched because a service refuses the first


@dataclass(frozen=True, slots=True)
class IssuedToken:
    """A token with its times, by the clock of `ClientToken`.

    Attributes:
        value: The token itself.
        renew_at: From then on another is fetched, while this one is still used.
        use_until: When it is not used any more.
    """

    value: str = field(repr=False)
    renew_at: float
    use_until: float


class ClientToken:
    """Knows the token that some credentials stand for.

    Args:
        credentials: Of this service.
        fetcher: Asks the issuer.
        clock: Seconds, only ever forward.
    """

    def __init__(
        self, credentials: ClientCredentials, *, fetcher: Fetcher, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.credentials = credentials
        self._fetcher = fetcher
        self._clock = clock
        self._token: IssuedToken | None = None
        self._fetching: asyncio.Task[IssuedToken] | None = None
        self._failed: tuple[float, Problem] | None = None
        self._refused_at: float | None = None

    async def get(self) -> str:
        """Return a token that is good for the next few seconds.

        Raises:
            BadGateway: The issuer does not know these credentials, or gives something else than a token.
            ServiceUnavailable: The issuer does not answer.
        """
        token, now = self._token, self._clock()
        if token is not None and now < token.renew_at:
            return token.value
        if token is None or now >= token.use_until:
            return (await self._fetched()).value
        if self._failed is None or now >= self._failed[0]:
            self._begin()  # and nobody waits for it
        return token.value

    async def renew(self, refused: str) -> str | None:
        """Return another token than one that was refused; None where another would hardly do better.

        Args:
            refused: The token that was sent.

        Raises:
            Problem: As `get` does.
        """
        if self._token is not None and self._token.value != refused:
            return self._token.value
        now = self._clock()
        if self._refused_at is not None and now - self._refused_at < REFUSED_COOL_DOWN and self._fetching is None:
            return None
        self._refused_at, self._token = now, None
        return (await self._fetched()).value

    async def close(self) -> None:
        """Stop asking."""
        if self._fetching is not None:
            self._fetching.cancel()
            await asyncio.wait([self._fetching])
        await self._fetcher.close()

    async def _fetched(self) -> IssuedToken:
        """Wait for the token that is being fetched, by whomever; whoever gives up does not stop the others."""
        if self._fetching is None and self._failed is not None and self._clock() < self._failed[0]:
            raise copy_of(self._failed[1])
        try:
            return await asyncio.shield(self._begin())
        except Problem as problem:
            raise copy_of(problem) from problem

    def _begin(self) -> asyncio.Task[IssuedToken]:
        if self._fetching is None:
            # Of no request: neither its deadline nor its id is that of the others who wait.
            loop = asyncio.get_running_loop()
            self._fetching = loop.create_task(self._fetch(), context=contextvars.Context())
            self._fetching.add_done_callback(self._end)
        return self._fetching

    def _end(self, task: asyncio.Task[IssuedToken]) -> None:
        self._fetching = None
        if task.cancelled():
            return
        error = task.exception()
        if error is None:
            self._token, self._failed = task.result(), None
        elif isinstance(error, Problem):
            self._failed = (self._clock() + COOL_DOWN, error)

    async def _fetch(self) -> IssuedToken:
        asked_at = self._clock()
        one = self.credentials
        form = {"grant_type": "client_credentials", "scope": one.scope, "audience": one.audience}
        auth = client_auth(one.client_id, one.secret, one.auth_method)
        try:
            url = one.token_url or await self._find_endpoint()
            status, answer = await self._fetcher.post_form(
                url, {name: value for name, value in form.items() if value}, auth=auth
            )
        except FetchError as error:
            raise self._failure(error.status) from error
        token = read_token(answer, asked_at) if status == 200 else None
        if token is None:
            raise self._failure(status)
        return token

    def _failure(self, status: int | None) -> Problem:
        """Return the problem of an issuer that gave no token, and log it, once for all who wait."""
        one = self.credentials
        issuer, told = one.issuer or one.token_url, "nothing" if status is None else status
        logger.warning(
            "no token for client %s, for calls to other services: %s answered %s", one.client_id, issuer, told
        )
        if status is None or status == 429 or status >= 500:
            return unavailable("a service behind this one cannot be asked now", RETRY_AFTER)
        return BadGateway("a service behind this one does not let this service in")

    async def _find_endpoint(self) -> str:
        """Return the token endpoint that the issuer's metadata names."""
        found = await discover(self._fetcher, self.credentials.issuer or "")
        if found.token_endpoint is None:
            raise FetchError("the issuer's metadata names no token endpoint")
        return found.token_endpoint


def read_token(answer: Mapping[str, Any], asked_at: float) -> IssuedToken | None:
    """Read what a token endpoint answered (RFC 6749 section 5.1); None where it is no bearer token.

    Args:
        answer: The JSON object.
        asked_at: When it was asked for: it cannot have begun to live earlier.
    """
    value, kind = answer.get("access_token"), answer.get("token_type")
    if not (isinstance(value, str) and is_plain(value) and " " not in value):
        return None
    if not (isinstance(kind, str) and kind.lower() == "bearer"):
        return None
    lifetime = lifetime_of(answer.get("expires_in"))
    return IssuedToken(
        value,
        renew_at=asked_at + lifetime - min(LEEWAY, lifetime / 2),
        use_until=asked_at + lifetime - min(MARGIN, lifetime / 4),
    )


def lifetime_of(expires_in: Any) -> float:
    """Return the seconds that a token lives; some issuers write the number as text."""
    try:
        seconds = float(expires_in)
    except (TypeError, ValueError, OverflowError):
        return LIFETIME
    return seconds if 0 < seconds < float("inf") and not isinstance(expires_in, bool) else LIFETIME


def copy_of(problem: Problem) -> Problem:
    """Return a problem of its own for each who is told: its headers and its traceback are not shared."""
    return type(problem)(problem.detail, headers=dict(problem.headers))
