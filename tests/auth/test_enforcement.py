"""Before a handler runs, who is calling is known, and whether they may."""

import asyncio
import logging
from collections.abc import Callable
from functools import partial
from typing import Any, cast

import pytest
from pydantic import BaseModel
from quart import Blueprint, abort
from quart.views import MethodView
from quart.wrappers.base import BaseRequestWebsocket
from werkzeug.datastructures import Headers

from ligand_async import Principal, current_principal, operation, public, requires, role, scope
from ligand_async.auth import APIKeyAuthenticator, BasicAuthenticator, BearerAuthenticator, InvalidToken, enforcement_of
from ligand_async.auth.enforcement import Challenges, Enforcement
from ligand_async.errors import ServiceUnavailable, Unauthorized
from ligand_async.principal import Requirement
from ligand_async.testing import authorization
from tests.auth.guarding import (
    BAD,
    CALLERS,
    PROBLEM,
    REALM,
    WordVerifier,
    app_of,
    bearer,
    get,
    guarded,
    hang,
    statuses,
    tell,
)
from tests.services import NEVER_OPENED, make_app, running, send


@pytest.mark.parametrize("path", ["/open", "/closed", "/acme"])
async def test_the_handler_knows_who_is_calling(path: str) -> None:
    """In `g.principal` and by `current_principal()`, also where nobody had to be authenticated."""
    assert (await get(app_of(), path, "acme")).json == {"current": "joan", "g": "joan"}


async def test_nobody_is_none() -> None:
    """On a public route without credentials."""
    assert (await get(app_of(), "/open")).json == {"current": None, "g": None}


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/open", [200, 200, 200, 200, 200]),
        ("/closed", [401, 200, 200, 200, 200]),
        ("/admin", [401, 200, 403, 403, 403]),
        ("/writer", [401, 200, 403, 200, 403]),
        ("/acme", [401, 403, 403, 403, 200]),
    ],
)
async def test_requirements_decide_who_may(path: str, expected: list[int]) -> None:
    """Row 91 among them: a caller without roles is refused, not an error."""
    async with running(app_of(), tables=False) as client:
        assert await statuses(client, path, None, "admin", "user", "writer", "acme") == expected


@pytest.mark.parametrize(
    ("path", "word", "status", "challenge"),
    [
        ("/closed", None, 401, REALM),
        ("/closed", BAD, 401, f'{REALM}, error="invalid_token"'),
        ("/open", BAD, 401, f'{REALM}, error="invalid_token"'),
        ("/admin", None, 401, REALM),
        ("/admin", BAD, 401, f'{REALM}, error="invalid_token"'),
        ("/admin", "user", 403, f'{REALM}, error="insufficient_scope"'),
        ("/writer", "user", 403, f'{REALM}, error="insufficient_scope", scope="pets:write"'),
        ("/both", "writer", 403, f'{REALM}, error="insufficient_scope", scope="pets:delete pets:write"'),
    ],
)
async def test_refusals_are_those_of_rfc_6750(path: str, word: str | None, status: int, challenge: str) -> None:
    """A problem document with one challenge: the realm, what is wrong, and the scopes that would do."""
    answer = await get(app_of(), path, word)

    assert (answer.status, answer.headers["Content-Type"]) == (status, PROBLEM)
    assert answer.headers.getlist("WWW-Authenticate") == [challenge]
    assert answer.json["status"] == status


async def test_a_refusal_tells_what_is_needed_and_repeats_nothing() -> None:
    """The requirement is no secret, the token is."""
    app = app_of()

    assert (await get(app, "/admin", "user")).json["detail"] == "this needs role admin"
    assert b"s3cret" not in (await get(app, "/admin", "s3cret")).raw


async def test_a_scope_that_the_token_has_is_not_asked_for() -> None:
    """Where it is the role that is missing, another token of the same scopes would not help."""
    app = guarded()

    @app.get("/")
    @requires(role("admin") & scope("pets:write"))
    async def view() -> str:
        return "x"

    answer = await get(app, "/", "writer")

    assert (answer.status, answer.headers["WWW-Authenticate"]) == (403, f'{REALM}, error="insufficient_scope"')


