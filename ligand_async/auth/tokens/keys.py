"""The public keys of an issuer (RFC 7517): found, imported, renewed, and kept through an outage."""

import asyncio
import logging
import math
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from joserfc.errors import JoseError
from joserfc.jwk import ECKey, OKPKey, RSAKey, import_key
from joserfc.jws import JWSRegistry

from ligand_async.auth.tokens.compact import CompactToken, is_key_id
from ligand_async.auth.tokens.issuer_http import Fetcher, FetchError, discover
from ligand_async.errors import ServiceUnavailable
from ligand_async.tasks import Cooldown, SingleFlight

logger = logging.getLogger(__name__)

MAX_KEYS = 100
_RSA_BITS = range(2048, 8192 + 1)
_MAX_TEXT = 1400  # characters: a modulus of 8192 bits has 1366
_MIN_MODULUS = 342  # one of 2048 bits
_MAX_EXPONENT = 64  # bits: a larger one only makes verification slow

_RSA_ALGORITHMS = frozenset({"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"})
_CURVE_ALGORITHMS = {
    ("EC", "P-256"): frozenset({"ES256"}),
    ("EC", "P-384"): frozenset({"ES384"}),
    ("EC", "P-521"): frozenset({"ES512"}),
    ("OKP", "Ed25519"): frozenset({"EdDSA", "Ed25519"}),
    ("OKP", "Ed448"): frozenset({"EdDSA", "Ed448"}),
}
_EDWARDS = frozenset({"EdDSA", "Ed25519", "Ed448"})  # one signature, two names (RFC 9864)
_PUBLIC_MEMBERS = ("kty", "n", "e", "crv", "x", "y")
# Hostile input may raise these inside the libraries, besides their own errors.
_SLIPS = (JoseError, ValueError, TypeError, OverflowError, AttributeError, KeyError, RecursionError)


@dataclass(frozen=True, slots=True)
class PublicKey:
    """A key that verifies signatures.

    Attributes:
        key_id: Its `kid`, if it has one.
        algorithms: The values of `alg` that it can verify.
        material: Its public members, by which two keys are compared.
        key: The key itself.
    """

    key_id: str | None
    algorithms: frozenset[str]
    material: tuple[str | None, ...]
    key: RSAKey | ECKey | OKPKey

    def verifies(self, token: CompactToken) -> bool:
        """Return whether this key signed a token."""
        model = JWSRegistry.algorithms[token.algorithm]
        try:
            model.check_key(self.key)
            return model.verify(token.signed, token.signature, self.key)
        except _SLIPS:
            return False


@dataclass(frozen=True, slots=True)
class KeySet:
    """The usable keys of an issuer."""

    keys: tuple[PublicKey, ...] = ()

    def find(self, key_id: str | None) -> PublicKey | None:
        """Return the key with an identifier; without an identifier the key of a set that has only one."""
        if key_id is None:
            return self.keys[0] if len(self.keys) == 1 else None
        return next((one for one in self.keys if one.key_id == key_id), None)

    def is_same(self, other: "KeySet") -> bool:
        """Return whether two sets verify the same tokens."""
        return set(map(_identity, self.keys)) == set(map(_identity, other.keys))


def _identity(key: PublicKey) -> tuple[Any, ...]:
    return key.key_id, key.algorithms, key.material


def import_key_set(document: Mapping[str, Any], algorithms: Collection[str]) -> KeySet:
    """Import the keys that can verify access tokens; an invalid key does not affect the others.

    Left out are symmetric keys, keys for encryption, RSA keys under 2048 or over 8192 bits, unknown types and curves,
    and all keys that share one `kid`. Private members are not imported.

    Args:
        document: The JWK Set.
        algorithms: The algorithms that are allowed.

    Raises:
        ValueError: No key of the set is usable.
    """
    listed = document.get("keys")
    found = list(_usable(listed[:MAX_KEYS], frozenset(algorithms))) if isinstance(listed, list) else []
    names = Counter(one.key_id for one in found if one.key_id is not None)
    keys = tuple(one for one in found if one.key_id is None or names[one.key_id] == 1)
    if not keys:
        raise ValueError("no key of the set is usable")
    return KeySet(keys)


