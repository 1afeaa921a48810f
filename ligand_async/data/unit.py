"""The unit of work: one session, one task, one commit, and what follows it.

Its life, from top to bottom: `Database` enters a `UnitOfWork`, which makes the session; the handler works with the
session; `UnitOfWork.commit` flushes, commits, runs the `on_commit` callbacks and sends the signals. Leaving without
`commit` rolls back.
"""

import asyncio
import inspect
import logging
import random
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from contextvars import Token
from dataclasses import dataclass
from types import TracebackType
from typing import Any, NoReturn, Self

from quart import Quart
from sqlalchemy import Connection, Engine, Row, Select, event
from sqlalchemy.engine import Result
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncResult, AsyncSession
from sqlalchemy.orm import ORMExecuteState, RelationshipProperty, Session
from sqlalchemy.orm.exc import DetachedInstanceError
from sqlalchemy.util.concurrency import greenlet_spawn, in_greenlet

from ligand_async.context import Unit, current_deadline, unit_var
from ligand_async.data.aggregates import Aggregates
from ligand_async.data.changes import ChangeLog, observers_of, watch_session
from ligand_async.data.digests import CHANGED, read_changed
from ligand_async.data.errors import (
    ConnectionLost,
    LazyLoadRefused,
    SessionMisused,
    StatementTimedOut,
    is_stale_plan,
    sqlstate_of,
)
from ligand_async.data.flushes import CROWDED, REREAD, is_known_empty, make_room, nothing, read_back
from ligand_async.data.transactions import ReadListeners, UndoList, connected_sessions, is_connected
from ligand_async.signals import (
    changes_committed,
    changes_flushing,
    changes_rolled_back,
    consult,
    deliver,
    receivers_of,
)
from ligand_async.tasks import ContainedExits, run_to_completion

logger = logging.getLogger(__name__)

_Callback = Callable[[], Awaitable[None] | None]
_Send = Callable[[], Awaitable[None]]

CALLBACK_TIMEOUT = 2.0  # seconds, for each callback after commit
STREAM_OPTIONS = "ligand_stream_options"
"""The execution option of an engine whose sessions are in no transaction: the options of one that streams."""
AUTOCOMMITS = "ligand_autocommits"
"""The execution option of an engine on which each statement stands for itself, outside of any transaction."""
_MAX_FLUSHES = 10  # of one unit, because receivers of changes_flushing may change more


