"""The signals that a service sends, the signatures of their receivers, and how signals are delivered.

The sender is always the app. A receiver is a function or a coroutine function:

    @changes_committed.connect
    async def publish(app: Quart, *, changes: Sequence[Change]) -> None: ...

`connect` is for the signals of every app, and holds the receiver by a weak reference, as blinker does: a function
inside another, or a bound method, is gone with the last other reference to it. `connect_via(app)` is for one app, and
holds the receiver as long as the app lives. Give a receiver `**_` for the arguments that it does not use, also those
that a later release adds.
"""

import asyncio
import functools
import inspect
import logging
from collections import Counter
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any, TypeVar

from blinker import ANY, NamedSignal, Namespace
from quart import Quart, has_app_context

from ligand_async.context import service_of, state_of, unit_var
from ligand_async.tasks import ContainedExits, this_app

logger = logging.getLogger(__name__)

_signals = Namespace()

principal_authenticated = _signals.signal(
    "principal-authenticated",
    """A caller was authenticated. Receiver: `(app, *, principal: Principal)`. Sent beside the request.""",
)

authentication_failed = _signals.signal(
    "authentication-failed",
    """A request was refused with 401. Receiver: `(app, *, reason: str, problem: Problem)`. Sent beside the request.

    `reason` is one word: `missing`, the fault of a token (`expired`, `signature`), or `credentials`.
    """,
)

access_denied = _signals.signal(
    "access-denied",
    """A principal does not meet the requirement. Receiver: `(app, *, principal: Principal, requirement: Requirement)`.

    Sent beside the request, which is refused with 403.
    """,
)

changes_flushing = _signals.signal(
    "changes-flushing",
    """A unit of work is about to commit. Receiver: `(app, *, session: AsyncSession, changes: Sequence[Change])`.

    Sent in the unit, after a handler's flush and before its response is made, or at the end of a `db.transaction()`. An
    exception of a receiver, such as a problem, rolls the unit back and answers the request. Changes that a receiver
    makes with the session are flushed and sent again: `changes` holds those since the last time.
    """,
)

changes_committed = _signals.signal(
    "changes-committed",
    """A unit of work was committed. Receiver: `(app, *, changes: Sequence[Change])`. Sent after `on_commit`.""",
)

changes_rolled_back = _signals.signal(
    "changes-rolled-back",
    """A unit of work was rolled back. Receiver: `(app, *, changes: Sequence[Change])`: those that had been flushed.

    It is not sent if the connection broke during the commit: then the outcome is unknown.
    """,
)

operation_completed = _signals.signal(
    "operation-completed",
    """An operation was answered. Receiver: `(app, *, operation_id: str, principal: Principal | None, status: int,
    duration: float)`.

    The duration is in seconds, until the head of the response. Sent beside the response, which does not wait. If the
    client leaves before the response, there is no status and no signal.
    """,
)

token_keys_rotated = _signals.signal(
    "token-keys-rotated",
    """The keys of an issuer have changed. Receiver: `(app, *, issuer: str, kids: Sequence[str | None])`.""",
)

service_started = _signals.signal(
    "service-started",
    """The functions before serving have run. Receiver: `(app)`. The first request waits for the receivers.""",
)

service_draining = _signals.signal(
    "service-draining",
    """The service is about to stop. Receiver: `(app)`.

    `ligand serve` sends it when it is told to stop, before the drain delay and the grace period: connections are still
    accepted, and streams and websockets may say good-bye. Other servers do when they have stopped listening. Either way
    it is sent before background tasks are awaited and before anything is closed.
    """,
)

_own_signals = Namespace()

F = TypeVar("F", bound=Callable[..., Any])


class Signal:
    """A signal that a service sends, with the app as its sender.

        report_ready = Signal("report-ready")

        @report_ready.connect
        async def mail_report(app: Quart, *, report_id: UUID) -> None: ...

    Two of one name are the same signal. `app.signal(name)` makes one that is sent and received for that app alone.

    Args:
        name: By convention a noun and a participle, with a hyphen.
        app: The app that sends, and whose signals `connect` is for; by default the current one, and every one.
    """

    def __init__(self, name: str, *, app: Quart | None = None) -> None:
        self.name = name
        self._app = app
        self._signal = _own_signals.signal(name)

    def connect(self, receiver: F, *, weak: bool = True) -> F:
        """Connect a function or coroutine function as a receiver; also a decorator.

        Args:
            receiver: Called with the app and, by keyword, with the values that were sent.
            weak: Hold it by a weak reference only: functions inside others and methods are then gone soon.
        """
        return self._signal.connect(receiver, sender=ANY if self._app is None else self._app, weak=weak)

    def connect_via(self, app: Quart) -> Callable[[F], F]:
        """Return a decorator that connects a receiver to one app, for as long as the app lives."""
        return self._signal.connect_via(app)

    def disconnect(self, receiver: Callable[..., Any]) -> None:
        """Disconnect a receiver."""
        self._signal.disconnect(receiver)

    async def send(self, **values: Any) -> None:
        """Send the signal to its receivers.

        In a unit of work it is sent after the commit, and not at all after a rollback. Elsewhere it is sent at once.
        Either way each receiver has `signal_timeout` seconds. What it raises is logged and changes nothing.

        Args:
            **values: The arguments of the receivers.

        Raises:
            RuntimeError: No app is current, and the signal was made without one.
        """
        app: Quart = self._app or this_app()
        if not receivers_of(self._signal, app):
            return
        unit = unit_var.get()
        if unit is None or unit.ended:
            await deliver(self._signal, app, **values)
        else:
            unit.after_commit(functools.partial(deliver, self._signal, app, **values))


