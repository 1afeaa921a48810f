"""Signing in on the page, in a real browser."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Page
from quart import Blueprint, Quart

from ligand_async import operation, requires, role, scope
from ligand_async.testing import access_token
from tests.docs.browsing import Visit, serving, visiting
from tests.provider.running import Provider, running_provider
from tests.shop import make_app
from tests.web.serving import NEVER_OPENED

pytestmark = pytest.mark.extended

SECRET = "#operations-vault-read_vault_secret"
ANSWER = "**/vault/secret"


def make_vault(settings: dict[str, Any]) -> Quart:
    """Make a service with something closed in it."""
    vault = Blueprint("vault", __name__, url_prefix="/vault")

    @vault.get("/secret")
    @requires(role("user") & ~scope("pets:write") | scope("pets:read"))
    @operation
    async def read_secret() -> str:
        """Read the secret."""
        return "open"

    return make_app(NEVER_OPENED, vault, database=None, settings=settings)


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def complaints(visit: Visit) -> list[str]:
    """Return what the browser found wrong; it notes each 401, and that a password's field is in no form."""
    return [text for text in visit.complaints if "401" not in text and not text.startswith("verbose")]


async def test_a_pasted_token_opens_what_is_closed(require_tool: Callable[[str], Path]) -> None:
    """Authorize takes a bearer token: 401 before, 200 after; the page reads the issuer's metadata by itself."""
    apps: list[Quart] = []

    def make(address: str) -> Quart:
        apps.append(make_vault({"service_public_url": address}))
        return apps[0]

    async with serving(make) as address, visiting(require_tool("chromium"), address) as visit:
        async with visit.page.expect_response("**/.well-known/openid-configuration") as metadata:
            await visit.open()
        await visit.try_out(SECRET)
        before = await visit.execute(SECRET, ANSWER)

        await visit.page.click(".auth-wrapper button.authorize")
        bearer = visit.page.locator(".dialog-ux .auth-container", has_text="bearer (http, Bearer)")
        await bearer.locator("input").fill(access_token(apps[0], roles=["user"]))
        await bearer.locator("button.authorize").click()
        await visit.page.click(".dialog-ux .close-modal")
        after = await visit.execute(SECRET, ANSWER)

    assert ((await metadata.value).status, before.status, after.status) == (200, 401, 200)
    assert (complaints(visit), visit.outside) == ([], [])


async def sign_in(page: Page, scheme: str) -> None:
    """Sign in with the issuer, as somebody does who has never been there."""
    await page.click(".auth-wrapper button.authorize")
    section = (
        page.locator(".dialog-ux .auth-container", has=page.locator("h4", has_text=scheme)).filter(has_text="PKCE").last
    )
    await section.locator(".checkbox label[for^='pets:read']").click()
    async with page.expect_popup() as opened:
        await section.locator("button.authorize").click()
    popup = await opened.value
    await popup.fill("input[name=login]", "ada")
    await popup.fill("input[name=password]", "anything")
    await popup.click("button[type=submit]")
    async with popup.expect_event("close"):
        await popup.click("button:has-text('Continue')")
    await section.locator("button", has_text="Logout").wait_for()
    await page.click(".dialog-ux .close-modal")


@pytest.mark.parametrize(("scheme", "root_path"), [("openIdConnect", ""), ("oauth2", "/shop")])
async def test_somebody_signs_in_with_the_issuer(
    require_tool: Callable[[str], Path],
    tmp_path: Path,
    screenshots: Path,
    stack: ExitStack,
    scheme: str,
    root_path: str,
) -> None:
    """With PKCE and a public client: 401, then 200.

    By the issuer's metadata or by the addresses in the settings, also where the service is mounted under a path.
    """
    providers: list[Provider] = []

    def make(address: str) -> Quart:
        provider = stack.enter_context(running_provider(tmp_path, address))
        providers.append(provider)
        urls = {"authorization": f"{provider.issuer}/auth", "token": f"{provider.issuer}/token"}
        named = {f"oauth_{name}_url": url for name, url in urls.items()} if scheme == "oauth2" else {}
        settings = {"oidc_issuer": provider.issuer, "oidc_audience": provider.audience, "oauth_docs_client_id": "docs"}
        return make_vault(settings | named)

    async with serving(make, root_path) as address, visiting(require_tool("chromium"), address) as visit:
        await visit.open()
        await visit.try_out(SECRET)
        before = await visit.execute(SECRET, ANSWER)
        await visit.page.screenshot(path=screenshots / f"{scheme}-before.png", full_page=True)
        await sign_in(visit.page, f"{scheme} (OAuth2, ")
        after = await visit.execute(SECRET, ANSWER)
        await visit.page.screenshot(path=screenshots / f"{scheme}-after.png", full_page=True)

    assert (before.status, after.status) == (401, 200)
    assert complaints(visit) == []
    assert {url.startswith(f"{providers[0].issuer}/") for url in visit.outside} == {True}
