"""Several processes that serve one address: started, watched, replaced and stopped by a supervisor.

The supervisor loads the app, opens the socket and forks; it serves nothing itself. Its pipes tell it when a worker
serves or why it did not start, and tell a worker when the supervisor is gone.
"""

import contextlib
import logging
import os
import select
import signal
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from quart import Quart

from ligand_async.ops.addresses import Listener, ServerError
from ligand_async.ops.server import STOP_SECONDS, ForcedStop, longest_stop, serve_on
from ligand_async.ops.tls import certificate_of
from ligand_async.settings import Settings

logger = logging.getLogger(__name__)

_FIRST_PAUSE = 0.1  # seconds before a worker that did not live long is replaced; doubled each time
_LONGEST_PAUSE = 5.0
_LONGEST_PAUSE_OF_SERVING = 1.0  # where it has served
_LONG_LIFE = 5.0  # seconds
_MOST_FAILURES = 5  # in a row, while no worker serves
_SPARE = 1.0  # seconds, for a worker to end itself before it is killed
_PASSED_ON = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP}

Serve = Callable[[Callable[[], None], int], None]
"""Serves in a worker, calls the function once it does, and stops when the descriptor is readable."""


def run_workers(
    app: Quart, settings: Settings, *, listeners: Sequence[Listener], management: Listener | None = None, count: int
) -> None:
    """Serve an app in several processes until SIGINT or SIGTERM.

    A worker that dies is replaced. Each keeps to the limits of `run` by itself, so there are as many database pools and
    counters of rate limits as workers.

    Args:
        app: As `create_app` made it.
        settings: The app's.
        listeners: Where it is served; their sockets belong to the server from now on.
        management: Where its health pages are served instead, by any of the workers.
        count: How many processes.

    Raises:
        ServerError: The app does not start, or the certificate cannot be used.
        WorkersLost: No worker is left, and new ones do not start.
        ForcedStop: A worker cut something.
    """

    def serve(announce: Callable[[], None], life: int) -> None:
        serve_on(listeners, app, settings, management=management, announce=announce, life=life)

    def stop_listening() -> None:
        for listener in (*listeners, *([] if management is None else [management])):
            listener.socket.close()  # the workers have theirs

    has_tls = certificate_of(settings) is not None  # the workers read it again; here a mistake is one line
    supervisor = Supervisor(serve, stop_listening, count=count, longest_stop=longest_stop(settings))
    supervisor.run(renews=has_tls)


class WorkersLost(ServerError):
    """No worker serves, and new ones die while they start."""

    exit_code = 4


@dataclass(eq=False)
class _Worker:
    pid: int
    status: int  # the descriptor on which it says that it serves, or why it does not
    since: float
    is_serving: bool = False
    is_counted: bool = False  # as one that serves
    reason: str = field(default="")

    def read_status(self) -> None:
        if self.status >= 0 and select.select([self.status], [], [], 0)[0]:
            text = os.read(self.status, 4096).decode(errors="replace")
            if text == "serving":
                self.is_serving = True
            else:
                self.reason = text
                os.close(self.status)
                self.status = -1


