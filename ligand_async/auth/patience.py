"""How long to wait for somebody else's answer."""

import asyncio
from collections.abc import Coroutine, Generator
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class Unanswered(Exception):
    """It took too long."""


class Patience(Generic[T]):
    """Awaits a coroutine for so long; one that answers at once, as from a cache, costs no timer.

    Args:
        work: What to await, once.
        seconds: For how long.

    Raises:
        Unanswered: It took longer, and was cancelled; from `await`.
    """

    __slots__ = ("seconds", "work")

    def __init__(self, work: Coroutine[Any, Any, T], seconds: float) -> None:
        self.work = work
        self.seconds = seconds

    def __await__(self) -> Generator[Any, Any, T]:
        try:
            first = self.work.send(None)
        except StopIteration as answer:
            return answer.value  # type: ignore[no-any-return]  # typeshed does not tell what a coroutine returns
        return (yield from wait(Rest(self.work, first), self.seconds).__await__())


class Rest(Generic[T]):
    """What is left of a coroutine that has begun to wait.

    Args:
        work: The coroutine.
        waits_for: What it gave the loop last.
    """

    __slots__ = ("waits_for", "work")

    def __init__(self, work: Coroutine[Any, Any, T], waits_for: Any) -> None:
        self.work = work
        self.waits_for = waits_for

    def __await__(self) -> Generator[Any, Any, T]:
        try:
            while True:
                try:
                    sent = yield self.waits_for
                except BaseException as error:  # noqa: BLE001  (a cancellation is for the coroutine)
                    self.waits_for = self.work.throw(error)
                else:
                    self.waits_for = self.work.send(sent)
        except StopIteration as answer:
            return answer.value  # type: ignore[no-any-return]  # the same


async def wait(work: Rest[T], seconds: float) -> T:
    """Await what is left of a coroutine.

    Raises:
        Unanswered: It took too long.
    """
    limit = asyncio.timeout(seconds)
    try:
        async with limit:
            return await work
    except TimeoutError as error:
        if limit.expired():
            raise Unanswered(f"no answer within {seconds:g} s") from error
        raise
