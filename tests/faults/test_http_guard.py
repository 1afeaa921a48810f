"""FAULTS 11, 12, 23, 24, 26 to 29, 31, 32, 35 to 37, 39, 50, 51, 54, 84: what a request may look like."""

import asyncio
from typing import Any

import pytest
from quart import Quart, Response, request
from werkzeug.exceptions import HTTPException

from ligand_async import public
from tests.http import RawAnswer, chunk, exchange, head
from tests.servers import serving
from tests.services import app_of

BODY_LIMIT = 1000  # bytes
MAX_TARGET = 8 * 1024  # bytes
MAX_HEADERS = 16 * 1024  # bytes
MAX_FIELDS = 100


async def read_body() -> str:
    """Say how long the body was."""
    return str(len(await request.get_data()))


async def ignore_body() -> str:
    """Look at nothing."""
    await asyncio.sleep(0.2)
    return "fine"


async def pick(number: int) -> str:
    """Say which."""
    return str(number)


async def show_path(path: str) -> Response:
    """Say what was asked for."""
    return Response(path.encode())


def make_service(**settings: Any) -> Quart:
    """Make a service with views that read a body or not, a converter, and a slash at the end."""
    return app_of(
        ("POST", "/read", read_body),
        ("POST", "/ignore", ignore_body),
        ("GET", "/int/<int:number>", pick),
        ("GET", "/slash/", root),
        ("GET", "/path/<path:path>", show_path),
        settings={"max_body_bytes": BODY_LIMIT, **settings},
    )


async def root() -> str:
    """Be here."""
    return "here"


async def ask(*parts: bytes, pause: float = 0.0, until_closed: bool = False, **settings: Any) -> RawAnswer:
    """Send one request to a service of its own."""
    async with serving(make_service(**settings)) as port:
        return await exchange(port, *parts, pause=pause, until_closed=until_closed)


async def refused(raw: bytes, status: int, **settings: Any) -> None:
    """Send one request, which must be refused by a problem that says nothing of what was sent, and be the last."""
    answer = await ask(raw, until_closed=True, **settings)
    assert (answer.status, answer.is_problem, answer.closed) == (status, True, True), answer
    assert b"s3cret" not in answer.body


@pytest.mark.parametrize("target", ["?x=s3cret", "s3cret", "http://[", "http:///x", "ftp://s3cret/", "*", "//["])
async def test_a_target_that_is_no_path_is_400(target: str) -> None:
    """Rows 11 and 12: whatever the target is instead of a path, it is a 400; two slashes are a path."""
    if target == "//[":
        assert (await ask(head("GET", target))).status in {308, 404}
    else:
        await refused(head("GET", target), 400)


async def test_the_absolute_form_is_understood() -> None:
    """Row 12: a target with scheme and host is a path on that host (RFC 9112 section 3.2.2), which counts for trust."""
    fine = await ask(head("GET", "http://good.example/int/3", host="any.example"), trusted_hosts=("good.example",))
    assert (fine.status, fine.body) == (200, b"3")

    await refused(head("GET", "http://evil.example/int/3", host="good.example"), 421, trusted_hosts=("good.example",))


@pytest.mark.parametrize(
    "fields",
    [[f"X-Large: {'s3cret' * (MAX_HEADERS // 6)}"], [f"X-{number}: 1" for number in range(MAX_FIELDS)]],
    ids=["bytes", "fields"],
)
async def test_too_many_headers_are_431(fields: list[str]) -> None:
    """Row 26: more than 16 KiB of header fields, or more than 100 of them with Host, is a 431."""
    await refused(head("GET", "/slash/", *fields), 431)


async def test_as_many_headers_as_there_may_be() -> None:
    """Row 26: a request at the limit is served."""
    answer = await ask(head("GET", "/slash/", *[f"X-{number}: 1" for number in range(MAX_FIELDS - 1)]))
    assert answer.status == 200


@pytest.mark.parametrize("target", ["/path/" + "s3cret" * 1500, "/slash/?" + "s3cret" * 1500])
async def test_a_long_target_is_414(target: str) -> None:
    """Row 27: more than 8 KiB of path and query is a 414."""
    await refused(head("GET", target), 414)