class UnitOfWork:
    """One transaction from its session to its callbacks.

    Leaving the context without `commit()` rolls back. The task that enters it owns the session.

    Args:
        engine: The engine of the session.
        commits: False for a unit that is never committed: `on_commit` then means the unit around it.
        app: The sender of the signals about its changes; None sends none.
        aggregates: The roots whose versions are raised when rows change that belong to them; None raises none.
    """

    def __init__(
        self,
        engine: AsyncEngine,
        *,
        commits: bool = True,
        app: Quart | None = None,
        aggregates: Aggregates | None = None,
    ) -> None:
        self.session = UnitSession(engine, has_only_writer=commits and engine.dialect.name == "sqlite")
        if aggregates:
            aggregates.watch(self.session.sync_session)
        self.abandoned = False
        self.ended = False
        self._commits = commits
        self._committing = False
        self._callbacks: UndoList[_Callback] | None = None
        self._sends: UndoList[_Send] | None = None
        self._signals = None if app is None else _ChangeSignals.watching(app, self.session)
        self._token: Token[Unit | None] | None = None

    async def __aenter__(self) -> Self:
        if self._commits:
            self._token = unit_var.set(self)
        return self

    def on_commit(self, callback: _Callback) -> None:
        """Add a callback to run after the commit."""
        if self._callbacks is None:
            self._callbacks = UndoList(self.session.sync_session)
        self._callbacks.append(callback)

    def after_commit(self, send: _Send) -> None:
        """Add a signal to send after the callbacks; `send` must not raise."""
        if self._sends is None:
            self._sends = UndoList(self.session.sync_session)
        self._sends.append(send)

    def abandon(self) -> None:
        """Make `commit()` roll back: the handler returned an error instead of raising one."""
        self.abandoned = True

    async def flush(self) -> None:
        """Send pending changes to the database, so that its errors come before the response.

        Then `changes_flushing` is sent; changes made by its receivers are flushed in turn.

        Raises:
            RuntimeError: The receivers made changes ten times in a row.
        """
        session = self.session
        if not session.is_used:
            return
        for _ in range(_MAX_FLUSHES):
            if not session.is_clean:
                await session.flush()
            if CHANGED in session.info:
                await read_changed(session)
            if self._signals is None or not await self._signals.send_flushing():
                return
        raise RuntimeError(
            f"receivers of changes_flushing changed the session {_MAX_FLUSHES} times over; "
            "a receiver that answers each change with another never ends: let it skip its own"
        )

    def commit(self) -> Coroutine[Any, Any, None]:
        """Commit, then run the callbacks and send the signals; if the commit fails, raise and run nothing.

        From the call on, and not only from the first step of the coroutine, the commit closes the session: the
        coroutine may run in another task.
        """
        self._committing = True
        return self._commit_in_time()

    async def _commit_in_time(self) -> None:
        with current_deadline().commit():
            await self._commit()

    async def _commit(self) -> None:
        self.session.belong_to_current_task()
        deciding = False
        try:
            if not self.abandoned:
                await self.flush()
                deciding = True
                await self.session.commit_unit()
        except BaseException as error:
            self.ended = True
            await self._close(rolled_back=not (deciding and _may_have_committed(error)))
            raise
        if self.abandoned:
            self.ended = True
            await self._close(rolled_back=True)
            return
        await self._close(rolled_back=False)
        try:
            for callback in self._callbacks or ():
                await _run_callback(callback)
        finally:
            self.ended = True
        if self._signals is not None:
            await self._signals.send_committed()
        for send in self._sends or ():
            await send()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._token is not None:
            unit_var.reset(self._token)
        if isinstance(error, DetachedInstanceError):
            error.add_note("load the attribute with the query (selectinload), while its session is open")
        if not self._committing:
            self.ended = True
            if self.session.is_used:
                await run_to_completion(self._close(rolled_back=True))
            else:
                await self.session.end()  # which has nothing to wait for

    async def _close(self, *, rolled_back: bool) -> None:
        self.session.belong_to_current_task()
        await self.session.end()
        if rolled_back and self._signals is not None:
            await self._signals.send_rolled_back()


def _may_have_committed(error: BaseException) -> bool:
    # The connection broke during COMMIT: the database may have carried it out.
    invalidated = isinstance(error, DBAPIError) and error.connection_invalidated
    return invalidated or isinstance(error, ConnectionLost | StatementTimedOut)


def on_commit(callback: _Callback) -> None:
    """Run a function after the current unit of work has committed; after a rollback it does not run.

    It runs before the response is sent, in the order of registration, for 2 seconds at most. What it raises is logged
    and changes nothing.

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
            "on_commit() was called after its unit of work had ended: a background task needs its own db.transaction()"
        )
    unit.on_commit(callback)


async def _run_callback(callback: _Callback) -> None:
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


class _ChangeSignals:
    """The signals about the changes of one unit of work.

    Args:
        app: Their sender.
        session: The session of the unit.
        log: The changes of that session.
    """

    def __init__(self, app: Quart, session: "UnitSession", log: ChangeLog) -> None:
        self._app = app
        self._session = session
        self._log = log

    @classmethod
    def watching(cls, app: Quart, session: "UnitSession") -> Self | None:
        """Watch a session for observers and receivers; return None if no signal has a receiver."""
        signals = (changes_flushing, changes_committed, changes_rolled_back)
        has_receivers = any(receivers_of(signal, app) for signal in signals)
        log = watch_session(session.sync_session, observers_of(app), logs=has_receivers)
        return None if log is None else cls(app, session, log)

    async def send_flushing(self) -> bool:
        """Send the changes that were flushed since the last time to receivers that may veto them.

        Returns:
            Whether a signal was sent: its receivers may have made more changes.

        Raises:
            Exception: The veto, or what else a receiver raised.
        """
        if not self._log.is_fresh or not receivers_of(changes_flushing, self._app):
            return False
        changes = self._log.take_fresh()
        if changes:
            await consult(changes_flushing, self._app, session=self._session, changes=changes)
        return bool(changes)

    async def send_committed(self) -> None:
        if changes := self._log.kept():
            await deliver(changes_committed, self._app, changes=changes)

    async def send_rolled_back(self) -> None:
        if changes := self._log.lost():
            await deliver(changes_rolled_back, self._app, changes=changes)


MAX_ATTEMPTS = 3
_SERIALIZATION_FAILURES = {"40001", "40P01"}


def may_run_again(error: SQLAlchemyError, attempt: int, *, reads: bool, retry_safe: bool) -> bool:
    """Return whether a unit of work that failed is run once more.

    Args:
        error: The error that the database or its driver raised.
        attempt: How often the unit has run, from 1.
        reads: Whether its session reads: then a dead connection or a stale plan is retried once.
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


