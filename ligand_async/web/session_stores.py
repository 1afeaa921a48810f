"""Where principal sessions are kept: in the memory of one process, or in Redis."""

import asyncio
import logging
import math
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, cast

from pydantic_core import from_json

from ligand_async.errors import PrincipalSessionTooLarge, PrincipalSessionUnavailable
from ligand_async.tasks import Cooldown

logger = logging.getLogger(__name__)

MAX_SESSIONS = 100_000  # in one process
ENTRY_BYTES = 128  # that each entry counts besides its key and its value: what a small one takes in memory
_TIMEOUT = 1.0  # seconds, for one call
_COOL_DOWN = 1.0  # seconds that Redis is left alone after it failed
_MAX_CONNECTIONS = 50
MAX_INTEGER = 2**63 - 1
_MIN_INTEGER = -(2**63)


def unavailable(detail: str = "the caller's session cannot be reached now") -> PrincipalSessionUnavailable:
    """Return the problem of a session that cannot be used now."""
    return PrincipalSessionUnavailable(detail, headers={"Retry-After": str(math.ceil(_COOL_DOWN))})


def _too_large(size: int, limits: "Limits") -> PrincipalSessionTooLarge:
    return PrincipalSessionTooLarge(f"the caller's session would have {size} bytes, and may have {limits.max_bytes}")


_NOT_INTEGER = "increment() adds to a value that is not an integer of 64 bits"
OVERFLOW = "increment() would make an integer of more than 64 bits"


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of each session.

    Attributes:
        idle: Seconds that it lives without a call.
        lifetime: Seconds that it lives at most.
        max_bytes: The size of keys, values and `ENTRY_BYTES` for each.
    """

    idle: float
    lifetime: float
    max_bytes: int


@dataclass(slots=True)
class _Kept:
    """One session in memory."""

    began: float
    used: float
    size: int = 0
    values: dict[str, bytes] = field(default_factory=dict)


class MemoryStore:
    """Sessions of one process. Those that were not used for the longest time go first.

    Args:
        limits: Those of each session.
        max_bytes: The size of all sessions together.
        clock: A monotonic clock, in seconds.
    """

    def __init__(self, limits: Limits, max_bytes: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.limits = limits
        self.max_bytes = max_bytes
        self.clock = clock
        self.size = 0
        self.sessions: OrderedDict[str, _Kept] = OrderedDict()  # the one used last stands last

    async def get(self, session: str, key: str) -> bytes | None:
        """Return a value."""
        kept = self.find(session)
        return None if kept is None else kept.values.get(key)

    async def set(self, session: str, key: str, value: bytes) -> None:
        """Store a value."""
        self.write(session, key, value)

    async def swap(self, session: str, key: str, old: bytes | None, new: bytes) -> bool:
        """Store a value if the one that is there is still the old one, and return whether it was."""
        kept = self.find(session)
        if (None if kept is None else kept.values.get(key)) != old:
            return False
        self.write(session, key, new)
        return True

    async def add(self, session: str, key: str, amount: int) -> int:
        """Add to an integer, which begins at 0, and return the sum."""
        kept = self.find(session)
        old = from_json(b"0" if kept is None else kept.values.get(key, b"0"))
        if type(old) is not int or not _MIN_INTEGER <= old <= MAX_INTEGER:
            raise TypeError(_NOT_INTEGER)
        if not _MIN_INTEGER <= old + amount <= MAX_INTEGER:
            raise OverflowError(OVERFLOW)
        self.write(session, key, b"%d" % (old + amount))
        return old + amount

    async def pop(self, session: str, key: str) -> bytes | None:
        """Remove a value and return it."""
        kept = self.find(session)
        if kept is None or key not in kept.values:
            return None
        value = kept.values.pop(key)
        self.resize(kept, -_size_of(key, value))
        if not kept.values:
            self.drop(session)
        return value

    async def keys(self, session: str) -> list[str]:
        """Return the keys."""
        kept = self.find(session)
        return [] if kept is None else list(kept.values)

    async def clear(self, session: str) -> None:
        """Remove the session."""
        self.drop(session)

    async def close(self) -> None:
        """Do nothing: there are no connections."""

    def find(self, session: str) -> _Kept | None:
        """Return a session that lives, and extend its life."""
        kept, now = self.sessions.get(session), self.clock()
        if kept is None:
            return None
        if self.is_over(kept, now):
            self.drop(session)
            return None
        kept.used = now
        self.sessions.move_to_end(session)
        return kept

    def is_over(self, kept: _Kept, now: float) -> bool:
        """Return whether the life of a session has ended."""
        return now - kept.used >= self.limits.idle or now - kept.began >= self.limits.lifetime

    def write(self, session: str, key: str, value: bytes) -> None:
        """Store a value, and make room for it."""
        now = self.clock()
        kept = self.find(session) or _Kept(now, now)
        old = kept.values.get(key)
        growth = _size_of(key, value) - (0 if old is None else _size_of(key, old))
        if growth > 0 and kept.size + growth > self.limits.max_bytes:
            raise _too_large(kept.size + growth, self.limits)
        self.sessions[session] = kept
        kept.values[key] = value
        self.resize(kept, growth)
        while len(self.sessions) > 1:
            oldest, other = next(iter(self.sessions.items()))
            is_crowded = self.size > self.max_bytes or len(self.sessions) > MAX_SESSIONS
            if not (is_crowded or self.is_over(other, now)):
                break
            self.drop(oldest)

    def resize(self, kept: _Kept, growth: int) -> None:
        """Count what was added or removed."""
        kept.size += growth
        self.size += growth

    def drop(self, session: str) -> None:
        """Remove a session."""
        kept = self.sessions.pop(session, None)
        if kept is not None:
            self.size -= kept.size


def _size_of(key: str, value: bytes) -> int:
    return len(key.encode()) + len(value) + ENTRY_BYTES


# A session is a hash: `began` (ms), `size` (bytes), and its values, each under a colon and its key. Redis runs a script
# as a whole, so a call cannot come between the reading and the writing of another one.
_SCRIPT = """
local session, call, field, value = KEYS[1], ARGV[5], ':' .. ARGV[6], ARGV[7]
local idle, lifetime, limit, entry = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
if call == 'clear' then
    redis.call('DEL', session)
    return {'ok'}
