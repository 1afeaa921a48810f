"""A Python console that awaits: statements run one after the other in the task that opened it."""

import ast
import asyncio
import code
import contextlib
import inspect
import linecache
import signal
import traceback
import types
from collections.abc import Iterator
from typing import Any


class Console(code.InteractiveInterpreter):
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
                lines.append(read_line("... " if lines else ">>> "))
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
            with interruptible():
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


def read_line(prompt: str) -> str:
    """Read a line, with Ctrl-C raising KeyboardInterrupt: the loop's own handler would cancel the console."""
    handler = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        return input(prompt)
    finally:
        signal.signal(signal.SIGINT, handler)


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
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


def enable_line_editing(names: dict[str, Any]) -> None:
    """Let the arrow keys and Tab work, where Python was built with readline."""
    with contextlib.suppress(ImportError):
        import readline
        import rlcompleter

        readline.set_completer(rlcompleter.Completer(names).complete)
        readline.parse_and_bind("tab: complete")
