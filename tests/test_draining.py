"""The stop of an app: what it says, what it ends, and what it lets go on."""

import asyncio
from collections.abc import AsyncIterator

from quart import Quart, Response

from ligand_async.context import current_deadline
from ligand_async.draining import begin_draining, draining_of
from ligand_async.signals import service_draining
from tests.services import app_of, running


async def send_events() -> Response:
    """Send an event, then wait for ever."""

    async def events() -> AsyncIterator[str]:
        yield "data: hello\n\n"
        await asyncio.sleep(60)

    return Response(events(), content_type="text/event-stream")


async def dawdle() -> str:
    """Take long."""
    await asyncio.sleep(60)
    return "late"


async def commit_slowly() -> str:
    """Commit for a while."""
    with current_deadline().commit():
        await asyncio.sleep(0.3)
    return "committed"


async def test_readiness_turns_503() -> None:
    """Row 116: a service that is about to stop is not ready, and lives."""
    app = app_of()
    async with running(app, tables=False) as client:
        assert (await client.get("/readyz")).status_code == 200
        await begin_draining(app)
        ready, live = await client.get("/readyz"), await client.get("/livez")

    assert (ready.status_code, live.status_code) == (503, 200)
    assert (ready.headers["Retry-After"], ready.headers["Cache-Control"]) == ("1", "no-store")


async def test_signal_is_sent_once() -> None:
    """The app does not send it again when the server has."""
    app, told = app_of(), []

    def note(_app: Quart) -> None:
        told.append(1)

    with service_draining.connected_to(note, sender=app):
        async with running(app, tables=False):
            await begin_draining(app)
            await begin_draining(app)

    assert told == [1]


async def test_streams_of_events_end_whole() -> None:
    """Row 158: a stream of events ends with the end of its body, and one that comes later ends at once."""
    app = app_of(("GET", "/events", send_events))
    async with running(app, tables=False) as client:
        asking = asyncio.create_task(client.get("/events"))
        await asyncio.sleep(0.1)
        draining_of(app).end_streams()
        early = await asyncio.wait_for(asking, 2)
        late = await asyncio.wait_for(client.get("/events"), 2)

    assert (await early.get_data(as_text=True), late.status_code) == ("data: hello\n\n", 200)


async def test_stopped_requests_are_answered() -> None:
    """Row 165: the work on a request that is stopped is given up, and the answer is a 503 with Retry-After."""
    app = app_of(("GET", "/slow", dawdle))
    async with running(app, tables=False) as client:
        asking = asyncio.create_task(client.get("/slow"))
        await asyncio.sleep(0.1)
        assert draining_of(app).stop_requests() == 1
        answer = await asyncio.wait_for(asking, 2)
        assert draining_of(app).deadlines == set()

    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")
    assert (await answer.get_json())["detail"] == "the service is stopping"


async def test_commit_is_not_stopped() -> None:
    """Row 164: a request whose commit has begun is not stopped, and a server can see that there is one."""
    app = app_of(("GET", "/commit", commit_slowly))
    draining = draining_of(app)
    async with running(app, tables=False) as client:
        asking = asyncio.create_task(client.get("/commit"))
        await asyncio.sleep(0.1)
        assert draining.is_committing
        draining.stop_requests()
        answer = await asyncio.wait_for(asking, 2)

    assert (answer.status_code, await answer.get_data(as_text=True)) == (200, "committed")
    assert not draining.is_committing