end
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local began = tonumber(redis.call('HGET', session, 'began'))
if began and began + lifetime <= now then
    redis.call('DEL', session)
    began = nil
end
local size = tonumber(redis.call('HGET', session, 'size')) or 0

local function extend()
    if began then
        redis.call('PEXPIRE', session, math.min(idle, began + lifetime - now))
    end
end

local function answer(...)
    extend()
    return {...}
end

local old = redis.call('HGET', session, field)
if call == 'get' then
    return answer('ok', old)
elseif call == 'keys' then
    return answer('ok', redis.call('HKEYS', session))
elseif call == 'pop' then
    if old then
        redis.call('HDEL', session, field)
        size = size - #ARGV[6] - #old - entry
        if size <= 0 then
            redis.call('DEL', session)
            return {'ok', old}
        end
        redis.call('HSET', session, 'size', size)
    end
    return answer('ok', old)
elseif call == 'swap' and (old or '') ~= ARGV[8] then
    return answer('changed')
elseif call == 'add' then
    local sum = redis.pcall('HINCRBY', session, field, value)
    if type(sum) == 'table' and sum.err then
        return answer(string.find(sum.err, 'overflow') and 'overflow' or 'type')
    end
    value = redis.call('HGET', session, field)
end
local growth = #value - (old and #old or -(#ARGV[6] + entry))
if growth > 0 and size + growth > limit then
    if call == 'add' and old then
        redis.call('HSET', session, field, old)
    elseif call == 'add' then
        redis.call('HDEL', session, field)
    end
    return answer('full', size + growth)
