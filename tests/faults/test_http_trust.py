"""FAULTS 33, 34, 62, 64-66: proxies, security headers, other origins, and callers who ask too often."""

from typing import Any

import pytest
from quart import Quart, Response, request, url_for

from ligand_async import Conflict, limit, operation
from tests.http import talk
from tests.servers import serving
from tests.services import app_of

PAGE = "https://app.example.org"


@operation
async def show_caller() -> dict[str, str | None]:
    """Say who asks, and by which address."""
    return {"address": request.remote_addr, "url": url_for("shop.show_caller_get", _external=True)}


@operation
async def show_forwarded() -> list[str]:
    """Say which headers speak for somebody else."""
    return sorted(name for name, _ in request.headers if name.lower().startswith(("x-forwarded", "forwarded")))


@operation
async def refuse() -> None:
    """Refuse."""
    raise Conflict("no")


@operation
async def tag() -> Response:
    """Answer with an entity tag."""
    return Response("x", headers={"ETag": '"1"', "Server": "secret/1.0"})


def make_app(**settings: Any) -> Quart:
    views = (("GET", "/caller", show_caller), ("GET", "/forwarded", show_forwarded), ("GET", "/refuse", refuse))
    return app_of(*views, ("GET", "/tag", tag), settings=settings)


FORGED = (("X-Forwarded-For", "8.8.8.8"), ("X-Forwarded-Proto", "https"), ("X-Forwarded-Host", "evil.example"))


async def test_without_proxies_nobody_speaks_for_another() -> None:
    """Row 33: with no proxy in front, X-Forwarded-* change nothing, and handlers do not see them."""
    async with serving(make_app()) as port:
        caller = await talk(port, "/caller", *FORGED, ("Forwarded", "for=8.8.8.8"), ("X-Real-IP", "8.8.8.8"))
        forwarded = await talk(port, "/forwarded", *FORGED, ("X-Forwarded-User", "admin"))

    assert caller.json == {"address": "127.0.0.1", "url": f"http://127.0.0.1:{port}/caller"}
    assert forwarded.json == []


@pytest.mark.parametrize("trusted", ["1", "127.0.0.0/30,10.0.0.0/8"])
async def test_the_client_behind_a_trusted_proxy_is_known(trusted: str) -> None:
    """Row 33: by hop count or by network, the last address that a trusted proxy wrote is the client's."""
    chain = ("X-Forwarded-For", "6.6.6.6, 198.51.100.7")
    proxied = (chain, ("X-Forwarded-Proto", "https"), ("X-Forwarded-Host", "shop.example"))
    async with serving(make_app(trusted_proxies=tuple(trusted.split(",")))) as port:
        caller = await talk(port, "/caller", *proxied)
        forwarded = await talk(port, "/forwarded", *proxied)

    assert caller.json == {"address": "198.51.100.7", "url": "https://shop.example/caller"}
    assert forwarded.json == []


async def test_a_stranger_beside_the_proxy_is_not_believed() -> None:
    """Row 33: a peer outside the trusted networks is the client, whatever it says."""
    async with serving(make_app(trusted_proxies=("127.0.0.1",))) as port:
        caller = await talk(port, "/caller", *FORGED, source="127.0.0.2")

    assert caller.json == {"address": "127.0.0.2", "url": f"http://127.0.0.1:{port}/caller"}


@pytest.mark.parametrize("scheme", ["javascript", "https://evil.example/", "ftp", "httpss", "", "https;q=1"])
async def test_a_forwarded_scheme_is_http_or_https(scheme: str) -> None:
    """Row 34: any other scheme that a trusted proxy passes on is ignored."""
    async with serving(make_app(trusted_proxies=("1",))) as port:
        caller = await talk(port, "/caller", ("X-Forwarded-For", "198.51.100.7"), ("X-Forwarded-Proto", scheme))

    assert caller.json["url"] == f"http://127.0.0.1:{port}/caller"


@pytest.mark.parametrize("host", ["evil example", "a/b", "a@b", "a?b", "a:b", "[::1", "-", "a:", "javascript://x"])
async def test_a_forwarded_host_is_a_host(host: str) -> None:
    """Row 34: a host that is none is refused: links would lead elsewhere."""
    async with serving(make_app(trusted_proxies=("1",))) as port:
        refused = await talk(port, "/caller", ("X-Forwarded-For", "198.51.100.7"), ("X-Forwarded-Host", host))

    assert (refused.status, refused.headers["Content-Type"]) == (400, "application/problem+json")
    assert "evil" not in refused.raw.decode()


async def test_only_the_docs_may_run_anything() -> None:
    """Row 62: the docs page keeps its policy, under which only its own assets run; all else may load nothing."""
    async with serving(make_app()) as port:
        page, error = await talk(port, "/docs"), await talk(port, "/no-such-page")

    assert "script-src 'self'" in page.headers["Content-Security-Policy"]
    assert error.headers.getlist("Content-Security-Policy") == ["default-src 'none'; frame-ancestors 'none'"]


@pytest.mark.parametrize(
    ("path", "status", "caching"),
    [
        ("/caller", 200, "private, no-cache"),
        ("/refuse", 409, "no-store"),
        ("/nothing", 404, "no-store"),
        ("/livez", 200, "no-store"),
    ],
)
async def test_every_answer_has_the_security_headers(path: str, status: int, caching: str) -> None:
    """Row 64: success, problem or routing error; once each, and no HSTS over plain HTTP."""
    async with serving(make_app()) as port:
        seen = await talk(port, path)

    assert seen.status == status
    assert seen.headers.getlist("X-Content-Type-Options") == ["nosniff"]
    assert seen.headers.getlist("Cache-Control") == [caching]
    assert seen.headers.getlist("Referrer-Policy") == ["no-referrer"]
    assert "frame-ancestors 'none'" in seen.headers["Content-Security-Policy"]
    assert "Strict-Transport-Security" not in seen.headers