@pytest.mark.parametrize(
    ("values", "path", "status"),
    [
        (["bEaReR user"], "/closed", 200),
        (["BEARER user"], "/closed", 200),
        (["Bearer   user"], "/closed", 200),
        (["  Bearer user  "], "/closed", 200),
        (["Bearer"], "/open", 400),
        (["Bearer "], "/closed", 400),
        (["Bearer user admin"], "/open", 400),
        (["Bearer user,admin"], "/open", 400),
        (["Bearer user, Bearer admin"], "/open", 400),
        (["Bearer\tuser"], "/open", 400),
        (["Bearer \tuser"], "/open", 400),
        ([""], "/open", 400),
        (["   "], "/closed", 400),
        (["Bearer=user"], "/open", 400),
        (["Bearer user", "Bearer user"], "/closed", 400),
        (["Bearer user", "Basic eDp5"], "/open", 400),
        (['Bearer "user"'], "/open", 401),
        (["Bearer us=er"], "/open", 401),
        (["Bearer \xfcser"], "/open", 401),
        (["Bearer user\xa0"], "/open", 400),
        (["Bearertoken"], "/closed", 401),
        (["Bearertoken"], "/open", 200),
        (["Token user"], "/closed", 401),
        (["Token user"], "/open", 200),
        (["Digest username=x, realm=y"], "/open", 200),
        (["Negotiate"], "/open", 200),
        (["user"], "/closed", 401),
    ],
)
async def test_the_header_is_read_strictly(values: list[str], path: str, status: int) -> None:
    """Rows 84 and 85: the scheme in any case, one token (RFC 6750 section 2.1); other schemes are nobody's."""
    answer = await send(app_of(), "GET", path, headers=[("Authorization", value) for value in values])

    assert answer.status == status
    if status == 400:
        assert answer.headers.getlist("WWW-Authenticate") == [f'{REALM}, error="invalid_request"']


async def test_two_headers_are_refused_without_the_guard_too() -> None:
    """Row 84: enforcement itself counts them, and asks about neither."""
    verifier = WordVerifier()
    app = app_of(authenticators=[BearerAuthenticator(verifier)])
    headers = Headers([("Authorization", "Bearer user"), ("Authorization", "Bearer admin")])
    async with app.test_request_context("/open", headers=headers):
        with pytest.raises(Exception, match="more than one Authorization header") as refused:
            await app.preprocess_request()

    assert refused.value.headers["WWW-Authenticate"] == f'{REALM}, error="invalid_request"'  # type: ignore[attr-defined]  # a Problem
    assert verifier.asked == []


async def test_what_is_no_token_is_not_verified() -> None:
    """A text that RFC 6750 does not allow goes to nobody."""
    verifier = WordVerifier()
    app = app_of(authenticators=[BearerAuthenticator(verifier)])
    for value in ("Bearer a b", "Bearer", 'Bearer "user"', "Bearer u=ser", "Bearer us\xe4r", "Basic user", "user"):
        await send(app, "GET", "/open", headers={"Authorization": value})

    assert verifier.asked == []


async def test_tokens_elsewhere_are_not_looked_at() -> None:
    """Row 85: in the query, a form or a cookie a token is whatever it is, and nobody is authenticated by it."""
    app = app_of()
    form = {"form": {"access_token": "admin"}, "headers": {"Cookie": "access_token=admin"}}

    assert (await send(app, "POST", "/closed?access_token=admin", **form)).status == 401
    assert (await send(app, "POST", "/closed", **form)).status == 401


