"""Time and cancellation: deadlines, stray exits, work that runs to completion, work that several callers share."""

import asyncio
import contextvars
import functools
import logging
import math
import time
from collections.abc import Callable, Coroutine, Hashable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Generic, TypeVar

from quart import current_app

from ligand_async.errors import DeadlineExceeded, Problem

logger = logging.getLogger(__name__)

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

    def limit(self, *, at_least: float = 0.0) -> "_Limit":
        """Cancel what is done within (`async with`) at the deadline.

        Inside another limit of the same task it is that one that counts.

        Args:
            at_least: Seconds that there are even if the deadline is nearer.

        Raises:
            Problem: The time is up (504), or somebody stopped the work.
        """
        return _Limit(self, at_least)

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
        limit = self._limits.get(_current_task())
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


class _Limit:
    """What `Deadline.limit` returns; a class, because a request enters several."""

    __slots__ = ("_at_least", "_deadline", "_task", "_timeout")

    def __init__(self, deadline: Deadline, at_least: float) -> None:
        self._deadline = deadline
        self._at_least = at_least

    async def __aenter__(self) -> None:
        self._task = _current_task()
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


def _current_task() -> asyncio.Task[Any]:
    """Return the running task.

    Raises:
        RuntimeError: There is none.
    """
    task = asyncio.current_task()
    if task is None:
        raise RuntimeError("a deadline limits a task, and none is running")
    return task


NO_DEADLINE = Deadline(None)


class StrayExit(RuntimeError):
    """Code of a request raised what only the interpreter and the event loop should: SystemExit, CancelledError."""


class Containment:
    """Turn stray exits into errors like any other.

    A cancellation that somebody asked for passes, and so do KeyboardInterrupt and the closing of a coroutine.
    """

    __slots__ = ("_task",)

    def __enter__(self) -> None:
        self._task = _running_task()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if error is None or isinstance(error, Exception | KeyboardInterrupt):
            return
        task = _running_task()
        if task is None or task is not self._task:
            return  # the coroutine is being closed from outside
        if isinstance(error, asyncio.CancelledError) and task.cancelling():
            return
        raise StrayExit(f"{type(error).__name__} was raised; it may end a request, not the server") from error


def _running_task() -> asyncio.Task[Any] | None:
    """Return the task that is running, if a loop is."""
    try:
        return asyncio.current_task()
    except RuntimeError:
        return None


T = TypeVar("T")


async def finish_regardless(work: Coroutine[Any, Any, T]) -> T:
    """Await work that goes on to its end even when the awaiting task is cancelled.

    A client that goes away cancels the request. The unit of work goes on, so that what was begun is either committed
    with its callbacks or rolled back, and no connection is torn down in the middle of a statement. The app waits for it
    when it stops.
    """
    task = asyncio.ensure_future(_contain(work))
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        _keep_in_background(task)
        raise


async def finish_in_time(work: Coroutine[Any, Any, T], deadline: Deadline) -> T:
    """Await work as `finish_regardless` does, until shortly after the deadline: the work watches that itself.

    Work that was stopped has a second to clean up, and then does so behind the answer: a database that has fallen
    silent does not answer a rollback either. A commit that has begun is waited for.

    Raises:
        Problem: The work was stopped and is not back.
    """
    seconds = deadline.seconds_left
    if seconds is None:
        return await finish_regardless(work)
    with deadline.hold():
        task = asyncio.ensure_future(_contain(work))
        try:
            done, _ = await asyncio.wait({task}, timeout=seconds)
            while not done:
                done, _ = await asyncio.wait({task}, timeout=GRACE)
                if not done and not deadline.committing:
                    _keep_in_background(task)
                    raise deadline.problem()
        except asyncio.CancelledError:
            _keep_in_background(task)
            raise
        return task.result()


async def _contain(work: Coroutine[Any, Any, T]) -> T:
    """Await work that cannot end the server: a task that raises SystemExit would."""
    with Containment():
        return await work


def _keep_in_background(task: asyncio.Task[Any]) -> None:
    """Let the app wait for a task when it stops."""
    app = current_app._get_current_object()  # type: ignore[attr-defined]  # a werkzeug LocalProxy
    # Quart stops at the first background task that fails, and would leave the engines open: this one never does.
    waiter = asyncio.ensure_future(_wait_for(task))
    app.background_tasks.add(waiter)
    waiter.add_done_callback(app.background_tasks.discard)


async def _wait_for(task: asyncio.Task[Any]) -> None:
    """Wait for a task that nobody awaits any more, and log its error."""
    await asyncio.gather(task, return_exceptions=True)
    if not task.cancelled() and (error := task.exception()) is not None:
        logger.warning("a unit of work whose client had gone was rolled back: %s", type(error).__name__)


class SingleFlight(Generic[T]):
    """At most one piece of work per key at a time; callers that come meanwhile wait for the same work."""

    def __init__(self) -> None:
        self.tasks: dict[Hashable, asyncio.Task[T]] = {}

    def begin(self, key: Hashable, work: Callable[[], Coroutine[Any, Any, T]]) -> asyncio.Task[T]:
        """Return the task under way, or start one. Shield it where you await it, so that only `stop` cancels it."""
        task = self.tasks.get(key)
        if task is None:
            # In a context of its own: neither the deadline nor the id of one request is that of the others who wait.
            task = asyncio.get_running_loop().create_task(work(), context=contextvars.Context())
            self.tasks[key] = task
            task.add_done_callback(functools.partial(self._end, key))
        return task

    async def share(self, key: Hashable, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Return the result of the work under way, or start it.

        A caller that is cancelled does not cancel the work. An exception reaches all callers as one object, so work
        that often fails should return the failure instead.
        """
        return await asyncio.shield(self.begin(key, work))

    async def stop(self) -> None:
        """Cancel all work under way, and wait until it has ended."""
        tasks = list(self.tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _end(self, key: Hashable, task: asyncio.Task[T]) -> None:
        self.tasks.pop(key, None)
        if not task.cancelled():
            task.exception()  # asyncio would log it as never retrieved where nobody waited for the work


class Cooldown:
    """A time in which something that failed is not tried again.

    Args:
        clock: Seconds that never go back.
    """

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self._ends_at = -math.inf

    @property
    def seconds_left(self) -> float:
        """The seconds until the next try; 0 if there is nothing to wait for."""
        return max(0.0, self._ends_at - self.clock())

    def begin(self, seconds: float) -> None:
        """Begin, or begin anew."""
        self._ends_at = self.clock() + seconds

    def end(self) -> None:
        """End at once."""
        self._ends_at = -math.inf
