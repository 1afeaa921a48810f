"""Row 126: failures are counted before anybody is asked, and lock out nobody else."""

import asyncio
import base64
from collections.abc import Callable
from typing import Any

import pytest
from quart import Blueprint, Quart, Response, websocket
from quart.testing import WebsocketResponseError
from quart.typing import TestClientProtocol as Client
from werkzeug.datastructures import Headers

from ligand_async import Principal, limit, operation, public, requires, role
from ligand_async.auth import APIKeyAuthenticator, BasicAuthenticator, BasicCredentials, BearerAuthenticator, network_of
from ligand_async.auth.failures import FailureLimits
from ligand_async.auth.tokens import IntrospectionVerifier
from ligand_async.errors import TooManyRequests, Unauthorized
from ligand_async.settings import read_quotas
from ligand_async.web import limit_failures
from tests.auth.guarding import CALLERS, bearer, guarded
from tests.auth.issuing import INTROSPECTION, IntrospectingIssuer
from tests.auth.verifying import Clock, make_verifier, outcome
from tests.redis_server import RedisServer

KEY = "X-API-Key"
QUOTA = 5
SETTINGS = {"failed_attempts": f"{QUOTA}/minute", "trusted_proxies": ("127.0.0.0/8",)}
HERE, NEAR, FAR = "192.0.2.7", "192.0.2.250", "198.51.100.1"


class Hooks:
    """The hooks of a service, which count how often they are asked."""

    def __init__(self) -> None:
        self.asked = 0

    async def find(self, key: str) -> Principal | None:
        self.asked += 1
        await asyncio.sleep(0)
        return CALLERS["user"] if key in {"right", "also right"} else None

    async def check(self, credentials: BasicCredentials) -> Principal | None:
        return await self.find(credentials.password)


def app_with(*authenticators: Any, **settings: Any) -> Quart:
    """Make a service with a route for anybody that is authenticated, and a limit that is never reached."""
    blueprint = Blueprint("pets", __name__)

    @blueprint.get("/")
    @limit("1000/minute")
    async def view() -> str:
        return "x"

    return guarded(blueprint, authenticators=authenticators, settings=SETTINGS | settings)


async def get(client: Client, headers: dict[str, str], address: str = HERE, path: str = "/") -> Response:
    """Ask from an address behind a trusted proxy."""
    scope = {"client": ("127.0.0.1", 5000)}
    named = Headers({**headers, "X-Forwarded-For": address})
    response: Response = await client.get(path, headers=named, scope_base=scope)
    return response


def key(value: str) -> dict[str, str]:
    return {KEY: value}


def password(value: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"ada:{value}".encode()).decode()}


WAYS: dict[str, tuple[Callable[[Hooks], Any], Callable[[str], dict[str, str]]]] = {
    "key": (lambda hooks: APIKeyAuthenticator(hooks.find), key),
    "password": (lambda hooks: BasicAuthenticator(hooks.check, realm="Shop"), password),
}


@pytest.mark.parametrize("way", WAYS)
async def test_wrong_credentials_get_no_further_than_the_quota(way: str) -> None:
    """300 of them, one after the other or at once: the hook is asked as often as the quota says, and not once more."""
    make, credentials = WAYS[way]
    for at_once in (False, True):
        hooks = Hooks()
        client = app_with(make(hooks)).test_client()
        asked = (get(client, credentials(f"wrong {number}")) for number in range(300))
        answers = await asyncio.gather(*asked) if at_once else [await one for one in asked]

        statuses = [answer.status_code for answer in answers]
        assert (statuses.count(401), statuses.count(429), hooks.asked) == (QUOTA, 300 - QUOTA, QUOTA)
        refused = next(answer for answer in answers if answer.status_code == 429)
        assert 0 < int(refused.headers["Retry-After"]) <= 60


