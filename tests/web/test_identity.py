"""Every request has an id."""

import asyncio
from typing import Any
from uuid import UUID

import pytest
from quart import Response

from ligand_async import NotFound, operation, public
from ligand_async.context import current_request_id
from tests.shop import running
from tests.web.serving import app_of, ask


@operation
async def name_request(wait: float = 0) -> str | None:
    await asyncio.sleep(wait)
    return current_request_id()


@pytest.mark.parametrize(
    "identity", ["abc", "a" * 128, "0b5e.a~b_c:d/e+f=g@h-i", "01890a5d-ac96-774b-bcce-b302099a8057"]
)
async def test_a_sane_id_of_the_caller_is_kept(identity: str) -> None:
    """In the handler and in the answer."""
    answer = await ask(name_request, headers={"X-Request-ID": identity})

    assert (answer.json, answer.headers["X-Request-ID"]) == (identity, identity)


@pytest.mark.parametrize("identity", ["", "a" * 129, "a b", "a\tb", 'a"b', "<script>", "a;b", "é", "a,b", "${jndi}"])
async def test_another_is_replaced(identity: str) -> None:
    """What is long or could be more than a name is not repeated: the request gets a UUIDv7."""
    answer = await ask(name_request, headers={"X-Request-ID": identity})

    assert UUID(answer.json).version == 7
    assert answer.headers["X-Request-ID"] == answer.json


async def test_errors_have_it_in_the_document_and_in_the_header() -> None:
    """Routing errors, problems and bugs."""

    @operation
    async def fail(kind: str) -> None:
        raise NotFound if kind == "problem" else ZeroDivisionError

    async with running(app_of(("GET", "/<kind>", fail)), tables=False) as client:
        for path in ("/problem", "/bug", "/no/such/thing"):
            response = await client.get(path)
            assert (await response.get_json())["request_id"] == response.headers["X-Request-ID"]


async def test_requests_at_once_do_not_mix() -> None:
    """Each task has its own, and none is left behind."""
    async with running(app_of(("GET", "/", name_request)), tables=False) as client:

        async def ask_as(identity: str) -> Any:
            return await (await client.get("/?wait=0.01", headers={"X-Request-ID": identity})).get_json()

        wanted = [f"request-{number}" for number in range(50)]
        assert await asyncio.gather(*map(ask_as, wanted)) == wanted
    assert current_request_id() is None


async def test_the_answer_has_one_id() -> None:
    """A header that a handler sets itself is replaced by the request's."""

    @operation
    async def handler() -> Response:
        return Response("x", headers={"X-Request-ID": "mine"})

    answer = await ask(handler, headers={"X-Request-ID": "yours"})

    assert answer.headers.getlist("X-Request-ID") == ["yours"]


async def test_websockets_have_one_too() -> None:
    """From the handshake on."""
    app = app_of()

    @app.websocket("/ws")
    @public
    async def socket() -> None:
        from quart import websocket

        await websocket.accept()
        await websocket.send(current_request_id() or "")

    async with app.test_app(), app.test_client().websocket("/ws", headers={"X-Request-ID": "abc"}) as connection:
        assert await connection.receive() == "abc"
