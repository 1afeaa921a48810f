"""Pages in a real browser: event streams and websockets with a cookie or a subprotocol, and a hostile page."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Page
from quart import Blueprint, Quart, Response, websocket

from ligand_async import current_principal, public
from ligand_async.auth import CookieAuthenticator, SubprotocolAuthenticator
from ligand_async.protocols import Authenticator
from ligand_async.testing import access_token
from tests.docs.browser import serving, visiting
from tests.services import NEVER_OPENED, make_app

pytestmark = pytest.mark.extended

SCRIPT = """
const within = (promise) => Promise.race([promise, new Promise((_, no) => setTimeout(() => no("late"), 8000))])
const signIn = async (base, token) =>
  (await fetch(base + "/session", {method: "POST", headers: {Authorization: "Bearer " + token}})).status
const post = async (base, options) => {
  try { return (await fetch(base + "/things", {method: "POST", ...options})).status } catch { return "unreadable" }
}
const listen = (base, options) => within(new Promise(done => {
  const events = new EventSource(base + "/events", options)
  events.onmessage = event => { events.close(); done(event.data) }
  events.onerror = () => { events.close(); done("refused") }
}))
const talk = (base, protocols) => within(new Promise(done => {
  const socket = new WebSocket(base.replace("http", "ws") + "/talk", protocols)
  let heard = "refused"
  socket.onmessage = event => { heard = event.data + " by " + socket.protocol; socket.close() }
  socket.onclose = () => done(heard)
}))
"""


def page_of(counted: list[str] | None = None, **settings: Any) -> Quart:
    """Make a service with a page of its own."""
    return make_page([CookieAuthenticator(), SubprotocolAuthenticator()], counted, **settings)


def make_other(_: str) -> Quart:
    """Make a service of another origin, which reads no cookies."""
    return make_page([], None)


def make_page(authenticators: list[Authenticator], counted: list[str] | None, **settings: Any) -> Quart:
    """Make a service with a page of its own."""
    pages = Blueprint("pages", __name__)
    cookie = CookieAuthenticator()
    posted = [] if counted is None else counted

    def caller() -> str:
        principal = current_principal()
        return "nobody" if principal is None else principal.subject

    @pages.get("/")
    @public
    async def read_page() -> Response:
        policy = "default-src 'self' 'unsafe-inline'; connect-src *; form-action *"
        page = f"<!doctype html><title>Page</title><link rel=icon href=data:,><script>{SCRIPT}</script>"
        return Response(page, content_type="text/html", headers={"Content-Security-Policy": policy})

    @pages.post("/session")
    async def open_session() -> Response:
        return cookie.remember(Response(status=204))

    @pages.delete("/session")
    @public
    async def close_session() -> Response:
        return cookie.forget(Response(status=204))

    @pages.post("/things")
    async def make_thing() -> Response:
        posted.append(caller())
        return Response(status=201)

    @pages.get("/events")
    async def send_events() -> Response:
        name = caller()

        async def events() -> AsyncIterator[bytes]:
            yield f"data: {name}\n\n".encode()

        return Response(events(), content_type="text/event-stream")

    @pages.websocket("/talk")
    async def talk() -> None:
        await websocket.send(caller())

    return make_app(
        NEVER_OPENED,
        pages,
        database=None,
        authenticators=authenticators,
        settings=settings,
    )


@asynccontextmanager
async def open_page(
    require_tool: Callable[[str], Path], counted: list[str] | None = None, **settings: Any
) -> AsyncIterator[tuple[Page, str, str]]:
    """Serve the page and open it; yield it, its address and a token."""
    apps: list[Quart] = []

    def make(address: str) -> Quart:
        apps.append(page_of(counted, service_public_url=address, **settings))
        return apps[0]

    async with serving(make) as address, visiting(require_tool("chromium"), address) as visit:
        await visit.page.goto(f"{address}/")
        yield visit.page, address, access_token(apps[0], subject="grace")


async def test_a_page_of_the_service_listens_with_the_cookie(require_tool: Callable[[str], Path]) -> None:
    """It signs in with its token; event streams, websockets and writes carry the cookie, until it signs out."""
    counted: list[str] = []
    async with open_page(require_tool, counted) as (page, address, token):
        before = await page.evaluate("async base => [await listen(base), await talk(base), await post(base)]", address)
        signed_in = await page.evaluate("([base, token]) => signIn(base, token)", [address, token])
        after = await page.evaluate("async base => [await listen(base), await talk(base), await post(base)]", address)
        seen = await page.evaluate("document.cookie")
        [cookie] = await page.context.cookies()
        await page.evaluate("base => fetch(base + '/session', {method: 'DELETE'})", address)
        left = await page.evaluate("async base => [await listen(base), await talk(base), await post(base)]", address)

    assert before == left == ["refused", "refused", 401]
    assert (signed_in, seen) == (204, "")
    assert after == ["grace", "grace by ", 201]
    assert counted == ["grace"]
    assert (cookie["httpOnly"], cookie["secure"], cookie["sameSite"]) == (True, True, "Strict")


async def test_a_websocket_carries_its_token_as_a_subprotocol(require_tool: Callable[[str], Path]) -> None:
    """Without a cookie; the browser accepts the answer, in which the token does not stand."""
    async with open_page(require_tool) as (page, address, token):
        ask = "([base, ...protocols]) => talk(base, protocols)"
        heard = [
            await page.evaluate(ask, [address, "access_token", token]),
            await page.evaluate(ask, [address, "chat", "access_token", token]),
            await page.evaluate(ask, [address, "access_token", "wrong"]),
            await page.evaluate(ask, [address, "chat"]),
        ]

    assert heard == ["grace by access_token", "grace by access_token", "refused", "refused"]


async def test_a_page_of_another_origin_is_refused(require_tool: Callable[[str], Path]) -> None:
    """Another port is the same site, so `SameSite` lets the cookie pass: the origin decides. Nothing is done for it."""
    counted: list[str] = []
    async with open_page(require_tool, counted) as (page, address, token), serving(make_other) as other:
        await page.evaluate("([base, token]) => signIn(base, token)", [address, token])
        await page.goto(f"{other}/")
        with_cookie = {"credentials": "include", "mode": "no-cors"}
        posted = await page.evaluate("([base, options]) => post(base, options)", [address, with_cookie])
        heard = [
            await page.evaluate("base => listen(base, {withCredentials: true})", address),
            await page.evaluate("base => talk(base)", address),
            await page.evaluate("([base, token]) => talk(base, ['access_token', token])", [address, token]),
        ]
        async with page.expect_response(f"{address}/things") as answered:
            await page.evaluate(
                "base => { document.body.innerHTML = `<form method=post action=${base}/things></form>`;"
                " document.forms[0].submit() }",
                address,
            )
        form = await answered.value

    assert posted == "unreadable"
    assert heard == ["refused", "refused", "refused"]
    assert (form.status, counted) == (403, [])


async def test_a_page_of_an_allowed_origin_opens_websockets(require_tool: Callable[[str], Path]) -> None:
    """With a token as a subprotocol, and with the cookie, which is of the same site."""
    async with (
        serving(make_other) as other,
        open_page(require_tool, browser_origins=[other]) as (page, address, token),
    ):
        await page.goto(f"{other}/")
        without = await page.evaluate("([base, token]) => talk(base, ['access_token', token])", [address, token])
        await page.goto(f"{address}/")
        await page.evaluate("([base, token]) => signIn(base, token)", [address, token])
        await page.goto(f"{other}/")
        with_cookie = await page.evaluate("base => talk(base)", address)

    assert (without, with_cookie) == ("grace by access_token", "grace by ")
