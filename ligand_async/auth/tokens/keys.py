"""The keys of one issuer over time: found late, renewed, kept through an outage."""

import asyncio
import contextvars
import logging
import math
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from ligand_async.auth.tokens.key_set import KeySet, PublicKey
from ligand_async.errors import ServiceUnavailable

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Pace:
    """How often an issuer is asked for its keys, in seconds.

    Attributes:
        lifetime: The age at which keys are renewed, while the old ones serve.
        longest: The age at which keys serve no more, though the issuer be away.
        cooldown: The least time between two fetches.
        first_retry: The same after a failure while no keys are known; it doubles up to `cooldown`.
    """

    lifetime: float = 600.0
    longest: float = 24 * 3600.0
    cooldown: float = 30.0
    first_retry: float = 1.0


DEFAULT_PACE = Pace()


class IssuerKeys:
    """The keys of one issuer.

    Args:
        issuer: The issuer, for the log.
        load: Fetches them; whatever it raises is a failed fetch.
        on_change: Called when other keys than before are found, with those before and with those found.
        pace: How often it is asked.
        clock: Seconds that never go back.
    """

    def __init__(
        self,
        issuer: str,
        load: Callable[[], Awaitable[KeySet]],
        *,
        on_change: Callable[[KeySet, KeySet], None],
        pace: Pace = DEFAULT_PACE,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.issuer = issuer
        self.load = load
        self.on_change = on_change
        self.pace = pace
        self.clock = clock
        self._keys = KeySet()
        self._found_at = -math.inf
        self._next_at = -math.inf
        self._failures = 0
        self._fetch: asyncio.Task[None] | None = None

    @property
    def are_known(self) -> bool:
        """Whether there are keys that serve."""
        return self.clock() - self._found_at <= self.pace.longest

    @property
    def pause(self) -> float:
        """Seconds until the issuer may be asked again."""
        return max(0.0, self._next_at - self.clock())

    async def find(self, key_id: str | None) -> PublicKey | None:
        """Return the key of a name, or None where the issuer has none.

        Raises:
            ServiceUnavailable: No keys are known, and the issuer does not answer.
        """
        if not self.are_known:
            await self.refresh()
            if not self.are_known:
                raise ServiceUnavailable(
                    "the keys of the token's issuer are not known yet",
                    headers={"Retry-After": str(max(1, math.ceil(self.pause)))},
                )
        elif self.clock() - self._found_at > self.pace.lifetime:
            self.begin()
        key = self._keys.find(key_id)
        if key is None:
            await self.refresh()
            key = self._keys.find(key_id)
        return key

    async def refresh(self) -> None:
        """Wait for the fetch under way, or for a new one unless the last was just now."""
        fetch = self.begin()
        if fetch is not None:
            # One request that is cancelled must not cancel what others wait for.
            await asyncio.shield(fetch)

    def begin(self) -> asyncio.Task[None] | None:
        """Return the fetch under way, begin one, or return None during the pause."""
        if self._fetch is None and self.pause == 0:
            self._next_at = self.clock() + self.pace.cooldown
            # Of its own context: it belongs to no request, though one of them be the first to ask.
            self._fetch = asyncio.create_task(
                self.fetch(), name=f"keys of {self.issuer}", context=contextvars.Context()
            )
        return self._fetch

    async def fetch(self) -> None:
        """Fetch the keys once; a failure leaves those that are known."""
        try:
            found = await self.load()
        except Exception as error:  # noqa: BLE001  (whatever it is, the keys are not renewed)
            self._failures += 1
            pause = self.pace.cooldown
            if not self.are_known:
                pause = min(pause, self.pace.first_retry * 2 ** min(self._failures - 1, 10))
            self._next_at = self.clock() + pause
            logger.warning("the keys of %s were not fetched: %s", self.issuer, error)
        else:
            before = self._keys
            self._keys, self._found_at, self._failures = found, self.clock(), 0
            if not found.is_same(before):
                logger.info("the keys of %s: %s", self.issuer, ", ".join(str(one.key_id) for one in found.keys))
                self.on_change(before, found)
        finally:
            self._fetch = None

    async def find_first(self) -> None:
        """Ask until keys are known."""
        while not self.are_known:
            await self.refresh()
            if not self.are_known:
                await asyncio.sleep(max(self.pause, 0.01))

    async def stop(self) -> None:
        """End a fetch under way."""
        if self._fetch is not None:
            self._fetch.cancel()
            await asyncio.gather(self._fetch, return_exceptions=True)
