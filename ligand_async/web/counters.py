"""Where requests are counted: in this process, or in a Redis that all workers share."""

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Protocol

logger = logging.getLogger(__name__)

MAX_KEYS = 100_000
STORAGE_TIMEOUT = 0.25  # seconds, for one request
COOL_DOWN = 5.0  # seconds that a storage is left alone after it failed


class Counters(Protocol):
    """Counts by key, each in a window that begins with its first request."""

    async def hit(self, key: str, seconds: int) -> tuple[int, float] | None:
        """Count one request.

        Args:
            key: Who is counted, and for what.
            seconds: How long the window is.

        Returns:
            How many there are in the window, and in how many seconds it ends; None where nobody can tell.
        """

    async def close(self) -> None:
        """Let go of connections."""


class MemoryCounters:
    """Counters of one process.

    The memory storage of limits 5.8 looks at every key on every request: 0.6 ms with 10,000 callers. This one looks
    at two, in turn, whenever a new one comes, and holds `MAX_KEYS` at most; then the one that it looked at longest
    ago is forgotten.

    Args:
        clock: Returns seconds that only grow.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self.windows: OrderedDict[str, tuple[int, float]] = OrderedDict()

    async def hit(self, key: str, seconds: int) -> tuple[int, float]:
        """Count one request."""
        now = self.clock()
        count, end = self.windows.get(key, (0, 0.0))
        if count == 0:
            self.make_room(now)
        if count == 0 or end <= now:
            count, end = 0, now + seconds
        self.windows[key] = (count + 1, end)
        return count + 1, min(end - now, float(seconds))

    def make_room(self, now: float) -> None:
        """Forget windows that are over."""
        for key in [key for key, _ in zip(self.windows, range(2), strict=False)]:
            if self.windows[key][1] <= now:
                del self.windows[key]
            else:
                self.windows.move_to_end(key)
        if len(self.windows) >= MAX_KEYS:
            self.windows.popitem(last=False)

    async def close(self) -> None:
        """Do nothing."""


class SharedCounters:
    """Counters in a Redis, by the library limits.

    When it cannot be asked, requests pass uncounted: a service that answers is worth more than one that counts. The
    failure is logged, and nobody asks again for `COOL_DOWN` seconds.

    Args:
        url: `redis://…` or `rediss://…`.

    Raises:
        ImportError: The extra `ratelimit` is not installed.
    """

    def __init__(self, url: str) -> None:
        from limits.aio.storage import RedisStorage
        from redis.asyncio import ConnectionPool

        self.pool = ConnectionPool.from_url(url)
        options: dict[str, Any] = {"connection_pool": self.pool}  # which its annotations leave out
        self.storage = RedisStorage(url, implementation="redispy", **options)
        self.asks_again_at = 0.0

    async def hit(self, key: str, seconds: int) -> tuple[int, float] | None:
        """Count one request."""
        if time.monotonic() < self.asks_again_at:
            return None
        try:
            async with asyncio.timeout(STORAGE_TIMEOUT):
                count = await self.storage.incr(key, seconds)
                end = await self.storage.get_expiry(key)
        except Exception as error:  # noqa: BLE001  (whatever is wrong with it, requests go on)
            now = time.monotonic()
            if now >= self.asks_again_at:  # of all that waited, one says so
                logger.warning("rate limits: requests are not counted, the storage failed: %s", type(error).__name__)
            self.asks_again_at = now + COOL_DOWN
            return None
        return count, min(max(end - time.time(), 0.0), float(seconds))

    async def close(self) -> None:
        """Close the connections."""
        try:
            async with asyncio.timeout(STORAGE_TIMEOUT):
                await self.pool.aclose()
        except Exception as error:  # noqa: BLE001  (the service stops all the same)
            logger.warning("rate limits: the storage was not closed: %s", type(error).__name__)
