"""`--reload`: a service that starts anew when its code changes, on a developer's own machine.

The service runs in a child process, which is forked before anything of it is imported. Its parent looks at the files.
"""

import contextlib
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

_LOOK = 0.3  # seconds between two looks at the files
_QUIET = 0.1  # seconds without a change before the service starts anew: editors save in several steps
_PATIENCE = 1.0  # seconds for a stop before it is hastened
_SUFFIXES = (".py", ".html", ".jinja", ".j2", ".toml")
_SKIPPED = frozenset({"__pycache__", "node_modules", "site-packages"})
_STOPS = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP}
_REFUSED = 5  # of the child alone

Serve = Callable[[int], int]
"""Serves in the child until SIGTERM, or until the descriptor is at its end; returns the exit code.

It raises `ReloadRefused` where nothing is to be waited for.
"""


class ReloadRefused(Exception):
    """The service does not start again when its code changes; the reason has been said."""


class Reloader:
    """Runs a service, and starts it anew whenever one of its files changes.

    Args:
        serve: Run in the child.
        directories: The Python files and templates in these and below them are watched.
        files: These are watched, too, whether they exist or not.
        say: Called with a line for the developer.
    """

    def __init__(
        self, serve: Serve, *, directories: Sequence[Path], files: Sequence[Path], say: Callable[[str], None]
    ) -> None:
        self._serve = serve
        self._directories = directories
        self._files = files
        self._say = say
        self._child: int | None = None
        self._life, self._held = os.pipe()  # the parent alone holds the second end; with it the child ends
        self._watched = {signal.SIGCHLD, *_STOPS}

    def run(self) -> int:
        """Run until SIGINT, SIGTERM or SIGHUP, and return the exit code of the service.

        A service that does not start, or ends, waits for the next change; one that refuses to be reloaded does not.

        Raises:
            ReloadRefused: It refuses.
        """
        before = signal.pthread_sigmask(signal.SIG_BLOCK, self._watched)
        try:
            while True:
                seen = self._look()
                self._start(before)
                while (changed := _find_change(seen, self._look())) is None:
                    number = self._wait(_LOOK)
                    if number is not None:
                        return self._stop(number)
                    self._note_end()
                self._say(f"{changed} has changed")
                self._stop(None)
                while (latest := self._look()) != seen:
                    seen = latest
                    time.sleep(_QUIET)
        finally:
            if self._child is not None:
                os.kill(self._child, signal.SIGKILL)
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def _start(self, mask: set[signal.Signals] | set[int]) -> None:
        sys.stdout.flush()
        sys.stderr.flush()
        self._child = os.fork()
        if self._child:
            return
        code = 1
        try:
            os.close(self._held)
            sys.dont_write_bytecode = True  # after two saves within a second the file would be out of date
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
            code = self._serve(self._life)
        except ReloadRefused:
            code = _REFUSED
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)

    def _note_end(self) -> None:
        code = self._reap()
        if code == _REFUSED:
            raise ReloadRefused
        if code is not None:
            self._say("the service has ended; it starts again after the next change")

    def _reap(self) -> int | None:
        """Return the exit code of the child if it has ended just now."""
        if self._child is None:
            return None
        pid, status = os.waitpid(self._child, os.WNOHANG)
        if not pid:
            return None
        self._child = None
        return os.waitstatus_to_exitcode(status)

    def _wait(self, seconds: float) -> signal.Signals | None:
        """Return the signal to stop that comes within a time."""
        received = signal.sigtimedwait(self._watched, seconds)
        if received is None or received.si_signo == signal.SIGCHLD:
            return None
        return signal.Signals(received.si_signo)

    def _stop(self, number: signal.Signals | None) -> int:
        """Stop the child and return its exit code.

        Args:
            number: The signal that asks for it; a change of the files if there is none.
        """
        if number is not signal.SIGINT:  # the terminal has sent that one to the child as well
            self._terminate()
        again_at = time.monotonic() + _PATIENCE
        is_hastened = number in {None, signal.SIGINT}
        while self._child is not None:
            if (code := self._reap()) is not None:
                return code
            if self._wait(0.05) is not None:
                self._terminate()
            elif is_hastened and time.monotonic() >= again_at:
                is_hastened = False
                self._terminate()
        return 0

    def _terminate(self) -> None:
        if self._child is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._child, signal.SIGTERM)

    def _look(self) -> dict[str, tuple[int, int]]:
        """Return time and size of all files, by path."""
        found: dict[str, tuple[int, int]] = {}
        for path in (*map(str, self._files), *(path for top in self._directories for path in _walk(str(top)))):
            with contextlib.suppress(OSError):
                state = os.stat(path)
                found[path] = state.st_mtime_ns, state.st_size
        return found


def _walk(directory: str) -> Iterator[str]:
    try:
        entries = list(os.scandir(directory))
    except OSError:
        return
    if any(entry.name == "pyvenv.cfg" for entry in entries):
        return  # an environment
    for entry in entries:
        if entry.name.endswith(_SUFFIXES):
            yield entry.path
        elif not entry.name.startswith(".") and entry.name not in _SKIPPED and entry.is_dir(follow_symlinks=False):
            yield from _walk(entry.path)


def _find_change(before: dict[str, tuple[int, int]], now: dict[str, tuple[int, int]]) -> str | None:
    """Return the path of a file that has changed, come or gone."""
    if before == now:
        return None
    return next(path for path in {**before, **now} if before.get(path) != now.get(path))
