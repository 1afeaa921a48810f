"""A cache of the tokens that were verified lately."""

import time
from collections import OrderedDict
from collections.abc import Callable
from hashlib import sha256
from typing import Generic, TypeVar

_MAX_TOKENS = 4_096
MAX_AGE = 60.0  # seconds

T = TypeVar("T")


class TokenCache(Generic[T]):
    """A cache of values for tokens, such as principals. The key is the digest of the token, which itself is not kept.

    Args:
        size: The most that are kept; the one not used for longest goes first.
        max_age: Seconds for which one is kept, though its token be good for longer.
        clock: Seconds that never go back.
    """

    def __init__(
        self, *, size: int = _MAX_TOKENS, max_age: float = MAX_AGE, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.size = size
        self.max_age = max_age
        self.clock = clock
        self._kept: OrderedDict[bytes, tuple[float, T]] = OrderedDict()

    def get(self, token: str) -> T | None:
        """Return the value for a token, or None."""
        digest = sha256(token.encode()).digest()
        found = self._kept.get(digest)
        if found is None:
            return None
        if found[0] <= self.clock():
            del self._kept[digest]
            return None
        self._kept.move_to_end(digest)
        return found[1]

    def keep(self, token: str, known: T, *, seconds: float) -> None:
        """Keep what is known of a token.

        Args:
            token: The token.
            known: The value, such as its principal.
            seconds: How long it is still good.
        """
        age = min(seconds, self.max_age)
        if age <= 0:
            return
        digest = sha256(token.encode()).digest()
        self._kept[digest] = (self.clock() + age, known)
        self._kept.move_to_end(digest)
        while len(self._kept) > self.size:
            self._kept.popitem(last=False)

    def drop(self, token: str) -> None:
        """Forget a token."""
        self._kept.pop(sha256(token.encode()).digest(), None)

    def clear(self) -> None:
        """Forget all."""
        self._kept.clear()

    def __len__(self) -> int:
        return len(self._kept)
