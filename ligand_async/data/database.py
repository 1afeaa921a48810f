"""The database of a service: its engines, and units of work for requests and for everything else."""

import asyncio
import functools
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TypeVar

from quart import Quart
from sqlalchemy import MetaData
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession
from sqlalchemy.orm import DeclarativeBase

from ligand_async.context import current_deadline, state_of
from ligand_async.data import digests
from ligand_async.data.aggregates import Aggregates
from ligand_async.data.audit.guard import OWN as AUDIT_OWN
from ligand_async.data.audit.trail import AuditTrail
from ligand_async.data.engines import (
    Engines,
    check_database_urls,
    is_sqlite,
    make_engine,
    naming_setting,
    parse_database_url,
)
from ligand_async.data.idempotency import make_idempotency_table
from ligand_async.data.readiness import DatabaseCheck, SchemaCheck
from ligand_async.data.unit import UnitOfWork, may_run_again, pause_before
from ligand_async.data.variables import Variables, VariablesOf
from ligand_async.marks import SessionMode
from ligand_async.protocols import HealthCheck
from ligand_async.settings import Settings, SettingsError
from ligand_async.tasks import run_to_completion, this_app

logger = logging.getLogger(__name__)

T = TypeVar("T")
_Work = Callable[[UnitOfWork], Awaitable[T]]