class Supervisor:
    """Keeps a number of workers running.

    Args:
        serve: Run in each worker.
        stop_listening: Called in the supervisor when it stops.
        count: How many workers.
        longest_stop: Seconds that a worker may take to stop; what lives longer is killed.
    """

    def __init__(self, serve: Serve, stop_listening: Callable[[], None], *, count: int, longest_stop: float) -> None:
        self._serve = serve
        self._stop_listening = stop_listening
        self._count = count
        self._longest_stop = longest_stop
        self._workers: dict[int, _Worker] = {}
        self._watched = {signal.SIGCHLD, *_PASSED_ON}
        self._life, self._held = os.pipe()  # the supervisor alone holds the second end; with it the first one ends
        self._failures = 0  # in a row, of workers that did not serve
        self._short_lives = 0  # in a row, of all
        self._has_served = False
        self._not_before = 0.0
        self._codes: list[int] = []

    def run(self, *, renews: bool = False) -> None:
        """Run until SIGINT or SIGTERM; both are passed on, as often as they come.

        Args:
            renews: SIGHUP is passed on and stops nothing; else it stops like SIGTERM, unless it was ignored before.

        Raises:
            ServerError: The first workers do not start.
            WorkersLost: Later ones do not, and none is left.
            ForcedStop: A worker cut something, or was killed.
        """
        if not renews and signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
            self._watched.discard(signal.SIGHUP)
        before = signal.pthread_sigmask(signal.SIG_BLOCK, self._watched)
        try:
            while True:
                self._start_missing(before)
                received = signal.sigtimedwait(self._watched, 0.1)
                self._bury()
                number = signal.SIGCHLD if received is None else signal.Signals(received.si_signo)
                if number == signal.SIGHUP and renews:
                    self._send(number)
                elif number != signal.SIGCHLD:
                    break
            if renews:
                self._watched.discard(signal.SIGHUP)
            self._stop(number)
        finally:
            for worker in self._workers.values():
                os.kill(worker.pid, signal.SIGKILL)
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        if any(self._codes):
            raise ForcedStop("the service was stopped, but not all workers ended as they should; see above")

    def _start_missing(self, mask: set[signal.Signals] | set[int]) -> None:
        for worker in self._workers.values():
            worker.read_status()
            if worker.is_serving and not worker.is_counted:
                worker.is_counted = True
                self._has_served, self._failures = True, 0
        while len(self._workers) < self._count and time.monotonic() >= self._not_before:
            self._start(mask)

    def _start(self, mask: set[signal.Signals] | set[int]) -> None:
        reading, writing = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(reading)
            os.close(self._held)
            self._become_worker(writing, mask)
        os.close(writing)
        self._workers[pid] = _Worker(pid, reading, time.monotonic())
        logger.info("started worker %d", pid)

    def _become_worker(self, status: int, mask: set[signal.Signals] | set[int]) -> None:
        """Serve, and end the process; it never returns into the supervisor's code."""
        code = 1
        try:
            os.setpgid(0, 0)  # Ctrl-C goes to a whole group, and the supervisor passes it on
            signal.pthread_sigmask(signal.SIG_SETMASK, {*mask, *_PASSED_ON})  # until the server handles them
            self._serve(lambda: _write(status, "serving"), self._life)
            code = 0
        except ServerError as error:
            code = error.exit_code
            if code == ServerError.exit_code:
                _write(status, str(error))
            else:
                logger.critical("%s", error)
        except Exception:
            logger.critical("a worker failed", exc_info=True)
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)

    def _bury(self) -> None:
        """Take note of the workers that have died.

        Raises:
            ServerError: They die while they start.
        """
        for worker in list(self._workers.values()):
            pid, result = os.waitpid(worker.pid, os.WNOHANG)
            if pid == 0:
                continue
            worker.read_status()
            if worker.status >= 0:
                worker.read_status()
                if worker.status >= 0:
                    os.close(worker.status)
            del self._workers[pid]
            code = os.waitstatus_to_exitcode(result)
            how = f"by signal {-code}" if code < 0 else f"with exit code {code}"
            logger.error("worker %d ended %s%s", pid, how, f": {worker.reason}" if worker.reason else "")
            self._pause_after(worker)
            if not worker.is_serving:
                self._note_failure(worker)

    def _pause_after(self, worker: _Worker) -> None:
        now = time.monotonic()
        if worker.is_serving and now - worker.since >= _LONG_LIFE:
            self._short_lives = 0
            return
        self._short_lives = min(self._short_lives + 1, 10)
        longest = _LONGEST_PAUSE_OF_SERVING if worker.is_serving else _LONGEST_PAUSE
        self._not_before = now + min(longest, _FIRST_PAUSE * 2 ** (self._short_lives - 1))

    def _note_failure(self, worker: _Worker) -> None:
        self._failures += 1
        reason = worker.reason or "a worker died while it started"
        if not self._has_served:
            raise ServerError(reason)
        if self._failures >= _MOST_FAILURES and not any(other.is_serving for other in self._workers.values()):
            raise WorkersLost(f"no worker is left, and {self._failures} died while they started: {reason}")

    def _stop(self, number: signal.Signals) -> None:
        """Pass signals on until all workers have ended."""
        ends_at = time.monotonic() + self._longest_stop + _SPARE
        self._stop_listening()
        self._send(number)
        while self._workers and time.monotonic() < ends_at:
            received = signal.sigtimedwait(self._watched, 0.1)
            if received is not None and received.si_signo != signal.SIGCHLD:
                ends_at = min(ends_at, time.monotonic() + STOP_SECONDS + _SPARE)
                self._send(signal.Signals(received.si_signo))
            for pid in list(self._workers):
                ended, result = os.waitpid(pid, os.WNOHANG)
                if ended:
                    del self._workers[pid]
                    self._codes.append(os.waitstatus_to_exitcode(result))
        self._codes += [ForcedStop.exit_code] * len(self._workers)

    def _send(self, number: signal.Signals) -> None:
        for pid in self._workers:
            os.kill(pid, number)


def _write(descriptor: int, text: str) -> None:
    with contextlib.suppress(BrokenPipeError):  # the supervisor is gone, which the worker hears in another way
        os.write(descriptor, text.encode()[:4096])
