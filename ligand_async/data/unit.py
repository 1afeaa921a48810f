"""The unit of work: one session, one task, one commit, what follows it, and when it may run again."""

import asyncio
import inspect
import logging
import random
from collections.abc import Awaitable, Callable, Coroutine
from contextvars import Token
from types import TracebackType
from typing import Any, Self

from quart import Quart
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.orm.exc import DetachedInstanceError

from ligand_async.context import Unit, current_deadline, unit_var
from ligand_async.data.change_signals import ChangeSignals
from ligand_async.data.errors import ConnectionLost, StatementTimedOut, is_stale_plan, sqlstate_of
from ligand_async.data.sessions import UnitSession
from ligand_async.tasks import ContainedExits, run_to_completion

logger = logging.getLogger(__name__)

_Callback = Callable[[], Awaitable[None] | None]
_Send = Callable[[], Awaitable[None]]

CALLBACK_TIMEOUT = 2.0  # seconds, for each callback after commit
_MAX_FLUSHES = 10  # of one unit, because receivers change what they are told of


class UnitOfWork:
    """One transaction from its session to its callbacks.

    Leaving the context without `commit()` rolls back. The task that enters it owns the session.

    Args:
        engine: Where the session works.
        commits: False for a unit that is never committed: `on_commit` then means the unit around it.
        app: Whose signals tell of what it changes; without it nobody is told.
    """

    def __init__(self, engine: AsyncEngine, *, commits: bool = True, app: Quart | None = None) -> None:
        self.session = UnitSession(engine)
        self.abandoned = False
        self.ended = False
        self._commits = commits
        self._committing = False
        self._callbacks: list[_Callback] = []
        self._sends: list[_Send] = []
        self._signals = None if app is None else ChangeSignals.watching(app, self.session)
        self._token: Token[Unit | None] | None = None

    def on_commit(self, callback: _Callback) -> None:
        """Remember what to run once the work is durable."""
        self._callbacks.append(callback)

    def after_commit(self, send: _Send) -> None:
        """Remember a signal to send after the callbacks: it must not raise."""
        self._sends.append(send)

    def abandon(self) -> None:
        """Let `commit()` roll back: the answer is an error that the handler returned rather than raised."""
        self.abandoned = True

    async def flush(self) -> None:
        """Send what is pending, so that the database has said what it thinks of it before there is an answer.

        Then `changes_flushing` is sent; what its receivers change is flushed in turn.

        Raises:
            RuntimeError: They never cease to change something.
        """
        session = self.session
        for _ in range(_MAX_FLUSHES):
            if session.new or session.dirty or session.deleted:
                await session.flush()
            if self._signals is None or not await self._signals.consult():
                return
        raise RuntimeError(
            f"receivers of changes_flushing changed the session {_MAX_FLUSHES} times over; "
            "a receiver that answers each change with another never ends: let it skip its own"
        )

    def commit(self) -> Coroutine[Any, Any, None]:
        """Make the work durable and run the callbacks; raise what the database raises, and then nothing runs.

        From the call on, and not only from its first step, the session is the commit's to close: it may run in another
        task.
        """
        self._committing = True
        return self._commit()

    async def _commit(self) -> None:
        with current_deadline().commit():
            await self._commit_and_tell()

    async def _commit_and_tell(self) -> None:
        self.session.belong_to_current_task()
        deciding = False
        try:
            if not self.abandoned:
                await self.flush()
                deciding = True
                await self.session.commit_unit()
        except BaseException as error:
            self.ended = True
            await self._close(tell=not (deciding and _may_have_committed(error)))
            raise
        if self.abandoned:
            self.ended = True
            await self._close()
            return
        await self._close(tell=False)
        try:
            for callback in self._callbacks:
                await _run_callback(callback)
        finally:
            self.ended = True
        if self._signals is not None:
            await self._signals.tell_committed()
        for send in self._sends:
            await send()

    async def __aenter__(self) -> Self:
        if self._commits:
            self._token = unit_var.set(self)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._token is not None:
            unit_var.reset(self._token)
        if isinstance(error, DetachedInstanceError):
            error.add_note("load the attribute with the query (selectinload), while its session is open")
        if not self._committing:
            self.ended = True
            await run_to_completion(self._close())

    async def _close(self, *, tell: bool = True) -> None:
        self.session.belong_to_current_task()
        await self.session.end()
        if tell and self._signals is not None:
            await self._signals.tell_rolled_back()


def _may_have_committed(error: BaseException) -> bool:
    """Tell whether a commit that failed with an error may have taken place: its connection broke."""
    invalidated = isinstance(error, DBAPIError) and error.connection_invalidated
    return invalidated or isinstance(error, ConnectionLost | StatementTimedOut)


def on_commit(callback: _Callback) -> None:
    """Run something after the current unit of work has committed, or never.

    It runs before the answer leaves, in the order of registration, bounded to 2 seconds; what it raises is logged and
    changes nothing.

    Args:
        callback: A function or coroutine function without arguments.

    Raises:
        RuntimeError: There is no unit of work, neither an operation with a session nor `db.transaction()`; or it has
            ended.
    """
    unit = unit_var.get()
    if unit is None:
        raise RuntimeError("on_commit() needs a unit of work: an operation that takes a session, or db.transaction()")
    if unit.ended:
        raise RuntimeError(
            "on_commit() came after its unit of work had ended: a task of its own needs db.transaction()"
        )
    unit.on_commit(callback)


async def _run_callback(callback: _Callback) -> None:
    """Run one callback; its failure is logged and goes no further."""
    name = getattr(callback, "__qualname__", repr(callback))
    try:
        with ContainedExits():
            async with asyncio.timeout(CALLBACK_TIMEOUT):
                result = callback()
                if inspect.isawaitable(result):
                    await result
    except TimeoutError:
        logger.exception("on_commit callback %s did not end within %s s", name, CALLBACK_TIMEOUT)
    except Exception:
        logger.exception("on_commit callback %s failed; the commit stands", name)


MAX_ATTEMPTS = 3
_SERIALIZATION_FAILURES = {"40001", "40P01"}


def may_run_again(error: SQLAlchemyError, attempt: int, *, reads: bool, retry_safe: bool) -> bool:
    """Tell whether the unit that failed with an error is run once more.

    Args:
        error: What the database said.
        attempt: How often it has run, from 1.
        reads: Whether its session reads: then a dead connection or a stale plan is no reason to fail, once.
        retry_safe: Whether the operation declares that it may run again.
    """
    if isinstance(error, ConnectionLost):
        return reads and attempt == 1
    if not isinstance(error, DBAPIError):
        return False
    if reads:
        return attempt == 1 and (error.connection_invalidated or is_stale_plan(error))
    if not retry_safe or attempt >= MAX_ATTEMPTS:
        return False
    return sqlstate_of(error) in _SERIALIZATION_FAILURES or is_stale_plan(error)


async def pause_before(attempt: int) -> None:
    """Wait a few random milliseconds, so that two units that collided do not collide again."""
    await asyncio.sleep(random.uniform(0, 0.01 * 2**attempt))  # noqa: S311  (not a secret)
