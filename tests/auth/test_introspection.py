"""Opaque tokens: their issuer is asked about each, by a real request, and its answer kept (row 90)."""

import asyncio
import logging
import time
from dataclasses import replace
from typing import Any

import pytest

from ligand_async.auth import InvalidToken
from ligand_async.auth.tokens import AuthMethod, IntrospectionVerifier
from ligand_async.auth.tokens.introspection import COOL_DOWN, REFUSED_AGE, Circuit, CircuitOpen
from ligand_async.errors import ServiceUnavailable
from tests.auth.issuing import AUDIENCE, INTROSPECTION, METADATA, SECRET, IntrospectingIssuer, to_json
from tests.auth.verifying import INTROSPECTION_PATIENCE, Clock, make_verifier, outcome


async def test_active_token_is_a_principal(issuer: IntrospectingIssuer, verifier: IntrospectionVerifier) -> None:
    """What the issuer says of an active token is the principal."""
    principal = await verifier.verify(issuer.issue(jti="t-1"))

    assert (principal.subject, principal.issuer, principal.client_id) == ("ada", issuer.url, "tests")
    assert principal.roles == {"user"}
    assert principal.scopes == {"pets:read", "pets:write"}
    assert principal.token_id == "t-1"
    assert principal.expires_at is not None
    assert "active" not in principal.claims


@pytest.mark.parametrize("method", ["client_secret_basic", "client_secret_post"])
async def test_client_shows_its_secret(issuer: IntrospectingIssuer, clock: Clock, method: AuthMethod) -> None:
    """Either way of client authentication carries any secret over whole, and only that way is used."""
    verifier = make_verifier(issuer, clock, method=method)
    assert await outcome(verifier, issuer.issue()) == "ada"
    await verifier.stop()

    request = issuer.requests[-1]
    assert ("Authorization" in request.headers) == (method == "client_secret_basic")
    assert (b"client_secret" in request.body) == (method == "client_secret_post")
    assert b"token_type_hint=access_token" in request.body


async def test_inactive_token_is_refused(verifier: IntrospectionVerifier) -> None:
    """What the issuer does not know is no token."""
    assert await outcome(verifier, "never-issued") == "inactive"


@pytest.mark.parametrize(
    "token",
    ["", " ", "a b", "a\n", "ä", "tok\0en", "a=b", "=", "a,b", 'a"b', "a" * 4097, "\ud800", "a%20b", "a\u0661"],
    ids=ascii,
)
async def test_no_token_at_all_asks_nobody(
    issuer: IntrospectingIssuer, verifier: IntrospectionVerifier, token: str
) -> None:
    """What cannot be a token is refused before any request."""
    assert await outcome(verifier, token) == "shape"
    assert issuer.requests == []


async def test_good_answer_is_kept_for_a_minute(
    issuer: IntrospectingIssuer, verifier: IntrospectionVerifier, clock: Clock
) -> None:
    """A token is asked about once a minute, so that its withdrawal is seen within one."""
    token = issuer.issue()
    await outcome(verifier, token)
    issuer.tokens.clear()
    clock.forward(59.9)
    within = await outcome(verifier, token)
    clock.forward(0.2)

    assert (within, await outcome(verifier, token)) == ("ada", "inactive")
    assert issuer.asked[INTROSPECTION] == 2


async def test_good_answer_is_not_kept_past_the_end(
    issuer: IntrospectingIssuer, verifier: IntrospectionVerifier, clock: Clock
) -> None:
    """A token that ends sooner is forgotten at its end."""
    token = issuer.issue(exp=clock.now + 10)
    await outcome(verifier, token)
    clock.forward(10.1)
    await outcome(verifier, token)

    assert issuer.asked[INTROSPECTION] == 2


