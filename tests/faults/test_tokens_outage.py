"""Rows 72, 88, 89, 131 and 132 of the fault matrix: keys of an issuer that is away, changes them, or meets a crowd."""

import asyncio
from typing import Any

import pytest

from ligand_async.auth import InvalidToken
from ligand_async.errors import ServiceUnavailable
from tests.auth.issuing import KEYS, METADATA, OAUTH_METADATA, Issuer, SigningKey
from tests.auth.verifying import Clock, bearer, make_service, verifying

CROWD = 1_000
HOUR = 3600


async def test_row_88_issuer_down_at_start(sqlite_url: str) -> None:
    """Row 88: without its issuer a service starts, is not ready, and answers good tokens with 503, never 401."""
    issuer = Issuer()
    issuer.start()
    token = issuer.mint()
    issuer.stop()
    app = make_service(sqlite_url, issuer)
    async with app.test_app() as running:
        client = running.test_client()
        alive, ready = await client.get("/livez"), await client.get("/readyz")
        closed, open_ = await client.get("/who", headers=bearer(token)), await client.get("/openapi.json")
        anonymous = await client.get("/who")

    assert [one.status_code for one in (alive, ready, closed, open_, anonymous)] == [200, 503, 503, 200, 401]
    assert (await ready.get_json())["checks"]["token_keys"] == "failed"
    assert closed.mimetype == "application/problem+json"
    assert int(closed.headers["Retry-After"]) >= 1
    assert issuer.url not in await closed.get_data(as_text=True)


async def test_row_88_start_does_not_wait(sqlite_url: str) -> None:
    """Row 88: an issuer that never answers does not keep a service from starting or stopping."""
    with Issuer() as issuer:
        issuer.hang(METADATA)
        async with asyncio.timeout(2), make_service(sqlite_url, issuer, oidc_timeout=30).test_app() as running:
            assert (await running.test_client().get("/livez")).status_code == 200


async def test_row_88_issuer_that_comes_late_is_found(sqlite_url: str) -> None:
    """Row 88: nobody has to call or to restart: once the issuer is there the service becomes ready by itself."""
    issuer = Issuer()
    issuer.start()
    issuer.stop()
    async with make_service(sqlite_url, issuer).test_app() as running:
        client = running.test_client()
        assert (await client.get("/readyz")).status_code == 503
        with issuer:
            for _ in range(100):
                if (await client.get("/readyz")).status_code == 200:
                    break
                await asyncio.sleep(0.05)
            assert (await client.get("/who", headers=bearer(issuer.mint()))).status_code == 200


@pytest.mark.parametrize("status", [404, 500, 503])
async def test_row_88_broken_issuer_is_no_reason_for_401(status: int) -> None:
    """Row 88: what an issuer answers wrong is the same as no answer."""
    with Issuer() as issuer:
        issuer.answer(KEYS, status=status)
        async with verifying(issuer) as verifier:
            with pytest.raises(ServiceUnavailable):
                await verifier.verify(issuer.mint())


async def test_row_88_first_keys_are_asked_for_more_and_more_seldom() -> None:
    """Row 88: while nothing is known the pause grows from one second to thirty, and requests in it ask nobody."""
    clock, pauses = Clock(), []
    with Issuer() as issuer:
        issuer.answer(METADATA, status=503)
        issuer.answer(OAUTH_METADATA, status=503)
        async with verifying(issuer, clock=clock) as verifier:
            for _ in range(8):
                asked = issuer.asked[METADATA]
                for _ in range(3):
                    with pytest.raises(ServiceUnavailable) as caught:
                        await verifier.verify(issuer.mint())
                assert issuer.asked[METADATA] == asked + 1
                pauses.append(int(caught.value.headers["Retry-After"]))
                clock.forward(pauses[-1] + 0.01)

    assert pauses == [1, 2, 4, 8, 16, 30, 30, 30]


