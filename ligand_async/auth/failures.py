"""Counting failed attempts to authenticate, and refusals, so that neither secrets nor rights can be tried out at will.

Wrong keys, passwords and opaque tokens are counted by network, before the hook or the issuer is asked: also a thousand
at once get no further than the quota. Credentials that were right a while ago are let through, so that callers are not
locked out by the failures of others in their network. Signed tokens are verified here and cannot be guessed; they are
not counted. Refusals (403) are counted by principal.
"""

import math
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import blake2b
from ipaddress import IPv6Address, ip_address, ip_network
from secrets import token_bytes

from quart import current_app, has_request_context, has_websocket_context, request, websocket

from ligand_async.context import request_state, state_of
from ligand_async.errors import TooManyRequests
from ligand_async.principal import Principal
from ligand_async.settings import Quota

_MAX_KEYS = 100_000
_MAX_KNOWN = 10_000
_KNOWN_SECONDS = 3600.0
_IPV6_PREFIX = 64  # bits; one customer has at least so many addresses
_IPV4_PREFIX = 24  # of one owner as a rule, who may change the last byte at will


def network_of(address: str, *, ipv4_prefix: int = _IPV4_PREFIX) -> str:
    """Return the network of an address, as one caller may have all of its addresses; of IPv6 it is the /64.

    Args:
        address: The address; what is none, such as the path of a socket, is returned as it is.
        ipv4_prefix: The bits that name the network of an IPv4 address; 32 for the address itself.
    """
    try:
        parsed = ip_address(address)
    except ValueError:
        return address
    mapped = parsed.ipv4_mapped if isinstance(parsed, IPv6Address) else parsed
    if mapped is None:
        return str(ip_network((parsed, _IPV6_PREFIX), strict=False))
    return str(mapped) if ipv4_prefix == 32 else str(ip_network((mapped, ipv4_prefix), strict=False))


class Windows:
    """Counts by key, in windows that begin with the first one; at most `_MAX_KEYS`, the newest."""

    def __init__(self, quotas: tuple[Quota, ...], clock: Callable[[], float]) -> None:
        self.quotas = quotas
        self.clock = clock
        self.counts: OrderedDict[tuple[str, int], tuple[int, float]] = OrderedDict()

    def full_for(self, key: str) -> float | None:
        """Return the seconds for which a quota of the key is used up, or None if none is."""
        now, longest = self.clock(), None
        for quota in self.quotas:
            count, end = self.counts.get((key, quota.seconds), (0, 0.0))
            if count >= quota.amount and end > now:
                longest = max(longest or 0.0, end - now)
        return longest

    def add(self, key: str, number: int) -> None:
        """Count one more, or take one back: only from the window that it was counted in."""
        now = self.clock()
        for quota in self.quotas:
            place = (key, quota.seconds)
            count, end = self.counts.get(place, (0, 0.0))
            if end <= now:
                count, end = 0, now + quota.seconds
            if count + number > 0:
                self.counts[place] = (count + number, end)
            else:
                self.counts.pop(place, None)
        while len(self.counts) > _MAX_KEYS:
            self.counts.popitem(last=False)


@dataclass(slots=True)
class Attempt:
    """An attempt that is counted until it succeeds.

    Attributes:
        network: Where it comes from.
        digest: Of its credentials, with a key of this process.
        is_counted: Whether it stands in the count of the network.
    """

    network: str
    digest: bytes
    is_counted: bool


class FailureLimits:
    """The failures of one app.

    Args:
        failures: The failed attempts that a network has; empty for any number.
        refusals: The requests that a principal may make in vain, because it may not call the route.
        clock: Seconds that never go back.
    """

    def __init__(
        self,
        failures: tuple[Quota, ...],
        refusals: tuple[Quota, ...],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.clock = clock
        self._failures = Windows(failures, clock)
        self._refusals = Windows(refusals, clock)
        self._known: OrderedDict[bytes, float] = OrderedDict()
        self._key = token_bytes(32)

    def begin(self, network: str, credentials: str) -> Attempt:
        """Count an attempt, before anybody is asked about its credentials.

        Raises:
            TooManyRequests: The network has used up its quota, and these credentials were not right lately.
        """
        digest = blake2b(credentials.encode(errors="surrogatepass"), key=self._key, digest_size=16).digest()
        is_known = self._known.get(digest, 0.0) > self.clock()
        if not is_known:
            seconds = self._failures.full_for(network)
            if seconds is not None:
                raise _too_many("too many failed attempts from this network; wait a while", seconds)
            self._failures.add(network, 1)
        return Attempt(network, digest, is_counted=not is_known)

    def end(self, attempt: Attempt, *, succeeded: bool | None) -> None:
        """End an attempt.

        Args:
            attempt: What `begin` returned.
            succeeded: Whether the credentials were right; None if nobody could say, which is not counted.
        """
        if succeeded is False:
            self._known.pop(attempt.digest, None)
            if not attempt.is_counted:
                self._failures.add(attempt.network, 1)
            return
        if attempt.is_counted:
            self._failures.add(attempt.network, -1)
        if succeeded:
            self._known[attempt.digest] = self.clock() + _KNOWN_SECONDS
            self._known.move_to_end(attempt.digest)
            while len(self._known) > _MAX_KNOWN:
                self._known.popitem(last=False)

    def count_refusal(self, principal: Principal) -> TooManyRequests | None:
        """Count a refusal, and return the problem to answer instead of it if there were too many."""
        key = f"{principal.issuer} {principal.subject}"
        seconds = self._refusals.full_for(key)
        if seconds is not None:
            return _too_many("too many requests that this caller may not make; wait a while", seconds)
        self._refusals.add(key, 1)
        return None


def _too_many(detail: str, seconds: float) -> TooManyRequests:
    return TooManyRequests(detail, headers={"Retry-After": str(max(1, math.ceil(seconds)))})


def count_attempt(credentials: str) -> None:
    """Count an attempt to authenticate the current request, before its credentials are looked up or sent anywhere.

    The authenticators of the framework call it. One of your own should, if it asks a hook, a database or another
    service. The attempt is taken back if the credentials are right. Outside a request, and in an app that was not made
    by `create_app`, nothing is counted.

    Args:
        credentials: All that must be right, such as `f"{name}:{password}"`. Only a keyed digest is kept.

    Raises:
        TooManyRequests: The caller's network has used up the quota of `failed_attempts`.
    """
    if has_request_context():
        address = request.remote_addr
    elif has_websocket_context():
        address = websocket.remote_addr
    else:
        return
    limits, state = state_of(current_app).find(FailureLimits), request_state()
    if limits is None:
        return
    if state.attempt is not None:  # another authenticator has found other credentials, and let them pass
        limits.end(state.attempt, succeeded=None)
    state.attempt = limits.begin(network_of(address or ""), credentials)