@pytest.mark.parametrize("word", [None, BAD, "user", "admin"])
async def test_what_is_no_route_stays_what_it_is(word: str | None) -> None:
    """404, 405 with Allow, redirects and the answer to OPTIONS are not 401s, whoever asks."""
    app = app_of()
    app.add_url_rule("/slash/", "slash", tell)
    headers = bearer(word)

    assert (await send(app, "GET", "/nothing", headers=headers)).status == 404
    wrong = await send(app, "DELETE", "/closed", headers=headers)
    assert (wrong.status, {*wrong.headers["Allow"].split(", ")}) == (405, {"GET", "HEAD", "OPTIONS", "POST"})
    assert (await send(app, "GET", "/slash", headers=headers)).status == 308
    assert (await send(app, "OPTIONS", "/admin", headers=headers)).status == 204


async def test_options_of_a_view_s_own_is_guarded() -> None:
    """Only the answer that Quart makes is left alone."""

    class Own(MethodView):
        async def options(self) -> str:
            return "secret"

    app = guarded()
    app.add_url_rule("/class", view_func=Own.as_view("own"))
    app.add_url_rule("/function", "function", tell, methods=["OPTIONS"])
    app.add_url_rule("/off", "off", tell, methods=["GET"], provide_automatic_options=False)
    async with running(app, tables=False) as client:
        assert await statuses(client, "/class", None, "user", method="OPTIONS") == [401, 200]
        assert await statuses(client, "/function", None, "user", method="OPTIONS") == [401, 200]
        assert await statuses(client, "/off", None, "user", method="OPTIONS") == [405, 405]


async def test_head_is_guarded_as_get_is() -> None:
    """Also where Quart answers it with GET's view."""
    async with running(app_of(), tables=False) as client:
        assert await statuses(client, "/admin", None, "user", "admin", method="HEAD") == [401, 403, 200]


class Pet(BaseModel):
    name: str


async def test_a_refusal_comes_before_the_body_is_looked_at() -> None:
    """401 and 403 before 400, 415 and 422: who may not write, does not learn how."""

    @operation
    async def create(data: Pet) -> str:
        return data.name

    app = guarded()
    app.add_url_rule("/", "create", requires(role("admin"))(create), methods=["POST"])

    async def post(word: str | None, body: bytes, kind: str) -> int:
        return (await send(app, "POST", "/", data=body, headers={**bearer(word), "Content-Type": kind})).status

    bodies = [(b"{", "application/json"), (b"{}", "application/json"), (b"x", "text/csv")]
    assert [await post("admin", *body) for body in bodies] == [400, 422, 415]
    assert [await post("user", *body) for body in bodies] == [403] * 3
    assert [await post(None, *body) for body in bodies] == [401] * 3


async def test_nothing_of_a_service_runs_before_it() -> None:
    """Functions before the request, of the app and of blueprints, come after; a refusal runs none of them."""
    ran: list[str] = []
    blueprint = Blueprint("pets", __name__)

    async def note(name: str) -> None:
        ran.append(f"{name} {getattr(current_principal(), 'subject', None)}")

    blueprint.before_app_request(partial(note, "every"))
    blueprint.before_request(partial(note, "blueprint"))
    blueprint.add_url_rule("/", "tell", tell)
    app = guarded(blueprint)
    app.before_request(partial(note, "app"))

    assert (await get(app, "/")).status == 401
    assert ran == []
    assert (await get(app, "/", "user")).status == 200
    assert ran == ["every ada", "app ada", "blueprint ada"]


async def test_no_answer_of_a_service_opens_a_route() -> None:
    """A function before the request that answers by itself is asked after the refusal only."""
    app = app_of()

    @app.before_request
    async def answer() -> str:
        return "hello"

    assert [(await get(app, "/closed", word)).status for word in (None, "user")] == [401, 200]


@operation
async def injected(principal: Principal) -> str:
    return principal.subject


@operation
async def injected_or_none(principal: Principal | None) -> str:
    return principal.subject if principal else "nobody"


async def test_a_principal_is_injected_by_annotation() -> None:
    """On a public route, one that is required makes it a 401 with the same challenge as everywhere."""
    app = guarded()
    app.add_url_rule("/one", "one", public(injected))
    app.add_url_rule("/any", "any", public(injected_or_none))

    assert [(await get(app, path, "user")).json for path in ("/one", "/any")] == ["ada", "ada"]
    assert (await get(app, "/any")).json == "nobody"
    refused = await get(app, "/one")
    assert (refused.status, refused.headers.getlist("WWW-Authenticate")) == (401, [REALM])


