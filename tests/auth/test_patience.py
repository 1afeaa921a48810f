"""How long others are waited for."""

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest

from ligand_async.tasks import Patience, Unanswered


async def answer(*, after: float | None = None, error: Exception | None = None) -> str:
    """Answer, or fail, at once or after a while."""
    if after is not None:
        await asyncio.sleep(after)
    if error is not None:
        raise error
    return "answer"


@pytest.mark.parametrize("after", [None, 0, 0.001])
async def test_an_answer_in_time_is_passed_on(after: float | None) -> None:
    """And so is an error, be it a timeout of its own."""
    assert await Patience(answer(after=after), 5) == "answer"
    for error in (ValueError("no"), TimeoutError("its own")):
        with pytest.raises(type(error), match=str(error)):
            await Patience(answer(after=after, error=error), 5)


class Worker:
    """Works for ever, and tells how it ended."""

    def __init__(self) -> None:
        self.ended = ""

    async def work(self) -> None:
        try:
            await asyncio.sleep(0)
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            self.ended = "cancelled"
            await asyncio.sleep(0)
            self.ended += ", cleaned up"
            raise


async def test_work_that_takes_too_long_is_cancelled() -> None:
    """It may clean up, and whoever waited goes on."""
    worker = Worker()
    with pytest.raises(Unanswered, match=r"within 0\.01 s"):
        await Patience(worker.work(), 0.01)

    assert worker.ended == "cancelled, cleaned up"
    await asyncio.sleep(0)  # the task that waited was not


async def test_whoever_waits_may_be_cancelled() -> None:
    """The work is, too, and the cancellation stays one."""
    worker = Worker()

    async def wait(work: Coroutine[Any, Any, None]) -> None:
        await Patience(work, 60)

    task = asyncio.create_task(wait(worker.work()))
    await asyncio.sleep(0.005)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert worker.ended == "cancelled, cleaned up"


async def test_an_answer_at_once_costs_no_timer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is scheduled for what does not wait."""
    scheduled: list[float] = []
    loop = asyncio.get_running_loop()
    call_at = loop.call_at

    def count(when: float, *arguments: Any, **named: Any) -> asyncio.TimerHandle:
        scheduled.append(when)
        return call_at(when, *arguments, **named)

    monkeypatch.setattr(loop, "call_at", count)
    await Patience(answer(), 5)
    assert scheduled == []
    await Patience(answer(after=0), 5)
    assert len(scheduled) == 1