async def test_bad_answer_is_kept_for_seconds(
    issuer: IntrospectingIssuer, verifier: IntrospectionVerifier, clock: Clock
) -> None:
    """A wrong token that is sent again and again is no load for the issuer."""
    for _ in range(20):
        assert await outcome(verifier, "never-issued") == "inactive"
    asked = issuer.asked[INTROSPECTION]
    issuer.issue("never-issued")
    clock.forward(REFUSED_AGE + 0.1)

    assert (asked, await outcome(verifier, "never-issued")) == (1, "ada")


async def test_wrong_tokens_drive_out_no_good_one(issuer: IntrospectingIssuer, verifier: IntrospectionVerifier) -> None:
    """What is kept is bounded, and good answers are kept apart."""
    token = issuer.issue()
    await outcome(verifier, token)
    verifier.refused.size = verifier.good.size = 5
    for number in range(12):
        await outcome(verifier, f"wrong-{number}")
    issuer.tokens.clear()

    assert await outcome(verifier, token) == "ada"
    assert len(verifier.refused) == 5


async def test_requests_with_one_token_ask_once(issuer: IntrospectingIssuer, verifier: IntrospectionVerifier) -> None:
    """Any number of requests with a token that is not known yet share one answer."""
    token = issuer.issue()

    assert set(await asyncio.gather(*(outcome(verifier, token) for _ in range(50)))) == {"ada"}
    assert issuer.asked[INTROSPECTION] == 1


GOOD: dict[str, dict[str, Any]] = {
    "no issuer": {"iss": ...},
    "no end": {"exp": ...},
    "an audience among others": {"aud": ["https://other.example", AUDIENCE]},
    "a token type in lower case": {"token_type": "bearer"},
    "no token type": {"token_type": ...},
    "null for what is not known": {"sub": "ada", "nbf": None, "jti": None, "token_type": None},
    "an end just now": {"exp": lambda _: int(time.time()) - 5},
    "an end with a fraction": {"exp": lambda _: time.time() + 100.5},
}

BAD: dict[str, tuple[str, dict[str, Any]]] = {
    "another issuer": ("issuer", {"iss": "https://other.example"}),
    "an issuer with a slash more": ("issuer", {"iss": lambda issuer: issuer.url + "/"}),
    "an issuer that is a list": ("issuer", {"iss": lambda issuer: [issuer.url]}),
    "another audience": ("audience", {"aud": "https://other.example"}),
    "no audience": ("audience", {"aud": ...}),
    "an audience that is null": ("audience", {"aud": None}),
    "an empty audience": ("audience", {"aud": []}),
    "an audience that is a part of ours": ("audience", {"aud": AUDIENCE[:-1]}),
    "an audience of another type": ("audience", {"aud": [AUDIENCE, 5]}),
    "an end in the past": ("expired", {"exp": 1}),
    "an end that is a text": ("exp", {"exp": "4102444800"}),
    "an end that is true": ("exp", {"exp": True}),
    "an end beyond all calendars": ("exp", {"exp": 10**400}),
    "a beginning in the future": ("not_yet", {"nbf": 4102444800}),
    "a beginning that is a text": ("nbf", {"nbf": "0"}),
    "a token bound to a key": ("token_type", {"token_type": "DPoP"}),
    "a token type that is a list": ("token_type", {"token_type": ["Bearer"]}),
    "a refresh token": ("token_type", {"token_use": "refresh_token"}),
    "a use that is a list": ("token_type", {"token_use": ["access_token"]}),
    "a subject that is empty": ("sub", {"sub": ""}),
    "a subject with NUL": ("sub", {"sub": "ada\0"}),
    "a subject that is a number": ("sub", {"sub": 5}),
    "nobody": ("sub", {"sub": ..., "client_id": ...}),
    "a client that is a list": ("client_id", {"sub": ..., "client_id": ["tests"]}),
}


def made(claims: dict[str, Any], issuer: IntrospectingIssuer) -> dict[str, Any]:
    """Return claims, those made that need the issuer or the time."""
    return {name: value(issuer) if callable(value) else value for name, value in claims.items()}


