"""Authenticators and deny lists that are slow, that fail, or that say no."""

import asyncio
import logging
from collections.abc import Callable
from typing import Any

import pytest
from quart.wrappers.base import BaseRequestWebsocket

from ligand_async import Principal, current_principal
from ligand_async.auth import APIKeyAuthenticator, InvalidToken, enforcement_of
from ligand_async.errors import ServiceUnavailable, Unauthorized
from ligand_async.testing import authorization
from tests.auth.asking import REALM, app_of, get, hang
from tests.auth.guarding import CALLERS, bearer, statuses
from tests.services import NEVER_OPENED, make_app, running


async def test_authenticators_and_deny_list_have_limited_time(caplog: pytest.LogCaptureFixture) -> None:
    """Nobody is kept waiting for another's answer: 503, and when to come back."""
    for more, headers in (
        ({"authenticators": [APIKeyAuthenticator(hang)]}, {"X-API-Key": "k"}),
        ({"deny_list": hang}, {"Authorization": "Bearer user"}),
    ):
        app = app_of(**more)
        enforcement_of(app).patience = 0.02
        answer = await get(app, "/open", **headers)

        assert (answer.status, answer.headers["Retry-After"]) == (503, "5")
    assert caplog.text.count("no answer within 0.02 s") == 2


async def test_an_authenticator_that_is_too_slow_may_clean_up() -> None:
    """It is cancelled, and the answer comes after its clean-up."""
    ended: list[str] = []

    async def look_up(_: str) -> Principal | None:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            ended.append("cancelled")
            await asyncio.sleep(0)
            ended.append("cleaned up")
            raise
        return None

    app = app_of(authenticators=[APIKeyAuthenticator(look_up)])
    enforcement_of(app).patience = 0.02

    assert (await get(app, "/open", **{"X-API-Key": "k"})).status == 503
    assert ended == ["cancelled", "cleaned up"]


async def test_slow_answers_are_waited_for() -> None:
    """Whoever has to ask others may take several steps, fail in them, and be believed."""
    steps: list[str] = []

    async def look_up(key: str) -> Principal | None:
        await asyncio.sleep(0.001)
        try:
            async with asyncio.timeout(0.001):
                await asyncio.sleep(60)
        except TimeoutError:
            steps.append("timed out")
        await asyncio.get_running_loop().run_in_executor(None, steps.append, "elsewhere")
        await asyncio.gather(*(asyncio.sleep(0) for _ in range(3)))
        return CALLERS.get(key)

    app = app_of(authenticators=[APIKeyAuthenticator(look_up)])

    assert (await get(app, "/closed", **{"X-API-Key": "user"})).json["g"] == "ada"
    assert (await get(app, "/closed", **{"X-API-Key": "nobody's"})).status == 401
    assert steps == ["timed out", "elsewhere"] * 2


class Answering:
    """An authenticator that does what it is told."""

    challenge = None

    def __init__(self, answer: Callable[[BaseRequestWebsocket], Any]) -> None:
        self.answer = answer

    async def authenticate(self, connection: BaseRequestWebsocket) -> Principal | None:
        answer: Principal | None = self.answer(connection)
        return answer


def fail(error: BaseException) -> Callable[[BaseRequestWebsocket], Any]:
    def raise_it(_: BaseRequestWebsocket) -> Any:
        raise error

    return raise_it


@pytest.mark.parametrize(
    "answer",
    [
        fail(ValueError("s3cret")),
        fail(KeyError("sub")),
        fail(TimeoutError()),
        fail(RecursionError()),
        fail(SystemExit(0)),
        fail(asyncio.CancelledError()),
        fail(StopAsyncIteration()),
        lambda _: True,
        lambda _: "ada",
        lambda _: {"sub": "ada"},
        lambda _: Principal,
        lambda _: False,
    ],
)
@pytest.mark.parametrize("path", ["/open", "/closed"])
async def test_an_authenticator_that_fails_lets_nobody_in(
    answer: Callable[[BaseRequestWebsocket], Any], path: str
) -> None:
    """What is neither a principal nor None nor a problem is a 500."""
    answered = await get(app_of(authenticators=[Answering(answer)]), path)

    assert answered.status == 500
    assert b"s3cret" not in answered.raw