async def test_a_target_at_the_limit() -> None:
    """Row 27: 8 KiB are served."""
    prefix = "/path/"
    assert (await ask(head("GET", prefix + "x" * (MAX_TARGET - len(prefix))))).status == 200


@pytest.mark.parametrize("version", ["9.9", "1.2", "0.9", "2.0"])
async def test_another_version_is_505(version: str) -> None:
    """Row 28: a version of HTTP that nobody speaks is a 505."""
    await refused(head("GET", "/slash/", version=version), 505)


async def test_two_ways_to_say_a_length_are_400() -> None:
    """Row 29: Content-Length beside Transfer-Encoding is how requests are smuggled: a 400, and the connection ends."""
    raw = head("POST", "/read", "Content-Length: 5", "Transfer-Encoding: chunked") + chunk(b"hello") + chunk(b"")
    await refused(raw, 400)


@pytest.mark.parametrize(
    "host",
    [
        *("a b/c?d", "a/b", "a@b", "user:s3cret@b", "a:b", "a:99999", "", "<s3cret>", "[::1", "a,b", "é", "-a", "a..b"),
        *(".", "[1]", "[v1.a]", "[::1%25eth0]"),
    ],
)
async def test_a_host_that_is_none_is_400(host: str) -> None:
    """Row 31: what is no host and port is a 400."""
    await refused(head("GET", "/slash/", host=host), 400)


@pytest.mark.parametrize("host", ["a", "a.example:8000", "127.0.0.1", "[::1]:80", "a_b.example.", "A.EXAMPLE"])
async def test_a_host_that_is_one_is_served(host: str) -> None:
    """Row 31: names, addresses, a port."""
    assert (await ask(head("GET", "/slash/", host=host))).status == 200


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("api.example.org", 200),
        ("API.example.org:8443", 200),
        ("api.example.org.", 200),
        ("a.b.example.net", 200),
        ("example.net", 421),
        ("evilexample.net", 421),
        ("example.org", 421),
        ("api.example.org.evil.example", 421),
        ("127.0.0.1", 421),
    ],
)
async def test_another_host_is_421(host: str, status: int) -> None:
    """Row 32: a host outside `trusted_hosts` is a 421; `*.` stands for what is below, not for the domain itself."""
    answer = await ask(head("GET", "/slash/", host=host), trusted_hosts=("api.example.org", "*.example.net"))
    assert (answer.status, answer.is_problem) == (status, status != 200)


@pytest.mark.parametrize("host", ["127.0.0.1:8000", "10.1.2.3", "[::1]:8000"])
async def test_probes_may_call_any_host(host: str) -> None:
    """Row 32: the health check of an image, and a kubelet, call the address: it is no host of `trusted_hosts`."""
    for target, status in (("/livez", 200), ("/readyz", 200), ("/slash/", 421), ("/livez/", 421), ("//livez", 421)):
        answer = await ask(head("GET", target, host=host), trusted_hosts=("api.example.org",))
        assert (target, answer.status) == (target, status)


@pytest.mark.parametrize(
    "target",
    [
        "/path/../slash",
        "/path/%2e%2e/slash",
        "/path/..%2Fslash",
        "/path/%252e%252e/slash",
        "/path/..;/slash",
        "/path/a%5Cb",
        "/./slash/",
        "/path/a%0Ab",
        "/..",
    ],
)
async def test_a_path_that_leads_up_is_400(target: str) -> None:
    """Row 139: what a proxy in front may read as another path is a 400, by the rule for paths that go out."""
    await refused(head("GET", target), 400)


async def test_a_redirect_of_a_websocket_stays_on_the_origin() -> None:
    """Rows 23 and 135: a handshake without its slash is redirected by the same rule."""

    async def talk() -> None: ...

    app = app_of()
    app.add_websocket("/talk/", "talk", public(talk))
    upgrade = ("Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13")
    raw = head("GET", "/talk?q=1", *upgrade, "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", host="EVIL.example")
    async with serving(app) as port:
        answer = await exchange(port, raw)
    assert (answer.status, answer.headers["location"]) == (308, "/talk/?q=1")


