"""A service watched by a real sentry-sdk, in a process of its own: it prints what the tracker was sent."""

import asyncio
import json
import sys
from typing import ClassVar

import sentry_sdk
from pydantic import BaseModel
from quart import Quart
from sentry_sdk.envelope import Envelope
from sentry_sdk.transport import Transport

from ligand_async import NotFound, Settings, create_app, public

SECRET = "s3cret-word"


class Age(BaseModel):
    age: int


class LocalTransport(Transport):
    """Keeps what would be sent."""

    events: ClassVar[list[dict[str, object]]] = []

    def capture_envelope(self, envelope: Envelope) -> None:
        event = envelope.get_event()
        if event is not None:
            self.events.append(dict(event))


def make_app() -> Quart:
    """Make it, with one view that fails, one that refuses, and one that holds a value."""
    app = create_app("tracked", title="Tracked", version="1", settings=Settings.load("testing"))

    @app.get("/failing")
    @public
    async def fail() -> str:
        raise KeyError("unhandled")

    @app.get("/refusing")
    @public
    async def refuse() -> str:
        raise NotFound("no such thing")

    @app.get("/misreading")
    @public
    async def misread() -> str:
        return str(Age.model_validate({"age": SECRET}))

    return app


async def main(paths: list[str]) -> None:
    """Send one request to each path, and print the status and the events of each."""
    sentry_sdk.init(dsn="http://public@127.0.0.1:9/1", transport=LocalTransport, include_local_variables=False)
    app, seen = make_app(), {}
    async with app.test_app():
        for path in paths:
            response = await app.test_client().get(path, headers={"X-Request-ID": "abc-1"})
            sentry_sdk.flush()
            seen[path] = {"status": response.status_code, "events": LocalTransport.events.copy()}
            LocalTransport.events.clear()
    print(json.dumps(seen, default=str))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1:]))
