"""The management port: the pages that are there, and nowhere else, once the server has one."""

import asyncio
from typing import Any

import pytest
from quart import Blueprint

from ligand_async import Settings, create_app, public
from ligand_async.ops import is_management, manage
from ligand_async.ops.management import ManagementPort
from ligand_async.web import LigandQuart
from tests.ops.test_health import make_strict


class Asked:
    """One request to an ASGI app, and its answer."""

    def __init__(self, path: str, method: str = "GET") -> None:
        self.scope: dict[str, Any] = {
            "type": "http",
            "method": method,
            "path": path,
            "raw_path": path.encode(),
            "query_string": b"",
            "headers": [(b"host", b"10.0.0.7:9000")],
            "http_version": "1.1",
            "scheme": "http",
            "asgi": {"version": "3.0"},
        }
        self.sent: list[dict[str, Any]] = []
        self.has_asked = False

    async def receive(self) -> dict[str, Any]:
        if self.has_asked:
            await asyncio.Event().wait()  # the client stays
        self.has_asked = True
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(self, message: dict[str, Any]) -> None:
        self.sent.append(message)

    async def of(self, app: Any) -> tuple[int, bytes]:
        """Send it to an app; return status and body."""
        await app(self.scope, self.receive, self.send)
        return self.sent[0]["status"], b"".join(message.get("body", b"") for message in self.sent)


def make(**settings: Any) -> LigandQuart:
    """Make a service without a database."""
    return create_app("service", title="Service", version="1", settings=Settings.load("testing", **settings))


@pytest.mark.parametrize("trusted", [(), ("api.example.org",)])
async def test_pages_move(trusted: tuple[str, ...]) -> None:
    """Without the port health is with the service; with it there alone, for any host; nothing else is there."""
    app = make(trusted_hosts=trusted)
    pages = Blueprint("pages", __name__)

    @pages.get("/queue")
    @public
    async def queue() -> str:
        return "empty"

    manage(app, pages)
    app.register_blueprint(pages)
    async with app.test_app():
        assert (await Asked("/livez").of(app))[0] == 200
        port = ManagementPort(app)
        inside = [(await Asked(path).of(port))[0] for path in ("/livez", "/readyz", "/queue", "/", "/docs")]
        outside = [(await Asked(path).of(app))[0] for path in ("/livez", "/readyz")]

    assert inside == [200, 200, 200, 404, 404]
    assert outside == [404, 404]


async def test_other_answers() -> None:
    """A 404 names the pages in a problem document, HEAD has no body, and a websocket is refused."""
    app = make()
    port = ManagementPort(app)
    status, body = await Asked("/nothing").of(port)
    assert (status, b"/livez, /readyz" in body) == (404, True)
    assert await Asked("/nothing", "HEAD").of(port) == (404, b"")
    asked = Asked("/livez")
    await port({**asked.scope, "type": "websocket"}, asked.receive, asked.send)
    assert asked.sent == [{"type": "websocket.close"}]


def test_client_cannot_claim_it() -> None:
    """A request is one of the management port by its scope alone, which no client writes."""
    assert not is_management({"type": "http", "headers": [(b"ligand.management", b"1")]})
    assert not is_management({"extensions": None})


async def test_details_are_shown() -> None:
    """Whoever reaches the management port sees the checks and the release, in production as well."""
    app = make_strict()
    port = ManagementPort(app)
    async with app.test_app():
        ready, info = [await Asked(path).of(port) for path in ("/readyz", "/info")]

    assert (ready[0], b'"checks":{"failing":"failed"}' in ready[1]) == (503, True)
    assert (info[0], b'"commit":"4f2a9c1"' in info[1]) == (200, True)