@pytest.mark.parametrize(
    ("error", "status", "header"),
    [
        (InvalidToken("expired"), 401, ("WWW-Authenticate", f'{REALM}, error="invalid_token"')),
        (Unauthorized("no"), 401, ("WWW-Authenticate", REALM)),
        (ServiceUnavailable("down"), 503, ("Retry-After", "5")),
        (ServiceUnavailable("down", headers={"Retry-After": "9"}), 503, ("Retry-After", "9")),
    ],
)
async def test_an_authenticator_s_problem_is_the_answer(error: Exception, status: int, header: tuple[str, str]) -> None:
    """Also on a public route; with the headers that its status asks for."""
    answer = await get(app_of(authenticators=[Answering(fail(error))]), "/open")

    assert (answer.status, answer.headers.getlist(header[0])) == (status, [header[1]])


async def test_why_a_token_was_refused_is_logged_and_not_told(caplog: pytest.LogCaptureFixture) -> None:
    """The reason is for the log; the token is for neither."""
    with caplog.at_level(logging.INFO, "ligand_async.auth"):
        answer = await get(app_of(), "/open", "s3cret")

    assert "an access token was refused: unknown" in caplog.text
    assert "s3cret" not in caplog.text
    assert b"unknown" not in answer.raw


async def test_a_denied_token_is_refused_at_once() -> None:
    """Row 92: the list is asked on every request, by `jti` and `sub`, though the token was good a moment ago."""
    denied: set[str | None] = set()
    asked: list[tuple[str | None, str]] = []

    async def is_denied(principal: Principal) -> bool:
        asked.append((principal.token_id, principal.subject))
        return principal.token_id in denied or principal.subject in denied

    async with running(app_of(deny_list=is_denied), tables=False) as client:
        assert await statuses(client, "/closed", "user", "user") == [200, 200]
        denied.add("ada-1")
        assert await statuses(client, "/open", "user", "admin") == [401, 200]
        denied.add("root")
        refused = await client.get("/open", headers=bearer("admin"))
        denied.clear()
        assert await statuses(client, "/closed", "user", "admin", None) == [200, 200, 401]

    assert refused.status_code == 401
    assert refused.headers["WWW-Authenticate"] == f'{REALM}, error="invalid_token"'
    assert asked == [("ada-1", "ada")] * 3 + [("root-1", "root")] * 2 + [("ada-1", "ada"), ("root-1", "root")]


async def test_a_token_that_is_remembered_is_denied_too() -> None:
    """Row 92: a signed token that was verified a moment ago, and is verified no more until its minute is over."""
    denied: set[str | None] = set()

    async def is_denied(principal: Principal) -> bool:
        return principal.token_id in denied

    async def view() -> str:
        return getattr(current_principal(), "token_id", None) or ""

    app = make_app(NEVER_OPENED, database=None, deny_list=is_denied)
    app.add_url_rule("/", "view", view)
    headers = authorization(app)
    async with running(app, tables=False) as client:
        answer = await client.get("/", headers=headers)
        denied.add(await answer.get_data(as_text=True))

        assert answer.status_code == 200
        assert (await client.get("/", headers=headers)).status_code == 401
        assert (await client.get("/", headers=authorization(app))).status_code == 200


async def raising(_: Principal) -> bool:
    raise OSError("the list is not there")


async def silent(_: Principal) -> Any:
    return None


@pytest.mark.parametrize("deny_list", [raising, silent, lambda _: False])
async def test_a_deny_list_that_fails_lets_nobody_in(deny_list: Any) -> None:
    """A 500: it raised, forgot to answer, or is no coroutine."""
    async with running(app_of(deny_list=deny_list), tables=False) as client:
        assert await statuses(client, "/open", "user", None) == [500, 200]


async def test_a_denied_key_is_no_invalid_token() -> None:
    """The deny list is asked about every principal; what was refused is named rightly."""

    async def deny(_: Principal) -> bool:
        return True

    async def find(_: Any) -> Principal | None:
        return CALLERS["user"]

    app = app_of(authenticators=[APIKeyAuthenticator(find)], deny_list=deny)
    answer = await get(app, "/open", **{"X-API-Key": "k"})

    assert (answer.status, answer.headers.getlist("WWW-Authenticate")) == (401, [REALM])
