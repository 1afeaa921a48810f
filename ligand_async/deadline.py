"""When a request must be answered, and how its work is stopped then."""

import asyncio
import math
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any

from ligand_async.problem import Problem
from ligand_async.problem_types import DeadlineExceeded

GRACE = 1.0  # seconds, for cleaning up and for what follows the work


class Deadline:
    """The moment at which a request's work is stopped, in whichever of its tasks it is done.

    A commit holds it: once that has begun, the answer waits for it.

    Args:
        seconds: From now; None for no deadline.
    """

    __slots__ = ("_at", "_commits", "_limits", "_problem")

    def __init__(self, seconds: float | None) -> None:
        self._at = math.inf if seconds is None else asyncio.get_running_loop().time() + seconds
        self._commits = 0
        self._limits: dict[asyncio.Task[Any], asyncio.Timeout] = {}
        self._problem: Problem | None = None

    @property
    def committing(self) -> bool:
        """Whether a commit is under way."""
        return self._commits > 0

    @property
    def seconds_left(self) -> float | None:
        """How long there is; None for ever."""
        return None if self._at == math.inf else max(0.0, self._at - asyncio.get_running_loop().time())

    def problem(self) -> Problem:
        """Return what work that was stopped is answered with."""
        return self._problem or DeadlineExceeded("the request was not served in time")

    def stop(self, problem: Problem) -> None:
        """Stop the work now, unless its commit has begun: it is answered with a problem."""
        self._problem = self._problem or problem
        self._at = now = asyncio.get_running_loop().time()
        for limit in self._limits.values():
            if limit.when() is not None and not limit.expired():  # not held
                limit.reschedule(now)

    def limit(self, *, at_least: float = 0.0) -> "Limit":
        """Cancel what is done within (`async with`) at the deadline.

        Inside another limit of the same task it is that one that counts.

        Args:
            at_least: Seconds that there are even if the deadline is nearer.

        Raises:
            Problem: The time is up (504), or somebody stopped the work.
        """
        return Limit(self, at_least)

    def enter(self, task: asyncio.Task[Any], at_least: float) -> asyncio.Timeout | None:
        """Return the timeout of a task that enters a limit; None where it needs none."""
        if self._at == math.inf or task in self._limits:
            return None
        timeout = self._limits[task] = asyncio.timeout_at(self._no_earlier_than(at_least))
        return timeout

    def leave(self, task: asyncio.Task[Any]) -> None:
        """Forget the timeout of a task."""
        del self._limits[task]

    @contextmanager
    def hold(self) -> Iterator[None]:
        """Let what is done within go on past the deadline: it has a limit of its own.

        Raises:
            Problem: It is too late to begin.
        """
        limit = self._limits.get(current_task())
        if limit is None:
            yield
            return
        if limit.expired():
            raise self.problem()
        limit.reschedule(None)
        try:
            yield
        finally:
            limit.reschedule(self._no_earlier_than(GRACE))

    @contextmanager
    def commit(self) -> Iterator[None]:
        """Hold the deadline for a commit.

        Raises:
            Problem: It is too late to begin.
        """
        with self.hold():
            self._commits += 1
            try:
                yield
            finally:
                self._commits -= 1

    def _no_earlier_than(self, seconds: float) -> float:
        return max(self._at, asyncio.get_running_loop().time() + seconds) if seconds else self._at


class Limit:
    """What `Deadline.limit` returns; a class, because a request enters several."""

    __slots__ = ("_at_least", "_deadline", "_task", "_timeout")

    def __init__(self, deadline: Deadline, at_least: float) -> None:
        self._deadline = deadline
        self._at_least = at_least

    async def __aenter__(self) -> None:
        self._task = current_task()
        self._timeout = self._deadline.enter(self._task, self._at_least)
        if self._timeout is not None:
            await self._timeout.__aenter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        timeout = self._timeout
        if timeout is None:
            return
        self._deadline.leave(self._task)
        try:
            await timeout.__aexit__(kind, error, traceback)
        except TimeoutError as stopped:
            raise self._deadline.problem() from stopped
        if timeout.expired() and (error is None or isinstance(error, Exception)):
            raise self._deadline.problem() from error  # the work went on as if nobody had cancelled it


def current_task() -> asyncio.Task[Any]:
    """Return the running task.

    Raises:
        RuntimeError: There is none.
    """
    task = asyncio.current_task()
    if task is None:
        raise RuntimeError("a deadline limits a task, and none is running")
    return task


NO_DEADLINE = Deadline(None)
