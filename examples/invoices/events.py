"""Live updates: each listener gets the changes of its tenant as server-sent events."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator
from typing import Annotated
from uuid import UUID

from pydantic import BaseModel
from quart import Blueprint, Quart, Response

from examples.invoices.access import STAFF
from examples.invoices.tenants import Tenant
from ligand_async import operation, requires, tag
from ligand_async.signals import Signal
from ligand_async.web import Media, services_of

PENDING = 100  # events that a listener may be behind, before it is cut off and has to come again
PAUSE = 15.0  # seconds without an event, after which a comment keeps the connection open

invoice_changed = Signal("invoice-changed")
updates = requires(STAFF)(tag("updates", description="Changes as they happen.")(Blueprint("updates", __name__)))


class InvoiceChanged(BaseModel):
    """A change of an invoice; of many at once, without an id."""

    invoice_id: UUID | None
    what: str


class Listeners:
    """The open streams of this process, by tenant."""

    def __init__(self) -> None:
        self.queues: defaultdict[str, set[asyncio.Queue[InvoiceChanged]]] = defaultdict(set)

    def publish(self, tenant: str, event: InvoiceChanged) -> None:
        """Hand an event to the streams of a tenant. One that is too far behind is ended."""
        for queue in list(self.queues.get(tenant, ())):
            try:
                queue.put_nowait(event)
            except asyncio.QueueFull:
                self.queues[tenant].discard(queue)

    async def listen(self, tenant: str) -> AsyncIterator[str]:
        """Yield the events of a tenant in the form of an event stream, for as long as somebody reads."""
        queue: asyncio.Queue[InvoiceChanged] = asyncio.Queue(PENDING)
        self.queues[tenant].add(queue)
        try:
            yield ": listening\n\n"
            while queue in self.queues[tenant] or not queue.empty():
                try:
                    event = await asyncio.wait_for(queue.get(), PAUSE)
                    yield f"event: invoice\ndata: {event.model_dump_json()}\n\n"
                except TimeoutError:
                    yield ": still here\n\n"
        finally:
            self.queues[tenant].discard(queue)
            if not self.queues[tenant]:
                del self.queues[tenant]


@invoice_changed.connect
async def publish(app: Quart, *, tenant: str, invoice_id: UUID | None, what: str, **_: object) -> None:
    """Hand a committed change to who listens."""
    services_of(app).get(Listeners).publish(tenant, InvoiceChanged(invoice_id=invoice_id, what=what))


@updates.get("/events")
@operation
async def follow(tenant: Tenant, listeners: Listeners) -> Annotated[Response, Media("text/event-stream")]:
    """Follow the changes of the tenant's invoices."""
    response = Response(listeners.listen(tenant), mimetype="text/event-stream")
    response.timeout = None
    return response
