"""The unit of work: one session, one task, one commit, and what follows it."""

import asyncio
import inspect
import logging
from collections.abc import Awaitable, Callable, Coroutine
from contextvars import ContextVar, Token
from types import TracebackType
from typing import Any, Self

from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.orm.exc import DetachedInstanceError

from ligand_async.containment import Containment
from ligand_async.context import current_deadline
from ligand_async.data.finish import finish_regardless
from ligand_async.data.sessions import UnitSession

logger = logging.getLogger(__name__)

Callback = Callable[[], Awaitable[None] | None]

CALLBACK_TIMEOUT = 2.0  # seconds, for each callback after commit


class UnitOfWork:
    """One transaction from its session to its callbacks.

    Leaving the context without `commit()` rolls back. The task that enters it owns the session.

    Args:
        engine: Where the session works.
        commits: False for a unit that is never committed: `on_commit` then means the unit around it.
    """

    def __init__(self, engine: AsyncEngine, *, commits: bool = True) -> None:
        self.session = UnitSession(engine)
        self.abandoned = False
        self.ended = False
        self._commits = commits
        self._committing = False
        self._callbacks: list[Callback] = []
        self._token: Token[UnitOfWork | None] | None = None

    def on_commit(self, callback: Callback) -> None:
        """Remember what to run once the work is durable."""
        self._callbacks.append(callback)

    def abandon(self) -> None:
        """Let `commit()` roll back: the answer is an error that the handler returned rather than raised."""
        self.abandoned = True

    async def flush(self) -> None:
        """Send what is pending, so that the database has said what it thinks of it before there is an answer."""
        session = self.session
        if session.new or session.dirty or session.deleted:
            await session.flush()

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
        try:
            if not self.abandoned:
                await self.session.commit_unit()
        except BaseException:
            self.ended = True
            raise
        finally:
            await self._close()
        try:
            if not self.abandoned:
                for callback in self._callbacks:
                    await run_callback(callback)
        finally:
            self.ended = True

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
            await finish_regardless(self._close())

    async def _close(self) -> None:
        self.session.belong_to_current_task()
        await self.session.end()


unit_var: ContextVar[UnitOfWork | None] = ContextVar("ligand_unit_of_work", default=None)


def on_commit(callback: Callback) -> None:
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


async def run_callback(callback: Callback) -> None:
    """Run one callback; its failure is logged and goes no further."""
    name = getattr(callback, "__qualname__", repr(callback))
    try:
        with Containment():
            async with asyncio.timeout(CALLBACK_TIMEOUT):
                result = callback()
                if inspect.isawaitable(result):
                    await result
    except TimeoutError:
        logger.exception("on_commit callback %s did not end within %s s", name, CALLBACK_TIMEOUT)
    except Exception:
        logger.exception("on_commit callback %s failed; the commit stands", name)
