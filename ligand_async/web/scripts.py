"""Scripts: functions and commands that run while the app runs without a server, and get services by annotation."""

import asyncio
import copy
import functools
import inspect
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, contextmanager
from typing import Any

import click
from quart.cli import AppGroup
from sqlalchemy import MetaData
from sqlalchemy.exc import SQLAlchemyError
from werkzeug.exceptions import HTTPException

from ligand_async.data import problem_of
from ligand_async.errors import Problem
from ligand_async.web.depends import ServiceError
from ligand_async.web.quart import LigandQuart
from ligand_async.web.services import services_of

_Function = Callable[..., Any]


class ServiceCommands(AppGroup):
    """`app.cli`, with commands that are coroutine functions.

    Such a command runs while the app runs. Its parameters that are not options or arguments of click get services
    by annotation, as in a handler. Other commands are as in Quart. Commands of blueprints are among them.

    Args:
        app: The app of the commands.
    """

    def __init__(self, app: LigandQuart) -> None:
        super().__init__(name=app.name)
        self._app = app

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return a command that can be invoked."""
        command = super().get_command(ctx, cmd_name)
        return None if command is None else self._prepare(command)

    def _prepare(self, command: click.Command) -> click.Command:
        # A copy: a blueprint and its commands may belong to several apps.
        prepared = copy.copy(command)
        if isinstance(prepared, click.Group):
            prepared.commands = {name: self._prepare(inner) for name, inner in prepared.commands.items()}
        callback = prepared.callback
        if callback is not None and inspect.iscoroutinefunction(inspect.unwrap(callback)):
            prepared.callback = self._run_by_click(callback)
        return prepared

    def _run_by_click(self, callback: _Function) -> _Function:
        @functools.wraps(callback)
        def run(**arguments: Any) -> Any:
            return run_script(self._app, callback, arguments)

        return run


def run_script(app: LigandQuart, function: _Function, arguments: Mapping[str, Any]) -> Any:
    """Run the app, call a function with its services, and stop the app: the whole of a command.

    SIGINT and SIGTERM cancel the function, and the app stops. A second signal ends the process at once.

    Args:
        app: The app; it must not run yet.
        function: A function or a coroutine function.
        arguments: Its parameters that are not services, by name.

    Returns:
        What the function returns.

    Raises:
        ClickException: The app did not start, a service is missing, a problem was raised, or the database cannot be
            reached: one message on stderr, and exit code 1.
        SystemExit: A signal came: exit code 130 or 143.
    """
    if not _in_loop():
        return _run(app, function, arguments)
    context = click.get_current_context(silent=True)  # of this thread

    def run() -> Any:
        with contextmanager(_nothing)() if context is None else context.scope(cleanup=False):
            return _run(app, function, arguments)

    with ThreadPoolExecutor(1) as threads:  # in an async test
        return threads.submit(run).result()


def _nothing() -> Iterator[None]:
    yield


def _in_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def _run(app: LigandQuart, function: _Function, arguments: Mapping[str, Any]) -> Any:
    signals = _Signals()

    async def main() -> Any:
        async with AsyncExitStack() as stack:
            try:
                await stack.enter_async_context(app.running())
            except Exception as error:
                raise click.ClickException(f"the service did not start: {_describe(error)}") from error
            with signals.cancel_task():
                return await services_of(app).call(signals.interrupt(function), arguments)

    with signals, _plain_errors():
        return asyncio.run(main())


@contextmanager
def _plain_errors() -> Iterator[None]:
    """Turn an error that is not a bug into one message."""
    try:
        yield
    except HTTPException as problem:
        raise click.ClickException(_words_of(problem)) from problem
    except ServiceError as error:
        raise click.ClickException(str(error)) from error
    except SQLAlchemyError as error:
        known = problem_of(error, MetaData())
        if known is None or known.status < 500:  # a value or a statement that the database refuses is a bug
            raise
        raise click.ClickException(_words_of(known)) from error


def _words_of(problem: HTTPException) -> str:
    lines = [f"{problem.name}: {problem.description}" if problem.description else problem.name]
    lines += [f"- {part.detail}" for part in problem.errors] if isinstance(problem, Problem) else []
    return "\n".join(lines)


def _describe(error: BaseException) -> str:
    text = str(error)
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


class _Signals:
    """SIGINT and SIGTERM: the first one stops the function and then the app, the second one ends the process."""

    def __init__(self) -> None:
        self._received: int | None = None
        self._stop: Callable[[int], None] | None = None
        self._before: dict[int, Any] = {}

    def __enter__(self) -> None:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._receive)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: Any) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        if self._received is not None and (error is None or isinstance(error, asyncio.CancelledError)):
            raise SystemExit(128 + self._received) from error

    def _receive(self, number: int, _frame: Any) -> None:
        self._received = number
        for known in self._before:
            signal.signal(known, signal.SIG_DFL)
        if self._stop is not None:
            self._stop(number)

    @contextmanager
    def _stopping_by(self, stop: Callable[[int], None]) -> Iterator[None]:
        before, self._stop = self._stop, stop
        try:
            if self._received is not None:
                stop(self._received)
            yield
        finally:
            self._stop = before

    @contextmanager
    def cancel_task(self) -> Iterator[None]:
        """Let a signal cancel the running task while it is in the block, also one that came before."""
        task, loop = asyncio.current_task(), asyncio.get_running_loop()

        def cancel(_: int) -> None:
            if task is not None:
                loop.call_soon_threadsafe(task.cancel)

        with self._stopping_by(cancel):
            yield

    def interrupt(self, function: _Function) -> _Function:
        """Let a signal interrupt a function that cannot be cancelled, because it is not a coroutine function."""
        if inspect.iscoroutinefunction(inspect.unwrap(function)):
            return function

        @functools.wraps(function)
        def interrupted(*args: Any, **named: Any) -> Any:
            with self._stopping_by(_exit):
                return function(*args, **named)

        return interrupted


def _exit(number: int) -> None:
    raise SystemExit(128 + number)
