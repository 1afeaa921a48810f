"""The headers of every answer, and CORS."""

import asyncio
from typing import Any

import pytest
from quart import Response

from ligand_async import Settings, operation
from ligand_async.settings import SettingsError
from ligand_async.web import CORS, Guard, Reply, SecurityHeaders
from tests.services import NEVER_OPENED, Answer, app_of, ask, send

DEFAULTS = {
    b"x-content-type-options": b"nosniff",
    b"content-security-policy": b"default-src 'none'; frame-ancestors 'none'",
    b"referrer-policy": b"no-referrer",
    b"cross-origin-resource-policy": b"same-origin",
    b"cache-control": b"no-store",
}


def complete(*fields: tuple[bytes, bytes], scheme: str = "http") -> list[tuple[bytes, bytes]]:
    """Return the headers of a response whose app has sent some fields, without the request's id."""
    sent: list[Any] = []

    async def answer(_scope: Any, _receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": list(fields)})
        await send({"type": "http.response.body", "body": b""})

    async def take(message: Any) -> None:
        sent.append(message)

    scope = {"type": "http", "scheme": scheme, "method": "GET", "path": "/", "headers": []}
    asyncio.run(Guard([SecurityHeaders()], request_timeout=None, max_body_bytes=1).serve(answer, scope, None, take))
    return [field for field in sent[0]["headers"] if field[0] != b"x-request-id"]


def test_an_answer_that_says_nothing_gets_all() -> None:
    """Each default once, after what was there."""
    assert complete((b"content-type", b"text/plain")) == [(b"content-type", b"text/plain"), *DEFAULTS.items()]


@pytest.mark.parametrize("name", [name.decode() for name in DEFAULTS])
def test_what_a_handler_says_stays(name: str) -> None:
    """In any case of letters, and the others are still added."""
    own = (name.title().encode(), b"own")

    headers = complete(own)

    assert [field for field in headers if field[0].lower() == own[0].lower()] == [(own[0].lower(), own[1])]
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


PAGE = "https://app.example.org"


def scope_of(method: str = "GET", *fields: tuple[str, str], kind: str = "http") -> dict[str, Any]:
    headers = [(name.lower().encode(), value.encode()) for name, value in fields]
    return {"type": kind, "method": method, "headers": headers}


def complete_for_page(origins: tuple[str, ...], origin: str | None, *fields: tuple[bytes, bytes]) -> dict[bytes, bytes]:
    """Return the headers of an answer to a page."""
    headers: list[tuple[bytes, bytes]] = list(fields)
    CORS(origins).after(scope_of("GET", *([("Origin", origin)] if origin else [])), 200, headers)
    assert len(headers) == len(dict(headers))
    return dict(headers)


def preflight(*fields: tuple[str, str], method: str = "OPTIONS", kind: str = "http") -> Reply | None:
    return CORS([PAGE], ["X-Tenant"]).before(scope_of(method, *fields, kind=kind))


ASKED = (("Origin", PAGE), ("Access-Control-Request-Method", "PUT"))


@pytest.mark.parametrize(
    ("origins", "origin", "allowed"),
    [
        ((PAGE,), PAGE, PAGE.encode()),
        ((PAGE, "http://localhost:3000"), "http://localhost:3000", b"http://localhost:3000"),
        (("*",), PAGE, b"*"),
        (("*",), "null", b"*"),
        ((PAGE,), None, None),
        ((PAGE,), "null", None),
        ((PAGE,), PAGE.upper(), None),
        ((PAGE,), f"{PAGE}/", None),
        ((PAGE,), f"{PAGE}:444", None),
        ((PAGE,), PAGE[:-1], None),
    ],
)
def test_an_origin_is_on_the_list_or_not(origins: tuple[str, ...], origin: str | None, allowed: bytes | None) -> None:
    """By the exact text; `*` allows all, as `*`. Caches always hear that origins differ."""
    headers = complete_for_page(origins, origin)

    assert headers.get(b"access-control-allow-origin") == allowed
    assert headers[b"vary"] == b"Origin"


@pytest.mark.parametrize("origins", [(PAGE,), ("*",)])
def test_credentials_are_never_allowed(origins: tuple[str, ...]) -> None:
    """Not even where a handler says so: a cookie would act for whoever holds it."""
    theirs = (
        (b"access-control-allow-credentials", b"true"),
        (b"Access-Control-Allow-Origin", b"https://evil.example"),
    )

    headers = complete_for_page(origins, PAGE, *theirs)

    assert b"access-control-allow-credentials" not in headers
    assert headers[b"access-control-allow-origin"] == origins[0].encode()
    assert b"access-control-allow-origin" not in complete_for_page((PAGE,), "https://evil.example", *theirs)


@pytest.mark.parametrize(
    ("vary", "result"),
    [(b"Accept", b"Accept, Origin"), (b"origin", b"origin"), (b"*", b"*"), (b"A, Origin", b"A, Origin")],
)
def test_vary_keeps_what_it_says(vary: bytes, result: bytes) -> None:
    """And gets the origin once."""
    assert complete_for_page((PAGE,), PAGE, (b"vary", vary))[b"vary"] == result


def test_a_handler_exposes_more() -> None:
    """Its own headers stand after the framework's."""
    exposed = complete_for_page((PAGE,), PAGE, (b"access-control-expose-headers", b"X-Mine, ETag"))[
        b"access-control-expose-headers"
    ].split(b", ")

    assert exposed[-1] == b"X-Mine"
    assert exposed.count(b"ETag") == 1


def test_a_preflight_is_answered_at_once() -> None:
    """With what may be sent, the service's own headers included."""
    reply = preflight(*ASKED)

    assert reply is not None
    assert reply.status == 204
    assert b"X-Tenant" in dict(reply.headers)[b"access-control-allow-headers"].split(b", ")


def test_a_stranger_s_preflight_gets_no_permission() -> None:
    """It is answered, and says nothing."""
    assert preflight(("Origin", "https://evil.example"), ASKED[1]) == Reply(204, [])


@pytest.mark.parametrize(
    ("method", "fields", "kind"),
    [
        ("OPTIONS", (), "http"),
        ("OPTIONS", ASKED[:1], "http"),
        ("OPTIONS", ASKED[1:], "http"),
        ("PUT", ASKED, "http"),
        ("OPTIONS", ASKED, "websocket"),
        ("OPTIONS", (*ASKED, ("Origin", "https://evil.example")), "http"),
    ],
)
def test_all_else_goes_on(method: str, fields: tuple[tuple[str, str], ...], kind: str) -> None:
    """An OPTIONS that is no preflight has its own answer."""
    assert preflight(*fields, method=method, kind=kind) is None


async def ask_from_page(settings: dict[str, Any], method: str = "GET") -> Answer:
    @operation
    async def handler() -> Response:
        return Response("x")

    app = app_of(("GET", "/", handler), settings=settings)
    return await send(app, method, "/", headers={"Origin": PAGE, "Access-Control-Request-Method": "GET"})


async def test_it_is_off_by_default() -> None:
    """No header, no `Vary`; OPTIONS is the route's own."""
    plain, options = await ask_from_page({}), await ask_from_page({}, "OPTIONS")

    assert "Vary" not in plain.headers
    assert "GET" in options.headers["Allow"]
    assert not [name for answer in (plain, options) for name, _ in answer.headers if name.startswith("Access")]


async def test_the_setting_turns_it_on() -> None:
    """In the guard, beside the security headers."""
    answer = await ask_from_page({"cors_origins": (PAGE,)})

    assert answer.headers["Access-Control-Allow-Origin"] == PAGE
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


NO_URLS = ("app.example.org", "https://a.org?x", "https://a.org:99999", "https://", "ftp ://a", "")


@pytest.mark.parametrize(
    "origin",
    [
        *NO_URLS,
        f"{PAGE}/",
        f"{PAGE}/x",
        PAGE.upper(),
        f"{PAGE}:443",
        "http://a:80",
        "null",
        "https://*.a.org",
        "https://user@a.org",
    ],
)
def test_what_no_browser_sends_is_no_origin(origin: str) -> None:
    """A setting that could never match is a mistake, and so is `*` beside others."""
    for origins in ((origin,), (PAGE, origin), ("*", PAGE)):
        with pytest.raises(SettingsError, match="cors_origins"):
            Settings.load("testing", database_url=NEVER_OPENED, cors_origins=origins)


@pytest.mark.parametrize("name", ["*", "X Tenant", "X-Tenant:", ""])
def test_what_is_no_header_name_is_refused(name: str) -> None:
    """A header name is a token (RFC 9110 section 5.1)."""
    with pytest.raises(SettingsError, match="cors_headers"):
        Settings.load("testing", database_url=NEVER_OPENED, cors_headers=(name,))
