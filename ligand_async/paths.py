"""The normal form of hosts and paths, the same for requests that come in and for those that go out.

Paths are read as the most lenient server reads them: it decodes twice, and takes backslashes for slashes.
"""

import re
from functools import lru_cache
from ipaddress import AddressValueError, IPv6Address, ip_address
from urllib.parse import unquote, urlsplit

_MAX_LAYERS = 8  # of percent-encoding
_REFUSED = re.compile(r"[\x00-\x1f\x7f\\]")
_DOTS = frozenset({".", ".."})

_HOST = re.compile(r"((?!-)[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*)\.?(?::([0-9]{1,5}))?")
_HOST_V6 = re.compile(r"\[([0-9A-Fa-f:.]+)\](?::([0-9]{1,5}))?")
_DEFAULT_PORTS = {"http": 80, "ws": 80, "https": 443, "wss": 443}
_MAX_HOST = 255  # characters of a name (RFC 1035 section 2.3.4)


@lru_cache(maxsize=1024)
def normalise_host(host: str, scheme: str = "") -> str | None:
    """Return the one spelling of a host with its port (RFC 3986 sections 3.2.2 and 6.2), or None if it is not a host.

    Names are in lower case and without the dot at the end, IPv6 addresses are in their short form (RFC 5952), and the
    port has no zeros in front. The default port of the scheme is left out.

    Args:
        host: Such as `API.example.org:443`; ASCII, no user.
        scheme: `http`, `https`, `ws`, `wss`, or nothing to keep every port.
    """
    found = _HOST.fullmatch(host) or _HOST_V6.fullmatch(host)
    if found is None:
        return None
    name, port = found[1].lower(), found[2]
    if found.re is _HOST_V6:
        try:
            name = f"[{IPv6Address(name).compressed}]"
        except AddressValueError:
            return None
    if len(name) > _MAX_HOST or (port is not None and int(port) > 65535):
        return None
    if port is None or int(port) == _DEFAULT_PORTS.get(scheme):
        return name
    return f"{name}:{int(port)}"


def name_of_host(host: str) -> str:
    """Return a host in its normal form without its port."""
    return host if host[-1:] == "]" else host.rpartition(":")[0] or host


def origin_of(url: str) -> str | None:
    """Return the origin of a URL as browsers write it (RFC 6454 section 6.2), or None if it has none.

    Args:
        url: An http or https URL; a host in another script is written in ASCII (RFC 3490).
    """
    try:
        parts = urlsplit(url)
        netloc = parts.netloc.rpartition("@")[2]
        host = normalise_host(netloc if netloc.isascii() else netloc.encode("idna").decode(), parts.scheme)
    except ValueError:
        return None
    return f"{parts.scheme}://{host}" if host is not None and parts.scheme in {"http", "https"} else None


def is_loopback(host: str) -> bool:
    """Return whether a host is this machine: `localhost` (RFC 6761 section 6.3) or a loopback address.

    Args:
        host: The host of a URL or of a request, with or without a port.
    """
    normal = normalise_host(host)
    if normal is None:
        return False
    name = name_of_host(normal).strip("[]")
    try:
        return name == "localhost" or ip_address(name).is_loopback
    except ValueError:
        return False


def leads_down(path: str) -> bool:
    """Return whether every step of a path leads down, however often a server decodes it.

    A path that does not may lead out of the address that it is appended to (RFC 3986 section 5.2.4). It is decoded
    until nothing changes, and each form must be free of `.` and `..`, also with parameters behind them (`..;x`), of
    backslashes and of control characters.

    Args:
        path: The path as it is sent, percent-encoded, without a query.
    """
    for _ in range(_MAX_LAYERS):
        if _REFUSED.search(path) or any(_name_of(segment) in _DOTS for segment in path.split("/")):
            return False
        try:
            decoded = unquote(path, errors="strict")
        except UnicodeDecodeError:  # an overlong form of a dot or a slash is not UTF-8
            return False
        if decoded == path:
            return True
        path = decoded
    return False


def is_below(path: str, base: str) -> bool:
    """Return whether a path is another one, or continues it with a slash, and leads down.

    Args:
        path: The path as it is sent, percent-encoded, without a query.
        base: The path that it must begin with; a slash at its end does not count.
    """
    base = base.rstrip("/")
    return (path == base or path.startswith(f"{base}/")) and leads_down(path)


def _name_of(segment: str) -> str:
    return segment.partition(";")[0].strip()