@pytest.mark.parametrize("way", WAYS)
async def test_honest_callers_are_not_locked_out(way: str) -> None:
    """Neither in another network, nor in this one with credentials that were right; new ones wait."""
    make, credentials = WAYS[way]
    client = app_with(make(Hooks())).test_client()
    right, new = credentials("right"), credentials("also right")

    assert (await get(client, right, NEAR)).status_code == 200
    for number in range(2 * QUOTA):
        await get(client, credentials(f"wrong {number}"))
    found = [(await get(client, right, NEAR)).status_code for _ in range(20)]
    assert set(found) == {200}
    assert (await get(client, new, NEAR)).status_code == 429  # the same /24
    assert (await get(client, {}, NEAR)).status_code == 401  # nothing was tried
    assert [(await get(client, new, address)).status_code for address in (FAR, NEAR)] == [200, 200]


async def test_right_credentials_do_not_count() -> None:
    """However often, and at once."""
    client = app_with(APIKeyAuthenticator(Hooks().find)).test_client()
    await get(client, key("right"))

    answers = await asyncio.gather(*(get(client, key("right")) for _ in range(50)))

    assert {answer.status_code for answer in answers} == {200}
    assert [(await get(client, key("wrong"))).status_code for _ in range(QUOTA + 1)] == [401] * QUOTA + [429]


async def test_a_key_that_is_withdrawn_is_wrong() -> None:
    """That it was right opens nothing: the hook decides, and the failure counts."""
    keys = {"old"}

    async def find(value: str) -> Principal | None:
        return CALLERS["user"] if value in keys else None

    client = app_with(APIKeyAuthenticator(find)).test_client()
    assert (await get(client, key("old"))).status_code == 200
    keys.clear()

    assert [(await get(client, key("old"))).status_code for _ in range(QUOTA + 1)] == [401] * QUOTA + [429]


async def test_a_hook_that_fails_is_nobody_s_failure() -> None:
    """It said nothing about the key."""

    async def fail(_: str) -> Principal | None:
        raise RuntimeError("the store is down")

    client = app_with(APIKeyAuthenticator(fail)).test_client()

    assert {(await get(client, key("right"))).status_code for _ in range(3 * QUOTA)} == {500}


async def test_an_address_that_the_client_made_up_is_not_its_network() -> None:
    """Without a trusted proxy `X-Forwarded-For` says nothing, so it gives nobody a new quota."""
    client = app_with(APIKeyAuthenticator(Hooks().find), trusted_proxies=()).test_client()

    found = [(await get(client, key("wrong"), f"203.0.{number}.1")).status_code for number in range(QUOTA + 1)]

    assert found == [401] * QUOTA + [429]


async def test_any_number_where_the_setting_is_none() -> None:
    """It can be left to a gateway."""
    client = app_with(APIKeyAuthenticator(Hooks().find), failed_attempts=None).test_client()

    assert {(await get(client, key("wrong"))).status_code for _ in range(100)} == {401}


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("192.0.2.7", "192.0.2.0/24"),
        ("::ffff:192.0.2.7", "192.0.2.0/24"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("", ""),
        ("<local>", "<local>"),
    ],
)
def test_a_network_is_what_one_caller_may_have(address: str, network: str) -> None:
    """A /24, or a /64 of IPv6."""
    assert network_of(address) == network


def test_a_window_ends() -> None:
    """Then a network may try again."""
    now = [0.0]
    limits = FailureLimits(read_quotas("2/minute"), (), clock=lambda: now[0])
    for name in "ab":
        limits.end(limits.begin("net", name), succeeded=False)
    with pytest.raises(TooManyRequests):
        limits.begin("net", "c")

    now[0] = 60.0
    assert limits.begin("net", "c").is_counted


async def test_refusals_are_counted_by_principal() -> None:
    """Who tries out what is closed is told to wait; what is open to the caller, and to others, stays open."""
    blueprint = Blueprint("pets", __name__)

    @blueprint.get("/closed")
    @requires(role("admin"))
    async def closed() -> str:
        return "x"

    @blueprint.get("/open")
    async def open_to_all() -> str:
        return "x"

    client = guarded(blueprint, settings={"refused_requests": "3/minute"}).test_client()

    async def ask(word: str, path: str) -> int:
        return (await client.get(path, headers=bearer(word))).status_code

    assert [await ask("user", "/closed") for _ in range(5)] == [403, 403, 403, 429, 429]
    assert [await ask("user", "/open"), await ask("writer", "/closed"), await ask("admin", "/closed")] == [
        200,
        403,
        200,
    ]


