"""The page in a real browser."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from hypercorn.middleware.dispatcher import AsyncioDispatcherMiddleware
from hypercorn.typing import ASGIFramework
from playwright.async_api import Page, Response
from quart import Blueprint, Quart

from ligand_async import Principal, operation, requires, role, scope
from ligand_async.auth import BasicAuthenticator, BasicCredentials
from ligand_async.testing import access_token, authorization
from tests.docs import sample
from tests.docs.browser import Visit, serving, visiting
from tests.docs.documents import make_docs_app
from tests.docs.test_views import closed_app
from tests.provider.running import Provider, running_provider
from tests.services import NEVER_OPENED, make_app

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
        return AsyncioDispatcherMiddleware({"/toys": sample.make_app(), "/things": make_docs_app(title="Nothing")})

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
