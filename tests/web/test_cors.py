"""Pages of other origins."""

from typing import Any

import pytest
from quart import Response

from ligand_async import Settings, operation
from ligand_async.settings import SettingsError
from ligand_async.web import CORS
from ligand_async.web.stages import Headers, Reply
from tests.web.serving import NEVER_OPENED, Answer, app_of, send

PAGE = "https://app.example.org"


def scope_of(method: str = "GET", *fields: tuple[str, str], kind: str = "http") -> dict[str, Any]:
    headers = [(name.lower().encode(), value.encode()) for name, value in fields]
    return {"type": kind, "method": method, "headers": headers}


def complete(origins: tuple[str, ...], origin: str | None, *fields: tuple[bytes, bytes]) -> dict[bytes, bytes]:
    """Return the headers of an answer to a page."""
    headers: Headers = list(fields)
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
    headers = complete(origins, origin)

    assert headers.get(b"access-control-allow-origin") == allowed
    assert headers[b"vary"] == b"Origin"


@pytest.mark.parametrize("origins", [(PAGE,), ("*",)])
def test_credentials_are_never_allowed(origins: tuple[str, ...]) -> None:
    """Not even where a handler says so: a cookie would act for whoever holds it."""
    theirs = (
        (b"access-control-allow-credentials", b"true"),
        (b"Access-Control-Allow-Origin", b"https://evil.example"),
    )

    headers = complete(origins, PAGE, *theirs)

    assert b"access-control-allow-credentials" not in headers
    assert headers[b"access-control-allow-origin"] == origins[0].encode()
    assert b"access-control-allow-origin" not in complete((PAGE,), "https://evil.example", *theirs)


@pytest.mark.parametrize(
    ("vary", "result"),
    [(b"Accept", b"Accept, Origin"), (b"origin", b"origin"), (b"*", b"*"), (b"A, Origin", b"A, Origin")],
)
def test_vary_keeps_what_it_says(vary: bytes, result: bytes) -> None:
    """And gets the origin once."""
    assert complete((PAGE,), PAGE, (b"vary", vary))[b"vary"] == result


def test_a_handler_exposes_more() -> None:
    """Its own headers stand after the framework's."""
    exposed = complete((PAGE,), PAGE, (b"access-control-expose-headers", b"X-Mine, ETag"))[
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
