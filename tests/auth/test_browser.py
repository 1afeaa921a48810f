"""Callers in a browser: tokens in a cookie or in the subprotocols of a websocket, and the pages they come from."""

import logging
from datetime import UTC, datetime, timedelta
from http.cookies import SimpleCookie
from typing import Any

import pytest
from quart import Blueprint, Quart, Response, websocket
from quart.testing import WebsocketResponseError
from werkzeug.datastructures import Headers

from ligand_async import Principal, current_principal, public, requires, role
from ligand_async.auth import (
    BearerAuthenticator,
    CookieAuthenticator,
    InvalidToken,
    SubprotocolAuthenticator,
    current_caller_token,
)
from ligand_async.settings import SettingsError
from ligand_async.testing import access_token
from tests.auth.guarding import WordVerifier
from tests.docs.documents import describe
from tests.services import NEVER_OPENED, make_app, running

OWN = "http://127.0.0.1:8000"
APP = "https://app.example"
EVIL = "https://evil.example"
COOKIE = "__Host-access_token"
SAME = {"Sec-Fetch-Site": "same-origin"}


def app_of(*authenticators: Any, **more: Any) -> Quart:
    """Make a service for browsers, whose words are tokens (see `WordVerifier`)."""
    pages = Blueprint("pages", __name__)
    cookie = CookieAuthenticator()

    async def say() -> dict[str, Any]:
        principal = current_principal()
        return {"subject": principal and principal.subject, "token": current_caller_token()}

    @public
    async def say_openly() -> dict[str, Any]:
        return await say()

    @requires(role("admin"))
    async def say_to_admins() -> dict[str, Any]:
        return await say()

    async def remember() -> Response:
        return cookie.remember(Response(status=204))

    async def forget() -> Response:
        return cookie.forget(Response(status=204))

    async def talk() -> None:
        await websocket.send(f"{(await say())['subject']} {websocket.requested_subprotocols}")

    @public
    async def lobby() -> None:
        await talk()

    async def chat() -> None:
        await websocket.accept(subprotocol="chat.v1")
        await talk()

    methods = ["GET", "POST", "PUT", "PATCH", "DELETE"]
    pages.add_url_rule("/open", "open", say_openly, methods=methods)
    pages.add_url_rule("/closed", "closed", say, methods=methods)
    pages.add_url_rule("/admin", "admin", say_to_admins)
    pages.add_url_rule("/session", "remember", remember, methods=["POST"])
    pages.add_url_rule("/session", "forget", public(forget), methods=["DELETE"])
    pages.add_websocket("/talk", "talk", talk)
    pages.add_websocket("/lobby", "lobby", lobby)
    pages.add_websocket("/chat", "chat", chat)
    used = authenticators or (BearerAuthenticator(WordVerifier()), cookie, SubprotocolAuthenticator())
    return make_app(NEVER_OPENED, pages, database=None, authenticators=used, **more)


def sent(cookie: str | None = "user", **headers: str | None) -> Headers:
    """Return the headers of a browser."""
    found = Headers({name.replace("_", "-"): value for name, value in headers.items() if value is not None})
    if cookie is not None:
        found.add("Cookie", f"{COOKIE}={cookie}")
    return found


async def ask(app: Quart, method: str, path: str, headers: Any) -> Response:
    async with running(app, tables=False) as client:
        ask: Any = client.open  # whose protocol asks for all arguments
        response: Response = await ask(path, method=method, headers=headers)
        return response


