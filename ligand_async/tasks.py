"""Time and cancellation: deadlines, contained exits, work that runs to completion, work that several callers share."""

import asyncio
import contextvars
import functools
import logging
import math
import threading
import time
from collections.abc import Callable, Coroutine, Hashable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

from quart import Quart, current_app

from ligand_async.errors import DeadlineExceeded, Problem

logger = logging.getLogger(__name__)

CLEANUP_SECONDS = 1.0  # past the deadline, to clean up and to answer


class _Clock:
    """The one timer of an event loop for all time limits in it; it is set for the nearest of them."""

    __slots__ = ("_nearest", "_timer", "limits", "loop")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.limits: set[TimeLimit] = set()
        self._nearest = math.inf
        self._timer: asyncio.TimerHandle | None = None

    def set(self, when: float) -> None:
        """Set the timer, unless it is set for an earlier time."""
        if when >= self._nearest:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._nearest = when
        self._timer = self.loop.call_at(when, self._ring)

    def _ring(self) -> None:
        now = self.loop.time()
        self._nearest, self._timer = math.inf, None
        nearest = math.inf
        for limit in [*self.limits]:
            if limit.at <= now:
                limit.expire()
            else:
                nearest = min(nearest, limit.at)
        self.set(nearest)


class _Clocks(threading.local):
    """The clock of each thread's event loop."""

    clock: _Clock | None = None


_clocks = _Clocks()


class TimeLimit:
    """A context manager that cancels its block at a time, as `asyncio.timeout_at` does, without a timer of its own.

    A request has several limits and hardly ever reaches one: a timer for each costs ten times as much.

    Args:
        at: The time of the loop; `math.inf` for none.

    Attributes:
        at: The same.
        is_expired: Whether the block was cancelled.

    Raises:
        TimeoutError: The time was reached, and the cancellation has left the block.
    """

    __slots__ = ("_cancelling", "_clock", "_task", "at", "is_expired")

    def __init__(self, at: float) -> None:
        self.at = at
        self.is_expired = False

    @classmethod
    def after(cls, seconds: float) -> Self:
        """Return a limit that begins now.

        Args:
            seconds: Seconds from now.
        """
        return cls(asyncio.get_running_loop().time() + seconds)

    def begin(self, task: asyncio.Task[Any]) -> None:
        """Begin the block, in a task."""
        loop = asyncio.get_running_loop()
        clock = _clocks.clock
        if clock is None or clock.loop is not loop:
            clock = _clocks.clock = _Clock(loop)
        self._clock, self._task, self._cancelling = clock, task, task.cancelling()
        clock.limits.add(self)
        clock.set(self.at)

    def end(self, kind: type[BaseException] | None) -> bool:
        """End the block; return whether the exception that ends it is the cancellation at the limit."""
        self._clock.limits.discard(self)
        return self.is_expired and self._task.uncancel() <= self._cancelling and kind is asyncio.CancelledError

    def move(self, at: float) -> None:
        """Set another time, unless the limit has expired."""
        if not self.is_expired:
            self.at = at
            self._clock.set(at)

    def expire(self) -> None:
        """Cancel the block."""
        self.is_expired = True
        self._clock.limits.discard(self)
        self._task.cancel()

    async def __aenter__(self) -> Self:
        self.begin(require_task())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self.end(kind):
            raise TimeoutError from error


class Deadline:
    """The moment at which the work on a request is stopped, in every task that works on it.

    A commit suspends it: once the commit has begun, the response waits for it.

    Args:
        seconds: From now; None for no deadline.
    """

    __slots__ = ("_at", "_commits", "_is_over", "_limits", "_problem")

    def __init__(self, seconds: float | None) -> None:
        self._at = math.inf if seconds is None else asyncio.get_running_loop().time() + seconds
        self._commits = 0
        self._is_over = False
        self._limits: dict[asyncio.Task[Any], TimeLimit] = {}
        self._problem: Problem | None = None

    @property
    def committing(self) -> bool:
        """True while a commit is under way."""
        return self._commits > 0

    @property
    def seconds_left(self) -> float | None:
        """The time left for what the work waits for; None without a deadline, in a commit, and after `release`."""
        if self._at == math.inf or self._commits or self._is_over:
            return None
        return max(0.0, self._at - asyncio.get_running_loop().time())

    def release(self) -> None:
        """Note that the response has begun: a stream, or a background task of the request, may take longer."""
        self._is_over = True

    def problem(self) -> Problem:
        """Return the problem that answers a request whose work was stopped."""
        return self._problem or DeadlineExceeded("the request was not served in time")

    def stop(self, problem: Problem) -> None:
        """Stop the work now, unless its commit has begun, and answer the request with a problem."""
        self._problem = self._problem or problem
        self._at = now = asyncio.get_running_loop().time()
        for limit in self._limits.values():
            if limit.at < math.inf:  # not held
                limit.move(now)

    def restart(self, seconds: float) -> None:
        """Count from now again, with another number of seconds; the work that was stopped stays stopped."""
        if self._problem is None:
            self._at = asyncio.get_running_loop().time() + seconds
            for limit in self._limits.values():
                if limit.at < math.inf:  # not held
                    limit.move(self._at)

    def limit(self, *, at_least: float = 0.0) -> "_DeadlineLimit":
        """Return an async context manager that cancels its block at the deadline.

        Inside another limit of the same task only the outer one counts.

        Args:
            at_least: Seconds that the block has even if the deadline is nearer.

        Raises:
            Problem: The deadline was reached (504), or `stop` was called.
        """
        return _DeadlineLimit(self, at_least)

    def enter(self, task: asyncio.Task[Any], at_least: float) -> TimeLimit | None:
        """Begin the limit of a task and return it; None without a deadline or inside another limit."""
        if self._at == math.inf or task in self._limits:
            return None
        limit = self._limits[task] = TimeLimit(self._no_earlier_than(at_least) if at_least else self._at)
        limit.begin(task)
        return limit

    def leave(self, task: asyncio.Task[Any]) -> None:
        """Forget the limit of a task."""
        del self._limits[task]

    @contextmanager
    def hold(self) -> Iterator[None]:
        """Let the block go on past the deadline, because it has a time limit of its own.

        Raises:
            Problem: The deadline has passed already.
        """
        limit = self._limits.get(require_task())
        if limit is None:
            yield
            return
        if limit.is_expired:
            raise self.problem()
        limit.move(math.inf)
        try:
            yield
        finally:
            limit.move(self._no_earlier_than(CLEANUP_SECONDS))

    @contextmanager
    def commit(self) -> Iterator[None]:
        """Hold the deadline for a commit.

        Raises:
            Problem: The deadline has passed already.
        """
        with self.hold():
            self._commits += 1
            try:
                yield
            finally:
                self._commits -= 1

    def _no_earlier_than(self, seconds: float) -> float:
        return max(self._at, asyncio.get_running_loop().time() + seconds) if seconds else self._at


