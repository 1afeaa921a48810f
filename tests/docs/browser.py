"""The page in a real browser: how it is served and visited."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Literal

from hypercorn.asyncio import serve
from hypercorn.config import Config
from hypercorn.typing import ASGIFramework
from playwright.async_api import Page, Response, async_playwright

FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


class Visit:
    """One browser at the page of a service, and what it was seen to do."""

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

    async def try_out(self, operation: str) -> None:
        """Open an operation and make it ready to be executed."""
        await self.page.click(f"{operation} .opblock-summary-control")
        await self.page.click(f"{operation} .try-out__btn")

    async def execute(self, operation: str, url: str) -> Response:
        """Execute an operation, and return the answer when it is shown."""
        async with self.page.expect_response(url) as answered:
            await self.page.click(f"{operation} button.execute")
        await self.page.wait_for_selector(f"{operation} .live-responses-table")
        return await answered.value


@asynccontextmanager
async def serving(make_app: Callable[[str], ASGIFramework], root_path: str = "") -> AsyncIterator[str]:
    """Serve the app that is made for an address, and yield the address."""
    listener = socket.create_server(("127.0.0.1", 0))
    address = f"http://127.0.0.1:{listener.getsockname()[1]}{root_path}"
    app = make_app(address)
    config = Config()
    config.bind = [f"fd://{listener.fileno()}"]
    config.root_path = root_path
    config.errorlog = None
    stop = asyncio.Event()
    server = asyncio.create_task(serve(app, config, shutdown_trigger=stop.wait))
    try:
        yield address
    finally:
        stop.set()
        await asyncio.wait_for(server, 10)
        listener.detach()


@asynccontextmanager
async def visiting(
    chromium: Path, address: str, *, color_scheme: Literal["light", "dark"] = "light", **context: Any
) -> AsyncIterator[Visit]:
    """Open a browser for the page at an address.

    Args:
        chromium: The browser.
        address: Where the service is.
        color_scheme: What the system prefers.
        **context: More of Playwright's options for a context, such as `http_credentials`.
    """
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        page = await browser.new_page(color_scheme=color_scheme, viewport={"width": 1200, "height": 1000}, **context)
        page.set_default_timeout(20_000)
        yield Visit(page, address)
        await browser.close()
