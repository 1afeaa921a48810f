"""Work under way that several callers wait for, and time limits."""

import asyncio
import contextlib
import gc
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from ligand_async.tasks import Cooldown, Deadline, SingleFlight, TimeLimit


class Work:
    def __init__(self) -> None:
        self.started = 0
        self.release = asyncio.Event()

    async def __call__(self) -> int:
        self.started += 1
        await self.release.wait()
        return self.started


async def test_what_work_waits_for_has_the_time_that_is_left() -> None:
    """A deadline bounds what the work waits for; not in a commit, and not once the response has begun."""
    deadline = Deadline(5.0)
    left = deadline.seconds_left
    assert left is not None
    assert 4 < left <= 5
    with deadline.commit():
        assert deadline.seconds_left is None
    assert deadline.seconds_left is not None
    deadline.release()
    assert deadline.seconds_left is None


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


Limits = Callable[[float], Any]


async def reach_it(limits: Limits) -> str:
    async with limits(0.01):
        await asyncio.sleep(5)
    return "not reached"


async def keep_it(limits: Limits) -> str:
    async with limits(5):
        await asyncio.sleep(0)
    return "kept"


async def swallow_it(limits: Limits) -> str:
    async with limits(0.01):
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(5)
    return "went on"


async def fail_when_cancelled(limits: Limits) -> str:
    async with limits(0.01):
        try:
            await asyncio.sleep(5)
        finally:
            raise KeyError
    return "not reached"


async def reach_the_inner(limits: Limits) -> str:
    async with limits(5):
        try:
            async with limits(0.01):
                await asyncio.sleep(5)
        except TimeoutError:
            await asyncio.sleep(0)
            return "inner"
    return "not reached"


async def reach_the_outer(limits: Limits) -> str:
    try:
        async with limits(0.01), limits(5):
            await asyncio.sleep(5)
    except TimeoutError:
        await asyncio.sleep(0)
        return "outer"
    return "not reached"


async def begin_too_late(limits: Limits) -> str:
    async with limits(-1):
        await asyncio.sleep(5)
    return "not reached"


async def be_cancelled(limits: Limits) -> str:
    async def work() -> None:
        async with limits(5):
            await asyncio.sleep(5)

    task = asyncio.create_task(work())
    await asyncio.sleep(0.01)
    task.cancel()
    await asyncio.wait({task})
    return f"cancelled {task.cancelled()}"


async def be_cancelled_past_the_limit(limits: Limits) -> str:
    async def work() -> None:
        async with limits(0.01):
            try:
                await asyncio.sleep(5)
            except asyncio.CancelledError:
                await asyncio.sleep(0.05)
                raise

    task = asyncio.create_task(work())
    await asyncio.sleep(0.03)
    task.cancel()
    await asyncio.wait({task})
    return f"cancelled {task.cancelled()}"


@pytest.mark.parametrize(
    "use",
    [
        reach_it,
        keep_it,
        swallow_it,
        fail_when_cancelled,
        reach_the_inner,
        reach_the_outer,
        begin_too_late,
        be_cancelled,
        be_cancelled_past_the_limit,
    ],
)
async def test_a_limit_is_as_one_of_asyncio(use: Callable[[Limits], Awaitable[str]]) -> None:
    """`TimeLimit` does what `asyncio.timeout` does, and leaves no cancellation behind."""
    outcomes = []
    for limits in (asyncio.timeout, TimeLimit.after):
        try:
            outcomes.append(await use(limits))
        except (TimeoutError, KeyError, asyncio.CancelledError) as error:
            outcomes.append(type(error).__name__)
        task = asyncio.current_task()
        assert task is not None
        assert task.cancelling() == 0

    assert outcomes[1] == outcomes[0]


async def test_limits_share_a_timer() -> None:
    """Limits end in the order of their times, also where one is set while others run."""
    ended: list[float] = []

    async def work(seconds: float) -> None:
        try:
            async with TimeLimit.after(seconds):
                await asyncio.sleep(5)
        except TimeoutError:
            ended.append(seconds)

    await asyncio.gather(*(work(seconds) for seconds in (0.15, 0.05, 0.2, 0.1, 0.01)))

    assert ended == [0.01, 0.05, 0.1, 0.15, 0.2]


def test_a_limit_in_another_loop() -> None:
    """A timer of a loop that has ended is not waited for."""

    async def leave_one() -> None:
        async with TimeLimit.after(60):
            pass

    asyncio.run(leave_one())
    with pytest.raises(TimeoutError):
        asyncio.run(reach_it(TimeLimit.after))
