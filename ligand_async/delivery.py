"""How signals reach their receivers: without one receiver in the way of another, or of who sends."""

import asyncio
import inspect
import logging
from collections import Counter
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

from blinker import NamedSignal
from quart import Quart, current_app, has_app_context

from ligand_async.containment import Containment
from ligand_async.context import service_of

logger = logging.getLogger(__name__)

EXTENSION = "ligand_signal_failures"
GRACE = 0.25  # seconds, for a receiver that was cancelled to end

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
    failures: Counter[str] = app.extensions.setdefault(EXTENSION, Counter())
    return failures


async def consult(signal: NamedSignal, app: Quart, /, **values: Any) -> None:
    """Tell the receivers of a signal one after the other, in this task: what one raises is raised.

    Raises:
        ReceiverTimedOut: One did not end in time.
    """
    for receiver in receivers_of(signal, app):
        seconds = seconds_of(app)
        with Containment():
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
        await asyncio.wait(tasks, timeout=seconds_of(app) + GRACE)


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
        with Containment():
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
