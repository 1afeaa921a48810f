"""The verifier of access tokens that their issuers signed (RFC 9068, RFC 8725)."""

import asyncio
import functools
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ligand_async.auth.errors import InvalidToken
from ligand_async.auth.tokens.claims import ClaimProfile, check_claims, principal_of
from ligand_async.auth.tokens.compact import MAX_TOKEN, CompactToken, read_compact
from ligand_async.auth.tokens.issuer_http import Fetcher
from ligand_async.auth.tokens.keys import DEFAULT_PACE, IssuerKeys, KeySet, KeySource, Pace
from ligand_async.auth.tokens.token_cache import TokenCache
from ligand_async.principal import Principal
from ligand_async.settings import DEFAULT_ALGORITHMS, metadata_path_of


@dataclass(frozen=True, slots=True)
class TrustedIssuer:
    """An issuer whose access tokens are accepted.

    Attributes:
        issuer: The exact value of `iss`.
        audience: The names of this service in `aud`.
        profile: The profile of its tokens.
        algorithms: The signature algorithms that are allowed; all of them asymmetric.
        token_types: The allowed values of `typ`, instead of the profile's.
        leeway: Seconds by which its clock may differ.
        jwks_uri: The address of its keys, instead of the one in its metadata.
        private_url: The address at which this service reaches it, if that is not its identifier.
        client_subject: Whether a token without `sub` is accepted, with its client as the subject.
        takes_bound: Whether a token bound to a key (`cnf`) is accepted, because a proxy checks who holds the key.
    """

    issuer: str
    audience: tuple[str, ...]
    profile: ClaimProfile
    algorithms: tuple[str, ...] = DEFAULT_ALGORITHMS
    token_types: tuple[str | None, ...] | None = None
    leeway: float = 30.0
    jwks_uri: str | None = None
    private_url: str | None = None
    client_subject: bool = False
    takes_bound: bool = False

    def __post_init__(self) -> None:
        for url in filter(None, (self.issuer, self.private_url)):
            if surplus := metadata_path_of(url):
                raise ValueError(f"an issuer is not the address of its metadata; leave out {surplus}")
        if isinstance(self.audience, str):
            raise TypeError("audience must be a tuple of names, not a string")
        if any(name == "none" or name.startswith("HS") for name in self.algorithms):
            raise ValueError(
                "algorithms must be asymmetric: with a symmetric one, every verifier of a token can also make one"
            )


class JWKSVerifier:
    """Verifies signed access tokens with the keys that their issuers publish.

    It is a `TokenVerifier`, and a `HealthCheck` that passes once an issuer's keys are known.

    Args:
        issuers: The trusted issuers.
        fetcher: Sends the requests; it is closed with the verifier.
        pace: How often the issuers are asked.
        clock: The time of day, in seconds since 1970.
        monotonic: Seconds that never go back.

    Attributes:
        on_rotation: Each is called when an issuer has other keys than before, with the issuer and the keys.
    """

    name = "token_keys"

    def __init__(
        self,
        issuers: Sequence[TrustedIssuer],
        *,
        fetcher: Fetcher,
        pace: Pace = DEFAULT_PACE,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.fetcher = fetcher
        self.clock = clock
        self.cache: TokenCache[Principal] = TokenCache(clock=monotonic)
        self._issuers = {one.issuer: one for one in issuers}
        self._algorithms = frozenset(name for one in issuers for name in one.algorithms)
        self._keys = {
            one.issuer: IssuerKeys(
                one.issuer,
                _key_source(one, fetcher, monotonic),
                on_change=functools.partial(self.see_new_keys, one.issuer),
                pace=pace,
                clock=monotonic,
            )
            for one in issuers
        }
        self._discovery: asyncio.Task[None] | None = None
        self.on_rotation: list[Callable[[str, KeySet], None]] = []

    async def verify(self, token: str) -> Principal:
        """Return the principal of a token.

        Raises:
            InvalidToken: The token is not valid.
            ServiceUnavailable: Its issuer's keys are not known, and the issuer does not answer.
        """
        if len(token) > MAX_TOKEN or not token.isascii():
            raise InvalidToken("shape")
        return self.cache.get(token) or await self.verify_anew(token)

    async def verify_anew(self, token: str) -> Principal:
        """Verify a token that is not in the cache; the cheap checks come first."""
        compact = read_compact(token, self._algorithms)
        issuer = self.issuer_of(compact)
        check_claims(
            compact.claims,
            issuer.profile,
            issuer=issuer.issuer,
            audience=issuer.audience,
            now=self.clock(),
            leeway=issuer.leeway,
            takes_bound=issuer.takes_bound,
        )
        principal = principal_of(
            compact.claims, issuer.profile, issuer=issuer.issuer, client_subject=issuer.client_subject
        )
        key = await self._keys[issuer.issuer].find(compact.key_id)
        # Nothing below may await, or a change of keys could be missed.
        if key is None or compact.algorithm not in key.algorithms:
            raise InvalidToken("unknown_key")
        if not key.verifies(compact):
            raise InvalidToken("signature")
        self.cache.keep(token, principal, seconds=compact.claims["exp"] - self.clock())
        return principal

    def see_new_keys(self, issuer: str, before: KeySet, found: KeySet) -> None:
        """Clear the cache, and call `on_rotation` unless these are the first keys."""
        self.cache.clear()
        if before.keys:
            for receiver in self.on_rotation:
                receiver(issuer, found)

    def issuer_of(self, compact: CompactToken) -> TrustedIssuer:
        """Return the trusted issuer that a token names.

        Raises:
            InvalidToken: The issuer is not trusted, or its tokens have another algorithm or type.
        """
        name = compact.claims.get("iss")
        issuer = self._issuers.get(name) if isinstance(name, str) else None
        if issuer is None:
            raise InvalidToken("issuer")
        if compact.algorithm not in issuer.algorithms:
            raise InvalidToken("algorithm")
        if compact.type not in (issuer.token_types or issuer.profile.token_types):
            raise InvalidToken("type")
        return issuer

    async def start(self) -> None:
        """Begin to fetch keys without waiting: the service also starts if an issuer does not answer."""
        self._discovery = asyncio.create_task(self.find_keys(), name="discovery of issuers")

    async def find_keys(self) -> None:
        """Fetch keys until those of every issuer are known."""
        await asyncio.gather(*(keys.find_first() for keys in self._keys.values()))

    async def stop(self) -> None:
        """Cancel the background tasks, and close the fetcher."""
        if self._discovery is not None:
            self._discovery.cancel()
            await asyncio.gather(self._discovery, return_exceptions=True)
        for keys in self._keys.values():
            await keys.stop()
        await self.fetcher.close()

    async def check(self) -> None:
        """Pass if tokens of at least one issuer can be verified.

        Raises:
            RuntimeError: No issuer's keys are known.
        """
        if not any(keys.are_known for keys in self._keys.values()):
            raise RuntimeError("no issuer's keys are known")


def _key_source(issuer: TrustedIssuer, fetcher: Fetcher, clock: Callable[[], float]) -> KeySource:
    return KeySource(
        issuer.issuer,
        private_url=issuer.private_url,
        jwks_uri=issuer.jwks_uri,
        algorithms=issuer.algorithms,
        fetcher=fetcher,
        clock=clock,
    )
