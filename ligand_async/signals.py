"""Every signal that a service sends, with its sender and its receiver's signature; and how they are delivered.

The sender is always the app. A receiver is a function or a coroutine function:

    @changes_committed.connect
    async def publish(app: Quart, *, changes: Sequence[Change]) -> None: ...

`connect` is for the signals of every app, and holds the receiver by a weak reference, as blinker does: a function
inside another, or a bound method, is gone with the last other reference to it. `connect_via(app)` is for one app, and
holds it as long as the app lives. A receiver takes what it does not use by `**_`, and so what a later release adds.
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
from quart import Quart, current_app, has_app_context

from ligand_async.context import service_of, state_of, unit_var
from ligand_async.tasks import ContainedExits

logger = logging.getLogger(__name__)

_signals = Namespace()

principal_authenticated = _signals.signal(
    "principal-authenticated",
    """Somebody's credentials are good. Receiver: `(app, *, principal: Principal)`. Sent beside the request.""",
)

authentication_failed = _signals.signal(
    "authentication-failed",
    """A request was refused with 401. Receiver: `(app, *, reason: str, problem: Problem)`. Sent beside the request.

    `reason` is a word: `missing`, what is wrong with a token (`expired`, `signature`), or `credentials`.
    """,
)

access_denied = _signals.signal(
    "access-denied",
    """A principal is not who may. Receiver: `(app, *, principal: Principal, requirement: Requirement)`.

    Sent beside the request, which is refused with 403.
    """,
)

changes_flushing = _signals.signal(
    "changes-flushing",
    """A unit of work is about to commit. Receiver: `(app, *, session: AsyncSession, changes: Sequence[Change])`.

    Sent in the unit, after a handler's flush and before its answer is made, or at the end of a `db.transaction()`. What
    a receiver raises, such as a problem, rolls the unit back and is answered. What it changes by the session is flushed
    and sent again: `changes` is what happened since the last time.
    """,
)

changes_committed = _signals.signal(
    "changes-committed",
    """A unit of work was committed. Receiver: `(app, *, changes: Sequence[Change])`. Sent after `on_commit`.""",
)

changes_rolled_back = _signals.signal(
    "changes-rolled-back",
    """A unit of work was rolled back. Receiver: `(app, *, changes: Sequence[Change])`: those that had been flushed.

    It is not sent where a connection broke during the commit: then nobody knows.
    """,
)

operation_completed = _signals.signal(
    "operation-completed",
    """An operation was answered. Receiver: `(app, *, operation_id: str, principal: Principal | None, status: int,
    duration: float)`.

    The duration is in seconds, until the head of the answer. Sent beside the answer, which does not wait. A request
    whose client has left before it was answered has no status, and no signal.
    """,
)

token_keys_rotated = _signals.signal(
    "token-keys-rotated",
    """An issuer has other keys than before. Receiver: `(app, *, issuer: str, kids: Sequence[str | None])`.""",
)

service_started = _signals.signal(
    "service-started",
    """All that runs before serving has run. Receiver: `(app)`. The first request waits for the receivers.""",
)

service_draining = _signals.signal(
    "service-draining",
    """The service is about to stop. Receiver: `(app)`.

    Sent before background tasks are waited for and before anything is closed. The server has stopped listening by then,
    and has given requests its grace.
    """,
)

_own_signals = Namespace()

F = TypeVar("F", bound=Callable[..., Any])


class Signal:
    """A signal that a service sends, with the app as its sender.

        report_ready = Signal("report-ready")

        @report_ready.connect
        async def mail_report(app: Quart, *, report_id: UUID) -> None: ...

    Two of one name are the same signal. `app.signal(name)` makes one that is sent and heard for that app alone.

    Args:
        name: By convention a noun and a participle, with a hyphen.
        app: The app that sends, and whose signals `connect` is for; by default the current one, and every one.
    """

    def __init__(self, name: str, *, app: Quart | None = None) -> None:
        self.name = name
        self._app = app
        self._signal = _own_signals.signal(name)

    def connect(self, receiver: F, *, weak: bool = True) -> F:
        """Let a function or coroutine function hear it; also a decorator.

        Args:
            receiver: Called with the app and, by keyword, with what was sent.
            weak: Whether it is forgotten once nobody else refers to it: so are functions inside others, and methods.
        """
        return self._signal.connect(receiver, sender=ANY if self._app is None else self._app, weak=weak)

    def connect_via(self, app: Quart) -> Callable[[F], F]:
        """Return the decorator of a function that hears one app, for as long as that lives."""
        return self._signal.connect_via(app)

    def disconnect(self, receiver: Callable[..., Any]) -> None:
        """Let a receiver hear it no more."""
        self._signal.disconnect(receiver)

    async def send(self, **values: Any) -> None:
        """Tell the receivers.

        In a unit of work they are told after its commit, and not at all if it is rolled back. Elsewhere they are told
        at once. Either way each has `signal_timeout` seconds, and what it raises is logged and changes nothing.

        Args:
            **values: What they are told.

        Raises:
            RuntimeError: There is no current app, and none was given.
        """
        app: Quart = self._app or current_app._get_current_object()  # type: ignore[attr-defined]  # a LocalProxy
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
    """Return who listens to a signal of an app; those of other apps do not count."""
    if not signal.receivers or signal.is_muted:
        return []
    return list(signal.receivers_for(app))