@pytest.mark.parametrize("way", ["problem", "abort", "tuple"])
async def test_a_401_of_a_handler_s_own_has_a_challenge(way: str) -> None:
    """RFC 9110 section 15.5.2: every 401 has one, also that of a function which returns it."""

    async def view() -> Any:
        if way == "problem":
            raise Unauthorized("not you")
        return abort(401) if way == "abort" else ("not you", 401)

    app = guarded()
    app.add_url_rule("/", "view", public(view))
    answer = await get(app, "/")

    assert (answer.status, answer.headers.getlist("WWW-Authenticate")) == (401, [REALM])


async def test_a_challenge_of_a_handler_s_own_stays() -> None:
    """It knows better."""

    @public
    async def view() -> str:
        raise Unauthorized("not you", headers={"WWW-Authenticate": "Negotiate"})

    app = guarded()
    app.add_url_rule("/", "view", view)

    assert (await get(app, "/")).headers.getlist("WWW-Authenticate") == ["Negotiate"]


@pytest.mark.parametrize(
    ("authenticators", "challenges"),
    [
        ([], [REALM]),
        ([APIKeyAuthenticator(hang)], [REALM]),
        ([BasicAuthenticator(hang, realm="Shop")], ['Basic realm="Shop", charset="UTF-8"']),
        (
            [BasicAuthenticator(hang, realm='a "b" \\ ü'), BearerAuthenticator(WordVerifier())],
            [REALM, 'Basic realm="a \\"b\\" \\\\ ?", charset="UTF-8"'],
        ),
    ],
)
def test_a_401_offers_every_scheme(authenticators: list[Any], challenges: list[str]) -> None:
    """Those of the app's authenticators; where there is none with a scheme, access tokens, for one there must be."""
    problem = Unauthorized("who are you?")
    Challenges("Shop", authenticators).add(problem)

    assert problem.headers.getlist("WWW-Authenticate") == challenges


def test_a_403_where_no_tokens_are_taken_has_no_challenge() -> None:
    """RFC 6750 is about tokens; of those there are none."""
    app, authenticators = guarded(), [BasicAuthenticator(hang, realm="Shop")]
    enforcement = Enforcement(app, authenticators, None, patience=1, failures=enforcement_of(app).failures)

    assert "WWW-Authenticate" not in enforcement.forbid(CALLERS["user"], role("admin")).headers


async def test_a_401_of_an_app_carries_them_all() -> None:
    """One field for each."""
    app = app_of(authenticators=[BasicAuthenticator(hang, realm="Desk"), BearerAuthenticator(WordVerifier())])

    refused = [await get(app, "/open", BAD), await get(app, "/closed"), await get(app, "/admin", "user")]

    basic = 'Basic realm="Desk", charset="UTF-8"'
    assert [answer.headers.getlist("WWW-Authenticate") for answer in refused] == [
        [f'{REALM}, error="invalid_token"', basic],
        [REALM, basic],
        [f'{REALM}, error="insufficient_scope"'],
    ]


async def test_authenticators_and_deny_list_have_limited_time(caplog: pytest.LogCaptureFixture) -> None:
    """Nobody is kept waiting for another's answer: 503, and when to come back."""
    for more, headers in (
        ({"authenticators": [APIKeyAuthenticator(hang)]}, {"X-API-Key": "k"}),
        ({"deny_list": hang}, {"Authorization": "Bearer user"}),
    ):
        app = app_of(**more)
        enforcement_of(app).patience = 0.02
        answer = await get(app, "/open", **headers)

        assert (answer.status, answer.headers["Retry-After"]) == (503, "5")
    assert caplog.text.count("no answer within 0.02 s") == 2