def _usable(listed: list[Any], allowed: frozenset[str]) -> Iterator[PublicKey]:
    for item in listed:
        if isinstance(item, dict) and _is_for_signatures(item):
            members = {name: item[name] for name in _PUBLIC_MEMBERS if name in item}
            serves = _algorithms_of(members) & _named_algorithms(item) & allowed
            if serves and _is_sound(members):
                key = _read_key(members)
                if key is not None:
                    yield PublicKey(item.get("kid"), serves, tuple(map(members.get, _PUBLIC_MEMBERS)), key)


def _is_for_signatures(item: dict[str, Any]) -> bool:
    """Return whether a key may verify signatures, and has a valid `kid` or none (RFC 7517 section 4)."""
    operations = item.get("key_ops", ["verify"])
    named = "kid" not in item or is_key_id(item["kid"])
    return named and item.get("use", "sig") == "sig" and isinstance(operations, list) and "verify" in operations


def _is_sound(members: dict[str, Any]) -> bool:
    """Return whether members can be passed to the library, which reads numbers of any length."""
    return all(isinstance(value, str) and len(value) <= _MAX_TEXT for value in members.values()) and (
        members["kty"] != "RSA" or len(members.get("n", "")) >= _MIN_MODULUS
    )


def _algorithms_of(members: dict[str, Any]) -> frozenset[str]:
    """Return the algorithms of a key of this type."""
    kind, curve = members.get("kty"), members.get("crv")
    if kind == "RSA":
        return _RSA_ALGORITHMS
    if isinstance(kind, str) and isinstance(curve, str):
        return _CURVE_ALGORITHMS.get((kind, curve), frozenset())
    return frozenset()


def _named_algorithms(item: dict[str, Any]) -> frozenset[str]:
    """Return the algorithms that a key's own `alg` allows."""
    if "alg" not in item:
        return frozenset(JWSRegistry.algorithms)
    name = item["alg"]
    if not isinstance(name, str):
        return frozenset()
    return _EDWARDS if name in _EDWARDS else frozenset({name})


def _read_key(members: dict[str, Any]) -> RSAKey | ECKey | OKPKey | None:
    """Import a key, or return None if it is broken, too short or too long."""
    try:
        key = import_key(members)
        if isinstance(key, RSAKey):
            public = key.public_key
            is_right = public.key_size in _RSA_BITS and public.public_numbers().e.bit_length() <= _MAX_EXPONENT
            return key if is_right else None
    except _SLIPS:
        return None
    return key if isinstance(key, ECKey | OKPKey) else None


@dataclass(frozen=True, slots=True)
class Pace:
    """How often an issuer is asked for its keys, in seconds.

    Attributes:
        lifetime: The age at which keys are renewed before they are used. At half of it they are renewed in the
            background, so that a service that is used does not wait.
        patience: The time that this waits for the issuer; then the old keys are used until the fetch has ended.
        longest: The age at which keys are no longer used, even if the issuer does not answer.
        cooldown: The least time between two fetches.
        first_retry: The same after a failure while no keys are known; it doubles up to `cooldown`.
    """

    lifetime: float = 600.0
    patience: float = 1.0
    longest: float = 24 * 3600.0
    cooldown: float = 30.0
    first_retry: float = 1.0


DEFAULT_PACE = Pace()


