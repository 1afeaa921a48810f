"""The session a handler gets: it belongs to one task, commits only with its unit, and never loads by surprise."""

import asyncio
import logging
from typing import Any, NoReturn

from sqlalchemy import Connection, Engine, event
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession
from sqlalchemy.orm import ORMExecuteState, Session
from sqlalchemy.util.concurrency import in_greenlet

from ligand_async.data.errors import LazyLoadRefused, SessionMisused

logger = logging.getLogger(__name__)


class OwnedSession(Session):
    """The synchronous session inside: every statement passes `get_bind`, which knows the owner."""

    owner: asyncio.Task[Any] | None = None
    ended = False
    flushing = False

    def flush(self, objects: Any = None) -> None:
        """Flush, and let others know that the statements meanwhile are the flush's."""
        self.flushing = True
        try:
            super().flush(objects)
        finally:
            self.flushing = False

    def get_bind(self, mapper: Any = None, *, bind: Any = None, **options: Any) -> Engine | Connection:
        """Return the engine, if it is the owner that asks, and in time.

        Raises:
            SessionMisused: Another task asks: interleaved statements of two tasks would share one transaction. Or the
                unit of work has ended: a transaction begun now would be nobody's to end.
        """
        if self.ended:
            raise SessionMisused(
                "the unit of work of this session has ended; what runs later, such as a stream, an on_commit callback "
                "or a background task, opens its own with `async with db.read()` or `db.transaction()`"
            )
        if self.owner is not None and asyncio.current_task() is not self.owner:
            raise SessionMisused(
                "one session, two tasks: a session belongs to the task that began its unit of work. "
                "Await one statement after the other, or give each task its own with `async with db.read()` or "
                "`db.transaction()`; to bound the time use asyncio.timeout(), which makes no task"
            )
        return bind or self.bind or super().get_bind(mapper, **options)


@event.listens_for(OwnedSession, "do_orm_execute")
def refuse_lazy_load(state: ORMExecuteState) -> None:
    """Say which attribute was read without having been loaded, and what to do.

    Raises:
        LazyLoadRefused: The load was not awaited: it comes from reading an attribute.
    """
    if in_greenlet():
        return
    parent = state.lazy_loaded_from
    if parent is not None:
        attribute: Any = state.loader_strategy_path[-1] if state.loader_strategy_path is not None else None
        name = f"{parent.class_.__name__}.{getattr(attribute, 'key', '?')}"
        raise LazyLoadRefused(
            f"{name} was not loaded, and reading an attribute cannot await: load it with the query, "
            f".options(selectinload({name})), or await session.refresh(entity, [{name}.key])"
        )
    entity = state.bind_mapper.class_.__name__ if state.bind_mapper is not None else "entity"
    # SQLAlchemy 2.1 has no public name for what is being loaded; test_sessions.py tells when this one moves.
    options = getattr(state.statement, "_compile_options", None)
    names = ", ".join(f"{entity}.{name}" for name in sorted(getattr(options, "_only_load_props", None) or ["?"]))
    raise LazyLoadRefused(
        f"{names} is expired or deferred, and reading an attribute cannot await: "
        f"await session.refresh(entity) first, or load it with the query, .options(undefer({names}))"
    )


class UnitSession(AsyncSession):
    """The session of a unit of work. The unit commits it: after the handler, before the answer."""

    sync_session_class = OwnedSession
    sync_session: OwnedSession

    def __init__(self, engine: AsyncEngine) -> None:
        super().__init__(engine, expire_on_commit=False)
        self.belong_to_current_task()

    def belong_to_current_task(self) -> None:
        """Make the running task the owner."""
        self.sync_session.owner = asyncio.current_task()

    async def commit(self) -> NoReturn:
        """Refuse: half of the work would be kept whatever happens next.

        Raises:
            SessionMisused: Always.
        """
        raise SessionMisused(
            "the unit of work commits, once, after the handler has returned; "
            "flush() to see what the database makes of it, or use db.transaction() for a transaction of its own"
        )

    async def end(self) -> None:
        """Close for good, on behalf of the unit of work."""
        try:
            await self.close()
        except SQLAlchemyError as error:
            # Nothing is lost that was not lost before, and the error in hand, if there is one, says more.
            logger.info("a connection broke while its work was rolled back: %s", type(error).__name__)
            await self.invalidate()
        finally:
            self.sync_session.ended = True

    async def commit_unit(self) -> None:
        """Commit, on behalf of the unit of work."""
        await super().commit()
