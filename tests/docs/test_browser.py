"""The page in a real browser."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypercorn.middleware.dispatcher import AsyncioDispatcherMiddleware
from hypercorn.typing import ASGIFramework
from playwright.async_api import Response
from quart import Quart

from ligand_async import Principal
from ligand_async.auth import BasicAuthenticator, BasicCredentials
from ligand_async.testing import authorization
from tests.docs import sample
from tests.docs.browsing import Visit, serving, visiting
from tests.docs.describing import make_app
from tests.docs.test_closed import closed_app

pytestmark = pytest.mark.extended

OPEN = "selector => document.querySelectorAll(selector).forEach(element => element.click())"
CLOSED_OPERATION = ".opblock:not(.is-open)"
OPENING = 60_000  # milliseconds: Swagger UI draws the whole page again for each operation that is opened
GREETING = "#operations-plain-read_plain_greeting"


def make_sample(address: str) -> Quart:
    return sample.make_app()


async def greet(visit: Visit) -> Response:
    await visit.try_out(GREETING)
    await visit.page.fill(f"{GREETING} input[placeholder=name]", "Ada")
    return await visit.execute(GREETING, "**/plain/greeting?*")


async def test_operations_are_shown_and_executed(require_tool: Callable[[str], Path], screenshots: Path) -> None:
    """Every part of the page works under the policy: nothing is refused, nothing is asked of another host."""
    async with serving(make_sample) as address, visiting(require_tool("chromium"), address) as visit:
        await visit.open()
        answer = await greet(visit)
        await visit.page.screenshot(path=screenshots / "docs.png", full_page=True)
        await visit.page.evaluate(OPEN, f"{CLOSED_OPERATION} .opblock-summary-control")
        await visit.page.wait_for_selector(CLOSED_OPERATION, state="detached", timeout=OPENING)
        await visit.page.evaluate(OPEN, ".models .json-schema-2020-12-accordion")
        await visit.page.wait_for_selector(".models .json-schema-2020-12-property", timeout=OPENING)
        assert (answer.status, await answer.json()) == (200, {"text": "Ada"})
        assert (visit.complaints, visit.outside) == ([], [])


async def test_the_page_works_where_the_service_is_mounted(require_tool: Callable[[str], Path]) -> None:
    """Behind a `root_path` the page finds its assets and its document, and calls the service under that path."""
    async with serving(make_sample, "/shop") as address, visiting(require_tool("chromium"), address) as visit:
        await visit.open()
        answer = await greet(visit)
        assert (answer.status, answer.url) == (200, f"{address}/plain/greeting?name=Ada")
        assert (visit.complaints, visit.outside) == ([], [])


async def test_services_on_one_server_have_pages_of_their_own(require_tool: Callable[[str], Path]) -> None:
    """Each mount shows its own document, and calls its own service."""

    def mount(address: str) -> ASGIFramework:
        return AsyncioDispatcherMiddleware({"/toys": sample.make_app(), "/things": make_app(title="Nothing")})

    async with serving(mount) as address, visiting(require_tool("chromium"), f"{address}/toys") as visit:
        await visit.open()
        answer = await greet(visit)
        assert answer.url == f"{address}/toys/plain/greeting?name=Ada"
        assert (visit.complaints, visit.outside) == ([], [])
        await visit.page.goto(f"{address}/things/docs")
        await visit.page.wait_for_selector("h1:has-text('Nothing')")
        assert await visit.page.locator(".opblock").count() == 0


async def test_a_proxy_may_put_the_service_anywhere(require_tool: Callable[[str], Path]) -> None:
    """Where a proxy takes a prefix away and tells nobody, the page finds everything all the same."""
    async with serving(behind_a_proxy) as address, visiting(require_tool("chromium"), f"{address}/far") as visit:
        await visit.open()
        answer = await greet(visit)
        assert (answer.status, answer.url) == (200, f"{address}/far/plain/greeting?name=Ada")
        assert (visit.complaints, visit.outside) == ([], [])


def behind_a_proxy(address: str) -> ASGIFramework:
    """Make the service as it stands behind a proxy that removes `/far` from each path."""
    app = sample.make_app()

    async def pass_on(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            raw_path = scope["raw_path"].removeprefix(b"/far")
            scope = {**scope, "path": scope["path"].removeprefix("/far"), "raw_path": raw_path}
        await app(scope, receive, send)

    return pass_on


@pytest.mark.parametrize("way", ["password", "proxy"])
async def test_a_closed_page_opens(require_tool: Callable[[str], Path], way: str) -> None:
    """To a browser that is asked for a password, and behind a proxy that adds the token."""

    async def check(credentials: BasicCredentials) -> Principal | None:
        known = (credentials.username, credentials.password) == ("ada", "lovelace")
        return Principal(subject="ada", issuer="staff", roles=frozenset({"staff"})) if known else None

    app = closed_app(authenticators=[BasicAuthenticator(check, realm="Shop")] if way == "password" else [])
    app.register_blueprint(sample.plain)
    context: dict[str, Any] = {"http_credentials": {"username": "ada", "password": "lovelace"}}
    if way == "proxy":
        context = {"extra_http_headers": authorization(app, roles=["staff"])}
    chromium = require_tool("chromium")
    async with serving(lambda _: app) as address, visiting(chromium, address, **context) as visit:
        await visit.open()
        assert await visit.page.locator(GREETING).count() == 1


async def test_a_deep_link_opens_its_operation(require_tool: Callable[[str], Path]) -> None:
    """A link to an operation opens it."""
    async with serving(make_sample) as address, visiting(require_tool("chromium"), address) as visit:
        await visit.open("#/toys/create_toy")
        await visit.page.wait_for_selector("#operations-toys-create_toy.is-open")
        assert await visit.page.locator(".opblock.is-open").count() == 1


async def test_the_page_follows_the_system_s_dark_mode(require_tool: Callable[[str], Path], screenshots: Path) -> None:
    """The page is dark where the system is, and changes with it."""
    async with (
        serving(make_sample) as address,
        visiting(require_tool("chromium"), address, color_scheme="dark") as visit,
    ):
        await visit.open()
        await visit.page.screenshot(path=screenshots / "docs-dark.png")
        assert await visit.page.locator("html.dark-mode").count() == 1
        await visit.page.emulate_media(color_scheme="light")
        await visit.page.wait_for_selector("html:not(.dark-mode)")