_CANCEL_SECONDS = 0.25  # seconds, for a receiver that was cancelled to end

Receiver = Callable[..., Any]


class ReceiverTimedOut(RuntimeError):
    """A receiver that the sender waits for did not end within the setting `signal_timeout`."""


def receivers_of(signal: NamedSignal, app: Quart) -> list[Receiver]:
    """Return the receivers of a signal that listen to an app."""
    if not signal.receivers or signal.is_muted:
        return []
    return list(signal.receivers_for(app))


def failures_of(app: Quart) -> Counter[str]:
    """Return how many receivers have failed or timed out in an app, by the name of the signal."""
    return state_of(app).get_or_make(_Failures)


class _Failures(Counter[str]):
    """The failures of one app's receivers."""


async def consult(signal: NamedSignal, app: Quart, /, **values: Any) -> None:
    """Call the receivers of a signal one after the other, in this task, and let through what one raises.

    Raises:
        ReceiverTimedOut: One did not end in time.
        TypeError: One returned something: a receiver refuses by raising.
    """
    for receiver in receivers_of(signal, app):
        seconds = _timeout_of(app)
        with ContainedExits():
            try:
                async with asyncio.timeout(seconds) as limit:
                    answer = await _call_receiver(receiver, app, values)
            except TimeoutError as error:
                if not limit.expired():
                    raise
                raise ReceiverTimedOut(
                    f"receiver {_name_of(receiver)} of {signal.name} did not end within {seconds} s; "
                    "it holds a transaction open, so make it shorter or raise the setting signal_timeout"
                ) from error
        if answer is not None:
            raise TypeError(
                f"receiver {_name_of(receiver)} of {signal.name} returned {type(answer).__name__}; a receiver refuses "
                "by raising an exception, and returns None"
            )


async def deliver(signal: NamedSignal, app: Quart, /, **values: Any) -> None:
    """Call the receivers of a signal, each in a task of its own, and wait for them up to `signal_timeout`.

    What a receiver raises is logged and counted, and changes nothing. One that does not end in time is cancelled. If
    the waiting task is cancelled, the receivers go on.
    """
    tasks = _start_receivers(signal, app, values)
    if tasks:
        await asyncio.wait(tasks, timeout=_timeout_of(app) + _CANCEL_SECONDS)


def announce(signal: NamedSignal, app: Quart, /, **values: Any) -> None:
    """Call the receivers of a signal as `deliver` does, but do not wait for them."""
    _start_receivers(signal, app, values)


def _start_receivers(signal: NamedSignal, app: Quart, values: dict[str, Any]) -> list[asyncio.Task[None]]:
    tasks = [
        asyncio.create_task(_run_receiver(receiver, signal, app, values)) for receiver in receivers_of(signal, app)
    ]
    for task in tasks:
        app.background_tasks.add(task)
        task.add_done_callback(app.background_tasks.discard)
    return tasks


async def _run_receiver(receiver: Receiver, signal: NamedSignal, app: Quart, values: dict[str, Any]) -> None:
    seconds = _timeout_of(app)
    limit = asyncio.timeout(seconds)
    try:
        with ContainedExits():
            async with limit:
                await _call_receiver(receiver, app, values)
            if limit.expired():
                raise TimeoutError  # the receiver swallowed the cancellation
    except (Exception, asyncio.CancelledError) as error:
        failures_of(app)[signal.name] += 1
        name = _name_of(receiver)
        outcome = f"did not end within {seconds} s" if limit.expired() else "failed"
        logger.warning("receiver %s of signal %s %s; the work goes on", name, signal.name, outcome, exc_info=error)


async def _call_receiver(receiver: Receiver, app: Quart, values: dict[str, Any]) -> Any:
    async with nullcontext() if _is_current(app) else app.app_context():
        result = receiver(app, **values)
        return await result if inspect.isawaitable(result) else result


def _is_current(app: Quart) -> bool:
    return has_app_context() and this_app() is app


def _timeout_of(app: Quart) -> float:
    return service_of(app).settings.signal_timeout


def _name_of(receiver: Receiver) -> str:
    return getattr(receiver, "__qualname__", None) or type(receiver).__qualname__
