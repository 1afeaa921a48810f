"""Finishing what was begun, whether or not somebody still waits for it."""

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any, TypeVar

from quart import current_app

from ligand_async.containment import Containment
from ligand_async.context import current_deadline
from ligand_async.deadline import GRACE

logger = logging.getLogger(__name__)

T = TypeVar("T")


async def finish_regardless(work: Coroutine[Any, Any, T]) -> T:
    """Await work that goes on to its end even when the awaiting task is cancelled.

    A client that goes away cancels the request. The unit of work goes on, so that what was begun is either committed
    with its callbacks or rolled back, and no connection is torn down in the middle of a statement. The app waits for it
    when it stops.
    """
    task = asyncio.ensure_future(contain(work))
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        keep_in_background(task)
        raise


async def finish_in_time(work: Coroutine[Any, Any, T]) -> T:
    """Await work as `finish_regardless` does, until shortly after the deadline: the work watches that itself.

    Work that was stopped has a second to clean up, and then does so behind the answer: a database that has fallen
    silent does not answer a rollback either. A commit that has begun is waited for.

    Raises:
        Problem: The work was stopped and is not back.
    """
    deadline = current_deadline()
    seconds = deadline.seconds_left
    if seconds is None:
        return await finish_regardless(work)
    with deadline.hold():
        task = asyncio.ensure_future(contain(work))
        try:
            done, _ = await asyncio.wait({task}, timeout=seconds)
            while not done:
                done, _ = await asyncio.wait({task}, timeout=GRACE)
                if not done and not deadline.committing:
                    keep_in_background(task)
                    raise deadline.problem()
        except asyncio.CancelledError:
            keep_in_background(task)
            raise
        return task.result()


async def contain(work: Coroutine[Any, Any, T]) -> T:
    """Await work that cannot end the server: a task that raises SystemExit would."""
    with Containment():
        return await work


def keep_in_background(task: asyncio.Task[Any]) -> None:
    """Let the app wait for a task when it stops."""
    app = current_app._get_current_object()  # type: ignore[attr-defined]  # a werkzeug LocalProxy
    # Quart stops at the first background task that fails, and would leave the engines open: this one never does.
    waiter = asyncio.ensure_future(wait_for(task))
    app.background_tasks.add(waiter)
    waiter.add_done_callback(app.background_tasks.discard)


async def wait_for(task: asyncio.Task[Any]) -> None:
    """Wait for a task that nobody awaits any more, and log its error."""
    await asyncio.gather(task, return_exceptions=True)
    if not task.cancelled() and (error := task.exception()) is not None:
        logger.warning("a unit of work whose client had gone was rolled back: %s", type(error).__name__)
