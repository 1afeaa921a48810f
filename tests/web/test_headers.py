"""The headers of every answer."""

from typing import Any

import pytest
from quart import Response

from ligand_async import operation
from ligand_async.web import SecurityHeaders
from ligand_async.web.stages import Headers
from tests.web.serving import app_of, ask, send

DEFAULTS = {
    b"x-content-type-options": b"nosniff",
    b"content-security-policy": b"default-src 'none'; frame-ancestors 'none'",
    b"referrer-policy": b"no-referrer",
    b"cross-origin-resource-policy": b"same-origin",
    b"cache-control": b"no-store",
}


def complete(*fields: tuple[bytes, bytes], scheme: str = "http") -> Headers:
    headers = list(fields)
    SecurityHeaders().after({"type": "http", "scheme": scheme}, 200, headers)
    return headers


def test_an_answer_that_says_nothing_gets_all() -> None:
    """Each default once, after what was there."""
    assert complete((b"content-type", b"text/plain")) == [(b"content-type", b"text/plain"), *DEFAULTS.items()]


@pytest.mark.parametrize("name", [name.decode() for name in DEFAULTS])
def test_what_a_handler_says_stays(name: str) -> None:
    """In any case of letters, and the others are still added."""
    own = (name.title().encode(), b"own")

    headers = complete(own)

    assert [field for field in headers if field[0].lower() == own[0].lower()] == [own]
    assert len(headers) == len(DEFAULTS)


def test_an_entity_tag_lets_the_reader_keep_it() -> None:
    """Private, and asked for again each time; unless the handler says otherwise."""
    tagged = (b"etag", b'"1"')

    assert (b"cache-control", b"private, no-cache") in complete(tagged)
    assert (b"cache-control", b"private, no-cache") not in complete(tagged, (b"cache-control", b"public"))


@pytest.mark.parametrize(("scheme", "sent"), [("http", False), ("https", True)])
def test_hsts_is_sent_over_https_only(scheme: str, sent: bool) -> None:
    """Over plain HTTP it means nothing (RFC 6797 section 7.2)."""
    assert (b"strict-transport-security" in dict(complete(scheme=scheme))) is sent


def test_the_server_has_no_name() -> None:
    """Whatever an app or middleware calls it."""
    assert b"server" not in {name.lower() for name, _ in complete((b"Server", b"x/1"), (b"server", b"y"))}


async def test_the_docs_keep_their_policy_and_caching() -> None:
    """The page runs its own scripts, and its assets are kept for good."""
    page, document = await send(app_of(), "GET", "/docs"), await send(app_of(), "GET", "/openapi.json")

    assert "script-src 'self'" in page.headers["Content-Security-Policy"]
    assert page.headers.getlist("Cache-Control") == ["no-cache"]
    assert document.headers.getlist("Cache-Control") == ["no-cache"]
    assert "Cross-Origin-Opener-Policy" not in page.headers


async def test_a_handler_decides_for_itself() -> None:
    """A header that it sets is the one that is sent."""

    @operation
    async def handler() -> Response:
        return Response("x", headers={"Cache-Control": "public, max-age=60", "Content-Security-Policy": "sandbox"})

    answer = await ask(handler)

    assert answer.headers.getlist("Cache-Control") == ["public, max-age=60"]
    assert answer.headers.getlist("Content-Security-Policy") == ["sandbox"]


class Answering:
    """An ASGI middleware that answers every request itself."""

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        await send({"type": "http.response.start", "status": 200, "headers": [(b"server", b"x")]})
        await send({"type": "http.response.body", "body": b"x"})


async def test_middleware_s_answers_have_them_too() -> None:
    """The stage stands around middleware that a service puts around its app."""
    app = app_of()
    app.asgi_app = Answering(app.asgi_app)  # type: ignore[method-assign]  # as Quart documents it

    answer = await send(app, "GET", "/")

    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert "Server" not in answer.headers
