"""The keys of an issuer are imported one by one, and only those that can verify access tokens safely."""

import warnings
from typing import Any

import httpx2
import pytest
from joserfc.util import int_to_base64

from ligand_async.auth import InvalidToken
from ligand_async.auth.tokens import Fetcher, FetchError, read_compact
from ligand_async.auth.tokens.keys import MAX_KEYS, KeySet, KeySource, import_key_set
from ligand_async.settings import DEFAULT_ALGORITHMS
from tests.auth.issuing import KEYS, Issuer, SigningKey, rsa_key, to_json
from tests.auth.verifying import Clock, verifying

ALL = (*DEFAULT_ALGORITHMS, "RS384", "RS512", "PS384", "PS512", "ES512", "Ed448")

GOOD = SigningKey(key_id="good")


def imported(*published: Any, algorithms: tuple[str, ...] = ALL) -> KeySet:
    """Import keys beside a good one, under a warnings filter that makes noise an error."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return import_key_set({"keys": [GOOD.published(), *published]}, algorithms)


def names(keys: KeySet) -> list[str | None]:
    return [key.key_id for key in keys.keys]


@pytest.mark.parametrize(
    ("algorithm", "serves"),
    [
        ("RS256", {"RS256"}),
        ("PS512", {"PS512"}),
        ("ES256", {"ES256"}),
        ("ES384", {"ES384"}),
        ("ES512", {"ES512"}),
        ("EdDSA", {"EdDSA", "Ed25519"}),
        ("Ed25519", {"EdDSA", "Ed25519"}),
        ("Ed448", {"EdDSA", "Ed448"}),
    ],
)
def test_key_serves_its_algorithm(algorithm: str, serves: set[str]) -> None:
    """A key that names its algorithm serves that one; Edwards curves have two names for one (RFC 9864)."""
    assert imported(SigningKey(algorithm, "x").published()).keys[1].algorithms == serves


@pytest.mark.parametrize(
    ("algorithm", "serves"),
    [
        ("RS256", {"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"}),
        ("ES256", {"ES256"}),
        ("ES512", {"ES512"}),
        ("Ed25519", {"EdDSA", "Ed25519"}),
    ],
)
def test_key_without_algorithm_serves_its_type(algorithm: str, serves: set[str]) -> None:
    """A key that names none serves what its type and curve are for."""
    document = SigningKey(algorithm, "x").published()
    del document["alg"]

    assert imported(document).keys[1].algorithms == serves


def test_key_serves_only_what_is_allowed() -> None:
    """The settings have the last word."""
    document = SigningKey("RS256", "x").published()
    del document["alg"]

    assert imported(document, algorithms=("ES256", "PS256")).keys[1].algorithms == {"PS256"}
    assert names(imported(document, algorithms=("ES256",))) == ["good"]


@pytest.mark.parametrize("algorithm", ["RS256", "PS256", "ES256", "ES384", "ES512", "EdDSA", "Ed25519", "Ed448"])
def test_each_algorithm_verifies(algorithm: str) -> None:
    """A token that a key signed is verified by the same key, and by no other of its type."""
    key = SigningKey(algorithm, "x")
    other = SigningKey(algorithm, "x", key=rsa_key(2048, 1) if "S" in algorithm and algorithm[0] in "RP" else None)
    token = read_compact(Issuer(keys=[key]).mint(), ALL)

    assert imported(key.published()).keys[1].verifies(token)
    assert not imported(other.published()).keys[1].verifies(token)


@pytest.mark.parametrize(
    "members",
    [
        {"use": "enc"},
        {"use": None},
        {"use": ["sig"]},
        {"key_ops": ["sign"]},
        {"key_ops": []},
        {"key_ops": "verify"},
        {"key_ops": None},
        {"alg": "HS256"},
        {"alg": "ES384"},
        {"alg": "ECDH-ES"},
        {"alg": None},
        {"alg": ["ES256"]},
        {"kty": "RSA"},
        {"kty": "OKP"},
        {"kty": "oct"},
        {"kty": None},
        {"kty": ["EC"]},
        {"crv": "P-384"},
        {"crv": "P-521"},
        {"crv": "secp256k1"},
        {"crv": "Ed25519"},
        {"crv": None},
        {"crv": {}},
        {"x": "AA"},
        {"x": None},
        {"x": 5},
        {"x": "é"},
        {"x": "A" * 2000},
        {"y": "A" * 43},
        {"kid": 5},
        {"kid": ""},
        {"kid": None},
        {"kid": "é"},
        {"kid": "a\nb"},
        {"kid": "x" * 513},
    ],
)
def test_odd_key_is_dropped(members: dict[str, Any]) -> None:
    """A key that is broken, for another use or of an unknown kind is dropped; the one beside it stays."""
    assert names(imported(SigningKey(key_id="x").published(**members))) == ["good"]


@pytest.mark.parametrize("odd", [None, 5, "key", [], [[]], {}, {"kty": "oct", "k": "AAAA", "kid": "x"}])
def test_what_is_no_key_is_dropped(odd: Any) -> None:
    """What is no public key is dropped."""
    assert names(imported(odd)) == ["good"]


@pytest.mark.parametrize("bits", [512, 1024, 2040])
def test_short_rsa_keys_are_dropped(bits: int) -> None:
    """RSA keys under 2048 bits are dropped, and nothing is warned about."""
    if bits == 512:  # no library makes one any more
        document = {"kty": "RSA", "n": int_to_base64(2**511 + 1), "e": "AQAB", "kid": "x"}
    else:
        document = SigningKey("RS256", "x", key=rsa_key(bits)).published()

    assert names(imported(document)) == ["good"]


@pytest.mark.parametrize("bits", [8200, 16384, 400_000])
def test_long_rsa_keys_are_dropped(bits: int) -> None:
    """RSA keys over 8192 bits only make verification slow."""
    document = {"kty": "RSA", "n": int_to_base64(2 ** (bits - 1) + 1), "e": "AQAB", "kid": "x"}

    assert names(imported(document)) == ["good"]


@pytest.mark.parametrize("exponent", [0, 1, 2, 2**65 + 1, 2**2000 + 1])
def test_odd_exponents_are_dropped(exponent: int) -> None:
    """An RSA exponent that is no exponent, or so large that it only costs time, is dropped."""
    document = SigningKey("RS256", "x").published(e=int_to_base64(exponent) or "AA")

    assert names(imported(document)) == ["good"]


def test_keys_of_one_name_are_all_dropped() -> None:
    """Where two keys share a kid nobody knows which is meant: both are dropped."""
    first, second = SigningKey(key_id="twin"), SigningKey("Ed25519", "twin")

    assert names(imported(first.published(), second.published())) == ["good"]


def test_unusable_key_does_not_cost_its_namesake() -> None:
    """A key for encryption may have the name of one for signatures."""
    first, second = SigningKey(key_id="x"), SigningKey(key_id="x")

    assert names(imported(first.published(use="enc"), second.published())) == ["good", "x"]


def test_private_members_are_not_imported() -> None:
    """Of a private key that an issuer publishes by mistake only the public part is kept."""
    document = SigningKey(key_id="x").key.as_dict(private=True) | {"kid": "x"}

    assert not imported(document).keys[1].key.is_private


def test_keys_are_bounded() -> None:
    """No more than a hundred keys are looked at."""
    document = SigningKey().published()
    found = imported(*({**document, "kid": f"x{number}"} for number in range(MAX_KEYS + 50)))

    assert len(found.keys) == MAX_KEYS


@pytest.mark.parametrize("document", [{}, {"keys": None}, {"keys": {}}, {"keys": []}, {"keys": [5]}, {"keys": "keys"}])
def test_set_without_a_usable_key_is_none(document: dict[str, Any]) -> None:
    """A set of which nothing is usable is an error, so that it does not replace a good one."""
    with pytest.raises(ValueError, match="usable"):
        import_key_set(document, ALL)


def test_key_is_found_by_name() -> None:
    """A name finds its key; without a name the only key is found, and none of several."""
    one, two = imported(), imported(SigningKey(key_id=None).published())

    assert one.find("good") is one.find(None) is one.keys[0]
    assert one.find("other") is None
    assert two.find(None) is None


def test_sets_are_compared_by_what_they_verify() -> None:
    """The order of keys means nothing; their names, algorithms and numbers do."""
    first, second = SigningKey(key_id="a").published(), SigningKey(key_id="b").published()

    assert imported(first, second).is_same(imported(second, first))
    assert not imported(first).is_same(imported(second))
    assert not imported(first).is_same(imported({**second, "kid": "a"}))
    assert not imported(first).is_same(imported(first, second))


async def test_keys_that_moved_are_found() -> None:
    """After keys could not be fetched their address is asked for again."""
    clock = Clock()
    with Issuer() as issuer:
        async with verifying(issuer, clock=clock) as verifier:
            await verifier.verify(issuer.mint())
            issuer.rotate()
            issuer.members = {"jwks_uri": f"{issuer.origin}/elsewhere"}
            issuer.answer("/elsewhere", body=to_json({"keys": [issuer.keys[0].published()]}))
            issuer.answer(KEYS, status=404)
            clock.forward(31)
            with pytest.raises(InvalidToken):
                await verifier.verify(issuer.mint())
            clock.forward(31)

            assert await verifier.verify(issuer.mint())


async def test_keys_over_plain_http_are_refused() -> None:
    """The address of the keys, which the metadata gives, is https like that of the issuer."""

    class Local(httpx2.AsyncBaseTransport):
        """Answers as if over TLS."""

        async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
            asked.append(str(request.url))
            return httpx2.Response(200, json={"issuer": "https://id.example", "jwks_uri": "http://id.example/keys"})

    asked: list[str] = []
    strict = Fetcher(timeout=1, allow_http=False, transport=Local())
    source = KeySource("https://id.example", fetcher=strict, algorithms=DEFAULT_ALGORITHMS)
    with pytest.raises(FetchError, match="not https"):
        await source()

    assert asked == ["https://id.example/.well-known/openid-configuration"]


async def test_metadata_is_read_again_after_an_hour() -> None:
    """Keys that moved while the old address still answers are found within the hour."""
    clock = Clock()
    with Issuer() as issuer:
        async with verifying(issuer, clock=clock) as verifier:
            await verifier.verify(issuer.mint())
            old = to_json({"keys": [issuer.keys[0].published()]})
            issuer.rotate()
            issuer.members = {"jwks_uri": f"{issuer.origin}/elsewhere"}
            issuer.answer("/elsewhere", body=to_json({"keys": [issuer.keys[0].published()]}))
            issuer.answer(KEYS, body=old)
            clock.forward(3601)

            assert await verifier.verify(issuer.mint(iat=clock.now, exp=clock.now + 60))
