"""Opaque tokens: their issuer is asked about each, by a real request, and its answer kept (row 90)."""

import asyncio

import pytest

from ligand_async.auth.tokens import AuthMethod
from ligand_async.auth.tokens.introspection import REFUSED_AGE, IntrospectionVerifier
from tests.auth.introspecting import INTROSPECTION, IntrospectingIssuer, make_verifier, outcome
from tests.auth.verifying import Clock


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