end
began = began or now
redis.call('HSET', session, 'began', began, 'size', size + growth, field, value)
return answer('ok', value)
"""


class RedisStore:
    """Sessions in Redis, which several processes share.

    A call that fails is not sent again, because Redis may have done it; a connection that was closed meanwhile is
    noticed before.

    Args:
        url: `redis://…` or `rediss://…`.
        limits: Those of each session.
        namespace: The beginning of its keys in Redis, for services that share one.

    Raises:
        ImportError: The extra `redis` is not installed.
    """

    name = "principal_sessions"  # as a health check

    def __init__(self, url: str, limits: Limits, namespace: str) -> None:
        from redis.asyncio import BlockingConnectionPool, Redis
        from redis.asyncio.retry import Retry
        from redis.backoff import NoBackoff
        from redis.exceptions import RedisError, ResponseError

        pool = BlockingConnectionPool.from_url(
            url,
            max_connections=_MAX_CONNECTIONS,
            timeout=_TIMEOUT,
            socket_timeout=_TIMEOUT,
            socket_connect_timeout=_TIMEOUT,
            retry=Retry(NoBackoff(), 0),
            protocol=2,  # with 3, redis-py 8.1 does not notice that a connection was closed
        )
        self.redis = Redis.from_pool(pool)
        self.failures: tuple[type[Exception], ...] = (RedisError, OSError, EOFError, TimeoutError)
        self.refusals = ResponseError  # Redis answers, so it need not be left alone
        self.script = self.redis.register_script(_SCRIPT)
        self.limits = limits
        self.namespace = namespace
        self.cooldown = Cooldown()

    async def get(self, session: str, key: str) -> bytes | None:
        """Return a value."""
        return cast(bytes | None, await self.call("get", session, key))

    async def set(self, session: str, key: str, value: bytes) -> None:
        """Store a value."""
        await self.call("set", session, key, value)

    async def swap(self, session: str, key: str, old: bytes | None, new: bytes) -> bool:
        """Store a value if the one that is there is still the old one, and return whether it was."""
        return await self.call("swap", session, key, new, old or b"") is not None  # no JSON text is empty

    async def add(self, session: str, key: str, amount: int) -> int:
        """Add to an integer, which begins at 0, and return the sum."""
        return int(await self.call("add", session, key, b"%d" % amount))

    async def pop(self, session: str, key: str) -> bytes | None:
        """Remove a value and return it."""
        return cast(bytes | None, await self.call("pop", session, key))

    async def keys(self, session: str) -> list[str]:
        """Return the keys."""
        return [name[1:].decode() for name in await self.call("keys", session) if name.startswith(b":")]

    async def clear(self, session: str) -> None:
        """Remove the session."""
        await self.call("clear", session)

    async def check(self) -> None:
        """Pass if Redis answers, as a health check."""
        await self.redis.ping()
        self.cooldown.end()

    async def close(self) -> None:
        """Close the connections."""
        try:
            async with asyncio.timeout(_TIMEOUT):
                await self.redis.aclose(close_connection_pool=True)
        except self.failures as error:  # the service stops anyway
            logger.warning("principal sessions: the storage was not closed: %s", type(error).__name__)

    async def call(self, call: str, session: str, key: str = "", *values: bytes) -> Any:
        """Run the script; None stands for a value that is not there or that has changed."""
        if self.cooldown.seconds_left:
            raise unavailable()
        limits = self.limits
        numbers = (math.ceil(limits.idle * 1000), math.ceil(limits.lifetime * 1000), limits.max_bytes, ENTRY_BYTES)
        try:
            async with asyncio.timeout(_TIMEOUT):
                outcome, *found = await self.script([self.namespace + session], [*numbers, call, key, *values])
        except self.failures as error:
            if not self.cooldown.seconds_left:  # only one of the requests that waited logs it
                logger.warning("principal sessions: the storage failed: %s", type(error).__name__)
            if not isinstance(error, self.refusals):
                self.cooldown.begin(_COOL_DOWN)
            raise unavailable() from error
        match outcome:
            case b"full":
                raise _too_large(found[0], limits)
            case b"type":
                raise TypeError(_NOT_INTEGER)
            case b"overflow":
                raise OverflowError(OVERFLOW)
        return found[0] if found else None


Store = MemoryStore | RedisStore