@pytest.mark.parametrize("claims", GOOD.values(), ids=GOOD.keys())
async def test_answer_is_good(
    issuer: IntrospectingIssuer, verifier: IntrospectionVerifier, claims: dict[str, Any]
) -> None:
    """What RFC 7662 leaves to the issuer is the issuer's."""
    assert await outcome(verifier, issuer.issue(**made(claims, issuer))) == "ada"


@pytest.mark.parametrize(("reason", "claims"), BAD.values(), ids=BAD.keys())
async def test_answer_is_not_good_enough(
    issuer: IntrospectingIssuer, verifier: IntrospectionVerifier, reason: str, claims: dict[str, Any]
) -> None:
    """An active token is refused where it is not for us, not for now, or not for whoever holds it."""
    assert await outcome(verifier, issuer.issue(**made(claims, issuer))) == reason


async def test_service_without_a_user_is_its_client(
    issuer: IntrospectingIssuer, verifier: IntrospectionVerifier
) -> None:
    """A token of the client credentials grant, where the issuer names no subject, is its client's, by a setting."""
    token = issuer.issue(sub=..., client_id="reports")

    assert await outcome(verifier, token) == "sub"
    verifier.issuer = replace(verifier.issuer, client_subject=True)
    assert await outcome(verifier, issuer.issue("another", sub=..., client_id="reports")) == "reports"


@pytest.mark.parametrize(
    ("profile", "claims", "expected"),
    [
        ("keycloak", {"typ": "Bearer", "realm_access": {"roles": ["admin"]}}, ({"admin"}, {"pets:read", "pets:write"})),
        ("keycloak", {"typ": "Refresh"}, None),
        ("okta", {"groups": ["admin"]}, ({"admin"}, {"pets:read", "pets:write"})),
        ("auth0", {"permissions": ["pets:write"]}, (set(), {"pets:read", "pets:write"})),
    ],
)
async def test_profile_says_where_roles_are(
    issuer: IntrospectingIssuer, clock: Clock, profile: str, claims: dict[str, Any], expected: Any
) -> None:
    """Roles stand where the issuer's tokens have them, scopes also where RFC 7662 has them."""
    verifier = make_verifier(issuer, clock, profile=profile)
    token = issuer.issue(**claims)
    try:
        principal = await verifier.verify(token)
        assert (principal.roles, principal.scopes) == expected
    except InvalidToken:
        assert expected is None
    finally:
        await verifier.stop()


def stop(issuer: IntrospectingIssuer) -> None:
    issuer.stop()


def refuse_us(issuer: IntrospectingIssuer) -> None:
    issuer.secret = "another"


OUTAGES = {
    "nobody listens": stop,
    "no answer": lambda issuer: issuer.hang(INTROSPECTION),
    "no metadata": lambda issuer: issuer.hang(METADATA),
    "500": lambda issuer: issuer.answer(INTROSPECTION, status=500, body=b"{}"),
    "503 of a proxy": lambda issuer: issuer.answer(INTROSPECTION, status=503, body=b"<html>"),
    "429": lambda issuer: issuer.answer(INTROSPECTION, status=429, body=b"{}"),
    "our client refused": refuse_us,
    "401 and no more": lambda issuer: issuer.answer(INTROSPECTION, status=401, body=b"{}"),
    "our client unknown": lambda issuer: issuer.answer(
        INTROSPECTION, status=400, body=to_json({"error": "invalid_client"})
    ),
    "no endpoint": lambda issuer: issuer.members.update(introspection_endpoint=None),
    "an endpoint that is no address": lambda issuer: issuer.members.update(introspection_endpoint="http://["),
}