async def test_wrong_opaque_tokens_do_not_reach_the_issuer(
    issuer: IntrospectingIssuer, verifier: IntrospectionVerifier
) -> None:
    """300 of them: the issuer is asked as often as the quota says, and a caller that is known gets in meanwhile."""
    good = issuer.issue()
    client = app_with(BearerAuthenticator(verifier)).test_client()
    assert (await get(client, dict(bearer(good)), NEAR)).status_code == 200

    answers = [(await get(client, dict(bearer(f"wrong{number}")))).status_code for number in range(300)]

    assert (answers.count(401), answers.count(429), issuer.asked[INTROSPECTION]) == (QUOTA, 300 - QUOTA, QUOTA + 1)
    assert (await get(client, dict(bearer(good)), NEAR)).status_code == 200


async def test_known_tokens_work_while_the_issuer_answers_429(
    issuer: IntrospectingIssuer, verifier: IntrospectionVerifier, clock: Clock
) -> None:
    """For ten minutes at most, and never past their end; a new one must wait."""
    long, short = issuer.issue("long"), issuer.issue("short", exp=int(clock.now) + 120)
    assert [await outcome(verifier, token) for token in (long, short)] == ["ada", "ada"]
    issuer.answer(INTROSPECTION, status=429, body=b"{}")

    clock.forward(90)
    during = [await outcome(verifier, token) for token in (long, short, issuer.issue("new"))]
    clock.forward(60)
    expired = [await outcome(verifier, token) for token in (long, short)]
    clock.forward(600)
    assert (during, expired, await outcome(verifier, long)) == (
        ["ada", "ada", "unknown"],
        ["ada", "unknown"],
        "unknown",
    )


async def test_an_outage_is_no_429(issuer: IntrospectingIssuer, verifier: IntrospectionVerifier, clock: Clock) -> None:
    """An issuer that fails may have withdrawn the token: nobody knows."""
    token = issuer.issue()
    await outcome(verifier, token)
    issuer.answer(INTROSPECTION, status=500, body=b"{}")

    clock.forward(90)
    assert await outcome(verifier, token) == "unknown"


async def test_unknown_tokens_have_a_quota(issuer: IntrospectingIssuer, clock: Clock) -> None:
    """Wrong ones from many networks: the issuer is spared, tokens that were good go on, and new ones wait."""
    verifier = make_verifier(issuer, clock, unknown=read_quotas("3/hour"))
    good = [issuer.issue(f"good{number}") for number in range(10)]
    assert {await outcome(verifier, token) for token in good} == {"ada"}

    wrong = [await outcome(verifier, f"wrong{number}") for number in range(10)]
    asked, new = issuer.asked[INTROSPECTION], await outcome(verifier, issuer.issue("new"))
    clock.forward(90)  # the answers are not fresh any more: the issuer is asked about a token that was good
    known, again = await outcome(verifier, good[0]), issuer.asked[INTROSPECTION]
    await verifier.stop()

    assert (wrong, asked, new) == (["inactive"] * 3 + ["unknown"] * 7, 13, "unknown")
    assert (known, again) == ("ada", 14)


def login_app(quotas: str = "3/minute", **settings: Any) -> Quart:
    blueprint = Blueprint("pets", __name__)

    @blueprint.post("/login/<word>")
    @limit_failures(quotas)
    @public
    @operation
    async def log_in(word: str) -> Response:
        await asyncio.sleep(0)
        return Response(status={"right": 204, "broken": 500}.get(word, 401))

    @blueprint.websocket("/talk/<word>")
    @limit_failures(quotas)
    @public
    async def talk(word: str) -> None:
        if word != "right":
            raise Unauthorized("the word is wrong")
        await websocket.accept()
        await websocket.send("hello")

    return guarded(blueprint, settings=SETTINGS | settings)


