"""Rate limits: the quotas of a route, their counters, and the headers of responses. The decorator is in marks.py."""

import asyncio
import hashlib
import logging
import math
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Protocol

from quart import Quart, Response, after_this_request, g, has_request_context, request, websocket
from quart.ctx import after_this_websocket
from quart.wrappers.base import BaseRequestWebsocket

from ligand_async.auth import network_of
from ligand_async.context import current_principal, service_of, state_of
from ligand_async.errors import Problem, TooManyRequests
from ligand_async.marks import LimitMark, failures_mark, limit_mark, owners_of
from ligand_async.settings import Mistake, Quota, Settings, SettingsError, read_quotas
from ligand_async.tasks import Cooldown
from ligand_async.web.dispatch import hook_where
from ligand_async.web.endpoint import Endpoint, Feature, add_headers

logger = logging.getLogger(__name__)

MAX_KEYS = 100_000
_STORAGE_TIMEOUT = 0.25  # seconds, for one request
_COOL_DOWN = 5.0  # seconds that a storage is left alone after it failed


class _Counters(Protocol):
    """Counts by key, each in a window that begins with its first request."""

    async def hit(self, key: str, seconds: int, *, amount: int = 1) -> tuple[int, float] | None:
        """Count one request.

        Args:
            key: The name of the counter.
            seconds: The length of the window.
            amount: -1 to take one back.

        Returns:
            The requests in the window, and the seconds until it ends; None if the storage does not answer.
        """

    async def close(self) -> None:
        """Close connections."""