ODD_ANSWERS = {
    "no JSON": lambda issuer: issuer.answer(INTROSPECTION, body=b"active"),
    "a list": lambda issuer: issuer.answer(INTROSPECTION, body=b"[true]"),
    "active is a text": lambda issuer: issuer.answer(INTROSPECTION, body=b'{"active": "true"}'),
    "active is a number": lambda issuer: issuer.answer(INTROSPECTION, body=b'{"active": 1}'),
    "nothing of it": lambda issuer: issuer.answer(INTROSPECTION, body=b"{}"),
    "403": lambda issuer: issuer.answer(INTROSPECTION, status=403, body=b"{}"),
    "400": lambda issuer: issuer.answer(INTROSPECTION, status=400, body=b"{}"),
    "more than it takes": lambda issuer: issuer.answer(INTROSPECTION, body=b" " * 1024 * 1024),
    "a redirect": lambda issuer: issuer.answer(
        INTROSPECTION, status=307, headers={"Location": f"{issuer.origin}/elsewhere"}
    ),
}


@pytest.mark.parametrize("break_it", [*OUTAGES.values(), *ODD_ANSWERS.values()], ids=[*OUTAGES, *ODD_ANSWERS])
async def test_issuer_that_does_not_say_is_503(
    issuer: IntrospectingIssuer, verifier: IntrospectionVerifier, break_it: Any
) -> None:
    """Where nobody can tell what a token is, it is not refused as wrong: 503 with Retry-After."""
    token = issuer.issue()
    break_it(issuer)

    with pytest.raises(ServiceUnavailable) as caught:
        await verifier.verify(token)
    assert int(caught.value.headers["Retry-After"]) >= 1
    assert issuer.asked["/elsewhere"] == 0


@pytest.mark.parametrize("break_it", OUTAGES.values(), ids=OUTAGES.keys())
async def test_issuer_that_is_out_of_order_is_left_alone(
    issuer: IntrospectingIssuer, verifier: IntrospectionVerifier, clock: Clock, break_it: Any
) -> None:
    """After a failure nobody waits for the next: requests are turned away at once, until one tries again."""
    break_it(issuer)
    await outcome(verifier, "first")
    asked = len(issuer.requests)
    started = time.monotonic()
    answers = [await outcome(verifier, f"token-{number}") for number in range(50)]

    assert set(answers) == {"unknown"}
    assert time.monotonic() - started < INTROSPECTION_PATIENCE
    assert len(issuer.requests) == asked
    clock.forward(COOL_DOWN)
    await asyncio.gather(*(outcome(verifier, f"token-{number}") for number in range(50)))
    assert len(issuer.requests) <= asked + 2


async def test_issuer_that_is_back_is_asked(
    issuer: IntrospectingIssuer, verifier: IntrospectionVerifier, clock: Clock
) -> None:
    """An outage is over with the first answer after the cool-down."""
    token = issuer.issue()
    issuer.stop()
    during = await outcome(verifier, token)
    issuer.start()
    clock.forward(COOL_DOWN)

    assert (during, await outcome(verifier, token)) == ("unknown", "ada")


@pytest.mark.parametrize("break_it", ODD_ANSWERS.values(), ids=ODD_ANSWERS.keys())
async def test_one_odd_token_shuts_out_nobody(
    issuer: IntrospectingIssuer, verifier: IntrospectionVerifier, break_it: Any
) -> None:
    """An answer about one token says nothing about others: the next is asked about at once."""
    break_it(issuer)
    odd = await outcome(verifier, "../../etc/passwd")
    issuer.heal()

    assert (odd, await outcome(verifier, issuer.issue())) == ("unknown", "ada")


async def test_known_token_outlives_an_outage_of_a_minute(
    issuer: IntrospectingIssuer, verifier: IntrospectionVerifier, clock: Clock
) -> None:
    """What was answered is still known while the issuer is away."""
    token = issuer.issue()
    await outcome(verifier, token)
    issuer.stop()
    clock.forward(30)

    assert await outcome(verifier, token) == "ada"


