"""Where the service is mounted: the prefix of its path, which every address has that it writes."""

from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel
from quart import request, url_for
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from ligand_async import CursorParams, Page, operation, paginate
from ligand_async.web.proxies import TrustedProxies, read_prefix
from tests.services import Item, make_app, routes, running
from tests.web.things import linked

PROXY: Any = {"client": ("127.0.0.1", 5000)}
TRUST = {"trusted_proxies": ("127.0.0.1",)}
PUBLIC = {"service_public_url": "https://api.example.org/shop", "service_private_url": "http://shop:8000/inner"}


class ItemRead(BaseModel):
    id: UUID


class Label(BaseModel):
    id: str


@operation
async def list_items(query_args: CursorParams, session: AsyncSession) -> Page[ItemRead]:
    return await paginate(session, select(Item), query_args, into=ItemRead)


@operation(status=201, location=".read_label_get")
async def make_label() -> Label:
    return Label(id="a b")


@operation
async def read_label(label_id: str) -> dict[str, str]:
    own = url_for(".read_label_get", label_id=label_id, _external=True)
    return {"path": request.path, "url": request.url, "own": own}


VIEWS = (
    ("GET", "/items/", list_items),
    ("POST", "/labels", make_label),
    ("GET", "/labels/<label_id>", read_label),
)

MOUNTED: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "nowhere": ({}, {}, ""),
    "by the server": ({}, {"scope_base": {"root_path": "/shop"}, "path": "/shop"}, "/shop"),
    "by a proxy": (TRUST, {"scope_base": PROXY, "headers": {"X-Forwarded-Prefix": "/shop"}}, "/shop"),
    "with a slash": (TRUST, {"scope_base": PROXY, "headers": {"X-Forwarded-Prefix": "/shop/"}}, "/shop"),
    "deeper": (TRUST, {"scope_base": PROXY, "headers": {"X-Forwarded-Prefix": "/a.b/~c"}}, "/a.b/~c"),
    "by the nearest proxy": (TRUST, {"scope_base": PROXY, "headers": {"X-Forwarded-Prefix": "/evil, /shop"}}, "/shop"),
    "by a stranger": ({}, {"scope_base": PROXY, "headers": {"X-Forwarded-Prefix": "/evil"}}, ""),
    "to another host": (TRUST, {"scope_base": PROXY, "headers": {"X-Forwarded-Prefix": "//evil.example"}}, ""),
    "to another host, hidden": (TRUST, {"scope_base": PROXY, "headers": {"X-Forwarded-Prefix": "/%2Fevil"}}, ""),
    "by the public URL": (PUBLIC, {}, "/shop"),
    "by the private URL": (PUBLIC, {"headers": {"Host": "shop:8000"}}, "/inner"),
    "by a proxy before the URL": (
        TRUST | PUBLIC,
        {"scope_base": PROXY, "headers": {"X-Forwarded-Prefix": "/v2"}},
        "/v2",
    ),
    "at the root by a proxy": (TRUST | PUBLIC, {"scope_base": PROXY, "headers": {"X-Forwarded-Prefix": "/"}}, ""),
    "by server and proxy": (
        TRUST,
        {
            "scope_base": PROXY | {"root_path": "/inner"},
            "path": "/inner",
            "headers": {"X-Forwarded-Prefix": "/shop"},
        },
        "/shop/inner",
    ),
    "twice alike": (
        TRUST,
        {"scope_base": PROXY | {"root_path": "/shop"}, "path": "/shop", "headers": {"X-Forwarded-Prefix": "/shop"}},
        "/shop",
    ),
}


@pytest.mark.ligand_conformance("off", reason="it has no way to know the prefix of a path that the server has")
@pytest.mark.parametrize("case", MOUNTED)
async def test_every_address_has_the_prefix(case: str, sqlite_url: str) -> None:
    """Location, Link, redirects, url_for and the servers of the document begin with it; routes know nothing of it."""
    settings, sent, prefix = MOUNTED[case]
    sent = dict(sent)
    under = sent.pop("path", "")
    app = make_app(sqlite_url, routes(*VIEWS), settings=settings)
    async with running(app) as client:
        made = await client.post(f"{under}/labels", **sent)
        listed = await client.get(f"{under}/items/?limit=5", **sent)
        slash = await client.get(f"{under}/items?limit=5", **sent)
        read = await (await client.get(f"{under}/labels/x", **sent)).get_json()
        page = await (await client.get(f"{under}/docs", **sent)).get_data(as_text=True)
        document = await (await client.get(f"{under}/openapi.json", **sent)).get_json()

    assert made.headers["Location"] == f"{prefix}/labels/a%20b"
    assert linked(listed.headers)["first"] == f"{prefix}/items/?limit=5"
    assert slash.headers["Location"] == f"{prefix}/items/?limit=5"
    assert read["path"] == "/labels/x"
    assert read["own"].partition("//")[2].partition("/")[2] == f"{prefix}/labels/x".lstrip("/")
    assert 'href="docs/' in page
    assert 'href="/' not in page
    assert not prefix or prefix in [urlsplit(server["url"]).path for server in document["servers"]]


@given(st.text(st.sampled_from("/.%2fF5cCe\\ a:@?#\0\r\n\xff"), max_size=12))
def test_no_prefix_leaves_the_origin(text: str) -> None:
    """Whatever a proxy passes on, an address with the prefix is a path, and has no way up."""
    prefix = read_prefix(text)

    if prefix:
        assert prefix[0] == "/" != prefix[1]
        assert prefix.isprintable()
        assert not {"", ".", ".."} & set(prefix.split("/")[1:])


@pytest.mark.parametrize("target", [b"*", b"http://shop.example/labels/x"])
def test_other_targets_have_no_prefix(target: bytes) -> None:
    """A target that is not a path is left to those that refuse it or take it apart."""
    scope: dict[str, Any] = {"type": "http", "path": "*", "raw_path": target, "headers": [], "client": None}
    TrustedProxies((), public_url="https://api.example.org/shop").before(scope)

    assert (scope["path"], scope.get("root_path")) == ("*", None)