class MemoryCounters:
    """Counters of one process.

    The memory storage of limits 5.8 checks every key on every request: 0.6 ms with 10,000 callers. This one checks two,
    in turn, whenever a new key comes. It holds `MAX_KEYS` at most; then it drops the key that it checked longest ago.

    Args:
        clock: A monotonic clock, in seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self.windows: OrderedDict[str, tuple[int, float]] = OrderedDict()

    async def hit(self, key: str, seconds: int, *, amount: int = 1) -> tuple[int, float]:
        """Count one request, or take one back."""
        now = self.clock()
        count, end = self.windows.get(key, (0, 0.0))
        if count == 0:
            self.make_room(now)
        if count == 0 or end <= now:
            count, end = 0, now + seconds
        count = max(count + amount, 0)
        self.windows[key] = (count, end)
        return count, min(end - now, float(seconds))

    def make_room(self, now: float) -> None:
        """Drop windows that are over."""
        for key in [key for key, _ in zip(self.windows, range(2), strict=False)]:
            if self.windows[key][1] <= now:
                del self.windows[key]
            else:
                self.windows.move_to_end(key)
        if len(self.windows) >= MAX_KEYS:
            self.windows.popitem(last=False)

    async def close(self) -> None:
        """Do nothing: there are no connections."""


class SharedCounters:
    """Counters in Redis, by the library limits.

    When Redis fails, requests pass without being counted: it is worse not to answer than not to count. The failure is
    logged, and Redis is left alone for `_COOL_DOWN` seconds.

    Args:
        url: `redis://…` or `rediss://…`.

    Raises:
        ImportError: The extra `ratelimit` is not installed.
    """

    def __init__(self, url: str) -> None:
        from limits.aio.storage import RedisStorage
        from redis.asyncio import ConnectionPool

        self.pool = ConnectionPool.from_url(url)
        options: dict[str, Any] = {"connection_pool": self.pool}  # which its annotations leave out
        self.storage = RedisStorage(url, implementation="redispy", **options)
        self.cooldown = Cooldown()

    async def hit(self, key: str, seconds: int, *, amount: int = 1) -> tuple[int, float] | None:
        """Count one request, or take one back."""
        if self.cooldown.seconds_left:
            return None
        try:
            async with asyncio.timeout(_STORAGE_TIMEOUT):
                count = await self.storage.incr(key, seconds, amount)
                end = await self.storage.get_expiry(key)
        except Exception as error:  # noqa: BLE001  (requests pass, whatever the failure)
            if not self.cooldown.seconds_left:  # only one of the requests that waited logs it
                logger.warning("rate limits: requests are not counted, the storage failed: %s", type(error).__name__)
            self.cooldown.begin(_COOL_DOWN)
            return None
        return count, min(max(end - time.time(), 0.0), float(seconds))

    async def close(self) -> None:
        """Close the connections."""
        try:
            async with asyncio.timeout(_STORAGE_TIMEOUT):
                await self.pool.aclose()
        except Exception as error:  # noqa: BLE001  (the service stops anyway)
            logger.warning("rate limits: the storage was not closed: %s", type(error).__name__)


_STATE = "_ligand_rate_limit"


class _RateLimits:
    """The quotas of one app, and their counters.

    Args:
        app: The app.
        default: The quotas of routes without a `limit`.
        counters: The counters.
        namespace: The prefix of its keys, for services that share a storage.
    """

    def __init__(self, app: Quart, default: tuple[Quota, ...], counters: _Counters, namespace: str) -> None:
        self.app = app
        self.default = default
        self.counters = counters
        self.namespace = namespace
        self.decided: dict[tuple[str, str], tuple[str, tuple[Quota, ...]]] = {}
        self.failing: dict[tuple[str, str], tuple[str, tuple[Quota, ...]]] = {}

    async def check_request(self) -> None:
        """Count the current request.

        Raises:
            TooManyRequests: The caller has used up its quota.
        """
        # Routing errors and the OPTIONS that Quart answers itself are not counted.
        rule = request.url_rule
        if request.routing_exception is None and not (
            request.method == "OPTIONS" and rule is not None and rule.provide_automatic_options
        ):
            endpoint, method = request.endpoint or "", request.method
            await self.count(endpoint, method, request)
            failing = self.failing.get((endpoint, method))
            if failing is not None:
                await self.count_failure(*failing)

    async def check_websocket(self) -> None:
        """Count the current websocket's handshake.

        Raises:
            TooManyRequests: The caller has used up its quota.
        """
        if websocket.routing_exception is None:
            endpoint = websocket.endpoint or ""
            await self.count(endpoint, "GET", websocket)
            failing = self.failing.get((endpoint, "GET"))
            if failing is not None:
                await self.count_failure(*failing)

    async def count(self, endpoint: str, method: str, connection: BaseRequestWebsocket) -> None:
        """Count the request for every quota, the shortest window first, until one is used up."""
        name, quotas = self.decide(endpoint, method)
        if not quotas:
            return
        caller = _caller_of(connection)
        counts: list[tuple[str, Quota, int, int]] = []
        setattr(g, _STATE, counts)
        for quota in quotas:
            found = await self.counters.hit(f"{self.namespace}:{name}:{quota.seconds}:{caller}", quota.seconds)
            if found is None:
                continue
            used, reset = found[0], math.ceil(found[1])
            counts.append((f"{name}-{quota.seconds}", quota, max(quota.amount - used, 0), reset))
            if used > quota.amount:
                raise TooManyRequests("too many requests; wait a while", headers={"Retry-After": str(max(reset, 1))})

    async def count_failure(self, name: str, quotas: tuple[Quota, ...]) -> None:
        """Count the request as a failure, until its response shows that it is none."""
        connection = request if has_request_context() else websocket
        network = _digest(network_of(connection.remote_addr or ""))
        counted: list[tuple[str, int]] = []

        async def take_back() -> None:
            for place in counted:
                await self.counters.hit(*place, amount=-1)

        async def judge(response: Any) -> Any:
            if response is None or not 400 <= response.status_code < 500:  # None: of a websocket that was accepted
                await take_back()
            return response

        for quota in quotas:
            place = (f"{self.namespace}:failures of {name}:{quota.seconds}:{network}", quota.seconds)
            found = await self.counters.hit(*place)
            if found is None:
                continue
            counted.append(place)
            if found[0] > quota.amount:
                await take_back()  # what is not tried is no failure either
                raise TooManyRequests(
                    "too many failed attempts from this network; wait a while",
                    headers={"Retry-After": str(max(math.ceil(found[1]), 1))},
                )
        (after_this_request if connection is request else after_this_websocket)(judge)

    def limits(self, endpoint: str, method: str) -> bool:
        """Return whether requests to a route are counted."""
        return bool(self.decide(endpoint, method)[1]) or (endpoint, method) in self.failing

    def decide(self, endpoint: str, method: str) -> tuple[str, tuple[Quota, ...]]:
        """Return the quotas of a route and their name; cached, because routes do not change once the app serves."""
        key = (endpoint, method)
        if key not in self.decided:
            candidates = ((name, limit_mark(owner)) for name, owner in owners_of(self.app, endpoint, method))
            found = next(((name, mark) for name, mark in candidates if mark is not None), None)
            name, mark = found or ("default", LimitMark(self.default))
            self.decided[key] = (self._first_name_of(name), mark.quotas)
            failures = ((name, failures_mark(owner)) for name, owner in owners_of(self.app, endpoint, method))
            self.failing.update(
                (key, (self._first_name_of(name), mark.quotas)) for name, mark in [*failures][::-1] if mark is not None
            )
        return self.decided[key]

    def _first_name_of(self, name: str) -> str:
        """Return the name under the first registration of its blueprint: a limit counts once for all of them."""
        steps = name.split(".")
        for depth in range(len(steps), 0, -1):
            blueprint = self.app.blueprints.get(".".join(steps[:depth]))
            if blueprint is not None:
                first = next(path for path, one in self.app.blueprints.items() if one is blueprint)
                return ".".join([first, *steps[depth:]])
        return name

    async def add_headers(self, response: Response) -> Response:
        """Add the headers of the quotas, to a 429 too (draft-ietf-httpapi-ratelimit-headers-10)."""
        counts: list[tuple[str, Quota, int, int]] = g.get(_STATE, [])
        if counts:
            response.headers["RateLimit-Policy"] = ", ".join(
                f'"{name}";q={quota.amount};w={quota.seconds}' for name, quota, _, _ in counts
            )
            response.headers["RateLimit"] = ", ".join(f'"{name}";r={left};t={reset}' for name, _, left, reset in counts)
        return response


def is_limited(app: Quart, endpoint: str, method: str) -> bool:
    """Return whether a route can answer 429, by a decorator or by the setting."""
    limits = limits_of(app)
    return limits is not None and bool(limits.decide(endpoint, method)[1])


def _can_fail_too_often(app: Quart, endpoint: str, method: str) -> bool:
    return any(failures_mark(owner) is not None for _, owner in owners_of(app, endpoint, method))


def limits_of(app: Quart) -> _RateLimits | None:
    """Return the limits of an app, or None if it has none."""
    return state_of(app).find(_RateLimits)


def _caller_of(connection: BaseRequestWebsocket) -> str:
    """Return a digest of the caller: of the principal, or of the network if there is none."""
    principal = current_principal()
    if principal is not None:
        text = f"{principal.issuer} {principal.subject}"
    else:
        text = network_of(connection.remote_addr or "", ipv4_prefix=32)
    return _digest(text)


def _digest(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def init_limits(app: Quart, settings: Settings) -> _RateLimits:
    """Limit the requests of callers, by decorators and settings. Authentication must be registered before.

    Raises:
        SettingsError: A storage is set, but the extra `ratelimit` is not installed.
    """
    default = read_quotas(settings.rate_limit) if settings.rate_limit else ()
    limits = _RateLimits(app, default, _make_counters(settings), service_of(app).title)
    state_of(app).put(limits)
    app.before_request(hook_where(limits.check_request, limits.limits))
    app.before_websocket(limits.check_websocket)
    app.after_request(hook_where(limits.add_headers, limits.limits))
    app.after_serving(limits.counters.close)
    return limits


def _make_counters(settings: Settings) -> _Counters:
    if settings.rate_limit_storage is None:
        return MemoryCounters()
    try:
        return SharedCounters(settings.rate_limit_storage.get_secret_value())
    except ImportError as error:
        variable = settings.vocabulary().variable("rate_limit_storage")
        remedy = "run: pip install 'ligand-async[ratelimit]'"
        mistake = Mistake("rate_limit_storage", variable, "needs the extra ratelimit", remedy)
        raise SettingsError.listing([mistake]) from error


_LIMIT_HEADERS: dict[str, Any] = {
    "RateLimit": {
        "description": "What is left of each quota: `r` requests for `t` seconds "
        "(draft-ietf-httpapi-ratelimit-headers-10).",
        "schema": {"type": "string"},
    },
    "RateLimit-Policy": {
        "description": "The quotas that hold: `q` requests in `w` seconds.",
        "schema": {"type": "string"},
    },
}


def _problems(endpoint: Endpoint) -> set[type[Problem]]:
    route = (endpoint.app, endpoint.name, endpoint.method)
    return {TooManyRequests} if is_limited(*route) or _can_fail_too_often(*route) else set()


def _describe(endpoint: Endpoint, described: dict[str, Any]) -> None:
    """Add the headers of a quota to success, 304 and 429, which always carry them."""
    if is_limited(endpoint.app, endpoint.name, endpoint.method):
        responses = described["responses"]
        for status, response in responses.items():
            if status < "4" or status == "429":
                responses[status] = add_headers(response, _LIMIT_HEADERS)


LIMITS = Feature(problems=_problems, describe=_describe)