async def say(app: Quart, path: str, headers: Any = None, subprotocols: list[str] | None = None) -> Any:
    """Open a websocket, and return what it says, or the answer that refuses it."""
    async with running(app, tables=False) as client:
        options: dict[str, Any] = {"headers": headers, "subprotocols": subprotocols or []}
        try:
            async with client.websocket(path, **options) as connection:
                return await connection.receive()
        except WebsocketResponseError as refused:
            return refused.response


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE"])
@pytest.mark.parametrize(
    ("headers", "of_reads", "of_writes"),
    [
        ({"Origin": OWN}, 200, 200),
        ({"Origin": APP}, 200, 200),
        ({"Origin": EVIL}, 403, 403),
        ({"Origin": EVIL, **SAME}, 403, 403),
        ({"Origin": "null", **SAME}, 403, 403),
        ({"Origin": ""}, 403, 403),
        ({"Origin": "http://127.0.0.1"}, 403, 403),
        ({"Origin": "http://127.0.0.1:8001"}, 403, 403),
        ({"Origin": "https://127.0.0.1:8000"}, 403, 403),
        ({"Origin": f"{OWN}/"}, 403, 403),
        ({"Origin": f"{APP}.evil.example"}, 403, 403),
        ({"Origin": "https://sub.app.example"}, 403, 403),
        ({"Origin": f"{APP}, {EVIL}"}, 403, 403),
        ({}, 403, 403),
        ({"Referer": f"{OWN}/page"}, 403, 403),
        (SAME, 200, 403),
        ({"Sec-Fetch-Site": "none"}, 200, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403, 403),
        ({"Sec-Fetch-Site": "Same-Origin"}, 403, 403),
    ],
    ids=str,
)
async def test_a_cookie_works_for_pages_that_may_call(
    method: str, headers: dict[str, str], of_reads: int, of_writes: int
) -> None:
    """By its Origin; a read of the own origin has none, and says so by Sec-Fetch-Site. Missing or foreign: 403."""
    app = app_of(settings={"browser_origins": [APP]})
    response = await ask(app, method, "/closed", sent(**{key.replace("-", "_"): v for key, v in headers.items()}))

    assert response.status_code == (of_reads if method == "GET" else of_writes)


async def test_two_origins_are_none() -> None:
    """Two headers are not one that may call, whichever comes first."""
    for pair in ((OWN, EVIL), (EVIL, OWN), (OWN, OWN)):
        headers = sent()
        for origin in pair:
            headers.add("Origin", origin)
        assert (await ask(app_of(), "POST", "/closed", headers)).status_code == 403


async def test_the_page_is_checked_before_the_token(caplog: pytest.LogCaptureFixture) -> None:
    """On public routes too, and whether the token is good or not: a hostile page learns nothing. The log names it."""
    verifier = WordVerifier()
    app = app_of(BearerAuthenticator(verifier), CookieAuthenticator())
    for token in ("user", "bad"):
        response = await ask(app, "POST", "/open", sent(token, Origin=EVIL))
        assert (response.status_code, verifier.asked) == (403, [])
    assert EVIL in caplog.text
    assert EVIL not in await response.get_data(as_text=True)


async def test_without_a_cookie_nothing_changes() -> None:
    """Pages without the cookie are treated as anybody; a token in the header needs no page."""
    app = app_of()
    assert (await ask(app, "POST", "/open", sent(None, Origin=EVIL))).status_code == 200
    assert (await ask(app, "POST", "/closed", sent(None, Origin=EVIL))).status_code == 401
    assert (await ask(app, "POST", "/closed", sent(None, Authorization="Bearer user"))).status_code == 200
    both = await ask(app, "POST", "/closed", sent("admin", Authorization="Bearer user", Origin=EVIL))
    assert await both.get_json() == {"subject": "ada", "token": "user"}


async def test_a_cookie_is_a_token_like_any_other() -> None:
    """It makes the principal, meets requirements or not, and can be forwarded."""
    app = app_of()
    assert await (await ask(app, "GET", "/open", sent(Sec_Fetch_Site="same-origin"))).get_json() == {
        "subject": "ada",
        "token": "user",
    }
    statuses = [(await ask(app, "GET", "/admin", sent(word, Origin=OWN))).status_code for word in ("user", "admin")]
    assert statuses == [403, 200]