async def test_an_authenticator_that_is_too_slow_may_clean_up() -> None:
    """It is cancelled, and the answer comes after its clean-up."""
    ended: list[str] = []

    async def look_up(_: str) -> Principal | None:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            ended.append("cancelled")
            await asyncio.sleep(0)
            ended.append("cleaned up")
            raise
        return None

    app = app_of(authenticators=[APIKeyAuthenticator(look_up)])
    enforcement_of(app).patience = 0.02

    assert (await get(app, "/open", **{"X-API-Key": "k"})).status == 503
    assert ended == ["cancelled", "cleaned up"]


async def test_slow_answers_are_waited_for() -> None:
    """Whoever has to ask others may take several steps, fail in them, and be believed."""
    steps: list[str] = []

    async def look_up(key: str) -> Principal | None:
        await asyncio.sleep(0.001)
        try:
            async with asyncio.timeout(0.001):
                await asyncio.sleep(60)
        except TimeoutError:
            steps.append("timed out")
        await asyncio.get_running_loop().run_in_executor(None, steps.append, "elsewhere")
        await asyncio.gather(*(asyncio.sleep(0) for _ in range(3)))
        return CALLERS.get(key)

    app = app_of(authenticators=[APIKeyAuthenticator(look_up)])

    assert (await get(app, "/closed", **{"X-API-Key": "user"})).json["g"] == "ada"
    assert (await get(app, "/closed", **{"X-API-Key": "nobody's"})).status == 401
    assert steps == ["timed out", "elsewhere"] * 2


class Answering:
    """An authenticator that does what it is told."""

    challenge = None

    def __init__(self, answer: Callable[[BaseRequestWebsocket], Any]) -> None:
        self.answer = answer

    async def authenticate(self, connection: BaseRequestWebsocket) -> Principal | None:
        answer: Principal | None = self.answer(connection)
        return answer


def fail(error: BaseException) -> Callable[[BaseRequestWebsocket], Any]:
    def raise_it(_: BaseRequestWebsocket) -> Any:
        raise error

    return raise_it


@pytest.mark.parametrize(
    "answer",
    [
        fail(ValueError("s3cret")),
        fail(KeyError("sub")),
        fail(TimeoutError()),
        fail(RecursionError()),
        fail(SystemExit(0)),
        fail(asyncio.CancelledError()),
        fail(StopAsyncIteration()),
        lambda _: True,
        lambda _: "ada",
        lambda _: {"sub": "ada"},
        lambda _: Principal,
        lambda _: False,
    ],
)
@pytest.mark.parametrize("path", ["/open", "/closed"])
async def test_an_authenticator_that_fails_lets_nobody_in(
    answer: Callable[[BaseRequestWebsocket], Any], path: str
) -> None:
    """What is neither a principal nor None nor a problem is a 500."""
    answered = await get(app_of(authenticators=[Answering(answer)]), path)

    assert answered.status == 500
    assert b"s3cret" not in answered.raw


@pytest.mark.parametrize(
    ("error", "status", "header"),
    [
        (InvalidToken("expired"), 401, ("WWW-Authenticate", f'{REALM}, error="invalid_token"')),
        (Unauthorized("no"), 401, ("WWW-Authenticate", REALM)),
        (ServiceUnavailable("down"), 503, ("Retry-After", "5")),
        (ServiceUnavailable("down", headers={"Retry-After": "9"}), 503, ("Retry-After", "9")),
    ],
)
async def test_an_authenticator_s_problem_is_the_answer(error: Exception, status: int, header: tuple[str, str]) -> None:
    """Also on a public route; with the headers that its status asks for."""
    answer = await get(app_of(authenticators=[Answering(fail(error))]), "/open")

    assert (answer.status, answer.headers.getlist(header[0])) == (status, [header[1]])


async def test_why_a_token_was_refused_is_logged_and_not_told(caplog: pytest.LogCaptureFixture) -> None:
    """The reason is for the log; the token is for neither."""
    with caplog.at_level(logging.INFO, "ligand_async.auth"):
        answer = await get(app_of(), "/open", "s3cret")

    assert "access token rejected: unknown" in caplog.text
    assert "s3cret" not in caplog.text
    assert b"unknown" not in answer.raw


