"""Work under way that several callers wait for."""

import asyncio
import contextlib

import pytest

from ligand_async.tasks import Flights


class Work:
    def __init__(self) -> None:
        self.started = 0
        self.release = asyncio.Event()

    async def __call__(self) -> int:
        self.started += 1
        await self.release.wait()
        return self.started


async def test_callers_share_one_flight() -> None:
    """Any number of callers with one key wait for the same work."""
    flights, work = Flights[int](), Work()
    callers = [asyncio.create_task(flights.share("key", work)) for _ in range(20)]
    await asyncio.sleep(0)
    work.release.set()

    assert await asyncio.gather(*callers) == [1] * 20


async def test_keys_do_not_wait_for_each_other() -> None:
    """Work with another key is other work."""
    flights, work = Flights[int](), Work()
    work.release.set()
    await asyncio.gather(flights.share("a", work), flights.share("b", work))

    assert work.started == 2


async def test_next_caller_starts_anew() -> None:
    """Nothing is kept of work that is over."""
    flights, work = Flights[int](), Work()
    work.release.set()

    assert [await flights.share("key", work) for _ in range(2)] == [1, 2]
    assert flights.tasks == {}


async def test_cancelled_caller_takes_nobody_along() -> None:
    """The one who began may leave; the others get what they wait for."""
    flights, work = Flights[int](), Work()
    first, second = (asyncio.create_task(flights.share("key", work)) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.sleep(0)
    work.release.set()

    assert await second == 1
    with pytest.raises(asyncio.CancelledError):
        await first


async def test_stop_ends_what_is_under_way() -> None:
    """Nothing runs on after stop."""
    flights, work = Flights[int](), Work()
    caller = asyncio.create_task(flights.share("key", work))
    await asyncio.sleep(0)
    await flights.stop()

    with contextlib.suppress(asyncio.CancelledError):
        await caller
    assert caller.cancelled()
    assert flights.tasks == {}
