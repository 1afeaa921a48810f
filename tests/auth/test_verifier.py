"""The verifier: several issuers, its start and stop, and what a caller of it can rely on."""

import asyncio
import base64
import timeit
from collections.abc import Coroutine
from types import MappingProxyType

import pytest

from ligand_async.auth import InvalidToken
from ligand_async.errors import ServiceUnavailable
from ligand_async.principal import Principal
from tests.auth.issuing import AUDIENCE, KEYS, Issuer, SigningKey
from tests.auth.verifying import Clock, refused, trust, verify, verifying


async def test_principal_says_all() -> None:
    """A good token gives its subject, issuer, roles, scopes, client, id, end and claims."""
    with Issuer() as issuer:
        token = issuer.mint(roles=["user"], scope="a b", jti="one", exp=2_000_000_000)
        found = await verify(token, issuer)

    assert (found.subject, found.issuer, found.client_id, found.token_id) == ("ada", issuer.url, "tests", "one")
    assert found.roles == {"user"}
    assert found.scopes == {"a", "b"}
    assert found.expires_at is not None
    assert found.expires_at.timestamp() == 2_000_000_000
    assert isinstance(found.claims, MappingProxyType)
    assert found.claims["aud"] == AUDIENCE


async def test_issuers_are_kept_apart() -> None:
    """Each issuer's keys verify its own tokens and no other's, though kid and audience be the same."""
    with Issuer() as one, Issuer() as other:
        async with verifying(one, other) as verifier:
            for issuer in (one, other):
                assert (await verifier.verify(issuer.mint())).issuer == issuer.url
            with pytest.raises(InvalidToken):
                await verifier.verify(one.mint(iss=other.url))


async def test_issuers_have_audiences_of_their_own() -> None:
    """What one issuer may say for us another may not."""
    with Issuer() as one, Issuer() as other:
        trusted = (trust(one, audience=("one",)), trust(other, audience=("other",)))
        assert await verify(one.mint(aud="one"), *trusted)
        assert await refused(one.mint(aud="other"), *trusted) == "audience"


def test_audience_is_no_text() -> None:
    """In a text every part of it would count as an audience."""
    with pytest.raises(TypeError, match="tuple"):
        trust(Issuer(), audience=AUDIENCE)


async def test_issuers_have_algorithms_of_their_own() -> None:
    """An algorithm that is allowed for one issuer is not for another."""
    with Issuer() as one, Issuer(keys=[SigningKey("ES384")]) as other:
        trusted = (trust(one, algorithms=("ES256",)), trust(other, algorithms=("ES384",)))
        assert await verify(other.mint(), *trusted)
        assert await refused(one.mint(key=other.keys[0]), *trusted) == "algorithm"


async def test_unknown_issuer_costs_no_fetch() -> None:
    """A token of an issuer that nobody trusts is refused before anybody is asked."""
    with Issuer() as issuer, Issuer() as stranger:
        assert await refused(stranger.mint(), issuer) == "issuer"
        assert not issuer.asked
        assert not stranger.asked


async def test_bad_claims_cost_no_fetch() -> None:
    """What is refused anyway asks nobody: an expired token, another audience, another type."""
    with Issuer() as issuer:
        for token in (issuer.mint(exp=1), issuer.mint(aud="other"), issuer.mint(header={"typ": "JWT"}), "a.b.c"):
            await refused(token, issuer)
        assert not issuer.asked


async def test_one_issuer_away_does_not_cost_the_other() -> None:
    """With one issuer down the other's tokens are verified, and the service is ready; the first one's are 503."""
    with Issuer() as up, Issuer() as down:
        token = down.mint()
        down.stop()
        async with verifying(up, down) as verifier:
            assert await verifier.verify(up.mint())
            with pytest.raises(ServiceUnavailable):
                await verifier.verify(token)
            await verifier.check()


async def test_keys_are_at_an_address_of_their_own() -> None:
    """With the address of the keys given no metadata is needed."""
    with Issuer() as issuer:
        assert await verify(issuer.mint(), trust(issuer, jwks_uri=issuer.origin + KEYS))
        assert set(issuer.asked) == {KEYS}


async def test_start_finds_keys_in_the_background() -> None:
    """Start returns at once; the check passes as soon as keys are there, without any request."""
    with Issuer() as issuer:
        async with verifying(issuer) as verifier:
            await verifier.start()
            with pytest.raises(RuntimeError):
                await verifier.check()
            for _ in range(200):
                await asyncio.sleep(0.01)
                if issuer.asked[KEYS]:
                    break
            await asyncio.sleep(0.05)
            await verifier.check()


async def test_stop_ends_everything() -> None:
    """After stop nothing of it runs any more, also where an issuer never answered."""
    with Issuer() as issuer:
        issuer.hang(KEYS)
        before = asyncio.all_tasks()
        async with verifying(issuer, patience=60) as verifier:
            await verifier.start()
            await asyncio.sleep(0.1)
            assert asyncio.all_tasks() > before

        assert asyncio.all_tasks() == before


async def test_same_signature_in_another_spelling_is_refused() -> None:
    """A token has one spelling: base64url with padding, or with idle bits set, is another token."""
    with Issuer() as issuer:
        head, _, signature = issuer.mint().rpartition(".")
        raw = base64.urlsafe_b64decode(signature + "==")
        for odd in (signature + "==", base64.b64encode(raw).decode(), signature[:-1] + chr(ord(signature[-1]) + 1)):
            assert await refused(f"{head}.{odd}", issuer) in {"shape", "signature"}


@pytest.mark.parametrize("token", ["", ".", "..", "a", "é", "\ud800", "\0", "a.b.c\n", "🔑.a.b", " "])
async def test_any_text_is_answered(token: str) -> None:
    """Whatever text comes, it is a refusal and no other error."""
    with Issuer() as issuer:
        assert await refused(token, issuer) in {"shape", "header"}


async def test_leeway_is_by_issuer() -> None:
    """An issuer can be given less leeway, or none."""
    clock = Clock()
    with Issuer() as issuer:
        assert await refused(issuer.mint(exp=clock.now - 1), trust(issuer, leeway=0), clock=clock) == "expired"
        assert await verify(issuer.mint(exp=clock.now - 1), trust(issuer, leeway=2), clock=clock)


async def test_refusals_do_not_tell() -> None:
    """Whoever sent a bad token learns nothing from the answer, and nothing of the token is in it."""
    details = set()
    with Issuer() as issuer:
        async with verifying(issuer) as verifier:
            for token in (issuer.mint(exp=1), issuer.mint(aud="other"), issuer.mint(signature=b"x"), "secret"):
                with pytest.raises(InvalidToken) as caught:
                    await verifier.verify(token)
                details.add(str(caught.value.document()))

    assert len(details) == 1


async def test_hit_of_the_cache_is_quick() -> None:
    """A token seen before costs microseconds: under 20 even on a slow machine, 1 on a fast one."""
    with Issuer() as issuer:
        async with verifying(issuer) as verifier:
            token = issuer.mint()
            await verifier.verify(token)

            plain = min(timeit.repeat(lambda: run(verifier.verify(token)), number=1_000, repeat=5)) / 1_000

    assert plain < 20e-6


def run(coroutine: Coroutine[object, object, Principal]) -> None:
    """Run a coroutine that waits for nothing."""
    try:
        coroutine.send(None)
    except StopIteration:
        return
