"""An issuer that does not say what a token is: callers are not blamed, and nobody is kept waiting (row 90)."""

import asyncio
import logging
import time
from typing import Any

import pytest

from ligand_async.auth.tokens.introspection import COOL_DOWN, IntrospectionVerifier
from ligand_async.errors import ServiceUnavailable
from tests.auth.introspecting import INTROSPECTION, PATIENCE, SECRET, IntrospectingIssuer, outcome
from tests.auth.issuing import METADATA, to_json
from tests.auth.verifying import Clock


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
    assert time.monotonic() - started < PATIENCE
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