async def try_login(client: Client, word: str, address: str = HERE) -> int:
    scope = {"client": ("127.0.0.1", 5000)}
    return (await client.post(f"/login/{word}", headers={"X-Forwarded-For": address}, scope_base=scope)).status_code


@pytest.mark.ligand_conformance("off", reason="the statuses are made up")
async def test_a_login_of_the_service_s_own_is_limited_by_one_decorator() -> None:
    """Failures count, also those that come at once; success, and what fails here, does not; others go on."""
    client = login_app().test_client()

    assert [await try_login(client, word) for word in ["right", "broken"] * 5] == [204, 500] * 5
    found = await asyncio.gather(*(try_login(client, "wrong") for _ in range(50)))
    assert (found.count(401), found.count(429)) == (3, 47)
    assert [await try_login(client, "right", NEAR), await try_login(client, "right", FAR)] == [429, 204]


async def try_to_talk(client: Client, word: str) -> int:
    headers, scope = Headers({"X-Forwarded-For": HERE}), {"client": ("127.0.0.1", 5000)}
    try:
        async with client.websocket(f"/talk/{word}", headers=headers, scope_base=scope) as connection:
            await connection.receive()
    except WebsocketResponseError as error:
        return error.response.status_code
    return 101


async def test_the_login_of_a_websocket_is_limited_in_the_same_way() -> None:
    """A handshake that is refused is a failure, and one that is accepted is none."""
    client = login_app().test_client()

    assert [await try_to_talk(client, "right") for _ in range(5)] == [101] * 5
    found = await asyncio.gather(*(try_to_talk(client, "wrong") for _ in range(20)))
    assert (found.count(401), found.count(429)) == (3, 17)
    assert await try_to_talk(client, "right") == 429


@pytest.mark.extended
@pytest.mark.ligand_conformance("off", reason="the statuses are made up")
async def test_workers_count_failed_logins_together(redis_server: RedisServer) -> None:
    """On one Redis, also those of both at once; success is taken back there, too."""
    apps = [login_app(rate_limit_storage=redis_server.url) for _ in range(2)]
    async with apps[0].test_app(), apps[1].test_app():
        one, other = (app.test_client() for app in apps)

        assert [await try_login(client, "right") for client in (one, other) * 4] == [204] * 8
        found = await asyncio.gather(*(try_login(client, "wrong") for client in (one, other) * 10))
        assert (found.count(401), found.count(429)) == (3, 17)
        assert await try_login(other, "right") == 429


async def test_the_document_has_the_429_that_credentials_can_get() -> None:
    """Of operations that take secrets, and with signed tokens alone of those that can refuse a caller."""
    blueprint = Blueprint("pets", __name__)

    @blueprint.get("/any")
    @operation
    async def any_caller() -> str:
        """Answer any caller."""
        return "x"

    @blueprint.get("/admin")
    @requires(role("admin"))
    @operation
    async def admin_only() -> str:
        """Answer admins."""
        return "x"

    @blueprint.get("/open")
    @public
    @operation
    async def anyone() -> str:
        """Answer anyone."""
        return "x"

    async def limited(**more: Any) -> set[str]:
        client = guarded(blueprint, **more).test_client()
        paths = (await (await client.get("/openapi.json")).get_json())["paths"]
        found = {path: operations["get"]["responses"].get("429") for path, operations in paths.items()}
        assert all("Retry-After" in response["headers"] for response in found.values() if response is not None)
        return {path for path, response in found.items() if response is not None}

    async def verify(_key: str) -> None:
        return None

    assert await limited(authenticators=[APIKeyAuthenticator(verify)]) == {"/any", "/admin"}
    assert await limited(authenticators=[]) == {"/admin"}
    off = {"failed_attempts": None, "refused_requests": None}
    assert await limited(authenticators=[APIKeyAuthenticator(verify)], settings=off) == set()