@dataclass(slots=True)
class _Ownership:
    """Who may use a session.

    Attributes:
        owner: The task whose session it is; None for anybody's.
        opened_by: The task that began its unit of work.
        ended: Whether its unit of work has ended.
    """

    owner: asyncio.Task[Any] | None = None
    opened_by: asyncio.Task[Any] | None = None
    ended: bool = False

    def check(self) -> None:
        """Check that the running task may use the session now.

        Raises:
            SessionMisused: Another task uses the session: statements of two tasks would share one transaction. Or the
                unit of work has ended: nothing would end a transaction that began now.
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


class OwnedSession(Session):
    """The synchronous session inside a `UnitSession`. Every statement passes `get_bind`, which checks the owner."""

    ownership = _Ownership()
    flushing = False
    has_only_writer = False

    def flush(self, objects: Any = None) -> None:
        """Flush; `flushing` is true meanwhile."""
        if CROWDED in self.info:
            make_room(self)
        self.flushing = True
        try:
            super().flush(objects)
        finally:
            self.flushing = False
        if REREAD in self.info:
            read_back(self)

    def get_bind(self, mapper: Any = None, *, bind: Any = None, **options: Any) -> Engine | Connection:
        """Return the engine, if the running task is the owner and the unit of work has not ended.

        Raises:
            SessionMisused: Another task uses the session, or its unit of work has ended.
        """
        self.ownership.check()
        if self.has_only_writer and not is_connected(self):
            self._refuse_second_writer()
        return bind or self.bind or super().get_bind(mapper, **options)

    def _refuse_second_writer(self) -> None:
        # It would wait for a connection that only this task can give back.
        for other in connected_sessions():
            if not isinstance(other, OwnedSession) or other.ownership.opened_by is not self.ownership.opened_by:
                continue
            if getattr(other.bind, "pool", None) is getattr(self.bind, "pool", self):
                raise SessionMisused(
                    "SQLite has one writer, and another transaction of this request or task has it. Use the session of "
                    "that one, or open the second transaction when it has ended: in an on_commit callback or a "
                    "background task"
                )


_read_listeners = ReadListeners(OwnedSession())


class UnitSession(AsyncSession):
    """The session that a handler gets. Only the unit of work commits it: after the handler, before the response.

    SQLAlchemy's own session is made at the first use of it: a unit that only reads schemas does without.
    """

    sync_session_class = OwnedSession
    sync_session: OwnedSession

    def __init__(self, engine: AsyncEngine, *, has_only_writer: bool = False) -> None:
        self._engine = engine
        self._has_only_writer = has_only_writer
        task = asyncio.current_task()
        self._ownership = _Ownership(task, task)

    def __getattr__(self, name: str) -> Any:
        # SQLAlchemy's methods all begin with one of these two attributes, which its constructor sets.
        if name not in {"sync_session", "_proxied"}:
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        super().__init__(self._engine, expire_on_commit=False)
        self.sync_session.ownership = self._ownership
        self.sync_session.has_only_writer = self._has_only_writer
        return self.__dict__[name]

    @property
    def is_used(self) -> bool:
        """True once SQLAlchemy's own session was made."""
        return "sync_session" in self.__dict__

    @property
    def is_clean(self) -> bool:
        """True if there is nothing to flush."""
        return self.sync_session._is_clean()  # `new`, `dirty` and `deleted` build three sets

    def get_bind(self, *arguments: Any, **options: Any) -> Engine | Connection:
        """Return the engine or the connection that a statement would run on.

        Raises:
            SessionMisused: Another task uses the session, or its unit of work has ended.
        """
        if self.is_used:
            return super().get_bind(*arguments, **options)
        self._ownership.check()
        return self._engine.sync_engine

    def belong_to_current_task(self) -> None:
        """Make the running task the owner."""
        self._ownership.owner = asyncio.current_task()

    @property
    def reads_directly(self) -> bool:
        """True if a select of columns means the same when the engine reads it as when this session does.

        It does on an engine on which each statement stands for itself, while the session has not been used, as long as
        nobody listens to what sessions do.
        """
        options = self._engine.sync_engine.get_execution_options()
        return bool(options.get(AUTOCOMMITS)) and not self.is_used and not _read_listeners.has_others()

    async def read_directly(self, statement: Select[Any], parameters: Mapping[str, Any]) -> Sequence[Row[Any]]:
        """Read rows on a connection that is given back at once.

        Args:
            statement: A select of columns, which `reads_directly` allows to go past SQLAlchemy's session.
            parameters: Its values.

        Raises:
            SessionMisused: Another task uses the session, or its unit of work has ended.
            SQLAlchemyError: The database refused the statement.
        """
        self._ownership.check()
        engine = self._engine.sync_engine
        opened: list[Connection] = []

        def read() -> Sequence[Row[Any]]:
            connection = engine.connect()
            opened.append(connection)
            rows = connection.execute(statement, parameters).all()
            connection.close()
            return rows

        try:
            return await greenlet_spawn(read)
        except BaseException:
            for connection in opened:
                await run_to_completion(_give_back(connection))
            raise

    async def commit(self) -> NoReturn:
        """Refuse: half of the work would be kept whatever happens next.

        Raises:
            SessionMisused: Always.
        """
        raise SessionMisused(
            "the unit of work commits, once, after the handler has returned; "
            "call flush() to see errors of the database earlier, or use db.transaction() for a separate transaction"
        )

    async def commit_unit(self) -> None:
        """Commit, on behalf of the unit of work."""
        if self.is_used:
            await super().commit()

    async def stream(self, statement: Any, *arguments: Any, **options: Any) -> AsyncResult[Any]:
        """Stream the rows of a statement; take them in batches: `async for rows in result.partitions(1000)`.

        PostgreSQL has cursors inside transactions only, and a session that reads is in none: its first stream begins
        one, REPEATABLE READ and READ ONLY, which ends with the session.
        """
        known = self.get_bind().get_execution_options()
        transaction = None if "isolation_level" in known else known.get(STREAM_OPTIONS)
        if transaction is not None and not self.sync_session.info.get(STREAM_OPTIONS):
            await self.commit_unit()  # gives the connection back that is in no transaction; objects stay
            await self.connection(execution_options=transaction)
            self.sync_session.info[STREAM_OPTIONS] = True
        result: AsyncResult[Any] = await super().stream(statement, *arguments, **options)
        return result

    async def end(self) -> None:
        """Close for good, on behalf of the unit of work."""
        try:
            if self.is_used:
                await self.close()
        except SQLAlchemyError as error:
            _log_broken(error)
            await self.invalidate()
        finally:
            self._ownership.ended = True


