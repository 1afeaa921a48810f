"""Pools of connections whose queue keeps to the deadline of the request that waits in it."""

import asyncio
import logging
from typing import Any

from sqlalchemy.pool import AsyncAdaptedQueuePool
from sqlalchemy.util import memoized_property
from sqlalchemy.util.queue import AsyncAdaptedQueue

from ligand_async.context import current_deadline

_TO_ANSWER = 0.05  # seconds before the deadline


class _Waiting(asyncio.Queue[Any]):
    """A queue; SQLAlchemy calls `get` only to wait, because it takes what is there by `get_nowait`."""

    async def get(self) -> Any:
        """Wait for a connection, no longer than the request may take.

        Raises:
            QueueEmpty: None came in time.
        """
        left = current_deadline().seconds_left
        if left is None:
            return await super().get()
        limit = asyncio.timeout(max(0.0, left - _TO_ANSWER))
        try:
            async with limit:
                return await super().get()
        except TimeoutError:
            raise asyncio.QueueEmpty from None


class _DeadlineQueue(AsyncAdaptedQueue[Any]):
    @memoized_property
    def _queue(self) -> asyncio.Queue[Any]:
        return _Waiting(maxsize=self.maxsize)


class DeadlinePool(AsyncAdaptedQueuePool):
    """A pool in which a request waits for a connection until shortly before its deadline.

    It has changed nothing then, and can say so (503): at the deadline itself it would be one that took too long (504).
    """

    _queue_class = _DeadlineQueue


# SQLAlchemy names a pool's logger after its class, so its lines about each pool that is closed would count as ours.
logging.getLogger(f"{__name__}.{DeadlinePool.__name__}").setLevel(logging.WARNING)
