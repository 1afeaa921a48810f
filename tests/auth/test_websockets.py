"""Websockets are guarded as requests are: at the handshake."""

import asyncio
from typing import Any

import pytest
from quart import Blueprint, Quart, g, websocket
from quart.testing import WebsocketResponseError

from ligand_async import Principal, current_principal, public, requires, role
from ligand_async.auth import enforcement_of
from tests.auth.guarding import BAD, PROBLEM, bearer, guarded
from tests.services import running

REALM = 'Bearer realm="Shop"'


def app_of(**more: Any) -> Quart:
    """Make a service with a websocket of each kind."""
    blueprint = Blueprint("talk", __name__)

    async def talk() -> None:
        principal = current_principal()
        assert principal is g.principal
        await asyncio.sleep(0)
        await websocket.send(principal.subject if principal else "nobody")

    marks: dict[str, Any] = {"open": public, "closed": lambda view: view, "admin": requires(role("admin"))}
    for name, mark in marks.items():

        async def view() -> None:
            await talk()

        blueprint.add_websocket(f"/{name}", name, mark(view))
    return guarded(blueprint, **more)


async def say(app: Quart, path: str, **headers: str) -> Any:
    """Open a websocket, and return what it says, or the answer that refuses it."""
    async with running(app, tables=False) as client:
        try:
            async with client.websocket(path, headers=headers) as connection:
                return await connection.receive()
        except WebsocketResponseError as refused:
            return refused.response


@pytest.mark.parametrize(
    ("path", "word", "said"),
    [
        ("/open", None, "nobody"),
        ("/open", "user", "ada"),
        ("/closed", "user", "ada"),
        ("/admin", "admin", "root"),
    ],
)
async def test_whoever_may_is_let_in(path: str, word: str | None, said: str) -> None:
    """The handler knows who is talking."""
    assert await say(app_of(), path, **dict(bearer(word))) == said


@pytest.mark.parametrize(
    ("path", "headers", "status", "challenge"),
    [
        ("/closed", {}, 401, REALM),
        ("/closed", {"Authorization": "Digest x"}, 401, REALM),
        ("/open", {"Authorization": f"Bearer {BAD}"}, 401, f'{REALM}, error="invalid_token"'),
        ("/open", {"Authorization": "Bearer"}, 400, f'{REALM}, error="invalid_request"'),
        ("/admin", {"Authorization": "Bearer user"}, 403, f'{REALM}, error="insufficient_scope"'),
        ("/admin?access_token=admin", {}, 401, REALM),
    ],
)
async def test_whoever_may_not_is_refused(path: str, headers: dict[str, str], status: int, challenge: str) -> None:
    """Before it is accepted, with the problem and the challenge that a request gets."""
    response = await say(app_of(), path, **headers)

    assert (response.status_code, response.content_type) == (status, PROBLEM)
    assert response.headers.getlist("WWW-Authenticate") == [challenge]


async def test_a_websocket_that_is_not_there_is_404() -> None:
    """Whoever asks."""
    assert (await say(app_of(), "/nothing")).status_code == 404


async def test_denied_tokens_are_refused_here_too() -> None:
    """Row 92."""

    async def deny(principal: Principal) -> bool:
        return principal.token_id == "ada-1"

    app = app_of(deny_list=deny)

    assert (await say(app, "/open", **dict(bearer("user")))).status_code == 401
    assert await say(app, "/open", **dict(bearer("admin"))) == "root"


async def test_a_handshake_waits_for_nobody() -> None:
    """A websocket has no deadline; who is calling has one."""

    async def hang(_: Principal) -> bool:
        await asyncio.sleep(60)
        return False

    app = app_of(deny_list=hang)
    enforcement_of(app).patience = 0.02
    response = await say(app, "/closed", **dict(bearer("user")))

    assert (response.status_code, response.headers["Retry-After"]) == (503, "5")


async def test_a_deny_list_that_fails_lets_nobody_in() -> None:
    """A 500."""

    async def fail(_: Principal) -> bool:
        raise OSError

    assert (await say(app_of(deny_list=fail), "/open", **dict(bearer("user")))).status_code == 500


async def test_a_server_that_cannot_answer_a_handshake_closes_it() -> None:
    """Without the extension of ASGI for it, the websocket is closed before it was accepted."""
    sent: list[Any] = []
    app = app_of()

    messages = [{"type": "websocket.connect"}]

    async def receive() -> Any:
        return messages.pop() if messages else await asyncio.Future()

    async def send(message: Any) -> None:
        sent.append(message)

    async with running(app, tables=False):
        scope: Any = {
            "type": "websocket",
            "asgi": {},
            "http_version": "1.1",
            "scheme": "ws",
            "path": "/closed",
            "raw_path": b"/closed",
            "query_string": b"",
            "root_path": "",
            "headers": [(b"host", b"t")],
            "subprotocols": [],
            "extensions": {},
        }
        await app(scope, receive, send)

    assert [message["type"] for message in sent] == ["websocket.close"]
