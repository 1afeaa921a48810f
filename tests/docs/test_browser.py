"""The page in a real browser."""

from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.async_api import Response
from quart import Quart

from tests.docs import sample
from tests.docs.browsing import Visit, serving, visiting

pytestmark = pytest.mark.extended

OPEN_ALL = """document.querySelectorAll(
  ".opblock:not(.is-open) .opblock-summary-control, .models .json-schema-2020-12-accordion"
).forEach(element => element.click())"""
GREETING = "#operations-plain-read_plain_greeting"


def make_sample(address: str) -> Quart:
    return sample.make_app()


async def greet(visit: Visit) -> Response:
    await visit.try_out(GREETING)
    await visit.page.fill(f"{GREETING} input[placeholder=name]", "Ada")
    return await visit.execute(GREETING, "**/plain/greeting?*")


async def test_operations_are_shown_and_executed(require_tool: Callable[[str], Path], tmp_path: Path) -> None:
    """Every part of the page works under the policy: nothing is refused, nothing is asked of another host."""
    async with serving(make_sample) as address, visiting(require_tool("chromium"), address) as visit:
        await visit.open()
        answer = await greet(visit)
        await visit.page.screenshot(path=tmp_path / "docs.png", full_page=True)
        await visit.page.evaluate(OPEN_ALL)
        await visit.page.wait_for_function("!document.querySelector('.opblock:not(.is-open)')")
        assert (answer.status, await answer.json()) == (200, {"text": "Ada"})
        assert (visit.complaints, visit.outside) == ([], [])


async def test_the_page_works_where_the_service_is_mounted(require_tool: Callable[[str], Path]) -> None:
    """Behind a `root_path` the page finds its assets and its document, and calls the service under that path."""
    async with serving(make_sample, "/shop") as address, visiting(require_tool("chromium"), address) as visit:
        await visit.open()
        answer = await greet(visit)
        assert (answer.status, answer.url) == (200, f"{address}/plain/greeting?name=Ada")
        assert (visit.complaints, visit.outside) == ([], [])


async def test_a_deep_link_opens_its_operation(require_tool: Callable[[str], Path]) -> None:
    """A link to an operation opens it."""
    async with serving(make_sample) as address, visiting(require_tool("chromium"), address) as visit:
        await visit.open("#/toys/create_toy")
        await visit.page.wait_for_selector("#operations-toys-create_toy.is-open")
        assert await visit.page.locator(".opblock.is-open").count() == 1


async def test_the_page_follows_the_system_s_dark_mode(require_tool: Callable[[str], Path], tmp_path: Path) -> None:
    """The page is dark where the system is, and changes with it."""
    async with (
        serving(make_sample) as address,
        visiting(require_tool("chromium"), address, color_scheme="dark") as visit,
    ):
        await visit.open()
        await visit.page.screenshot(path=tmp_path / "docs-dark.png")
        assert await visit.page.locator("html.dark-mode").count() == 1
        await visit.page.emulate_media(color_scheme="light")
        await visit.page.wait_for_selector("html:not(.dark-mode)")