async def test_signed_token_that_the_issuer_does_not_take_is_refused(
    issuer: IntrospectingIssuer, verifier: IntrospectionVerifier
) -> None:
    """An issuer that does not look at such tokens has said that it is none of its opaque ones."""
    issuer.answer(INTROSPECTION, status=400, body=to_json({"error": "unsupported_token_type"}))

    assert await outcome(verifier, issuer.mint()) == "inactive"


async def test_endpoint_that_moved_is_found(issuer: IntrospectingIssuer, verifier: IntrospectionVerifier) -> None:
    """An endpoint that is gone is looked up again."""
    issuer.members["introspection_endpoint"] = f"{issuer.origin}/old"
    gone = await outcome(verifier, issuer.issue())
    del issuer.members["introspection_endpoint"]

    assert (gone, await outcome(verifier, issuer.issue())) == ("unknown", "ada")


async def test_refused_client_is_an_error_in_the_log(
    issuer: IntrospectingIssuer, verifier: IntrospectionVerifier, caplog: pytest.LogCaptureFixture
) -> None:
    """Wrong credentials of our own are named to the operator, and no secret is."""
    issuer.secret = "another"
    with caplog.at_level(logging.DEBUG):
        await outcome(verifier, issuer.issue("a-secret-token"))

    [record] = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert "oidc_client_secret" in record.getMessage()
    assert SECRET not in caplog.text
    assert "a-secret-token" not in caplog.text


async def test_ready_once_the_endpoint_is_known(
    issuer: IntrospectingIssuer, verifier: IntrospectionVerifier, clock: Clock
) -> None:
    """Readiness waits for the issuer at start, and does not go with it later."""
    issuer.stop()
    with pytest.raises(Exception, match="no metadata"):
        await verifier.check()
    issuer.start()
    clock.forward(COOL_DOWN)
    await verifier.check()
    issuer.stop()
    await verifier.check()


class CircuitClock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def fail(circuit: Circuit) -> None:
    with pytest.raises(OSError, match="nobody"), circuit.passing(OSError):
        raise OSError("nobody")


def is_open(circuit: Circuit) -> bool:
    try:
        with circuit.passing(OSError):
            return False
    except CircuitOpen:
        return True


@pytest.fixture
def steps() -> CircuitClock:
    return CircuitClock()


@pytest.fixture
def circuit(steps: CircuitClock) -> Circuit:
    return Circuit(cool_down=1.0, clock=steps)


def test_failure_opens_it(circuit: Circuit) -> None:
    """After a failure nobody passes."""
    fail(circuit)
    assert is_open(circuit)


def test_other_errors_say_nothing(circuit: Circuit) -> None:
    """An error that is no failure of the other side leaves it as it was."""
    with pytest.raises(ValueError, match="odd"), circuit.passing(OSError):
        raise ValueError("odd")
    assert not is_open(circuit)


def test_one_tries_after_the_cool_down(circuit: Circuit, steps: CircuitClock) -> None:
    """While one tries, the others are still turned away."""
    fail(circuit)
    steps.now += 1.0
    with circuit.passing(OSError):
        assert is_open(circuit)
    assert not is_open(circuit)


def test_failed_trial_opens_it_again(circuit: Circuit, steps: CircuitClock) -> None:
    """After a trial that failed, the cool-down begins anew."""
    fail(circuit)
    steps.now += 1.0
    fail(circuit)
    steps.now += 0.9
    assert is_open(circuit)
    steps.now += 0.1
    assert not is_open(circuit)


def test_given_up_trial_lets_another_try(circuit: Circuit, steps: CircuitClock) -> None:
    """A trial that ended in neither way is followed by another."""
    fail(circuit)
    steps.now += 1.0
    with pytest.raises(ValueError, match="odd"), circuit.passing(OSError):
        raise ValueError("odd")
    assert not is_open(circuit)


def test_retry_after_is_whole_seconds() -> None:
    """What clients are told is never zero."""
    assert [Circuit(cool_down=seconds).retry_after for seconds in (0.1, 1.0, 1.5)] == [1, 1, 2]
