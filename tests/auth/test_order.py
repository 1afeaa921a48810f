"""Row 133: nothing of the service runs before the caller is authenticated."""

from typing import Any

import pytest
from quart import Blueprint, Quart, websocket
from quart.testing import WebsocketResponseError

from ligand_async import NotFound, requires, role
from tests.auth.guarding import bearer, guarded, statuses


def watched(ran: list[str]) -> Quart:
    """Make a service whose functions before requests note that they ran."""
    blueprint = Blueprint("pets", __name__)

    @blueprint.get("/<int:number>")
    @requires(role("admin"))
    async def view(number: int) -> str:
        return str(number)

    @blueprint.websocket("/talk")
    @requires(role("admin"))
    async def talk() -> None:
        await websocket.send("hello")

    def note(name: str) -> Any:
        async def function() -> None:
            ran.append(name)

        return function

    app = guarded(blueprint)
    inner = Blueprint("unused", __name__)
    inner.before_app_request(note("before_app_request"))
    inner.app_url_value_preprocessor(lambda *_: ran.append("app_url_value_preprocessor"))
    app.register_blueprint(inner)
    app.before_request(note("before_request"))
    app.before_websocket(note("before_websocket"))
    app.before_request_funcs[None].insert(0, note("first"))  # as an extension may
    app.before_websocket_funcs[None].insert(0, note("first"))
    app.before_request_funcs["pets"].append(note("of the blueprint"))
    return app


async def test_nothing_runs_for_a_caller_that_is_refused() -> None:
    """What the app, a blueprint or an extension added, wherever in the list; they run for who may call."""
    ran: list[str] = []
    app = watched(ran)

    assert await statuses(app.test_client(), "/1", None, "bad", "user") == [401, 401, 403]
    assert ran == []
    assert await statuses(app.test_client(), "/1", "admin") == [200]
    assert ran == ["app_url_value_preprocessor", "first", "before_app_request", "before_request", "of the blueprint"]


async def test_nothing_runs_for_a_handshake_that_is_refused() -> None:
    """A websocket as well."""
    ran: list[str] = []
    client = watched(ran).test_client()

    for word in (None, "bad", "user"):
        with pytest.raises(WebsocketResponseError):
            async with client.websocket("/talk", headers=bearer(word)) as connection:
                await connection.receive()
    assert ran == []


async def test_a_preprocessor_tells_nobody_what_exists() -> None:
    """Its 404 is for callers that may ask."""
    ran: list[str] = []
    app = watched(ran)

    @app.url_value_preprocessor
    def look_up(endpoint: str | None, values: dict[str, Any] | None) -> None:
        if values and values["number"] != 1:
            raise NotFound

    client = app.test_client()
    assert [await statuses(client, path, None, "user", "admin") for path in ("/1", "/2")] == [
        [401, 403, 200],
        [401, 403, 404],
    ]


async def test_routing_errors_stay_what_they_are() -> None:
    """A 404 and a 405 need no caller."""
    app = watched([])

    assert await statuses(app.test_client(), "/missing", None) == [404]
    assert await statuses(app.test_client(), "/1", None, method="PUT") == [405]
