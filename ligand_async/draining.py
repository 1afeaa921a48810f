"""The stop of an app, from the signal to the end: whether it has begun, and the work that it ends.

A server that drains calls these functions, and so does the app itself where the server does not. In this order:
`begin_draining`, then `end_streams` once no more connections are accepted, then `stop_requests` at the end of the grace
period.
"""

import asyncio

from quart import Quart

from ligand_async.context import state_of
from ligand_async.errors import ServiceUnavailable
from ligand_async.signals import deliver, service_draining
from ligand_async.tasks import Deadline

RETRY_AFTER = "1"  # seconds; another instance of the service takes the request


class Draining:
    """The stop of one app.

    Attributes:
        begun: The service is about to stop: it is not ready any more.
        streams_ended: Streams of events end now, and new ones end at once.
        deadlines: Those of the requests that are being served.
    """

    def __init__(self) -> None:
        self.begun = False
        self.streams_ended = False
        self.deadlines: set[Deadline] = set()
        self._streams: set[asyncio.Timeout] = set()

    @property
    def is_committing(self) -> bool:
        """True while a request that is being served commits."""
        return any(deadline.committing for deadline in self.deadlines)

    def begin_anew(self) -> None:
        """Forget the last stop: the app starts again."""
        self.begun = self.streams_ended = False

    def enter_stream(self, limit: asyncio.Timeout) -> None:
        """Let a stream of events end, by its timeout, when the others do."""
        self._streams.add(limit)
        if self.streams_ended:
            limit.reschedule(0)

    def leave_stream(self, limit: asyncio.Timeout) -> None:
        """Forget a stream of events."""
        self._streams.discard(limit)

    def end_streams(self) -> None:
        """End all streams of events: their generators are closed, and their responses are whole."""
        self.streams_ended = True
        for limit in self._streams:
            if not limit.expired():
                limit.reschedule(0)

    def stop_requests(self) -> int:
        """Stop the work on all requests and return how many; those that are not committing are answered with 503."""
        problem = ServiceUnavailable("the service is stopping", headers={"Retry-After": RETRY_AFTER})
        for deadline in self.deadlines:
            deadline.stop(problem)
        return len(self.deadlines)


def draining_of(app: Quart) -> Draining:
    """Return the state of an app's stop."""
    return state_of(app).get_or_make(Draining)


async def begin_draining(app: Quart) -> None:
    """Send `service_draining`, once; from the first call on the app is not ready."""
    draining = draining_of(app)
    if draining.begun:
        return
    draining.begun = True
    async with app.app_context():
        await deliver(service_draining, app)