@pytest.mark.parametrize("word", ["bad", "", "é", "%75ser"])
async def test_a_bad_cookie_is_a_401_that_deletes_it(word: str) -> None:
    """Everywhere, as any bad token is; the next request is anonymous."""
    for path in ("/open", "/closed"):
        response = await ask(app_of(), "GET", path, sent(word, Origin=OWN))
        [deleted] = response.headers.getlist("Set-Cookie")

        assert response.status_code == 401
        assert 'error="invalid_token"' in response.headers["WWW-Authenticate"]
        assert deleted.startswith(f"{COOKIE}=;")
        assert "Max-Age=0" in deleted
        assert {"Secure", "HttpOnly", "Path=/", "SameSite=Strict"} <= {part.strip() for part in deleted.split(";")}


@pytest.mark.parametrize("word", ["a b", '"user"x'])
async def test_what_is_no_cookie_is_ignored(word: str) -> None:
    """Werkzeug drops a malformed cookie, and nobody is authenticated."""
    statuses = [(await ask(app_of(), "GET", path, sent(word, Origin=OWN))).status_code for path in ("/open", "/closed")]

    assert statuses == [200, 401]


async def test_a_denied_cookie_is_deleted_too() -> None:
    """The deny list refuses the token, and the browser does not send it again."""

    async def deny(_: Principal) -> bool:
        return True

    response = await ask(app_of(deny_list=deny), "GET", "/open", sent(Origin=OWN))

    assert response.status_code == 401
    assert "Max-Age=0" in response.headers["Set-Cookie"]


async def test_two_cookies_are_a_400() -> None:
    """A cookie that a neighbour set beside ours is not guessed about."""
    headers = sent("user", Origin=OWN)
    headers.add("Cookie", f"{COOKIE}=admin")

    assert (await ask(app_of(), "GET", "/closed", headers)).status_code == 400


async def test_the_cookie_is_set_from_the_token_of_the_request() -> None:
    """A page signs in once with its token; from then on the browser sends the cookie, until the token ends."""
    app = app_of(CookieAuthenticator())
    async with running(app, tables=False) as client:
        token = access_token(app, roles=["admin"], expires=300)
        opened = await client.post("/session", headers={"Authorization": f"Bearer {token}"})
        cookie = SimpleCookie(opened.headers["Set-Cookie"])[COOKIE]
        headers = {"Cookie": f"{COOKIE}={cookie.value}", "Origin": OWN}
        other = app.test_client(use_cookies=False)
        admin = await other.get("/admin", headers=headers)
        closed = await other.delete("/session", headers=headers)

    assert cookie.value == token
    assert (cookie["secure"], cookie["httponly"], cookie["samesite"], cookie["path"]) == (True, True, "Strict", "/")
    assert cookie["domain"] == ""
    assert 295 <= int(cookie["max-age"]) <= 300
    assert (opened.status_code, admin.status_code, closed.status_code) == (204, 200, 204)
    assert "Max-Age=0" in closed.headers["Set-Cookie"]
    assert opened.headers["Cache-Control"] == "no-store"


async def test_what_cannot_be_remembered_is_an_error() -> None:
    """No token, or one that browsers would drop without a word."""

    class Anything:
        async def verify(self, _: str) -> Principal:
            return Principal("ada", "https://issuer.example", expires_at=datetime.now(UTC) - timedelta(seconds=5))

    cookie = CookieAuthenticator()
    app = app_of(BearerAuthenticator(Anything()), cookie)
    async with app.test_request_context("/"):
        with pytest.raises(RuntimeError, match="no access token to remember"):
            cookie.remember(Response())
    for length, status in ((4000, 204), (4096, 500)):
        response = await ask(app, "POST", "/session", {"Authorization": f"Bearer {'a' * length}"})
        assert response.status_code == status
        if status == 204:
            assert "Max-Age=0" in response.headers["Set-Cookie"]


