"""Who is calling, where requests share tasks and contexts."""

import asyncio
from contextvars import copy_context
from typing import Any

import httpx2
from quart import request

from ligand_async import (
    Principal,
    current_principal,
    public,
)
from tests.auth.guarding import BAD, CALLERS, app_of, bearer, get, guarded
from tests.services import running


def transport_to(app: Any) -> httpx2.ASGITransport:
    """Return the way to an app, in the task and the context of whoever asks."""
    return httpx2.ASGITransport(app)


async def test_nobody_is_left_over_from_the_request_before() -> None:
    """Requests one after the other in one task and one context, through an ASGI client: each has its own caller."""
    app = app_of()
    seen: list[Principal | None] = []
    async with (
        running(app, tables=False),
        httpx2.AsyncClient(transport=transport_to(app), base_url="http://t") as client,
    ):
        for path, word in [
            ("/closed", "user"),
            ("/open", None),
            ("/nothing", None),
            ("/closed", "admin"),
            ("/open", BAD),
        ]:
            response = await client.get(path, headers=dict(bearer(word)))
            seen.append(current_principal())
            if response.status_code == 200:
                expected = CALLERS[word].subject if word else None
                assert response.json() == {"current": expected, "g": expected}

    assert seen == [None] * 5


async def test_nobody_is_left_over_in_a_context_of_a_test_s_own() -> None:
    """Where nothing stands around the app, a request begins with nobody."""
    app = app_of()
    for word, expected in (("user", "ada"), (None, None)):
        async with app.test_request_context("/open", headers=bearer(word)):
            await app.preprocess_request()
            assert getattr(current_principal(), "subject", None) == expected


async def test_a_request_within_a_request_is_not_its_caller_s() -> None:
    """An app that is called inside a handler, in its context, sees who called it, and the handler still its own."""
    inner = app_of()
    before: list[Principal | None] = []
    inner.url_value_preprocessor(lambda *_: before.append(current_principal()))

    async def outer() -> dict[str, Any]:
        async with httpx2.AsyncClient(transport=transport_to(inner), base_url="http://t") as client:
            answers = [(await client.get("/open", headers=dict(bearer(word)))).json() for word in (None, "admin")]
        principal = current_principal()
        return {"inner": [answer["current"] for answer in answers], "outer": principal and principal.subject}

    app = guarded()
    app.add_url_rule("/", "outer", outer)
    async with running(inner, tables=False):
        assert (await get(app, "/", "user")).json == {"inner": [None, "root"], "outer": "ada"}
    assert [principal and principal.subject for principal in before] == [None, "root"]  # authentication comes first


async def test_callers_at_once_are_not_mixed_up() -> None:
    """Each request knows its own, however they are interleaved."""

    @public
    async def slow() -> dict[str, Any]:
        await asyncio.sleep(0.001 * len(request.args))
        return {"current": getattr(current_principal(), "subject", None)}

    app = guarded()
    app.add_url_rule("/", "slow", slow)
    words = [None, *CALLERS] * 6
    async with running(app, tables=False) as client:
        responses = await asyncio.gather(
            *(client.get("/", headers=bearer(word), query_string={"x": n}) for n, word in enumerate(words))
        )
        told = [(await response.get_json())["current"] for response in responses]

    assert told == [CALLERS[word].subject if word else None for word in words]


async def test_work_in_the_background_is_its_caller_s() -> None:
    """A task that a handler starts knows who caused it."""
    seen: list[str | None] = []

    async def work() -> None:
        seen.append(getattr(current_principal(), "subject", None))

    async def view() -> str:
        app.add_background_task(work)
        return "x"

    app = guarded()
    app.add_url_rule("/", "view", view)
    await get(app, "/", "user")

    assert seen == ["ada"]


async def test_outside_a_request_nobody_is_calling() -> None:
    """In a plain context there is no principal."""
    assert copy_context().run(current_principal) is None
