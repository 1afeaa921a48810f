"""Work under way that several callers wait for."""

import asyncio
import contextvars
from collections.abc import Callable, Coroutine, Hashable
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class Flights(Generic[T]):
    """At most one piece of work per key at a time; whoever asks meanwhile waits for the same."""

    def __init__(self) -> None:
        self.tasks: dict[Hashable, asyncio.Task[T]] = {}

    async def share(self, key: Hashable, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Return what the work under way returns, or start it.

        A caller that is cancelled does not cancel it. Its error reaches all who wait as one object: let it return what
        may go wrong.
        """
        task = self.tasks.get(key)
        if task is None:
            # Of no request: neither its deadline nor its id is that of the others who wait.
            task = asyncio.get_running_loop().create_task(work(), context=contextvars.Context())
            self.tasks[key] = task
            task.add_done_callback(lambda _: self.tasks.pop(key, None))
        return await asyncio.shield(task)

    async def stop(self) -> None:
        """Cancel what is under way and wait until it has ended."""
        tasks = list(self.tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
