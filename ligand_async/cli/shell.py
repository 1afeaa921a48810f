"""`ligand shell`: a Python console that awaits, with the service in it."""

import ast
import asyncio
import code
import contextlib
import inspect
import linecache
import signal
import sys
import traceback
import types
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import click
from quart import Quart
from quart.cli import ScriptInfo, pass_script_info
from sqlalchemy.ext.asyncio import AsyncSession

from ligand_async.cli.service import load_app, open_database, run, service_with_database
from ligand_async.context import service_of
from ligand_async.data import Database, OwnedSession, observers_of, watch_session


@click.command("shell")
@pass_script_info
def shell(info: ScriptInfo) -> None:
    """Open a Python console that awaits, with app, db, a session and the models.

    What the session did is rolled back at the end unless `await session.commit()` was run. A program piped in is run
    as a whole; if it raises, the exit code is 1.
    """
    app = load_app(info)
    service_with_database(app)
    succeeded = run(lambda: _run_piped(app) if not sys.stdin.isatty() else _run_console(app))
    if not succeeded:
        raise click.exceptions.Exit(1)


async def _run_piped(app: Quart) -> bool:
    """Run the program on stdin; tell whether it ended without an exception."""
    source = await asyncio.to_thread(sys.stdin.read)
    async with _open_names(app) as names:
        return await _Console(names).run_program(source)


async def _run_console(app: Quart) -> bool:
    """Let somebody type."""
    async with _open_names(app) as names:
        _enable_line_editing(names)
        await _Console(names).interact(_banner_of(app, names))
    return True


@asynccontextmanager
async def _open_names(app: Quart) -> AsyncIterator[dict[str, Any]]:
    """Open the database and yield what the console knows by name."""
    async with open_database(app) as database, _open_session(app, database) as session:
        models = {mapper.class_.__name__: mapper.class_ for mapper in database.base.registry.mappers}
        yield models | {"__name__": "__console__", "app": app, "db": database, "session": session}


class _ConsoleSession(AsyncSession):
    """The session of a console."""

    sync_session_class = OwnedSession
    sync_session: OwnedSession


@asynccontextmanager
async def _open_session(app: Quart, database: Database) -> AsyncIterator[AsyncSession]:
    """Open a session that is committed by hand, and otherwise not at all; who sees flushes sees its, too."""
    async with _ConsoleSession(database.engines().write, expire_on_commit=False) as session:
        watch_session(session.sync_session, observers_of(app), logs=False)
        yield session


def _banner_of(app: Quart, names: dict[str, Any]) -> str:
    """Return what is printed first."""
    service = service_of(app)
    known = ", ".join(name for name in names if name != "__name__")
    return (
        f"{service.title} {service.version} ({service.settings.environment}). Here are: {known}.\n"
        "`await` works. The session's transaction begins with its first statement and holds what it locks:\n"
        "`await session.commit()` keeps what it did; `await session.rollback()`, or leaving, does not."
    )


class _Console(code.InteractiveInterpreter):
    """Compiles and runs Python with `await` at the top level.

    All statements run in one task, so that what one of them opens, such as a session, belongs to the next one, too.
    While it waits for a line, the loop stands still.
    """

    def __init__(self, names: dict[str, Any]) -> None:
        super().__init__(names)
        self.compile.compiler.flags |= ast.PyCF_ALLOW_TOP_LEVEL_AWAIT

    async def interact(self, banner: str) -> None:
        """Read statements from a terminal and run them, until the end of the input (Ctrl-D) or `exit()`.

        Args:
            banner: Printed first.
        """
        self.write(f"{banner}\n")
        lines: list[str] = []
        while True:
            try:
                lines.append(_read_line("... " if lines else ">>> "))
                if await self.run_source("\n".join(lines)):
                    continue
            except EOFError:
                self.write("\n")
                return
            except KeyboardInterrupt:
                self.write("\nKeyboardInterrupt\n")
            lines.clear()

    async def run_source(self, source: str) -> bool:
        """Run what was typed so far, if it is complete; tell whether more lines are needed."""
        try:
            compiled = self.compile(source, "<console>", "single")
        except (OverflowError, SyntaxError, ValueError):
            self.showsyntaxerror("<console>")
            return False
        if compiled is None:
            return True
        try:
            with _interruptible():
                await self.run_awaiting(compiled)
        except Exception as error:  # noqa: BLE001  (whatever a statement raises is shown)
            self.show(error)
        return False

    async def run_program(self, source: str) -> bool:
        """Run a whole program, as one that was piped in; tell whether it ended without an exception."""
        flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
        try:
            compiled = compile(source, "<stdin>", "exec", flags, dont_inherit=True)
        except (OverflowError, SyntaxError, ValueError):
            self.showsyntaxerror("<stdin>")
            return False
        linecache.cache["<stdin>"] = (len(source), None, source.splitlines(keepends=True), "<stdin>")
        try:
            await self.run_awaiting(compiled)
        except Exception as error:  # noqa: BLE001  (whatever the program raises is shown)
            self.show(error)
            return False
        return True

    async def run_awaiting(self, compiled: types.CodeType) -> None:
        """Run code, and await it if it awaits."""
        result = types.FunctionType(compiled, self.locals)()
        if inspect.isawaitable(result):
            await result

    def show(self, error: Exception) -> None:
        """Print a traceback that begins in what was typed."""
        trace = error.__traceback__
        while trace is not None and trace.tb_frame.f_code.co_filename == __file__:
            trace = trace.tb_next
        self.write("".join(traceback.format_exception(error.with_traceback(trace))))


def _read_line(prompt: str) -> str:
    """Read a line, with Ctrl-C raising KeyboardInterrupt: the loop's own handler would cancel the console."""
    handler = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        return input(prompt)
    finally:
        signal.signal(signal.SIGINT, handler)


@contextlib.contextmanager
def _interruptible() -> Iterator[None]:
    """Let Ctrl-C end what runs inside, and not the console; a second one what does not let itself be cancelled.

    Raises:
        KeyboardInterrupt: There was one.
    """
    task = asyncio.current_task()
    if task is None:
        raise RuntimeError("statements run in a task")
    loop = asyncio.get_running_loop()
    cancellation: asyncio.Handle | None = None

    def interrupt(number: int, frame: types.FrameType | None) -> None:
        nonlocal cancellation
        if cancellation is not None:
            signal.default_int_handler(number, frame)
        cancellation = loop.call_soon_threadsafe(task.cancel)

    handler = signal.signal(signal.SIGINT, interrupt)
    try:
        yield
    except asyncio.CancelledError:
        if cancellation is None:
            raise
        raise KeyboardInterrupt from None
    finally:
        signal.signal(signal.SIGINT, handler)
        if cancellation is not None:
            cancellation.cancel()
            task.uncancel()


def _enable_line_editing(names: dict[str, Any]) -> None:
    """Let the arrow keys and Tab work, where Python was built with readline."""
    with contextlib.suppress(ImportError):
        import readline
        import rlcompleter

        readline.set_completer(rlcompleter.Completer(names).complete)
        readline.parse_and_bind("tab: complete")
