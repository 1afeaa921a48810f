"""What is served: the document, the page, its assets."""

import json
import re
from html.parser import HTMLParser

import pytest
from quart import Quart

from ligand_async.docs.views import MEDIA_TYPES
from tests.docs import sample
from tests.docs.describing import make_app

POLICY = {
    "default-src": "'none'",
    "script-src": "'self'",
    "style-src": "'self'",
    "img-src": "'self' data:",
    "connect-src": "'self'",
    "frame-ancestors": "'none'",
    "base-uri": "'none'",
    "form-action": "'none'",
}


class Page(HTMLParser):
    def __init__(self, html: str) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.attributes: list[str] = []
        self.tags: list[str] = []
        self.data: dict[str, str | None] = {}
        self.scripts_without_source = 0
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.data.update({name: value for name, value in attrs if name.startswith("data-")})
        self.attributes.extend(name for name, _ in attrs)
        self.addresses.extend(value for name, value in attrs if name in {"src", "href"} and value)
        self.scripts_without_source += tag == "script" and "src" not in dict(attrs)


@pytest.fixture(scope="module")
def app() -> Quart:
    return sample.make_app()


async def test_the_document_is_json(app: Quart) -> None:
    """`/openapi.json` is JSON that browsers and caches ask for again."""
    response = await app.test_client().get("/openapi.json")
    assert (response.status_code, response.content_type) == (200, "application/json")
    assert response.headers["Cache-Control"] == "no-cache"
    assert json.loads(await response.get_data())["openapi"] == "3.1.0"


async def test_the_document_is_not_sent_twice(app: Quart) -> None:
    """Who has the document gets 304, with the same strong entity tag."""
    client = app.test_client()
    etag = (await client.get("/openapi.json")).headers["ETag"]
    again = await client.get("/openapi.json", headers={"If-None-Match": etag})
    assert (again.status_code, await again.get_data(), again.headers["ETag"]) == (304, b"", etag)
    assert re.fullmatch(r'"[0-9a-f]{32}"', etag)


async def test_apps_in_one_process_have_their_own_document() -> None:
    """The document of one app is never that of another."""
    titles = [
        json.loads(await (await make_app(title=title).test_client().get("/openapi.json")).get_data())["info"]["title"]
        for title in ("One", "Two")
    ]
    assert titles == ["One", "Two"]


@pytest.mark.parametrize("path", ["/openapi.json", "/docs", "/docs/init.js", "/docs/oauth2-redirect.html"])
async def test_everything_is_served_under_a_strict_policy(app: Quart, path: str) -> None:
    """Scripts and everything else come from the service itself; nobody frames the page, nobody guesses types."""
    headers = (await app.test_client().get(path)).headers
    assert dict(part.split(" ", 1) for part in headers["Content-Security-Policy"].split("; ")) == POLICY
    assert headers["X-Content-Type-Options"] == "nosniff"


async def test_the_page_lets_its_popup_answer(app: Quart) -> None:
    """The page sends no `Cross-Origin-Opener-Policy`: signing in needs `window.opener`."""
    assert "Cross-Origin-Opener-Policy" not in (await app.test_client().get("/docs")).headers


async def test_the_page_holds_no_script_and_no_style(app: Quart) -> None:
    """The policy forbids inline scripts and styles, and the page has none."""
    page = Page(await (await app.test_client().get("/docs")).get_data(as_text=True))
    assert page.scripts_without_source == 0
    assert "style" not in {*page.tags, *page.attributes}
    assert not [name for name in page.attributes if name.startswith("on")]


async def test_all_addresses_of_the_page_are_relative_and_found(app: Quart) -> None:
    """What the page loads is beside it, wherever the service is mounted."""
    client = app.test_client()
    addresses = Page(await (await client.get("/docs")).get_data(as_text=True)).addresses
    assert not [address for address in addresses if re.match(r"/|[a-z]+:", address)]
    assert {(await client.get(f"/{address}")).status_code for address in addresses} == {200}


async def test_the_title_is_text() -> None:
    """A title with markup in it is shown, not run."""
    response = await make_app(title="<script>alert('Pets & more')</script>").test_client().get("/docs")
    assert "<title>&lt;script&gt;alert(&#39;Pets &amp; more&#39;)&lt;/script&gt;</title>" in await response.get_data(
        as_text=True
    )


async def test_an_asset_at_its_keyed_address_is_kept(app: Quart) -> None:
    """An address with the content's digest is cached for good; the bare one is asked for again."""
    client = app.test_client()
    addresses = Page(await (await client.get("/docs")).get_data(as_text=True)).addresses
    keyed = next(address for address in addresses if "bundle" in address)
    kept, bare = [await client.get(f"/{address}") for address in (keyed, keyed.partition("?")[0])]
    assert kept.headers["Cache-Control"] == "public, max-age=31536000, immutable"
    assert bare.headers["Cache-Control"] == "no-cache"
    again = await client.get("/docs/swagger-ui-bundle.js", headers={"If-None-Match": bare.headers["ETag"]})
    assert again.status_code == 304


async def test_an_address_with_another_key_is_not_kept(app: Quart) -> None:
    """A page of another version does not fix our content in a cache under its key."""
    response = await app.test_client().get("/docs/init.js?v=0000000000000000")
    assert response.headers["Cache-Control"] == "no-cache"


@pytest.mark.parametrize("name", sorted(MEDIA_TYPES))
async def test_an_asset_has_its_type(app: Quart, name: str) -> None:
    """Every asset is there, with its media type."""
    response = await app.test_client().get(f"/docs/{name}")
    assert (response.status_code, response.content_type) == (200, MEDIA_TYPES[name])


@pytest.mark.parametrize("name", ["LICENSE", "nothing.js", "..%2Fpage.py", "%2e%2e/page.py"])
async def test_nothing_else_of_the_package_is_served(app: Quart, name: str) -> None:
    """Only what the page needs is served: no other file, no path."""
    assert (await app.test_client().get(f"/docs/{name}")).status_code == 404
