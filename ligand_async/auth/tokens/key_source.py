"""Where the keys of one issuer come from."""

import time
from collections.abc import Callable, Collection

from ligand_async.auth.tokens.fetcher import Fetcher, FetchError
from ligand_async.auth.tokens.key_set import KeySet, import_key_set
from ligand_async.auth.tokens.metadata import discover

METADATA_LIFETIME = 3600.0  # seconds


class KeySource:
    """Where one issuer's keys come from; where they are is asked for once an hour, and again after a failure.

    Args:
        issuer: The issuer.
        jwks_uri: Where they are, if its metadata need not say.
        algorithms: The algorithms that are allowed.
        fetcher: What asks it.
        clock: Seconds that never go back.
    """

    def __init__(
        self,
        issuer: str,
        *,
        fetcher: Fetcher,
        algorithms: Collection[str],
        jwks_uri: str | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.issuer = issuer
        self.jwks_uri = jwks_uri
        self.algorithms = algorithms
        self.fetcher = fetcher
        self.clock = clock
        self._told: str | None = None
        self._told_at = 0.0

    async def __call__(self) -> KeySet:
        """Fetch the keys.

        Raises:
            FetchError: The issuer does not answer, or its metadata names no keys.
            ValueError: None of its keys is usable.
        """
        where = await self.locate()
        self._told = None  # until they are there
        found = import_key_set(await self.fetcher.get_json(where), self.algorithms)
        self._told = where
        return found

    async def locate(self) -> str:
        """Return where the keys are.

        Raises:
            FetchError: The issuer does not answer, or does not say.
        """
        if self.jwks_uri is not None:
            return self.jwks_uri
        if self._told is None or self.clock() - self._told_at > METADATA_LIFETIME:
            self._told = (await discover(self.fetcher, self.issuer)).jwks_uri
            self._told_at = self.clock()
        if self._told is None:
            raise FetchError(f"the metadata of {self.issuer} has no jwks_uri")
        return self._told