async def test_row_89_issuer_down_later() -> None:
    """Row 89: for 24 hours known keys verify old and new tokens though the issuer be away; then it is 503, not 401."""
    clock = Clock()
    with Issuer() as issuer:
        async with verifying(issuer, clock=clock) as verifier:
            await verifier.verify(issuer.mint())
            issuer.stop()
            for hours in (1, 22, 0.9):
                clock.forward(hours * HOUR)
                assert await verifier.verify(issuer.mint(iat=clock.now, exp=clock.now + 60))
            clock.forward(HOUR)
            with pytest.raises(ServiceUnavailable):
                await verifier.verify(issuer.mint(iat=clock.now, exp=clock.now + 60))
            with pytest.raises(RuntimeError):
                await verifier.check()
            issuer.start()
            clock.forward(31)
            assert await verifier.verify(issuer.mint(iat=clock.now, exp=clock.now + 60))


async def test_row_89_known_tokens_keep_working(sqlite_url: str) -> None:
    """Row 89: with the issuer stopped a token seen before and a new one by a known key are accepted; it stays ready."""
    with Issuer() as issuer:
        app = make_service(sqlite_url, issuer)
        async with app.test_app() as running:
            client = running.test_client()
            known = issuer.mint()
            first = await client.get("/who", headers=bearer(known))
            issuer.stop()
            answers = [
                first,
                await client.get("/who", headers=bearer(known)),
                await client.get("/who", headers=bearer(issuer.mint())),
                await client.get("/readyz"),
            ]

    assert [one.status_code for one in answers] == [200, 200, 200, 200]


async def test_old_keys_serve_while_new_ones_are_fetched() -> None:
    """After ten minutes keys are renewed in the background: no request waits for an issuer that is slow."""
    clock = Clock()
    with Issuer() as issuer:
        async with verifying(issuer, clock=clock, patience=30) as verifier:
            await verifier.verify(issuer.mint())
            issuer.hang(KEYS)
            clock.forward(601)
            async with asyncio.timeout(2):
                assert await verifier.verify(issuer.mint(iat=clock.now, exp=clock.now + 60))
            for _ in range(100):
                await asyncio.sleep(0.01)
                if issuer.asked[KEYS] == 2:
                    break

    assert issuer.asked[KEYS] == 2


async def test_key_that_is_withdrawn_verifies_no_more() -> None:
    """Once the keys are renewed, tokens of a key that is gone are refused, those in the cache too."""
    clock = Clock()
    with Issuer() as issuer:
        async with verifying(issuer, clock=clock) as verifier:
            old = issuer.mint()
            await verifier.verify(old)
            issuer.rotate()
            clock.forward(31)
            assert await verifier.verify(old)
            assert await verifier.verify(issuer.mint())
            with pytest.raises(InvalidToken):
                await verifier.verify(old)


async def test_row_72_crowd_with_an_unknown_key(sqlite_url: str) -> None:
    """Row 72: a thousand requests at once with unknown kids are a thousand 401 and at most one fetch."""
    with Issuer() as issuer:
        tokens = [issuer.mint(header={"kid": f"unknown-{number}"}) for number in range(CROWD)]
        app = make_service(sqlite_url, issuer, max_requests=CROWD)
        async with app.test_app() as running:
            client = running.test_client()
            assert (await client.get("/who", headers=bearer(issuer.mint()))).status_code == 200
            fetched = issuer.asked[KEYS]
            answers = await asyncio.gather(*(client.get("/who", headers=bearer(token)) for token in tokens))

    assert {one.status_code for one in answers} == {401}
    assert issuer.asked[KEYS] - fetched <= 1


async def test_crowd_at_the_start_is_one_fetch() -> None:
    """A thousand good tokens before any key is known wait for one fetch, and are all accepted."""
    with Issuer() as issuer:
        tokens = [issuer.mint() for _ in range(CROWD)]
        async with verifying(issuer) as verifier:
            principals = await asyncio.gather(*map(verifier.verify, tokens))

    assert len(principals) == CROWD
    assert (issuer.asked[METADATA], issuer.asked[KEYS]) == (1, 1)


