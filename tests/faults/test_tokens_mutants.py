"""A hundred thousand access tokens changed by chance: none is believed, none makes the service fail."""

import asyncio
import os
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from ligand_async.auth import InvalidToken
from tests.auth.issuing import AUDIENCE, Issuer
from tests.auth.verifying import Clock, bearer, make_service, verifying
from tests.faults.hostile_tokens import EDWARDS, P384, RSA, make_issuer
from tests.faults.token_mutants import Mutants

SEED = 20_261_120
MANY = int(os.environ.get("LIGAND_TEST_MUTANTS", "100000"))
EVERY = 500


async def count_accepted(amount: int) -> Counter[str]:
    """Verify mutants, with good tokens in between."""
    counts, clock = Counter[str](), Clock()
    with make_issuer() as issuer:
        mutants = Mutants(issuer, SEED)
        good = set(mutants.good)
        async with verifying(issuer, clock=clock) as verifier:
            for number in range(amount):
                token = mutants.unsigned()
                try:
                    await verifier.verify(token)
                except InvalidToken as error:
                    counts[error.reason] += 1
                else:
                    counts["the same" if token in good else "accepted"] += 1
                if number % EVERY == 0:
                    counts["good"] += bool(await verifier.verify(issuer.mint(iat=clock.now)))
    return counts


def test_mutants_are_refused(figure: Callable[[int, int], int]) -> None:
    """No mutant is accepted unless it is the good token itself, and nothing but InvalidToken is raised."""
    amount = figure(3_000, 100_000)

    counts = asyncio.run(count_accepted(amount))

    assert counts["accepted"] == 0
    assert counts["good"] == -(-amount // EVERY)
    assert sum(counts.values()) - counts["good"] == amount
    # What is refused for one reason only would show little.
    assert counts.keys() >= {"shape", "header", "payload", "signature", "algorithm", "key_id", "unknown_key", "issuer"}


@pytest.mark.extended
def test_many_mutants_are_refused() -> None:
    """The same holds for a hundred thousand, and for the million of `make token-mutants`."""
    counts = asyncio.run(count_accepted(MANY))

    assert (counts["accepted"], sum(counts.values()) - counts["good"]) == (0, MANY)


async def test_signed_mutants_are_judged_by_what_they_say(figure: Callable[[int, int], int]) -> None:
    """A correctly signed token with odd members is accepted only if what decides is right, and else is InvalidToken."""
    amount, accepted = figure(1_000, 50_000), 0
    with Issuer(keys=[EDWARDS, P384, RSA]) as issuer:
        mutants = Mutants(issuer, SEED)
        async with verifying(issuer) as verifier:
            for _ in range(amount):
                token, header, claims = mutants.signed()
                try:
                    principal = await verifier.verify(token)
                except InvalidToken:
                    continue
                accepted += 1
                assert header["alg"] in {"ES384", "RS256", "Ed25519"}
                assert header["typ"] == "at+jwt"
                assert not {"crit", "b64", "zip", "enc"} & set(header)
                assert (claims["iss"], principal.issuer) == (issuer.url, issuer.url)
                assert claims["aud"] in (AUDIENCE, [AUDIENCE])
                assert type(claims["exp"]) is int
                assert claims["sub"] == principal.subject
                assert principal.roles == roles_in(claims)

    assert amount // 50 < accepted < amount // 2


def roles_in(claims: Mapping[str, Any]) -> set[str]:
    """Return the roles: a list of texts, or one text, which is one role; nothing else is accepted."""
    value = claims.get("roles")
    listed = [] if value is None else [value] if isinstance(value, str) else value
    assert isinstance(listed, list)
    assert all(isinstance(one, str) for one in listed)
    return {one for one in listed if one}


async def test_mutants_over_http_are_never_a_failure(sqlite_url: str, figure: Callable[[int, int], int]) -> None:
    """Whatever a token is, the service answers 401, or 400 where it is not one token; never 5xx."""
    amount, statuses = figure(400, 10_000), Counter[int]()
    with make_issuer() as issuer:
        mutants = Mutants(issuer, SEED)
        app = make_service(sqlite_url, issuer)
        async with app.test_app() as running:
            client = running.test_client()
            for _ in range(amount):
                token = mutants.unsigned()
                if token not in mutants.good:
                    response = await client.get("/who", headers=bearer(token))
                    statuses[response.status_code] += 1

    assert statuses.keys() <= {400, 401}
    assert statuses[401] > amount // 2
