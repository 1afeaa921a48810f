"""`ligand shell`: a Python console that awaits, with the service in it."""

import ast
import asyncio
import code
import contextlib
import inspect
import linecache
import sys
import traceback
import types
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import click
from quart import Quart
from quart.cli import ScriptInfo, pass_script_info
from sqlalchemy.ext.asyncio import AsyncSession

from ligand_async.cli.output import one_message
from ligand_async.cli.service import load_app, open_database, service_with_database
from ligand_async.context import service_of
from ligand_async.data import Database, OwnedSession, observers_of, watch_session
from ligand_async.web import ServiceError, services_of


@click.command("shell")
@pass_script_info
def shell(info: ScriptInfo) -> None:
    """Open a Python console that awaits, with app, db, services, a session and the models.

    The console is IPython where that is installed. What the session did is rolled back at the end unless
    `await session.commit()` was run. A program piped in is run as a whole; if it raises, the exit code is 1.
    """
    app = load_app(info)
    service_with_database(app)
    # One loop and one context for all statements: between two of them the loop stands still.
    with asyncio.Runner() as runner:
        opened = AsyncExitStack()
        names = runner.run(opened.enter_async_context(_open_names(app)))
        try:
            if not sys.stdin.isatty():
                if not _Console(names, runner).run_program(sys.stdin.read()):
                    raise click.exceptions.Exit(1)
            elif not _start_ipython(names, runner, _write_banner(app, names)):
                _enable_line_editing(names)
                _Console(names, runner).interact(_write_banner(app, names), exitmsg="")
        finally:
            runner.run(opened.aclose())


@asynccontextmanager
async def _open_names(app: Quart) -> AsyncIterator[dict[str, Any]]:
    """Open the database, make the services, and yield the names that are defined in the console."""
    services = services_of(app)
    async with open_database(app) as database, AsyncExitStack() as stack:
        with one_message(misuse=(ServiceError,)):
            await services.start()
        stack.push_async_callback(services.stop)
        session = await stack.enter_async_context(_open_session(app, database))
        models = {mapper.class_.__name__: mapper.class_ for mapper in database.base.registry.mappers}
        names = {"app": app, "db": database, "services": services, "session": session}
        yield models | {"__name__": "__console__"} | names


class _ConsoleSession(AsyncSession):
    sync_session_class = OwnedSession
    sync_session: OwnedSession


@asynccontextmanager
async def _open_session(app: Quart, database: Database) -> AsyncIterator[AsyncSession]:
    """Open a session that only `await session.commit()` commits; its flushes reach the app's observers."""
    async with _ConsoleSession(database.engines().write, expire_on_commit=False) as session:
        watch_session(session.sync_session, observers_of(app), logs=False)
        yield session


def _write_banner(app: Quart, names: dict[str, Any]) -> str:
    service = service_of(app)
    defined = ", ".join(name for name in names if name != "__name__")
    return (
        f"{service.title} {service.version} ({service.settings.environment}). Defined are: {defined}.\n"
        "`await` works. The session's transaction begins with its first statement and holds its locks:\n"
        "`await session.commit()` keeps the changes; `await session.rollback()`, or leaving, does not."
    )


def _start_ipython(names: dict[str, Any], runner: asyncio.Runner, banner: str) -> bool:
    """Run IPython on the runner's loop until it is left; return False if it is not installed."""
    try:
        from IPython import start_ipython
        from traitlets.config import Config
    except ImportError:
        return False
    config = Config()
    config.InteractiveShell.loop_runner = lambda work: runner.run(work)  # a method would be copied, with its loop
    config.TerminalInteractiveShell.banner1 = f"{banner}\n"
    start_ipython(argv=[], user_ns=names, config=config)
    return True


class _Console(code.InteractiveConsole):
    """Python's own console with `await` at the top level, as in `python -m asyncio`.

    Ctrl-C is the runner's: it cancels a statement that awaits, and a second one interrupts any other.
    """

    def __init__(self, names: dict[str, Any], runner: asyncio.Runner) -> None:
        super().__init__(names)
        self.compile.compiler.flags |= ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
        self._runner = runner

    def runcode(self, code: types.CodeType) -> bool:  # type: ignore[override]  # Python's callers ignore the result
        """Run a statement, and await it if it awaits; return whether it ended without an exception."""
        try:
            self._runner.run(self._run(code))
        except Exception as error:  # noqa: BLE001  (whatever a statement raises is shown)
            trace = error.__traceback__
            while trace is not None and trace.tb_frame.f_code.co_filename != code.co_filename:
                trace = trace.tb_next
            self.write("".join(traceback.format_exception(error.with_traceback(trace))))
            return False
        return True

    def run_program(self, source: str) -> bool:
        """Run a whole program; return whether it ended without an exception."""
        filename = "<stdin>"
        try:
            compiled = compile(source, filename, "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)
        except (OverflowError, SyntaxError, ValueError):
            self.showsyntaxerror(filename)
            return False
        linecache.cache[filename] = (len(source), None, source.splitlines(keepends=True), filename)
        return self.runcode(compiled)

    async def _run(self, code: types.CodeType) -> None:
        result = types.FunctionType(code, self.locals)()
        if inspect.isawaitable(result):
            await result


def _enable_line_editing(names: dict[str, Any]) -> None:
    """Make the arrow keys and Tab work, where Python was built with readline."""
    with contextlib.suppress(ImportError):
        import readline
        import rlcompleter

        readline.set_completer(rlcompleter.Completer(names).complete)
        readline.parse_and_bind("tab: complete")