class _DeadlineLimit:  # not a generator, because a request enters several
    __slots__ = ("_at_least", "_deadline", "_limit", "_task")

    def __init__(self, deadline: Deadline, at_least: float) -> None:
        self._deadline = deadline
        self._at_least = at_least
        self._limit: TimeLimit | None = None

    def check(self) -> None:
        """Raise the problem if the deadline was reached, and the block has swallowed the cancellation."""
        if self._limit is not None and self._limit.is_expired:
            raise self._deadline.problem()

    async def __aenter__(self) -> None:
        self._task = require_task()
        self._limit = self._deadline.enter(self._task, self._at_least)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        limit = self._limit
        if limit is None:
            return
        self._deadline.leave(self._task)
        if limit.end(kind):
            raise self._deadline.problem() from error
        if limit.is_expired and (error is None or isinstance(error, Exception)):
            raise self._deadline.problem() from error  # the block swallowed the cancellation


def require_task() -> asyncio.Task[Any]:
    """Return the task that is running.

    Raises:
        RuntimeError: No task is running.
    """
    task = asyncio.current_task()
    if task is None:
        raise RuntimeError("a deadline limits an asyncio task, but no task is running; await this in one")
    return task


NO_DEADLINE = Deadline(None)


class StrayExit(RuntimeError):
    """Code of a request raised an exception meant for the interpreter or the event loop: SystemExit, CancelledError."""


class ContainedExits:
    """A context manager that turns a `SystemExit` or a stray `CancelledError` of its block into a `StrayExit`.

    A cancellation that was requested passes, and so do `KeyboardInterrupt` and the closing of a coroutine.
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
    try:
        return asyncio.current_task()
    except RuntimeError:
        return None


T = TypeVar("T")


app_var: ContextVar[Quart | None] = ContextVar("ligand_app", default=None)
"""The app that serves this request, also where Quart has popped its contexts: in a streamed body."""


def this_app() -> Quart:
    """Return the current app itself, not its proxy; in a streamed body the app that streams it.

    Raises:
        RuntimeError: There is no current app.
    """
    try:
        app: Quart = current_app._get_current_object()  # type: ignore[attr-defined]  # a werkzeug LocalProxy
    except RuntimeError:
        serving = app_var.get()
        if serving is None:
            words = "there is no app context: run this in a request, or in `async with app.app_context()`"
            raise RuntimeError(words) from None
        return serving
    return app


async def run_to_completion(work: Coroutine[Any, Any, T]) -> T:
    """Await work that runs to its end even if the awaiting task is cancelled.

    A client that goes away cancels the request. The unit of work goes on, so that it is either committed with its
    callbacks or rolled back, and no connection is closed in the middle of a statement. The app waits for it when it
    stops.
    """
    task = asyncio.ensure_future(_run_contained(work))
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        _finish_in_background(task)
        raise


async def run_until_deadline(work: Coroutine[Any, Any, T], deadline: Deadline) -> T:
    """Await work as `run_to_completion` does, until `CLEANUP_SECONDS` after the deadline.

    The work watches the deadline itself. If it is stopped and its clean-up takes longer, it goes on in the background
    and the request is answered: a database that hangs does not answer a rollback either. A commit that has begun is
    awaited.

    Raises:
        Problem: The work was stopped and has not ended.
    """
    seconds = deadline.seconds_left
    if seconds is None:
        return await run_to_completion(work)
    with deadline.hold():
        task = asyncio.ensure_future(_run_contained(work))
        try:
            done, _ = await asyncio.wait({task}, timeout=seconds)
            while not done:
                done, _ = await asyncio.wait({task}, timeout=CLEANUP_SECONDS)
                if not done and not deadline.committing:
                    _finish_in_background(task)
                    raise deadline.problem()
        except asyncio.CancelledError:
            _finish_in_background(task)
            raise
        return task.result()


async def _run_contained(work: Coroutine[Any, Any, T]) -> T:
    # A task that raises SystemExit ends the event loop.
    with ContainedExits():
        return await work


def _finish_in_background(task: asyncio.Task[Any]) -> None:
    app = this_app()
    # The app waits for it when it stops. Quart stops waiting at the first background task that fails, and would leave
    # the engines open: this one never fails.
    waiter = asyncio.ensure_future(_log_failure(task))
    app.background_tasks.add(waiter)
    waiter.add_done_callback(app.background_tasks.discard)


async def _log_failure(task: asyncio.Task[Any]) -> None:
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
