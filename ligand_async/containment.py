"""What ends a process or a task, kept inside the request that raised it."""

import asyncio
from types import TracebackType
from typing import Any


class StrayExit(RuntimeError):
    """Code of a request raised what only the interpreter and the event loop should: SystemExit, CancelledError."""


class Containment:
    """Turn stray exits into errors like any other.

    A cancellation that somebody asked for passes, and so do KeyboardInterrupt and the closing of a coroutine.
    """

    __slots__ = ("_task",)

    def __enter__(self) -> None:
        self._task = running_task()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if error is None or isinstance(error, Exception | KeyboardInterrupt):
            return
        task = running_task()
        if task is None or task is not self._task:
            return  # the coroutine is being closed from outside
        if isinstance(error, asyncio.CancelledError) and task.cancelling():
            return
        raise StrayExit(f"{type(error).__name__} was raised; it may end a request, not the server") from error


def running_task() -> asyncio.Task[Any] | None:
    """Return the task that is running, if a loop is."""
    try:
        return asyncio.current_task()
    except RuntimeError:
        return None
