"""Verified tokens are kept for a short time, a bounded number of them, and not the tokens themselves."""

import pytest

from ligand_async.auth import InvalidToken
from ligand_async.auth.tokens.token_cache import TokenCache
from ligand_async.principal import Principal
from tests.auth.issuing import Issuer
from tests.auth.verifying import Clock, verifying

ADA = Principal("ada", "https://id.example")


def test_token_is_kept_until_it_ends() -> None:
    """A token that is good for ten seconds is kept for ten."""
    clock = Clock()
    cache = TokenCache[Principal](clock=clock)
    cache.keep("token", ADA, seconds=10)
    clock.forward(9.9)
    assert cache.get("token") is ADA

    clock.forward(0.1)
    assert cache.get("token") is None
    assert len(cache) == 0


def test_token_is_kept_a_minute_at_most() -> None:
    """A token that is good for a day is kept for a minute."""
    clock = Clock()
    cache = TokenCache[Principal](clock=clock)
    cache.keep("token", ADA, seconds=86_400)
    clock.forward(59)
    assert cache.get("token") is ADA

    clock.forward(1)
    assert cache.get("token") is None


def test_token_within_the_leeway_is_not_kept() -> None:
    """A token past its end, accepted for the leeway only, is looked at each time."""
    cache = TokenCache[Principal](clock=Clock())
    for seconds in (0, -5):
        cache.keep("token", ADA, seconds=seconds)

    assert len(cache) == 0


def test_cache_is_bounded() -> None:
    """Of too many the one that was not used for longest goes."""
    cache = TokenCache[Principal](size=2, clock=Clock())
    for token in ("a", "b"):
        cache.keep(token, ADA, seconds=60)
    cache.get("a")
    cache.keep("c", ADA, seconds=60)

    assert [token for token in "abc" if cache.get(token)] == ["a", "c"]


def test_tokens_themselves_are_not_kept() -> None:
    """Whoever reads the memory of the cache finds no token in it."""
    cache = TokenCache[Principal](clock=Clock())
    cache.keep("secret-token", ADA, seconds=60)

    assert "secret-token" not in repr(vars(cache))


async def test_only_good_tokens_are_kept() -> None:
    """A refusal is not kept: hostile tokens do not push out good ones."""
    with Issuer() as issuer:
        async with verifying(issuer) as verifier:
            good = await verifier.verify(issuer.mint())
            for token in ("x", issuer.mint(exp=1), issuer.mint(signature=b"x")):
                with pytest.raises(InvalidToken):
                    await verifier.verify(token)

            assert good
            assert len(verifier.cache) == 1


async def test_second_time_is_a_look_up() -> None:
    """The same token gives the same principal, and nothing is verified again while it is kept."""
    clock = Clock()
    with Issuer() as issuer:
        async with verifying(issuer, clock=clock) as verifier:
            token = issuer.mint()
            first = await verifier.verify(token)

            assert await verifier.verify(token) is first
            clock.forward(61)
            assert await verifier.verify(token) is not first


async def test_cache_is_emptied_when_keys_change() -> None:
    """Other keys than before may mean that one was stolen: everything is verified again."""
    clock = Clock()
    with Issuer() as issuer:
        async with verifying(issuer, clock=clock) as verifier:
            for _ in range(3):
                await verifier.verify(issuer.mint())
            assert len(verifier.cache) == 3
            issuer.rotate()
            clock.forward(31)
            await verifier.verify(issuer.mint())

            assert len(verifier.cache) == 1
