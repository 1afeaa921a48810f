"""Refused attempts: kept beside the requests, in transactions of their own, and never more than the trail can bear."""

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

from quart import Quart
from sqlalchemy import Table, insert
from sqlalchemy.ext.asyncio import AsyncSession

from ligand_async.data.audit.events import origin
from ligand_async.data.audit.guard import OWN
from ligand_async.principal import Principal
from ligand_async.signals import access_denied, authentication_failed

logger = logging.getLogger(__name__)

MOST_WAITING = 1000  # attempts
MOST_AT_ONCE = 100  # of one transaction
_PAUSE = 1.0  # seconds from one transaction to the next, so that requests with bad tokens cannot fill the disk
_TIME_LIMIT = 2.0  # seconds, for one transaction

Transaction = Callable[[], AbstractAsyncContextManager[AsyncSession]]


class Attempts:
    """Writes down the refused attempts of one app.

    What comes faster than `MOST_AT_ONCE` each `_PAUSE`, for longer than the queue lasts, is only counted: an event says
    how many it were.

    Args:
        app: The app.
        table: The trail's.
        transaction: Opens a session that writes.
    """

    def __init__(self, app: Quart, table: Table, transaction: Transaction) -> None:
        self._app = app
        self._table = table
        self._transaction = transaction
        self._waiting: deque[dict[str, Any]] = deque()
        self._left_out = 0
        self._arrived, self._stopping = asyncio.Event(), asyncio.Event()
        self._writer: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Listen, and begin to write."""
        self._stopping.clear()
        access_denied.connect(self.see_denial, sender=self._app)
        authentication_failed.connect(self.see_failure, sender=self._app)
        self._writer = asyncio.create_task(self._write_on())

    async def stop(self) -> None:
        """Listen no more, and write what is waiting."""
        access_denied.disconnect(self.see_denial, sender=self._app)
        authentication_failed.disconnect(self.see_failure, sender=self._app)
        self._stopping.set()
        self._arrived.set()
        if self._writer is not None:
            await asyncio.wait([self._writer])

    def see_denial(self, _app: Quart, *, principal: Principal, requirement: Any, **_more: Any) -> None:
        """Keep that a principal is not who may."""
        self._keep("access_denied", {"requirement": str(requirement)}, principal)

    def see_failure(self, _app: Quart, *, reason: str, **_more: Any) -> None:
        """Keep that somebody's credentials are missing or wrong."""
        self._keep("authentication_failed", {"reason": reason})

    def _keep(self, action: str, details: dict[str, Any], principal: Principal | None = None) -> None:
        if len(self._waiting) < MOST_WAITING:
            self._waiting.append({**_EMPTY, **origin(principal), "action": action, "new": details})
        else:
            self._left_out += 1
        self._arrived.set()

    async def _write_on(self) -> None:
        while not self._stopping.is_set():
            await self._arrived.wait()
            self._arrived.clear()
            while self._waiting and not self._stopping.is_set():
                await self._write(MOST_AT_ONCE)
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._stopping.wait(), _PAUSE)
        await self._write(MOST_WAITING)

    async def _write(self, most: int) -> None:
        rows = [self._waiting.popleft() for _ in range(min(most, len(self._waiting)))]
        left_out, self._left_out = self._left_out, 0
        if left_out:
            rows.append({**_EMPTY, "action": "attempts_left_out", "new": {"count": left_out}})
        if not rows:
            return
        try:
            async with asyncio.timeout(_TIME_LIMIT), self._transaction() as session:
                await session.execute(insert(self._table).inline(), rows, execution_options={OWN: True})
        except Exception as error:  # noqa: BLE001  (the next ones shall be written)
            logger.warning("%d refused attempts are not in the audit trail: %s", len(rows), type(error).__name__)


_EMPTY: dict[str, Any] = dict.fromkeys(
    (
        *("subject", "issuer", "client_id", "request_id", "operation_id", "client_address"),
        *("entity", "key", "old"),
    )
)