async def test_a_denied_token_is_refused_at_once() -> None:
    """Row 92: the list is asked on every request, by `jti` and `sub`, though the token was good a moment ago."""
    denied: set[str | None] = set()
    asked: list[tuple[str | None, str]] = []

    async def is_denied(principal: Principal) -> bool:
        asked.append((principal.token_id, principal.subject))
        return principal.token_id in denied or principal.subject in denied

    async with running(app_of(deny_list=is_denied), tables=False) as client:
        assert await statuses(client, "/closed", "user", "user") == [200, 200]
        denied.add("ada-1")
        assert await statuses(client, "/open", "user", "admin") == [401, 200]
        denied.add("root")
        refused = await client.get("/open", headers=bearer("admin"))
        denied.clear()
        assert await statuses(client, "/closed", "user", "admin", None) == [200, 200, 401]

    assert refused.status_code == 401
    assert refused.headers["WWW-Authenticate"] == f'{REALM}, error="invalid_token"'
    assert asked == [("ada-1", "ada")] * 3 + [("root-1", "root")] * 2 + [("ada-1", "ada"), ("root-1", "root")]


async def test_a_token_that_is_remembered_is_denied_too() -> None:
    """Row 92: a signed token that was verified a moment ago, and is verified no more until its minute is over."""
    denied: set[str | None] = set()

    async def is_denied(principal: Principal) -> bool:
        return principal.token_id in denied

    async def view() -> str:
        return getattr(current_principal(), "token_id", None) or ""

    app = make_app(NEVER_OPENED, database=None, deny_list=is_denied)
    app.add_url_rule("/", "view", view)
    headers = authorization(app)
    async with running(app, tables=False) as client:
        answer = await client.get("/", headers=headers)
        denied.add(await answer.get_data(as_text=True))

        assert answer.status_code == 200
        assert (await client.get("/", headers=headers)).status_code == 401
        assert (await client.get("/", headers=authorization(app))).status_code == 200


async def raising(_: Principal) -> bool:
    raise OSError("the list is not there")


def answering(value: Any) -> Any:
    """Return a deny list that answers a value."""

    async def answer(_: Principal) -> Any:
        return value

    return answer


async def silent(_: Principal) -> Any:
    return None


@pytest.mark.parametrize("deny_list", [raising, silent, lambda _: False, *map(answering, ("no", "", 0, 1, []))])
async def test_a_deny_list_that_fails_lets_nobody_in(deny_list: Any) -> None:
    """A 500: it raised, forgot to answer, or is no coroutine."""
    async with running(app_of(deny_list=deny_list), tables=False) as client:
        assert await statuses(client, "/open", "user", None) == [500, 200]


async def test_a_denied_key_is_no_invalid_token() -> None:
    """The deny list is asked about every principal; what was refused is named rightly."""

    async def deny(_: Principal) -> bool:
        return True

    async def find(_: Any) -> Principal | None:
        return CALLERS["user"]

    app = app_of(authenticators=[APIKeyAuthenticator(find)], deny_list=deny)
    answer = await get(app, "/open", **{"X-API-Key": "k"})

    assert (answer.status, answer.headers.getlist("WWW-Authenticate")) == (401, [REALM])


class Odd(Requirement):
    """A requirement that answers a word."""

    def is_met(self, _: Principal) -> bool:
        return cast("bool", "no")

    def __str__(self) -> str:
        return "odd"


@pytest.mark.parametrize("requirement", [Odd(), ~Odd(), role("user") & Odd(), Odd() | role("user")], ids=str)
async def test_a_requirement_that_does_not_decide_opens_nothing(requirement: Requirement) -> None:
    """Row 128: a 500, and the handler does not run."""
    ran: list[str] = []
    pages = Blueprint("pages", __name__)

    @pages.get("/page")
    @requires(requirement)
    async def read_page() -> str:
        ran.append("ran")
        return ""

    answer = await send(guarded(pages), "GET", "/page", headers=bearer("user"))

    assert (answer.status, ran) == (500, [])
