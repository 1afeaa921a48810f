"""A service's own signal: what its handlers send, told once what they did is durable."""

import functools
from collections.abc import Callable
from typing import Any, TypeVar

from blinker import ANY, Namespace
from quart import Quart, current_app

from ligand_async.context import unit_var
from ligand_async.delivery import deliver, receivers_of

_signals = Namespace()

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
        self._signal = _signals.signal(name)

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