async def test_the_guard_s_answers_have_the_security_headers_too() -> None:
    """Row 64: what the guard refuses before the app is no exception."""
    async with serving(make_app(trusted_proxies=("1",))) as port:
        seen = await talk(port, "/", ("X-Forwarded-For", "198.51.100.7"), ("X-Forwarded-Host", "a b"))

    assert seen.status == 400
    assert (seen.headers["X-Content-Type-Options"], seen.headers["Cache-Control"]) == ("nosniff", "no-store")


async def test_what_has_an_entity_tag_is_asked_for_again() -> None:
    """Row 64: with an entity tag the answer may be kept by its reader, and nothing of the server shows."""
    async with serving(make_app()) as port:
        seen = await talk(port, "/tag")

    assert seen.headers["Cache-Control"] == "private, no-cache"
    assert "secret/1.0" not in seen.headers.getlist("Server")


async def test_behind_tls_clients_are_told_to_stay_there() -> None:
    """Row 64: HSTS is sent where the client came by https, as a trusted proxy says."""
    async with serving(make_app(trusted_proxies=("1",))) as port:
        seen = await talk(port, "/caller", ("X-Forwarded-For", "198.51.100.7"), ("X-Forwarded-Proto", "https"))

    assert seen.headers["Strict-Transport-Security"] == "max-age=31536000; includeSubDomains"


async def test_other_origins_are_denied_by_default() -> None:
    """Row 65: nothing is allowed to pages of other origins, preflight or not."""
    async with serving(make_app()) as port:
        answers = [
            await talk(port, "/caller", ("Origin", PAGE)),
            await talk(port, "/caller", ("Origin", PAGE), ("Access-Control-Request-Method", "GET"), method="OPTIONS"),
        ]

    assert [name for seen in answers for name, _ in seen.headers if name.lower().startswith("access-control")] == []


@pytest.mark.parametrize("origins", [(PAGE,), ("*",)])
async def test_a_preflight_is_answered_before_anything_else(origins: tuple[str, ...]) -> None:
    """Row 65: an allowed origin gets 204 for any path, before hooks and handlers; never with credentials."""
    app = make_app(cors_origins=origins)

    @app.before_request
    async def never() -> None:
        raise AssertionError("asked before the preflight")

    preflight = (("Origin", PAGE), ("Access-Control-Request-Method", "PUT"))
    async with serving(app) as port:
        seen = await talk(port, "/refuse", *preflight, method="OPTIONS")

    assert (seen.status, seen.raw) == (204, b"")
    assert seen.headers["Access-Control-Allow-Origin"] == origins[0]
    assert "PUT" in seen.headers["Access-Control-Allow-Methods"].split(", ")
    assert {"Authorization", "If-Match"} < {*seen.headers["Access-Control-Allow-Headers"].split(", ")}
    assert int(seen.headers["Access-Control-Max-Age"]) > 0
    assert "Access-Control-Allow-Credentials" not in seen.headers
    assert seen.headers["Vary"] == "Origin"


@pytest.mark.parametrize(("path", "status"), [("/caller", 200), ("/refuse", 409), ("/nothing", 404), ("/x%ff", 400)])
async def test_pages_may_read_errors_too(path: str, status: int) -> None:
    """Row 65: an allowed page reads the answer whoever made it: handler, router or guard."""
    async with serving(make_app(cors_origins=(PAGE,))) as port:
        seen = await talk(port, path, ("Origin", PAGE))

    assert seen.status == status
    assert seen.headers.getlist("Access-Control-Allow-Origin") == [PAGE]
    assert "X-Request-ID" in seen.headers["Access-Control-Expose-Headers"]
    assert seen.headers["Vary"] == "Origin"


@pytest.mark.parametrize("origin", ["https://evil.example", "null", f"{PAGE}.evil.example", "http://app.example.org"])
async def test_other_pages_may_read_nothing(origin: str) -> None:
    """Row 65: an origin that is not on the list gets no permission, and caches are told that origins differ."""
    async with serving(make_app(cors_origins=(PAGE,))) as port:
        seen = await talk(port, "/caller", ("Origin", origin))

    assert "Access-Control-Allow-Origin" not in seen.headers
    assert seen.headers["Vary"] == "Origin"


async def test_who_asks_too_often_is_told_when_to_come_back() -> None:
    """Row 66: over the quota it is 429 with Retry-After; every answer says what is left; others are not touched."""

    @limit("2/hour")
    @operation
    async def dear() -> str:
        """Take long."""
        return "x"

    async with serving(app_of(("GET", "/dear", dear))) as port:
        first, second, third = [await talk(port, "/dear") for _ in range(3)]
        other = await talk(port, "/dear", source="127.0.0.2")

    assert [first.status, second.status, third.status, other.status] == [200, 200, 429, 200]
    assert first.headers["RateLimit-Policy"] == '"shop.dear_get-3600";q=2;w=3600'
    assert [seen.headers["RateLimit"].split(";")[1] for seen in (first, second, third)] == ["r=1", "r=0", "r=0"]
    assert 3590 <= int(third.headers["Retry-After"]) <= 3600
    assert third.headers["Content-Type"] == "application/problem+json"
    assert third.json["title"] == "Too Many Requests"