class IssuerKeys:
    """The keys of one issuer.

    Args:
        issuer: The issuer, for the log.
        load: Fetches them; any exception is a failed fetch.
        on_change: Called with the old and the new keys, if they are not the same.
        pace: How often the issuer is asked.
        clock: Seconds that never go back.
    """

    def __init__(
        self,
        issuer: str,
        load: Callable[[], Awaitable[KeySet]],
        *,
        on_change: Callable[[KeySet, KeySet], None],
        pace: Pace = DEFAULT_PACE,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.issuer = issuer
        self.load = load
        self.on_change = on_change
        self.pace = pace
        self.clock = clock
        self._keys = KeySet()
        self._found_at = -math.inf
        self._cooldown = Cooldown(clock=clock)
        self._failures = 0
        self._flight: SingleFlight[None] = SingleFlight()

    @property
    def are_known(self) -> bool:
        """Whether there are keys that can be used."""
        return self.clock() - self._found_at <= self.pace.longest

    async def find(self, key_id: str | None) -> PublicKey | None:
        """Return the key with an identifier, or None if the issuer has no such key.

        Raises:
            ServiceUnavailable: No keys are known, and the issuer does not answer.
        """
        if not self.are_known:
            await self.refresh()
            if not self.are_known:
                raise ServiceUnavailable(
                    "the keys of the token's issuer are not available yet",
                    headers={"Retry-After": str(max(1, math.ceil(self._cooldown.seconds_left)))},
                )
        elif (age := self.clock() - self._found_at) > self.pace.lifetime / 2:
            fetch = self.begin()
            if fetch is not None and age > self.pace.lifetime:
                await asyncio.wait({fetch}, timeout=self.pace.patience)
        key = self._keys.find(key_id)
        if key is None:
            await self.refresh()
            key = self._keys.find(key_id)
        return key

    async def refresh(self) -> None:
        """Wait for the fetch under way, or for a new one unless the last one was a moment ago."""
        fetch = self.begin()
        if fetch is not None:
            # One request that is cancelled must not cancel what others wait for.
            await asyncio.shield(fetch)

    def begin(self) -> asyncio.Task[None] | None:
        """Return the fetch under way, begin one, or return None during the cool-down."""
        is_under_way = bool(self._flight.tasks)
        if not is_under_way and self._cooldown.seconds_left:
            return None
        if not is_under_way:
            self._cooldown.begin(self.pace.cooldown)
        return self._flight.begin(None, self.fetch)

    async def fetch(self) -> None:
        """Fetch the keys once; a failure leaves the known keys as they are."""
        try:
            found = await self.load()
        except Exception as error:  # noqa: BLE001  (any failure means that the keys are not renewed)
            self._failures += 1
            pause = self.pace.cooldown
            if not self.are_known:
                pause = min(pause, self.pace.first_retry * 2 ** min(self._failures - 1, 10))
            self._cooldown.begin(pause)
            logger.warning("the keys of %s were not fetched: %s", self.issuer, error)
            return
        before = self._keys
        self._keys, self._found_at, self._failures = found, self.clock(), 0
        if not found.is_same(before):
            logger.info("the keys of %s: %s", self.issuer, ", ".join(str(one.key_id) for one in found.keys))
            self.on_change(before, found)

    async def find_first(self) -> None:
        """Ask until keys are known."""
        while not self.are_known:
            await self.refresh()
            if not self.are_known:
                await asyncio.sleep(max(self._cooldown.seconds_left, 0.01))

    async def stop(self) -> None:
        """End a fetch under way."""
        await self._flight.stop()


_METADATA_LIFETIME = 3600.0  # seconds


class KeySource:
    """Fetches the keys of one issuer. Their address is looked up once an hour, and again after a failure.

    Args:
        issuer: The issuer.
        jwks_uri: The address, instead of the one in the issuer's metadata.
        private_url: The address at which this service reaches the issuer, if that is not its identifier.
        algorithms: The algorithms that are allowed.
        fetcher: Sends the requests.
        clock: Seconds that never go back.
    """

    def __init__(
        self,
        issuer: str,
        *,
        fetcher: Fetcher,
        algorithms: Collection[str],
        jwks_uri: str | None = None,
        private_url: str | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.issuer = issuer
        self.private_url = private_url
        self.jwks_uri = jwks_uri
        self.algorithms = algorithms
        self.fetcher = fetcher
        self.clock = clock
        self._location: str | None = None
        self._located_at = 0.0

    async def __call__(self) -> KeySet:
        """Fetch the keys.

        Raises:
            FetchError: The issuer does not answer, or its metadata has no `jwks_uri`.
            ValueError: None of its keys is usable.
        """
        where = await self.locate()
        self._location = None  # until the keys have been read from there
        found = import_key_set(await self.fetcher.get_json(where), self.algorithms)
        self._location = where
        return found

    async def locate(self) -> str:
        """Return the address of the keys.

        Raises:
            FetchError: The issuer does not answer, or its metadata has no `jwks_uri`.
        """
        if self.jwks_uri is not None:
            return self.jwks_uri
        if self._location is None or self.clock() - self._located_at > _METADATA_LIFETIME:
            self._location = (await discover(self.fetcher, self.issuer, self.private_url)).jwks_uri
            self._located_at = self.clock()
        if self._location is None:
            raise FetchError(f"the metadata of {self.issuer} has no jwks_uri")
        return self._location
