"""Hostile access tokens, over a whole service."""

import contextlib

from ligand_async.auth import InvalidToken
from tests.auth.verifying import bearer, make_service, verifying
from tests.faults.hostile_tokens import good_tokens, hostile_tokens, make_issuer

EVERY = 10


async def test_hostile_tokens_are_refused(sqlite_url: str) -> None:
    """Over 150 tokens, most correctly signed, are each a 401 with its challenge; good ones in between pass."""
    faults, refused, accepted = [], 0, 0
    with make_issuer() as issuer:
        good = good_tokens(issuer)
        app = make_service(sqlite_url, issuer)
        async with app.test_app() as running:
            client = running.test_client()
            for hostile in hostile_tokens(issuer):
                response = await client.get("/who", headers=bearer(hostile.token))
                challenge = response.headers.get("WWW-Authenticate", "")
                error = {401: 'error="invalid_token"', 400: 'error="invalid_request"'}.get(hostile.status, "")
                is_right = response.status_code == hostile.status and error in challenge
                if not is_right or response.mimetype != "application/problem+json":
                    faults.append(f"{response.status_code} {hostile.name}: {challenge}")
                refused += hostile.status == 401
                if refused % EVERY == 0 and hostile.status == 401:
                    answer = await client.get("/who", headers=bearer(next(good)))
                    accepted += answer.status_code == 200
        asked = set(issuer.asked)

    assert not faults, "\n".join(faults)
    assert refused >= 150
    assert accepted == refused // EVERY
    # Row 71: no address in a token was asked.
    assert asked == {"/.well-known/openid-configuration", "/keys"}


async def test_hostile_tokens_are_each_another() -> None:
    """No two of them are the same: each is wrong in its own way."""
    with make_issuer() as issuer:
        hostile = list(hostile_tokens(issuer))

    assert len({one.token for one in hostile}) == len({one.name for one in hostile}) == len(hostile)


async def test_hostile_tokens_are_refused_by_the_verifier_itself() -> None:
    """Whatever does not get past the guard is refused here too, and nothing but InvalidToken is ever raised."""
    accepted = []
    with make_issuer() as issuer:
        async with verifying(issuer) as verifier:
            for hostile in hostile_tokens(issuer):
                with contextlib.suppress(InvalidToken):
                    await verifier.verify(hostile.token)
                    accepted.append(hostile.name)

    assert accepted == []