@pytest.mark.parametrize(
    ("headers", "subprotocols", "said"),
    [
        (sent(Origin=OWN), [], "ada []"),
        (sent(Origin=APP), [], "ada []"),
        (sent(Origin=EVIL), [], 403),
        (sent(), [], 403),
        (sent(Sec_Fetch_Site="same-origin"), [], 403),
        (sent(None, Origin=OWN), ["access_token", "user"], "ada []"),
        (sent(None, Origin=APP), ["chat.v1", "access_token", "user", "chat.v2"], "ada ['chat.v1', 'chat.v2']"),
        (sent(None, Origin=EVIL), ["access_token", "user"], 403),
        (sent(None, Origin="null"), ["access_token", "user"], 403),
        (sent(None), ["access_token", "user"], 403),
        (sent(None, Origin=OWN), ["access_token", "bad"], 401),
        (sent(None, Origin=OWN), ["access_token"], 400),
        (sent(None, Origin=OWN), ["user", "access_token"], 400),
        (sent(None, Origin=OWN), ["access_token", "user", "access_token", "admin"], 400),
        (sent(None, Origin=OWN), ["Access_Token", "user"], 401),
        (sent(None, Origin=OWN), ["user"], 401),
        (sent(None, Origin=OWN), [], 401),
        (sent(None, Authorization="Bearer user"), [], "ada []"),
    ],
    ids=str,
)
async def test_handshakes_of_pages(headers: Headers, subprotocols: list[str], said: str | int) -> None:
    """A cookie or a subprotocol makes the caller, for pages that may call; a handler does not see the token."""
    answer = await say(app_of(settings={"browser_origins": [APP]}), "/talk", headers, subprotocols)

    assert (answer if isinstance(said, str) else answer.status_code) == said


async def test_a_public_websocket_takes_anybody_without_credentials() -> None:
    """From any page; with a cookie, its page is checked."""
    app = app_of()
    assert await say(app, "/lobby", sent(None, Origin=EVIL)) == "None []"
    assert (await say(app, "/lobby", sent(Origin=EVIL))).status_code == 403


async def test_a_subprotocol_is_of_websockets_only() -> None:
    """A request with such a header is anonymous."""
    headers = sent(None, Origin=OWN) | {"Sec-WebSocket-Protocol": "access_token, user"}

    assert (await ask(app_of(), "GET", "/closed", headers)).status_code == 401


async def test_the_same_verifier_is_used() -> None:
    """The issuer in the settings verifies these tokens as well; two apps share no verifier by sharing an instance."""
    cookie = CookieAuthenticator()
    one, two = app_of(cookie), app_of(cookie, settings={"secret_key": "x" * 40})
    token = access_token(one)
    answers = [await ask(app, "GET", "/closed", sent(token, Origin=OWN)) for app in (one, two)]

    assert [answer.status_code for answer in answers] == [200, 401]


async def test_a_verifier_of_its_own_is_used() -> None:
    """It replaces the app's for this authenticator."""
    app = app_of(CookieAuthenticator(WordVerifier(), cookie="shop", origins=[APP]))
    answers = [
        await ask(app, "GET", "/closed", {"Cookie": "shop=user", "Origin": origin}) for origin in (APP, OWN, EVIL)
    ]

    assert [answer.status_code for answer in answers] == [200, 200, 403]


async def test_the_argument_replaces_the_setting() -> None:
    """An authenticator with origins does not take those of the settings."""
    app = app_of(
        BearerAuthenticator(WordVerifier()), CookieAuthenticator(origins=[]), settings={"browser_origins": [APP]}
    )

    assert (await ask(app, "GET", "/closed", sent(Origin=APP))).status_code == 403