class Database:
    """A service's models and how to reach where they are stored.

    It holds no connection itself: engines are made when an app starts and belong to that app, so one `Database` can
    serve several apps in one process, in turn or at once.

    Args:
        base: The service's declarative base, with `Model` mixed in.
        audit: The audit trail; adds the table `audit_event`, for which a service has a migration like for
            any other.
        idempotency: Whether to store the replies of `@idempotent` operations; adds the table `idempotency_key`, for
            which a service has a migration like for any other.
        variables: Makes settings of PostgreSQL, such as `{"app.tenant": "acme"}`, of the caller or of None. Every
            session has them, so that policies of row-level security can read them. A role that passes policies, a
            superuser for instance, is refused at the start.
        ignore_variables_on_sqlite: SQLite has no policies, so that an app with variables refuses to start there. True
            lets it start, and nothing separates the tenants.

    Attributes:
        idempotency_key: That table, or None.

    Raises:
        TypeError: `variables` is not a plain function.
    """

    def __init__(
        self,
        base: type[DeclarativeBase],
        *,
        audit: AuditTrail | None = None,
        idempotency: bool = False,
        variables: VariablesOf | None = None,
        ignore_variables_on_sqlite: bool = False,
    ) -> None:
        self.base = base
        self.audit = audit
        if audit is not None:
            audit.bind(base)
        self._aggregates: Aggregates | None = None
        self._variables = None if variables is None else Variables(variables, on_sqlite=ignore_variables_on_sqlite)
        self.idempotency_key = make_idempotency_table(base.metadata) if idempotency else None

    @property
    def metadata(self) -> MetaData:
        """The tables of the service."""
        return self.base.metadata

    def init_app(self, app: Quart, settings: Settings) -> None:
        """Open the engines when the app starts and close them when it stops.

        Raises:
            SettingsError: A database URL is not valid or names another database.
        """
        check_database_urls(settings)
        state_of(app).get_or_make(_Databases)[self] = _Opened(settings)
        app.before_serving(functools.partial(self.start, app))
        if self.audit is not None:
            self.audit.init_app(app, self.transaction)
        app.after_serving(functools.partial(self.stop, app))

    async def start(self, app: Quart) -> None:
        """Make the engines of an app in the running loop. A service starts also while PostgreSQL does not answer.

        Raises:
            RuntimeError: `init_app` was not called for this app.
            SettingsError: There are variables, and the policies that read them would not hold.
        """
        opened = self._opened_in(app)
        if opened is None:
            raise RuntimeError(f"app {app.name!r} does not use this database; pass it to create_app(database=…)")
        self._aggregates = Aggregates(self.base)
        opened.engines, opened.loop = Engines(opened.settings), asyncio.get_running_loop()
        if self._aggregates:
            self._aggregates.listen(opened.engines.write)
        if digests.has_digests(self.base):
            digests.listen(opened.engines.write)
        if self.audit is not None:
            self.audit.guard(opened.engines.write, opened.settings.audit_bulk)
        try:
            if self._variables is not None:
                self._variables.listen(opened.engines.all())
            if self._variables is not None or is_sqlite(opened.engines.write.url):
                await opened.engines.try_to_connect()
        except SettingsError:
            await self.stop(app)
            raise

    async def stop(self, app: Quart) -> None:
        """Close the engines of an app, within a few seconds each."""
        opened = self._opened_in(app)
        if opened is not None and opened.engines is not None:
            engines, opened.engines = opened.engines, None
            await engines.dispose()

    def migration_engine(self, settings: Settings) -> AsyncEngine:
        """Make an engine for migrations: unpooled, and past a pooler where `database_direct_url` says how."""
        key, direct = "database_url", settings.database_url
        if settings.database_direct_url is not None:
            key, direct = "database_direct_url", settings.database_direct_url
            settings = settings.model_copy(update={"database_pooler": "none"})
        with naming_setting(settings, key):
            return make_engine(parse_database_url(direct.get_secret_value()), settings, reads=False, pooled=False)

    def engines(self) -> Engines:
        """Return the engines of the current app.

        Raises:
            RuntimeError: There is no current app, or it has not been started, or it was in another event loop.
        """
        app = this_app()
        opened = self._opened_in(app)
        if opened is None or opened.engines is None:
            raise RuntimeError(
                f"the database of app {app.name!r} is not open: engines live from start to stop. "
                "In a test, use `async with app.test_app()`; in a script, `async with app.running()`"
            )
        if opened.loop is not asyncio.get_running_loop():
            raise RuntimeError(
                f"the database of app {app.name!r} was opened in another event loop, and its connections belong to "
                "that one. Start the app in the loop that uses it: in a test, give the fixture that starts it the "
                "loop_scope of the tests; from another thread, use asyncio.run_coroutine_threadsafe()"
            )
        return opened.engines

    def _opened_in(self, app: Quart) -> "_Opened | None":
        return state_of(app).get_or_make(_Databases).get(self)

    @asynccontextmanager
    async def transaction(self, *, variables: Mapping[str, str] | None = None) -> AsyncIterator[AsyncSession]:
        """Open a session that writes, outside a request or beside the request's own.

        The block's end commits and then runs the `on_commit` callbacks; an exception in it rolls back. Once the commit
        has begun it goes on to its end even if the task is cancelled. One inside another is a transaction of its own;
        SQLite has one writer, so there the inner one waits for the pool in vain.

        Args:
            variables: Settings of PostgreSQL for this session instead of those of the caller; `{}` for nobody's.

        Raises:
            SQLAlchemyError: The database refused a statement or the commit at the end of the block.
            RuntimeError: There is no current app, or it has not been started.
        """
        engine = self._with_variables(self.engines().write, variables)
        async with UnitOfWork(engine, app=this_app(), aggregates=self._aggregates) as unit:
            yield unit.session
            with current_deadline().commit():  # in this task, which the deadline would cancel
                await run_to_completion(unit.commit())

    @asynccontextmanager
    async def read(
        self, *, mode: SessionMode = "read", variables: Mapping[str, str] | None = None
    ) -> AsyncIterator[AsyncSession]:
        """Open a session that reads: the database refuses every write on it.

        Args:
            mode: `"read"`, `"snapshot"` for one moment across several statements, or `"replica"`.
            variables: Settings of PostgreSQL for this session instead of those of the caller; `{}` for nobody's.

        Raises:
            ValueError: The mode is `"write"`; that is `transaction()`.
            RuntimeError: There is no current app, or it has not been started.
        """
        if mode == "write":
            raise ValueError('read(mode="write") is db.transaction()')
        engine = self._with_variables(self.engines().select(mode), variables)
        async with UnitOfWork(engine, commits=False) as unit:
            yield unit.session

    def variables_of_caller(self) -> Mapping[str, str]:
        """Return the variables that sessions of the current caller have; none without `variables=`.

        Raises:
            TypeError: The service's function did not return a mapping of text to text.
            ValueError: A name or a value cannot be set.
        """
        return {} if self._variables is None else self._variables.of_caller()

    def _with_variables(self, engine: AsyncEngine, values: Mapping[str, str] | None) -> AsyncEngine:
        if values is None:
            return engine
        if self._variables is None:
            raise RuntimeError(
                "variables= needs Database(Base, variables=…): only then does the app check that policies hold"
            )
        return self._variables.give(engine, values)

    async def run(self, work: _Work[T], *, mode: SessionMode, retry_safe: bool = False) -> T:
        """Run work in a unit of work and commit it, in the calling task.

        `run_until_deadline` shields it from a client that goes away. The deadline stops the work, but not a commit.

        Args:
            work: Takes the unit; what it returns is returned after the commit.
            mode: Which engine the session is on.
            retry_safe: Whether the work may run again (up to 3 times in all) after a failed serialization. Reads are
                always run again once when their connection turns out to be dead.

        Raises:
            SQLAlchemyError: The database refused a statement or the commit; the work is rolled back.
            Problem: The deadline has passed; the work is rolled back.
        """
        engines = self.engines()
        app = None if mode != "write" else this_app()
        aggregates = self._aggregates if mode == "write" else None
        attempt = 1
        while True:
            try:
                async with UnitOfWork(engines.select(mode), app=app, aggregates=aggregates) as unit:
                    async with current_deadline().limit():
                        result = await work(unit)
                    await unit.commit()
                    return result
            except SQLAlchemyError as error:
                if not may_run_again(error, attempt, reads=mode != "write", retry_safe=retry_safe):
                    raise
                logger.info("running a unit of work again after %s", type(error).__name__)
            await pause_before(attempt)
            attempt += 1

    async def create_tables(self) -> None:
        """Create the tables that are missing, for examples and tests; a service has migrations.

        Raises:
            SQLAlchemyError: The database refused a statement.
        """
        async with self.transaction() as session:
            connection = await session.connection(execution_options={AUDIT_OWN: True})
            await connection.run_sync(self.metadata.create_all)

    def health_checks(self, app: Quart, settings: Settings) -> list[HealthCheck]:
        """Return the checks that a service needs in order to be ready: the database answers, and has its tables."""

        def probe() -> AsyncEngine:
            return self.engines().probe

        return [DatabaseCheck(probe), SchemaCheck(probe, self, settings, app.root_path)]


@dataclass(slots=True)
class _Opened:
    """A database in one app: its engines live from start to stop."""

    settings: Settings
    engines: Engines | None = None
    loop: asyncio.AbstractEventLoop | None = None


class _Databases(dict[Database, _Opened]):
    """The databases of one app."""