async def test_the_host_has_one_spelling() -> None:
    """Rows 134 and 135: handlers, links and digests see the normal form of the host."""

    async def show() -> str:
        return f"{request.host} {request.headers['Host']}"

    async with serving(app_of(("GET", "/", show))) as port:
        for host in ("API.Example", "api.example.", "api.example:80", "api.example:0080"):
            assert (await exchange(port, head("GET", "/", host=host))).body == b"api.example api.example"


@pytest.mark.parametrize("part", ["%ff", "%c3%28", "%ed%a0%80", "%f8%88%80%80%80", "%zz", "%", "%4", "a#b"])
@pytest.mark.parametrize("place", ["/path/{}", "/slash/?q={}"])
async def test_what_is_not_utf8_is_400(place: str, part: str) -> None:
    """Row 35: path and query are UTF-8 in whole escapes; anything else is a 400."""
    await refused(head("GET", place.format(part)), 400)


@pytest.mark.parametrize("target", ["/path/a%00b", "/slash/?q=%00", "/%00"])
async def test_nul_in_the_target_is_400(target: str) -> None:
    """Row 36: a NUL reaches neither a handler nor a database."""
    await refused(head("GET", target), 400)


async def test_utf8_in_the_target_is_served() -> None:
    """Row 35: escapes of UTF-8 arrive as what they stand for."""
    answer = await ask(head("GET", "/path/%E2%82%AC%20%F0%9F%90%B1?q=%C3%A9"))
    assert (answer.status, answer.body.decode()) == (200, "€ 🐱")


@pytest.mark.parametrize("target", ["/int/%D9%A3", "/int/%EF%BC%93", "/int/%F0%9D%9F%9B"])
async def test_digits_of_other_scripts_are_404(target: str) -> None:
    """Row 37: `<int:…>` reads 0 to 9."""
    answer = await ask(head("GET", target))
    assert (answer.status, answer.is_problem) == (404, True)


@pytest.mark.parametrize("method", ["CONNECT", "TRACK"])
async def test_methods_for_proxies_are_501(method: str) -> None:
    """Row 39: nothing is tunnelled."""
    await refused(head(method, "/slash/", "Cookie: s3cret"), 501)


async def test_trace_is_405() -> None:
    """Row 39: nothing is mirrored: a path has other methods, and the answer says which."""
    answer = await ask(head("TRACE", "/slash/", "Cookie: s3cret"))
    assert (answer.status, answer.is_problem, b"s3cret" in answer.body) == (405, True, False)
    assert "GET" in answer.headers["allow"]


@pytest.mark.parametrize(
    "fields",
    [
        ("Authorization: Bearer s3cret", "Authorization: Bearer s3cret"),
        ("Content-Type: text/plain", "Content-Type: application/json"),
        ("Idempotency-Key: 1", "Idempotency-Key: 2"),
    ],
    ids=lambda fields: fields[0].partition(":")[0],
)
async def test_a_field_that_may_stand_once_is_400_twice(fields: tuple[str, str]) -> None:
    """Row 84: of two fields that may stand once, two parsers may read different ones: a 400."""
    await refused(head("POST", "/read", *fields, "Content-Length: 0"), 400)


async def test_a_long_body_is_413_before_it_is_sent() -> None:
    """Rows 50 and 51: its length is known, so the answer does not wait for the body, nor for a handler to read it."""
    for path in ("/read", "/ignore"):
        await refused(head("POST", path, f"Content-Length: {BODY_LIMIT + 1}"), 413)


async def test_a_body_at_the_limit_is_read() -> None:
    """Row 50: with its length or in chunks."""
    body = b"x" * BODY_LIMIT
    for raw in (
        head("POST", "/read", f"Content-Length: {BODY_LIMIT}") + body,
        head("POST", "/read", "Transfer-Encoding: chunked") + chunk(body[:600]) + chunk(body[600:]) + chunk(b""),
    ):
        answer = await ask(raw)
        assert (answer.status, answer.body) == (200, str(BODY_LIMIT).encode())


