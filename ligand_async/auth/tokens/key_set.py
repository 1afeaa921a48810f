"""The public keys of an issuer, imported one by one from its JWK Set (RFC 7517)."""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from joserfc.errors import JoseError
from joserfc.jwk import ECKey, OKPKey, RSAKey, import_key
from joserfc.jws import JWSRegistry

from ligand_async.auth.tokens.compact import CompactToken, is_key_id

MAX_KEYS = 100
RSA_BITS = range(2048, 8192 + 1)
MAX_TEXT = 1400  # characters: a modulus of 8192 bits has 1366
MIN_MODULUS = 342  # one of 2048 bits
MAX_EXPONENT = 64  # bits: a larger one only makes verification slow

RSA_ALGORITHMS = frozenset({"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"})
CURVE_ALGORITHMS = {
    ("EC", "P-256"): frozenset({"ES256"}),
    ("EC", "P-384"): frozenset({"ES384"}),
    ("EC", "P-521"): frozenset({"ES512"}),
    ("OKP", "Ed25519"): frozenset({"EdDSA", "Ed25519"}),
    ("OKP", "Ed448"): frozenset({"EdDSA", "Ed448"}),
}
EDWARDS = frozenset({"EdDSA", "Ed25519", "Ed448"})  # one signature, two names (RFC 9864)
PUBLIC_MEMBERS = ("kty", "n", "e", "crv", "x", "y")
# What hostile input may raise inside the libraries below besides their own errors.
SLIPS = (JoseError, ValueError, TypeError, OverflowError, AttributeError, KeyError, RecursionError)


@dataclass(frozen=True, slots=True)
class PublicKey:
    """A key that verifies signatures.

    Attributes:
        key_id: Its `kid`, if it has one.
        algorithms: The values of `alg` that it serves.
        material: Its public members, by which two keys are compared.
        key: The key itself.
    """

    key_id: str | None
    algorithms: frozenset[str]
    material: tuple[str | None, ...]
    key: RSAKey | ECKey | OKPKey

    def verifies(self, token: CompactToken) -> bool:
        """Tell whether this key signed a token."""
        model = JWSRegistry.algorithms[token.algorithm]
        try:
            model.check_key(self.key)
            return model.verify(token.signed, token.signature, self.key)
        except SLIPS:
            return False


@dataclass(frozen=True, slots=True)
class KeySet:
    """The usable keys of an issuer."""

    keys: tuple[PublicKey, ...] = ()

    def find(self, key_id: str | None) -> PublicKey | None:
        """Return the key of a name; without a name, the only key there is."""
        if key_id is None:
            return self.keys[0] if len(self.keys) == 1 else None
        return next((one for one in self.keys if one.key_id == key_id), None)

    def is_same(self, other: "KeySet") -> bool:
        """Tell whether two sets verify the same tokens."""
        return set(map(identity, self.keys)) == set(map(identity, other.keys))


def identity(key: PublicKey) -> tuple[Any, ...]:
    """Return what tells two keys apart."""
    return key.key_id, key.algorithms, key.material


def import_key_set(document: Mapping[str, Any], algorithms: Collection[str]) -> KeySet:
    """Import the keys that can verify access tokens; one odd key does not cost the others.

    Left out are symmetric keys, keys for encryption, RSA keys under 2048 or over 8192 bits, unknown types and curves,
    and all keys that share one `kid`. Private members are not imported.

    Args:
        document: The JWK Set.
        algorithms: The algorithms that are allowed.

    Raises:
        ValueError: No key is usable.
    """
    listed = document.get("keys")
    found = list(usable(listed[:MAX_KEYS], frozenset(algorithms))) if isinstance(listed, list) else []
    names = Counter(one.key_id for one in found if one.key_id is not None)
    keys = tuple(one for one in found if one.key_id is None or names[one.key_id] == 1)
    if not keys:
        raise ValueError("no key of the set is usable")
    return KeySet(keys)


def usable(listed: list[Any], allowed: frozenset[str]) -> Iterator[PublicKey]:
    """Yield the keys of a list that can be used."""
    for item in listed:
        if isinstance(item, dict) and is_for_signatures(item):
            members = {name: item[name] for name in PUBLIC_MEMBERS if name in item}
            serves = algorithms_of(members) & named_algorithms(item) & allowed
            if serves and is_sound(members):
                key = read_key(members)
                if key is not None:
                    yield PublicKey(item.get("kid"), serves, tuple(map(members.get, PUBLIC_MEMBERS)), key)


def is_for_signatures(item: dict[str, Any]) -> bool:
    """Tell whether a key may verify signatures, and can be named (RFC 7517 section 4)."""
    operations = item.get("key_ops", ["verify"])
    named = "kid" not in item or is_key_id(item["kid"])
    return named and item.get("use", "sig") == "sig" and isinstance(operations, list) and "verify" in operations


def is_sound(members: dict[str, Any]) -> bool:
    """Tell whether members can be handed to the library, which reads numbers of any length."""
    return all(isinstance(value, str) and len(value) <= MAX_TEXT for value in members.values()) and (
        members["kty"] != "RSA" or len(members.get("n", "")) >= MIN_MODULUS
    )


def algorithms_of(members: dict[str, Any]) -> frozenset[str]:
    """Return the algorithms that a key of this type serves."""
    kind, curve = members.get("kty"), members.get("crv")
    if kind == "RSA":
        return RSA_ALGORITHMS
    if isinstance(kind, str) and isinstance(curve, str):
        return CURVE_ALGORITHMS.get((kind, curve), frozenset())
    return frozenset()


def named_algorithms(item: dict[str, Any]) -> frozenset[str]:
    """Return the algorithms that a key's own `alg` leaves."""
    if "alg" not in item:
        return frozenset(JWSRegistry.algorithms)
    name = item["alg"]
    if not isinstance(name, str):
        return frozenset()
    return EDWARDS if name in EDWARDS else frozenset({name})


def read_key(members: dict[str, Any]) -> RSAKey | ECKey | OKPKey | None:
    """Import a key; None where it is broken, too short or too long."""
    try:
        key = import_key(members)
        if isinstance(key, RSAKey):
            public = key.public_key
            is_right = public.key_size in RSA_BITS and public.public_numbers().e.bit_length() <= MAX_EXPONENT
            return key if is_right else None
    except SLIPS:
        return None
    return key if isinstance(key, ECKey | OKPKey) else None