async def _give_back(connection: Connection) -> None:
    """Close a connection after a failure."""
    try:
        await greenlet_spawn(connection.close)
    except SQLAlchemyError as error:
        _log_broken(error)
        if not connection.closed:
            await greenlet_spawn(connection.invalidate)


def _log_broken(error: SQLAlchemyError) -> None:
    # Nothing is lost that was not lost before, and the error in hand, if there is one, says more.
    logger.info("a connection broke while its work was rolled back: %s", type(error).__name__)


@event.listens_for(OwnedSession, "do_orm_execute")
def _refuse_lazy_load(state: ORMExecuteState) -> Result[Any] | None:
    if in_greenlet():
        return None  # the load was awaited: it does not come from reading an attribute
    parent = state.lazy_loaded_from
    if parent is not None:
        attribute: Any = state.loader_strategy_path[-1] if state.loader_strategy_path is not None else None
        if isinstance(attribute, RelationshipProperty) and is_known_empty(parent, attribute):
            return nothing()
        name = f"{parent.class_.__name__}.{getattr(attribute, 'key', '?')}"
        raise LazyLoadRefused(
            f"{name} was not loaded, and reading an attribute cannot await: load it with the query, "
            f".options(selectinload({name})), or await session.refresh(entity, [{name}.key])"
        )
    entity = state.bind_mapper.class_.__name__ if state.bind_mapper is not None else "entity"
    # SQLAlchemy 2.1 has no public name for what is being loaded; test_unit.py fails when this one moves.
    options = getattr(state.statement, "_compile_options", None)
    names = ", ".join(f"{entity}.{name}" for name in sorted(getattr(options, "_only_load_props", None) or ["?"]))
    raise LazyLoadRefused(
        f"{names} is expired or deferred, and reading an attribute cannot await: "
        f"await session.refresh(entity) first, or load it with the query, .options(undefer({names}))"
    )
