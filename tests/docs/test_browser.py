"""The page in a real browser."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Literal

import pytest
from hypercorn.asyncio import serve
from hypercorn.config import Config
from playwright.async_api import Page, Response, async_playwright

from tests.docs import sample

pytestmark = pytest.mark.extended

FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
OPEN_ALL = """document.querySelectorAll(
  ".opblock:not(.is-open) .opblock-summary-control, .models .json-schema-2020-12-accordion"
).forEach(element => element.click())"""
GREETING = "#operations-plain-read_plain_greeting"


class Visit:
    """One browser at the page of the sample service, and what it was seen to do."""

    def __init__(self, page: Page, address: str) -> None:
        self.page = page
        self.address = address
        self.complaints: list[str] = []
        self.outside: list[str] = []
        page.on("console", lambda message: self.complaints.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("request", lambda request: self.note_request(request.url))

    def note_request(self, url: str) -> None:
        if not url.startswith((f"{self.address}/", "data:")):
            self.outside.append(url)

    async def open(self, fragment: str = "") -> None:
        await self.page.goto(f"{self.address}/docs{fragment}")
        await self.page.wait_for_selector(".opblock")

    async def execute_greeting(self) -> Response:
        await self.page.click(f"{GREETING} .opblock-summary-control")
        await self.page.click(f"{GREETING} .try-out__btn")
        await self.page.fill(f"{GREETING} input[placeholder=name]", "Ada")
        async with self.page.expect_response("**/plain/greeting?*") as answered:
            await self.page.click(f"{GREETING} button.execute")
        await self.page.wait_for_selector(f"{GREETING} .live-responses-table")
        return await answered.value


@asynccontextmanager
async def serving(root_path: str = "") -> AsyncIterator[str]:
    listener = socket.create_server(("127.0.0.1", 0))
    config = Config()
    config.bind = [f"fd://{listener.fileno()}"]
    config.root_path = root_path
    config.errorlog = None
    stop = asyncio.Event()
    server = asyncio.create_task(serve(sample.make_app(), config, shutdown_trigger=stop.wait))
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}{root_path}"
    finally:
        stop.set()
        await asyncio.wait_for(server, 10)
        listener.detach()


@asynccontextmanager
async def visiting(
    chromium: Path, address: str, *, color_scheme: Literal["light", "dark"] = "light"
) -> AsyncIterator[Visit]:
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        page = await browser.new_page(color_scheme=color_scheme, viewport={"width": 1200, "height": 1000})
        page.set_default_timeout(20_000)
        yield Visit(page, address)
        await browser.close()


async def test_operations_are_shown_and_executed(require_tool: Callable[[str], Path], tmp_path: Path) -> None:
    """Every part of the page works under the policy: nothing is refused, nothing is asked of another host."""
    async with serving() as address, visiting(require_tool("chromium"), address) as visit:
        await visit.open()
        answer = await visit.execute_greeting()
        await visit.page.screenshot(path=tmp_path / "docs.png", full_page=True)
        await visit.page.evaluate(OPEN_ALL)
        await visit.page.wait_for_function("!document.querySelector('.opblock:not(.is-open)')")
        assert (answer.status, await answer.json()) == (200, {"text": "Ada"})
        assert (visit.complaints, visit.outside) == ([], [])


async def test_the_page_works_where_the_service_is_mounted(require_tool: Callable[[str], Path]) -> None:
    """Behind a `root_path` the page finds its assets and its document, and calls the service under that path."""
    async with serving("/shop") as address, visiting(require_tool("chromium"), address) as visit:
        await visit.open()
        answer = await visit.execute_greeting()
        assert (answer.status, answer.url) == (200, f"{address}/plain/greeting?name=Ada")
        assert (visit.complaints, visit.outside) == ([], [])


async def test_a_deep_link_opens_its_operation(require_tool: Callable[[str], Path]) -> None:
    """A link to an operation opens it."""
    async with serving() as address, visiting(require_tool("chromium"), address) as visit:
        await visit.open("#/toys/create_toy")
        await visit.page.wait_for_selector("#operations-toys-create_toy.is-open")
        assert await visit.page.locator(".opblock.is-open").count() == 1


async def test_the_page_follows_the_system_s_dark_mode(require_tool: Callable[[str], Path], tmp_path: Path) -> None:
    """The page is dark where the system is, and changes with it."""
    async with serving() as address, visiting(require_tool("chromium"), address, color_scheme="dark") as visit:
        await visit.open()
        await visit.page.screenshot(path=tmp_path / "docs-dark.png")
        assert await visit.page.locator("html.dark-mode").count() == 1
        await visit.page.emulate_media(color_scheme="light")
        await visit.page.wait_for_selector("html:not(.dark-mode)")
