"""Work under way that several callers wait for."""

import asyncio
import contextlib
import gc

import pytest

from ligand_async.tasks import Cooldown, SingleFlight


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
    flights, work = SingleFlight[int](), Work()
    callers = [asyncio.create_task(flights.share("key", work)) for _ in range(20)]
    await asyncio.sleep(0)
    work.release.set()

    assert await asyncio.gather(*callers) == [1] * 20


async def test_keys_do_not_wait_for_each_other() -> None:
    """Work with another key is other work."""
    flights, work = SingleFlight[int](), Work()
    work.release.set()
    await asyncio.gather(flights.share("a", work), flights.share("b", work))

    assert work.started == 2


async def test_next_caller_starts_anew() -> None:
    """Nothing is kept of work that is over."""
    flights, work = SingleFlight[int](), Work()
    work.release.set()

    assert [await flights.share("key", work) for _ in range(2)] == [1, 2]
    assert flights.tasks == {}


async def test_cancelled_caller_takes_nobody_along() -> None:
    """The one who began may leave; the others get what they wait for."""
    flights, work = SingleFlight[int](), Work()
    first, second = (asyncio.create_task(flights.share("key", work)) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.sleep(0)
    work.release.set()

    assert await second == 1
    with pytest.raises(asyncio.CancelledError):
        await first


async def test_begin_does_not_wait(caplog: pytest.LogCaptureFixture) -> None:
    """Work can be begun without a caller who waits; its failure is not reported by asyncio then."""
    flights = SingleFlight[int]()

    async def fail() -> int:
        raise ValueError("no")

    task = flights.begin("key", fail)
    assert flights.begin("key", fail) is task
    await asyncio.wait([task])
    await asyncio.sleep(0)
    del task
    gc.collect()

    assert flights.tasks == {}
    assert not caplog.records


def test_a_cooldown_passes() -> None:
    """It lasts as long as it was begun for, may begin anew, and may end at once."""
    now = 100.0
    cooldown = Cooldown(clock=lambda: now)
    assert cooldown.seconds_left == 0
    cooldown.begin(2)
    now += 0.5
    assert cooldown.seconds_left == 1.5
    cooldown.begin(2)
    now += 1.5
    assert cooldown.seconds_left == 0.5
    now += 0.5
    assert cooldown.seconds_left == 0
    cooldown.begin(2)
    cooldown.end()
    assert cooldown.seconds_left == 0


async def test_stop_ends_what_is_under_way() -> None:
    """Nothing runs on after stop."""
    flights, work = SingleFlight[int](), Work()
    caller = asyncio.create_task(flights.share("key", work))
    await asyncio.sleep(0)
    await flights.stop()

    with contextlib.suppress(asyncio.CancelledError):
        await caller
    assert caller.cancelled()
    assert flights.tasks == {}
