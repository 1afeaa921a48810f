"""Rate limits: which quota decides a request, whose it is, and what the caller is told."""

import hashlib
import math
from ipaddress import IPv6Address, ip_address, ip_network

from quart import Quart, Response, g, request, websocket
from quart.wrappers.base import BaseRequestWebsocket

from ligand_async.context import current_principal, service_of
from ligand_async.errors import TooManyRequests
from ligand_async.marks import LimitMark, limit_mark, owners_of
from ligand_async.settings import Mistake, Settings, SettingsError
from ligand_async.settings.types import Quota, read_quotas
from ligand_async.web.counters import Counters, MemoryCounters, SharedCounters

EXTENSION = "ligand_limits"
STATE = "_ligand_rate_limit"
IPV6_PREFIX = 64  # bits; one customer has at least so many addresses


class RateLimits:
    """The quotas of one app, and their counters.

    Args:
        app: The app.
        default: The quotas where no mark says otherwise.
        counters: Where requests are counted.
        namespace: What tells its counts from those of other services in the same storage.
    """

    def __init__(self, app: Quart, default: tuple[Quota, ...], counters: Counters, namespace: str) -> None:
        self.app = app
        self.default = default
        self.counters = counters
        self.namespace = namespace
        self.decided: dict[tuple[str, str], tuple[str, tuple[Quota, ...]]] = {}

    async def check_request(self) -> None:
        """Count the current request.

        Raises:
            TooManyRequests: The caller has had its quota.
        """
        # A routing error stays what it is, and so does the answer to OPTIONS that Quart makes.
        rule = request.url_rule
        if request.routing_exception is None and not (
            request.method == "OPTIONS" and rule is not None and rule.provide_automatic_options
        ):
            await self.count(request.endpoint or "", request.method, request)

    async def check_websocket(self) -> None:
        """Count the current websocket's handshake.

        Raises:
            TooManyRequests: The caller has had its quota.
        """
        if websocket.routing_exception is None:
            await self.count(websocket.endpoint or "", "GET", websocket)

    async def count(self, endpoint: str, method: str, connection: BaseRequestWebsocket) -> None:
        """Count for every quota, the shortest window first, until one is used up."""
        name, quotas = self.decide(endpoint, method)
        if not quotas:
            return
        caller = caller_of(connection)
        told: list[tuple[str, Quota, int, int]] = []
        setattr(g, STATE, told)
        for quota in quotas:
            found = await self.counters.hit(f"{self.namespace}:{name}:{quota.seconds}:{caller}", quota.seconds)
            if found is None:
                continue
            used, reset = found[0], math.ceil(found[1])
            told.append((f"{name}-{quota.seconds}", quota, max(quota.amount - used, 0), reset))
            if used > quota.amount:
                raise TooManyRequests("too many requests; wait a while", headers={"Retry-After": str(max(reset, 1))})

    def decide(self, endpoint: str, method: str) -> tuple[str, tuple[Quota, ...]]:
        """Return the quotas of a route and what they are called; routes do not change once the app serves."""
        key = (endpoint, method)
        if key not in self.decided:
            candidates = ((name, limit_mark(owner)) for name, owner in owners_of(self.app, endpoint, method))
            found = next(((name, mark) for name, mark in candidates if mark is not None), None)
            name, mark = found or ("default", LimitMark(self.default))
            self.decided[key] = (name, mark.quotas)
        return self.decided[key]

    async def tell(self, response: Response) -> Response:
        """Say how much is left, also to those who have nothing left (draft-ietf-httpapi-ratelimit-headers-10)."""
        told: list[tuple[str, Quota, int, int]] = g.get(STATE, [])
        if told:
            response.headers["RateLimit-Policy"] = ", ".join(
                f'"{name}";q={quota.amount};w={quota.seconds}' for name, quota, _, _ in told
            )
            response.headers["RateLimit"] = ", ".join(f'"{name}";r={left};t={reset}' for name, _, left, reset in told)
        return response


def is_limited(app: Quart, endpoint: str, method: str) -> bool:
    """Tell whether a route can answer 429, by its marks or by the setting."""
    limits = app.extensions.get(EXTENSION)
    return isinstance(limits, RateLimits) and bool(limits.decide(endpoint, method)[1])


def caller_of(connection: BaseRequestWebsocket) -> str:
    """Return a short name for whoever is calling: its subject, or the network it calls from."""
    principal = current_principal()
    if principal is not None:
        text = f"{principal.issuer} {principal.subject}"
    else:
        text = network_of(connection.remote_addr or "")
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def network_of(address: str) -> str:
    """Return the address, or for IPv6 the network that one customer has."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return address
    if isinstance(parsed, IPv6Address) and parsed.ipv4_mapped is None:
        return str(ip_network((parsed, IPV6_PREFIX), strict=False))
    return str(getattr(parsed, "ipv4_mapped", None) or parsed)


def init_limits(app: Quart, settings: Settings) -> RateLimits:
    """Limit how often callers may ask, as marks and settings say.

    Whoever authenticates registers before this: the caller is a principal by then.

    Raises:
        SettingsError: A storage is set, and the extra that asks it is not installed.
    """
    default = read_quotas(settings.rate_limit) if settings.rate_limit else ()
    limits = RateLimits(app, default, make_counters(settings), service_of(app).title)
    app.extensions[EXTENSION] = limits
    app.before_request(limits.check_request)
    app.before_websocket(limits.check_websocket)
    app.after_request(limits.tell)
    app.after_serving(limits.counters.close)
    return limits


def make_counters(settings: Settings) -> Counters:
    """Make the counters that the settings ask for.

    Raises:
        SettingsError: They need the extra `ratelimit`, and it is not installed.
    """
    if settings.rate_limit_storage is None:
        return MemoryCounters()
    try:
        return SharedCounters(settings.rate_limit_storage.get_secret_value())
    except ImportError as error:
        variable = settings.vocabulary().variable("rate_limit_storage")
        remedy = "run: pip install 'ligand-async[ratelimit]'"
        mistake = Mistake("rate_limit_storage", variable, "needs the extra ratelimit", remedy)
        raise SettingsError.listing([mistake]) from error
