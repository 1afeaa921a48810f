"""The views of the docs: the document, the page and its assets, open and closed to a role."""

import json
import re
from functools import wraps
from html.parser import HTMLParser
from importlib.resources import files
from typing import Any
from urllib.parse import urljoin

import pytest
from pydantic import BaseModel
from quart import Blueprint, Quart
from quart_schema import Contact, License

from ligand_async import Principal, operation, public
from ligand_async.auth import AccessError, BasicAuthenticator, BasicCredentials
from ligand_async.docs import Docs, DocumentError, PathTaken
from ligand_async.docs.views import MEDIA_TYPES
from ligand_async.testing import authorization
from tests.docs import sample
from tests.docs.documents import make_docs_app
from tests.services import NEVER_OPENED, app_of, make_app, running, send

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
        (await (await make_docs_app(title=title).test_client().get("/openapi.json")).get_json())["info"]["title"]
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


PLACES = [Docs(page_path="/internal/api/docs", document_path="/v1/api.json"), Docs(page_path="/help")]


@pytest.mark.parametrize("docs", PLACES)
async def test_document_and_page_can_be_moved(docs: Docs) -> None:
    """What the page refers to is where it says, and what was theirs is free."""
    app = app_of(("GET", "/docs", read_manual), docs=docs)
    async with app.test_app():
        client = app.test_client()
        assert await (await client.get("/docs")).get_json() == "the manual"
        answer = await client.get(str(docs.page_path))
        page = Page(await answer.get_data(as_text=True))
        found = [urljoin(f"http://x{docs.page_path}", address) for address in page.addresses]
        script = next(address for address in found if "init.js" in address)
        root = urljoin(script, page.data["data-service"] or "")
        found += [urljoin(root, page.data["data-document"] or "")]
        statuses = [(await client.get(address.removeprefix("http://x"))).status_code for address in found]

    assert (answer.status_code, set(statuses)) == (200, {200})
    assert (root, found[-1]) == ("http://x/", f"http://x{docs.document_path}")


@operation
async def read_manual() -> str:
    return "the manual"


async def test_document_and_page_can_be_switched_off() -> None:
    """The page alone, or both with the clients that are made from the document."""
    for docs, found in ((Docs(page_path=None), 200), (Docs(page_path=None, document_path=None), 404)):
        app = app_of(("GET", "/docs", read_manual), docs=docs)
        async with app.test_app():
            client = app.test_client()
            answers = [await client.get(path) for path in ("/openapi.json", "/docs", "/docs/init.js")]
            client_answer = await (await client.get("/openapi/clients/python")).get_json()
        assert [answer.status_code for answer in answers] == [found, 200, 404]
        assert ("no python client was built" in str(client_answer)) == (found == 200)


@pytest.mark.parametrize(
    "options",
    [
        {"document_path": None},
        {"page_path": "docs"},
        {"page_path": "/docs/"},
        {"page_path": "/"},
        {"page_path": "/<x>"},
    ],
)
def test_paths_of_the_docs_are_paths(options: dict[str, Any]) -> None:
    """And a page needs a document."""
    with pytest.raises(ValueError, match=r"must be a path|the docs page shows the document"):
        Docs(**options)


SHADOWED = {
    "/docs": "/docs is of the docs",
    "/docs/": "/docs is of the docs",
    "/docs/<page>": "/docs/<name> is of the docs",
    "/docs/<path:page>": "/docs/<name> is of the docs",
    "/openapi.json": "/openapi.json is of the docs",
    "/problems/<kind>": "/problems/<slug> is the framework's",
    "/livez": "/livez is the framework's",
}


@pytest.mark.parametrize("rule", SHADOWED)
async def test_no_route_is_hidden_in_silence(rule: str) -> None:
    """A route of the service that the framework would answer stops the start, and the message says what to write."""

    @operation
    async def read_page(page: str = "", kind: str = "") -> str:
        return page or kind

    with pytest.raises(PathTaken, match=f"{re.escape(rule)} .*: {re.escape(SHADOWED[rule])}"):
        await app_of(("GET", rule, read_page)).startup()


async def test_other_routes_may_be_beside_the_docs() -> None:
    """Another method, a longer path, a fixed name below, and one that catches all."""

    @operation
    async def read_page(page: str = "") -> str:
        return page

    rules = (("POST", "/docs"), ("GET", "/docs/a/b"), ("GET", "/docs/intro"), ("GET", "/<path:page>"))
    app = app_of(*((method, rule, named(read_page, str(n))) for n, (method, rule) in enumerate(rules)))
    async with app.test_app():
        client = app.test_client()
        assert await (await client.get("/docs/intro")).get_json() == ""
        assert await (await client.get("/docs/a")).get_json() != "a"


def named(view: Any, name: str) -> Any:
    """Return a view under another name, as a blueprint needs."""

    @wraps(view)
    async def renamed(*arguments: Any, **more: Any) -> Any:
        return await view(*arguments, **more)

    renamed.__name__ = f"view_{name}"
    return renamed