async def test_cancelled_request_does_not_cancel_the_fetch() -> None:
    """Whoever waits for the keys first may leave: the others get them all the same."""
    with Issuer() as issuer:
        async with verifying(issuer) as verifier:
            first = asyncio.create_task(verifier.verify(issuer.mint()))
            await asyncio.sleep(0)
            others = [asyncio.create_task(verifier.verify(issuer.mint())) for _ in range(10)]
            await asyncio.sleep(0)
            first.cancel()
            done = await asyncio.gather(first, *others, return_exceptions=True)

    assert isinstance(done[0], asyncio.CancelledError)
    assert [one.subject for one in done[1:] if not isinstance(one, BaseException)] == ["ada"] * 10
    assert issuer.asked[KEYS] == 1


async def test_rotation_under_load() -> None:
    """Keys change again and again while tokens of the old and the new one come in: none that is good is refused."""
    clock, verified = Clock(), 0
    with Issuer() as issuer:
        async with verifying(issuer, clock=clock) as verifier:
            for number in range(20):
                old = issuer.keys[0]
                issuer.keys = [SigningKey(key_id=f"key-{number}"), old]  # issuers publish both for a while
                clock.forward(31)
                tokens = [
                    issuer.mint(key=key, iat=clock.now, exp=clock.now + 60) for _ in range(25) for key in issuer.keys
                ]
                verified += len(await asyncio.gather(*map(verifier.verify, tokens)))

    assert verified == 1_000
    assert issuer.asked[KEYS] <= 21


async def test_garbage_keys_do_not_replace_good_ones() -> None:
    """An issuer that answers nonsense for a while is an issuer that is away."""
    clock = Clock()
    with Issuer() as issuer:
        async with verifying(issuer, clock=clock) as verifier:
            await verifier.verify(issuer.mint())
            for body in (
                b"",
                b"{}",
                b"[]",
                b'{"keys": []}',
                b'{"keys": [5]}',
                b'{"keys": 5}',
                b"<html>",
                b"\xff" * 100,
            ):
                issuer.answer(KEYS, body=body)
                clock.forward(601)  # keys are renewed after ten minutes
                with pytest.raises(InvalidToken):
                    await verifier.verify(issuer.mint(key=SigningKey(key_id="unknown")))
                assert await verifier.verify(issuer.mint(iat=clock.now, exp=clock.now + 60))


@pytest.mark.parametrize("hours", [0.17, 1, 20, 23.9])
async def test_row_131_withdrawn_keys_end_on_a_quiet_service_too(hours: float) -> None:
    """Row 131: the first request after a while renews the keys before it is decided, as the issuer answers."""
    clock = Clock()
    with Issuer() as issuer:
        async with verifying(issuer, clock=clock) as verifier:
            await verifier.verify(issuer.mint())
            stolen = issuer.keys[0]
            issuer.rotate()
            clock.forward(hours * HOUR)
            with pytest.raises(InvalidToken):
                await verifier.verify(issuer.mint(key=stolen, iat=clock.now, exp=clock.now + 60))
            assert await verifier.verify(issuer.mint(iat=clock.now, exp=clock.now + 60))


async def test_row_131_a_service_in_use_does_not_wait() -> None:
    """Row 131: keys of five minutes are renewed in the background, so that they never get as old as ten."""
    clock = Clock()
    with Issuer() as issuer:
        async with verifying(issuer, clock=clock) as verifier:
            await verifier.verify(issuer.mint())
            stolen = issuer.keys[0]
            issuer.rotate()
            clock.forward(301)
            assert await verifier.verify(issuer.mint(key=stolen, iat=clock.now, exp=clock.now + 60))
            for _ in range(200):
                await asyncio.sleep(0.01)
                if issuer.asked[KEYS] == 2:
                    break
            await asyncio.sleep(0.1)
            with pytest.raises(InvalidToken):
                await verifier.verify(issuer.mint(key=stolen, iat=clock.now, exp=clock.now + 60))


@pytest.mark.parametrize("cnf", [{"jkt": "x"}, {"x5t#S256": "x"}, {"jwk": {}}, {}, None, "x"], ids=repr)
async def test_row_132_tokens_bound_to_a_key_are_refused(cnf: Any) -> None:
    """Row 132: whoever holds such a token must also hold the key, which a bearer does not show."""
    with Issuer() as issuer:
        async with verifying(issuer) as verifier:
            with pytest.raises(InvalidToken) as caught:
                await verifier.verify(issuer.mint(cnf=cnf))

    assert caught.value.reason == "key_bound"
