"""The storages of principal sessions: what ends, what goes first, and what is counted."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from ligand_async.errors import PrincipalSessionTooLarge, PrincipalSessionUnavailable
from ligand_async.web import session_stores as stores
from ligand_async.web.session_stores import ENTRY_BYTES, Limits, MemoryStore, RedisStore, Store
from tests.redis_server import RedisServer

ROOMY = Limits(idle=60, lifetime=60, max_bytes=100_000)


@pytest.fixture(params=["memory", pytest.param("redis", marks=pytest.mark.extended)])
async def store(request: pytest.FixtureRequest) -> AsyncIterator[Store]:
    """Each storage."""
    if request.param == "memory":
        yield MemoryStore(ROOMY, 1_000_000)
        return
    server: RedisServer = request.getfixturevalue("redis_server")
    shared = RedisStore(server.url, ROOMY, "test:")
    yield shared
    await shared.close()


async def size_of(store: Store) -> int:
    """Return the size that a storage has counted of the session `s`."""
    if isinstance(store, MemoryStore):
        assert store.size == store.sessions["s"].size
        return store.size
    return int(await store.redis.hget("test:s", "size") or 0)


async def test_both_storages_count_alike(store: Store) -> None:
    """The size is that of keys and values in bytes, and of an entry each, after any calls."""
    for number in range(60):
        await store.set("s", f"ä{number % 7}", b"x" * (number + 1))
        await store.add("s", f"n{number % 3}", number**5)
        old = await store.get("s", "swapped")
        assert await store.swap("s", "swapped", old, b"y" * (number % 9 + 1))
        assert not await store.swap("s", "swapped", old, b"y" * 1000)
        if number % 4 == 0:
            await store.pop("s", f"ä{number % 5}")
        held = [(key, await store.get("s", key)) for key in await store.keys("s")]
        assert await size_of(store) == sum(len(key.encode()) + len(value or b"") + ENTRY_BYTES for key, value in held)


async def test_a_limit_that_was_lowered_lets_sessions_shrink(store: Store) -> None:
    """A session of before can be made smaller step by step, and not larger."""
    await store.set("s", "a", b"x" * 100)
    await store.set("s", "b", b"x" * 100)
    store.limits = Limits(idle=60, lifetime=60, max_bytes=150)
    await store.set("s", "a", b"x" * 50)
    with pytest.raises(PrincipalSessionTooLarge):
        await store.set("s", "a", b"x" * 51)
    with pytest.raises(PrincipalSessionTooLarge):
        await store.add("s", "n", 1)
    assert sorted(await store.keys("s")) == ["a", "b"]
    assert await store.get("s", "a") == b"x" * 50


class Clock:
    """Time that passes when it is told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.extended
async def test_a_redis_that_failed_is_left_alone(
    redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """After one call has waited for it the others fail at once, until a health check passes; the log has one line."""
    monkeypatch.setattr(stores, "_COOL_DOWN", 60.0)
    shared = RedisStore(redis_server.url, ROOMY, "test:")
    redis_server.freeze()
    for _ in range(50):
        with pytest.raises(PrincipalSessionUnavailable) as caught:
            async with asyncio.timeout(10):
                await shared.get("s", "a")
        assert caught.value.headers["Retry-After"] == "60"
    assert [record.name for record in caplog.records] == [stores.__name__]
    redis_server.thaw()
    await shared.check()

    assert await shared.get("s", "a") is None
    await shared.close()


async def test_a_session_in_memory_ends() -> None:
    """After a while without calls, reading or writing, and in any case at the end of its lifetime."""
    clock = Clock()
    store = MemoryStore(Limits(idle=10, lifetime=25, max_bytes=1000), 10_000, clock)
    await store.set("s", "k", b"1")
    for _ in range(2):
        clock.now += 9.5
        assert await store.get("s", "k") == b"1"
    clock.now += 5.5
    assert await store.get("s", "k") == b"1"
    clock.now += 0.5
    assert await store.get("s", "k") is None
    await store.set("s", "k", b"2")
    clock.now += 10
    assert await store.keys("s") == []
    assert (store.size, len(store.sessions)) == (0, 0)


async def test_sessions_in_memory_that_ended_leave_it() -> None:
    """With the next write of anybody, without a search among those that live."""
    clock = Clock()
    store = MemoryStore(Limits(idle=10, lifetime=100, max_bytes=1000), 100_000, clock)
    for number in range(50):
        await store.set(f"old {number}", "k", b"1")
    clock.now += 10
    await store.set("new", "k", b"1")

    assert list(store.sessions) == ["new"]
    assert store.size == ENTRY_BYTES + 2


async def test_memory_is_bounded_in_bytes() -> None:
    """Sessions that were not used for the longest time go first; the one that is written stays."""
    size = ENTRY_BYTES + 1 + 100
    store = MemoryStore(Limits(60, 60, 10 * size), 3 * size)
    for name in "abc":
        await store.set(name, "k", b"x" * 100)
    await store.get("a", "k")
    await store.set("d", "k", b"x" * 100)
    assert list(store.sessions) == ["c", "a", "d"]
    await store.set("d", "k", b"x" * 900)

    assert list(store.sessions) == ["d"]
    assert store.size == ENTRY_BYTES + 1 + 900


async def test_memory_is_bounded_in_sessions(monkeypatch: pytest.MonkeyPatch) -> None:
    """However small they are."""
    monkeypatch.setattr(stores, "MAX_SESSIONS", 3)
    store = MemoryStore(Limits(60, 60, 1000), 10_000)
    for name in "abcd":
        await store.set(name, "k", b"1")

    assert list(store.sessions) == ["b", "c", "d"]


async def test_memory_counts_what_it_holds() -> None:
    """The count of bytes is right after any calls."""
    store = MemoryStore(Limits(60, 60, 10_000), 2_000)
    for number in range(200):
        name, key = f"s{number % 7}", f"k{number % 5}"
        await store.set(name, key, b"x" * (number % 50 + 1))
        if number % 3 == 0:
            await store.pop(name, f"k{number % 4}")
        if number % 11 == 0:
            await store.clear(name)
        held = [
            sum(len(key.encode()) + len(value) + ENTRY_BYTES for key, value in kept.values.items())
            for kept in store.sessions.values()
        ]
        assert held == [kept.size for kept in store.sessions.values()]
        assert sum(held) == store.size <= 2_000
