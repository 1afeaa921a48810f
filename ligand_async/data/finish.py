"""Finishing what was begun, whether or not somebody still waits for it."""

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any, TypeVar

from quart import current_app

logger = logging.getLogger(__name__)

T = TypeVar("T")


async def finish_regardless(work: Coroutine[Any, Any, T]) -> T:
    """Await work that goes on to its end even when the awaiting task is cancelled.

    A client that goes away cancels the request. The unit of work goes on, so that what was begun is either committed
    with its callbacks or rolled back, and no connection is torn down in the middle of a statement. The app waits for it
    when it stops.
    """
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        keep_in_background(task)
        raise


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