def failures_of(app: Quart) -> Counter[str]:
    """Return how many receivers have failed or timed out in an app, by the name of the signal."""
    return state_of(app).get_or_make(_Failures)


class _Failures(Counter[str]):
    """The failures of one app's receivers."""


async def consult(signal: NamedSignal, app: Quart, /, **values: Any) -> None:
    """Tell the receivers of a signal one after the other, in this task: what one raises is raised.

    Raises:
        ReceiverTimedOut: One did not end in time.
    """
    for receiver in receivers_of(signal, app):
        seconds = seconds_of(app)
        with ContainedExits():
            try:
                async with asyncio.timeout(seconds) as limit:
                    await call(receiver, app, values)
            except TimeoutError as error:
                if not limit.expired():
                    raise
                raise ReceiverTimedOut(
                    f"receiver {name_of(receiver)} of {signal.name} did not end within {seconds} s; "
                    "it holds a transaction open: let it do less, or raise signal_timeout"
                ) from error


async def deliver(signal: NamedSignal, app: Quart, /, **values: Any) -> None:
    """Tell the receivers of a signal, all at once, and wait for them as long as `signal_timeout`.

    Each runs in a task of its own. What one raises is logged and counted, and changes nothing; one that does not end in
    time is cancelled. If who waits is cancelled, they go on.
    """
    tasks = begin(signal, app, values)
    if tasks:
        await asyncio.wait(tasks, timeout=seconds_of(app) + _CANCEL_SECONDS)


def announce(signal: NamedSignal, app: Quart, /, **values: Any) -> None:
    """Tell the receivers of a signal as `deliver` does, and do not wait for them."""
    begin(signal, app, values)


def begin(signal: NamedSignal, app: Quart, values: dict[str, Any]) -> list[asyncio.Task[None]]:
    """Begin to tell each receiver in a task of its own; the app waits for them when it stops."""
    tasks = [asyncio.create_task(tell(receiver, signal, app, values)) for receiver in receivers_of(signal, app)]
    for task in tasks:
        app.background_tasks.add(task)
        task.add_done_callback(app.background_tasks.discard)
    return tasks


async def tell(receiver: Receiver, signal: NamedSignal, app: Quart, values: dict[str, Any]) -> None:
    """Tell one receiver; its failure goes no further."""
    seconds = seconds_of(app)
    limit = asyncio.timeout(seconds)
    try:
        with ContainedExits():
            async with limit:
                await call(receiver, app, values)
            if limit.expired():
                raise TimeoutError  # it went on as if nobody had cancelled it
    except (Exception, asyncio.CancelledError) as error:
        failures_of(app)[signal.name] += 1
        name = name_of(receiver)
        what = f"did not end within {seconds} s" if limit.expired() else "failed"
        logger.warning("receiver %s of signal %s %s; nothing else changes", name, signal.name, what, exc_info=error)


async def call(receiver: Receiver, app: Quart, values: dict[str, Any]) -> None:
    """Call a receiver in the context of the app, and await it where there is something to await."""
    async with nullcontext() if is_current(app) else app.app_context():
        result = receiver(app, **values)
        if inspect.isawaitable(result):
            await result


def is_current(app: Quart) -> bool:
    """Tell whether an app's context is the one that this runs in."""
    return has_app_context() and current_app._get_current_object() is app  # type: ignore[attr-defined]  # a LocalProxy


def seconds_of(app: Quart) -> float:
    """Return how long a receiver may take."""
    return service_of(app).settings.signal_timeout


def name_of(receiver: Receiver) -> str:
    """Return what a receiver is called in the log."""
    return getattr(receiver, "__qualname__", None) or type(receiver).__qualname__