@pytest.mark.parametrize(
    ("public_url", "origin", "status"),
    [
        ("https://Shop.example/api", "https://shop.example", 200),
        ("https://shop.example:443", "https://shop.example", 200),
        ("http://shop.example:80/x", "http://shop.example", 200),
        ("https://shop.example:8443", "https://shop.example:8443", 200),
        ("https://shop.example:8443", "https://shop.example", 403),
        ("http://[::1]:8000", "http://[::1]:8000", 200),
        ("http://[::1]", "http://[::1]", 200),
    ],
)
async def test_the_services_own_origin_may_call(public_url: str, origin: str, status: int) -> None:
    """As browsers write it: lower case, and no port that is the scheme's own."""
    app = app_of(settings={"service_public_url": public_url})

    assert (await ask(app, "POST", "/closed", sent(Origin=origin))).status_code == status


@pytest.mark.parametrize("origin", ["*", "app.example", "https://app.example/", "https://APP.example", "null", ""])
def test_origins_are_exact(origin: str) -> None:
    """A wildcard, or what no browser sends, is refused where it is written."""
    with pytest.raises(SettingsError):
        app_of(settings={"browser_origins": [origin]})
    with pytest.raises(ValueError, match="as browsers send them"):
        CookieAuthenticator(origins=[origin])
    with pytest.raises(ValueError, match="as browsers send them"):
        SubprotocolAuthenticator(origins=[origin])


def test_names_are_tokens() -> None:
    """Of a cookie and of a subprotocol."""
    with pytest.raises(TypeError):
        CookieAuthenticator(origins=APP)
    for name in ("", "a b", "a;b", "a=b", "a,b"):
        with pytest.raises(ValueError, match="the name of a"):
            CookieAuthenticator(cookie=name)
        with pytest.raises(ValueError, match="the name of a"):
            SubprotocolAuthenticator(subprotocol=name)


def test_without_a_verifier_the_app_does_not_start() -> None:
    """No issuer, and no verifier of its own."""
    strict = {
        "database_url": "postgresql://u:p@h/d",
        "secret_key": "0123456789abcdefghijklmnopqrstuvwxyz",
        "service_public_url": "https://shop.example",
        "service_private_url": "http://shop:8000",
    }
    with pytest.raises(ValueError, match="SubprotocolAuthenticator has no verifier"):
        make_app(
            strict.pop("database_url"),
            database=None,
            authenticators=[SubprotocolAuthenticator()],
            environment="prod",
            settings=strict,
        )


async def test_the_document_describes_the_cookie() -> None:
    """As an apiKey in a cookie, beside the token; also in the environment `cli`, where no issuer is known."""
    for environment in ("testing", "cli"):
        app = app_of(CookieAuthenticator(), SubprotocolAuthenticator(), environment=environment)
        document = describe(app)
        schemes = document["components"]["securitySchemes"]

        assert schemes["cookie"] == {"type": "apiKey", "in": "cookie", "name": COOKIE}
        assert schemes["bearer"]["scheme"] == "bearer"
        assert {"cookie": []} in document["paths"]["/closed"]["get"]["security"]


async def test_tokens_of_browsers_are_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    """Neither those that are refused nor those that are accepted."""
    caplog.set_level(logging.DEBUG)
    app = app_of(CookieAuthenticator(), SubprotocolAuthenticator())
    good, bad = access_token(app), access_token(app) + "x"
    for token in (good, bad):
        await ask(app, "GET", "/closed", sent(token, Origin=OWN))
        await say(app, "/talk", sent(None, Origin=OWN), ["access_token", token])
        await say(app, "/talk", sent(None, Origin=EVIL), ["access_token", token])

    assert good not in caplog.text
    assert "access token rejected: signature" in caplog.text


async def test_without_the_app_there_is_no_shared_verifier() -> None:
    """Outside of an app that has one, the error says so."""
    with pytest.raises(RuntimeError):
        await CookieAuthenticator().verify("x")
    with pytest.raises(InvalidToken):
        await CookieAuthenticator(WordVerifier()).verify("x")