async def test_the_document_says_whom_to_ask_and_on_which_terms() -> None:
    """Contact, licence and terms of service stand in `info`."""
    docs = Docs(
        contact=Contact(name="Support", email="api@example.org", url="https://example.org"),
        license=License(name="Apache 2.0", identifier="Apache-2.0"),
        terms_of_service="https://example.org/terms",
    )
    info = (await send(app_of(docs=docs), "GET", "/openapi.json")).json["info"]

    assert info["contact"] == {"name": "Support", "email": "api@example.org", "url": "https://example.org"}
    assert info["license"] == {"name": "Apache 2.0", "identifier": "Apache-2.0"}
    assert info["termsOfService"] == "https://example.org/terms"


async def test_the_title_is_text() -> None:
    """A title with markup in it is shown, not run."""
    response = await make_docs_app(title="<script>alert('Pets & more')</script>").test_client().get("/docs")
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


ASSETS = files("ligand_async.docs") / "assets"


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("LICENSE", "Apache License"),
        ("NOTICE", "SmartBear"),
        ("VERSION", "swagger-ui-dist 5."),
        ("swagger-ui-bundle.js.LICENSE.txt", "MIT"),
    ],
)
def test_licences_come_with_the_assets(name: str, words: str) -> None:
    """Whoever gets Swagger UI from us gets its licence, its notices, and what version it is."""
    assert words in (ASSETS / name).read_text()


CLOSED = ("/openapi.json", "/docs", "/problems/", "/problems/idempotency-key-reused")


def closed_app(**more: Any) -> Quart:
    return make_app(NEVER_OPENED, database=None, settings={"docs_role": "staff"}, **more)


@pytest.mark.parametrize("path", CLOSED)
async def test_only_the_role_may_read(path: str) -> None:
    """Nobody is 401, somebody else 403; who has the role reads, and no shared cache keeps it."""
    app = closed_app()
    async with running(app, tables=False) as client:
        answers = [
            await client.get(path, headers=headers)
            for headers in ({}, authorization(app, roles=["user"]), authorization(app, roles=["staff"]))
        ]
    assert [answer.status_code for answer in answers] == [401, 403, 200]
    assert answers[2].headers["Cache-Control"] == ("no-store" if "problems" in path else "private, no-cache")


async def test_the_assets_are_for_anyone() -> None:
    """The files of Swagger UI are no secret."""
    async with running(closed_app(), tables=False) as client:
        assert (await client.get("/docs/swagger-ui.css")).status_code == 200


async def test_a_browser_may_ask_for_a_password() -> None:
    """With an authenticator that browsers know, the page opens in a browser as it is."""

    async def check(credentials: BasicCredentials) -> Principal | None:
        known = (credentials.username, credentials.password) == ("ada", "lovelace")
        return Principal(subject="ada", issuer="staff", roles=frozenset({"staff"})) if known else None

    app = closed_app(authenticators=[BasicAuthenticator(check, realm="Shop")])
    async with running(app, tables=False) as client:
        asked = await client.get("/docs")
        opened = [await client.get(path, auth=("ada", "lovelace")) for path in CLOSED]
    assert any(value.startswith("Basic ") for value in asked.headers.getlist("WWW-Authenticate"))
    assert [answer.status_code for answer in opened] == [200] * len(CLOSED)


async def test_a_role_that_does_not_exist_stops_the_start() -> None:
    """Docs that nobody could ever read are a mistake."""
    app = make_app(NEVER_OPENED, database=None, settings={"docs_role": "staf", "allowed_roles": ("staff",)})
    with pytest.raises(AccessError, match="there is no role staf; did you mean staff"):
        await app.startup()


@operation
async def answer() -> None:
    """Answer."""


async def test_a_clash_of_names_stops_the_start() -> None:
    """Two operations of one name are found when the app starts, not when somebody asks for the document."""
    pet, pets = (public(Blueprint(name, __name__, url_prefix=f"/{name}")) for name in ("pet", "pets"))
    for blueprint in (pet, pets):
        blueprint.add_url_rule("/", "read_pet", answer)
    app = make_app(NEVER_OPENED, pet, pets, database=None)
    with pytest.raises(DocumentError, match="two operations have the operationId 'read_pet'"):
        await app.startup()


class Strange:
    """What pydantic can carry and JSON Schema cannot say."""


async def test_a_type_without_schema_stops_the_start() -> None:
    """A model that has no JSON schema is found when the app starts, by the name of what is wrong."""

    class Holder(BaseModel, arbitrary_types_allowed=True):
        strange: Strange

    async def read_holder() -> BaseModel:
        """Read."""
        raise NotImplementedError

    read_holder.__annotations__["return"] = Holder
    things = public(Blueprint("things", __name__))
    things.add_url_rule("/", "read_holder", operation(read_holder))
    app = make_app(NEVER_OPENED, things, database=None)
    with pytest.raises(DocumentError, match="Strange"):
        await app.startup()


async def test_routes_that_come_at_the_start_are_documented() -> None:
    """A blueprint that is registered while the app starts is in the document."""
    late = public(Blueprint("late", __name__))
    late.add_url_rule("/late", "read_late", answer)
    app = make_app(NEVER_OPENED, database=None)
    app.before_serving(lambda: app.register_blueprint(late))
    async with running(app, tables=False) as client:
        assert "/late" in (await (await client.get("/openapi.json")).get_json())["paths"]