@pytest.mark.parametrize("path", ["/read", "/ignore"])
async def test_a_long_chunked_body_is_413(path: str) -> None:
    """Rows 50 and 51: chunks are counted as they come, whether or not a handler reads them."""
    chunks = [chunk(b"s3cret" * 100) for _ in range(3)]
    answer = await ask(head("POST", path, "Transfer-Encoding: chunked"), *chunks, pause=0.01, until_closed=True)
    assert (answer.status, answer.is_problem, answer.closed) == (413, True, True)


async def test_a_slow_body_is_408() -> None:
    """Row 54: a body that does not come within `body_timeout`, 10 s by default, is a 408, and the connection ends."""
    answer = await ask(head("POST", "/read", "Content-Length: 10"), b"half", until_closed=True, body_timeout=0.2)
    assert (answer.status, answer.is_problem, answer.closed) == (408, True, True)
    assert make_service().config["BODY_TIMEOUT"] == 10


@pytest.mark.parametrize("target", ["/slash?q=1", "//slash?q=1", "/\\slash"])
@pytest.mark.parametrize(
    "host", ["evil.example", "EVIL.example", "evil.example.", "evil.example:080", "xn--BCHER-kva.example", "[0::1]:80"]
)
async def test_a_redirect_stays_on_the_origin(target: str, host: str) -> None:
    """Rows 23 and 135: where a slash is missing, the answer names a path and no host, and has no body."""
    answer = await ask(head("GET", target, host=host))
    if answer.status == 308:
        location = answer.headers["location"]
        assert location.startswith("/slash")
        assert (answer.body, "content-type" in answer.headers) == (b"", False)
        assert location.endswith("?q=1")
    else:
        assert (answer.status, answer.is_problem) == (400, True)


async def test_a_path_that_begins_with_slashes_is_no_host() -> None:
    """Row 23: a browser would read `//evil.example` as a host, so the redirect has one slash."""
    app = make_service()
    app.url_map.merge_slashes = False
    app.add_url_rule("/<path:path>/end/", "end", show_path)
    async with serving(app) as port:
        answer = await exchange(port, head("GET", "//evil.example/end"))
    assert answer.status == 404 or answer.headers["location"].startswith("/evil.example/")


async def test_options_is_204_with_allow() -> None:
    """Row 24: OPTIONS says what is allowed and nothing else."""
    answer = await ask(head("OPTIONS", "/slash/"))
    assert (answer.status, answer.body, "content-type" in answer.headers) == (204, b"", False)
    assert set(answer.headers["allow"].split(", ")) == {"GET", "HEAD", "OPTIONS"}
    assert (await ask(head("OPTIONS", "*"))).status == 204


@pytest.mark.parametrize("target", ["/slash/", "/nowhere", "/int/s3cret"])
async def test_head_is_get_without_its_body(target: str) -> None:
    """Row 24: the same status and headers, but for what names the request and the moment."""
    identified = "X-Request-ID: 01890a5d-ac96-774b-bcce-b302099a8057"
    async with serving(make_service()) as port:
        got, alone = [await exchange(port, head(method, target, identified)) for method in ("GET", "HEAD")]
    for answer in (got, alone):
        answer.headers.pop("date")
    assert (alone.status, alone.headers, alone.body) == (got.status, got.headers, b"")


async def test_an_error_of_a_handler_keeps_its_headers() -> None:
    """Row 3 and 4: an error that is not JSON becomes a problem; what is not about its body is kept."""
    app = make_service()

    @app.get("/error")
    @public
    async def fail() -> Response:
        return Response("<b>s3cret</b>", 409, headers={"ETag": '"1"', "Link": "</x>", "Content-Language": "de"})

    @app.errorhandler(404)
    async def own(_: HTTPException) -> tuple[str, int]:
        return "<b>s3cret</b>", 404

    async with serving(app) as port:
        for target, status in (("/error", 409), ("/nowhere", 404)):
            answer = await exchange(port, head("GET", target))
            assert (answer.status, answer.is_problem) == (status, True)
            assert b"<b>" not in answer.body
            assert "etag" not in answer.headers
        assert (await exchange(port, head("GET", "/error"))).headers["link"] == "</x>"
