"""Every signal that a service sends, with its sender and its receiver's signature.

The sender is always the app. A receiver is a function or a coroutine function:

    @changes_committed.connect
    async def publish(app: Quart, *, changes: Sequence[Change]) -> None: ...

`connect` is for the signals of every app, and holds the receiver by a weak reference, as blinker does: a function
inside another, or a bound method, is gone with the last other reference to it. `connect_via(app)` is for one app, and
holds it as long as the app lives. A receiver takes what it does not use by `**_`, and so what a later release adds.
"""

from blinker import Namespace

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
