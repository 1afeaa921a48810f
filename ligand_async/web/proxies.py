"""The client's address, and the scheme, host and path prefix that it used, behind trusted proxies.

They come from `X-Forwarded-For`, `-Proto`, `-Host` and `-Prefix`.
"""

import functools
import re
from collections.abc import Iterable, Iterator, Mapping, MutableMapping, Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Any
from urllib.parse import urlsplit

from ligand_async.settings import is_path_prefix
from ligand_async.web.stages import Headers, Reply, Stage

_Address = IPv4Address | IPv6Address

_CONSUMED = frozenset(
    {b"forwarded", b"x-real-ip", b"remote-addr"}
    | {b"x-forwarded-" + part for part in (b"for", b"proto", b"host", b"port", b"prefix", b"scheme", b"ssl")}
)
_PREFIX = b"x-forwarded-"
_WITH_PORT = re.compile(r"\[([^\]]*)\](?::[0-9]+)?|([0-9.]+):[0-9]+")
_WEBSOCKET_SCHEMES = {"http": "ws", "https": "wss"}


class TrustedProxies(Stage):
    """The stage that finds the client behind the proxies, and takes every forwarded header out of the request.

    Proxies append to `X-Forwarded-For`: the nearest proxy wrote the rightmost value, and a client can have written the
    leftmost. So it is read from the right, and only as far as the proxies are trusted. Of `X-Forwarded-Proto`, `-Host`
    and `-Prefix` the last value counts, that of the nearest proxy. RFC 7239's `Forwarded` is not read: with two sources
    for one fact an attacker can use one against the other, and the proxies in use write the others.

    The prefix is what a proxy has cut off from the path. It becomes the `root_path` of the scope (ASGI), before which
    the server's own stays, so that every address that the service writes has it. Where neither a proxy nor the server
    says one, the path of the service's URL is it: of the private URL for requests to its host, else of the public one.
    With the setting `root_path` a proxy may also leave the prefix: a path that begins with it is taken as it is.

    Without trust, or from a peer that is not trusted, the connection's own address, scheme and host count. In either
    case handlers and extensions never see the headers: `request.remote_addr`, `request.scheme` and `request.host` are
    right.

    Args:
        trusted: One hop count, or networks; empty for no trust at all (the setting `trusted_proxies`).
        public_url: Where clients outside find the service; None if that is not known.
        private_url: Where clients inside the network find it.
        root_path: The prefix of the public URL, where a proxy may leave it.
    """

    def __init__(
        self,
        trusted: Sequence[str],
        *,
        public_url: str | None = None,
        private_url: str | None = None,
        root_path: str | None = None,
    ) -> None:
        is_count = len(trusted) == 1 and trusted[0].isdecimal()
        self.hops = int(trusted[0]) if is_count else 0
        self.networks = () if is_count else tuple(map(ip_network, trusted))
        public_host, self.prefix = _split_url(public_url)
        private_host, prefix = _split_url(private_url)
        self.prefixes = {} if private_host == public_host else {private_host: prefix}
        self.root_path = root_path

    def before(self, scope: MutableMapping[str, Any]) -> Reply | None:
        """Put the client's address, the scheme and the host into the scope.

        The stage `Syntax` comes after this one and refuses a malformed host.
        """
        fields: Headers = scope["headers"]
        names = b"\n".join([name for name, _ in fields])
        if names != (lower := names.lower()):  # ASGI wants them so, and everything behind this stage relies on it
            fields = scope["headers"] = [(name.lower(), value) for name, value in fields]
        if not (self.hops or self.networks):  # nobody is trusted
            if _may_forward(lower):
                scope["headers"] = [field for field in fields if not _is_forwarded(field[0])]
            self.mount(scope, None)
            return None
        peer = _address_of(scope)
        chain = _values_of(fields, b"x-forwarded-for")
        if len(chain) < self.hops or not (self.hops or self.is_trusted(peer)):
            # The peer is not a proxy of ours, or the request did not pass as many as the hop count says.
            scope["headers"] = [field for field in fields if not _is_forwarded(field[0])]
            self.mount(scope, None)
            return None
        scope["headers"] = [field for field in fields if field[0] not in _CONSUMED]
        client = self.find_client(peer, chain)
        if client is not None and client != peer:
            scope["client"] = (str(client), 0)
        for scheme in _values_of(fields, b"x-forwarded-proto")[-1:]:
            if scheme.lower() in _WEBSOCKET_SCHEMES:
                is_websocket = scope["type"] == "websocket"
                scope["scheme"] = _WEBSOCKET_SCHEMES[scheme.lower()] if is_websocket else scheme.lower()
        for host in _values_of(fields, b"x-forwarded-host")[-1:]:
            others = [field for field in scope["headers"] if field[0] != b"host"]
            scope["headers"] = [(b"host", host.encode("latin-1")), *others]
        self.mount(scope, next(iter(_values_of(fields, b"x-forwarded-prefix")[-1:]), None))
        return None

    def mount(self, scope: MutableMapping[str, Any], forwarded: str | None) -> None:
        """Put the prefix of the path into the scope.

        Args:
            scope: The scope, with the headers that are left.
            forwarded: The prefix that a trusted proxy has sent; one that is not a path is ignored.
        """
        root = scope.get("root_path") or ""
        prefix = None if forwarded is None else read_prefix(forwarded)
        if prefix is None and not root and (self.prefix or self.prefixes):
            host = next((value for name, value in scope["headers"] if name == b"host"), b"")
            prefix = self.prefixes.get(host.decode("latin-1").lower(), self.prefix)
        is_path = (scope.get("raw_path") or b"/").startswith(b"/")  # the other forms of RFC 9112 section 3.2 have none
        if prefix and prefix == self.root_path and f"{scope['path']}/".startswith(f"{prefix}/"):
            scope["root_path"] = prefix
        elif prefix and prefix != root and is_path:
            scope["root_path"], scope["path"] = prefix + root, prefix + scope["path"]

    def is_trusted(self, address: _Address | None) -> bool:
        """Return True if an address is that of one of our proxies."""
        return address is not None and any(address in network for network in self.networks)

    def find_client(self, peer: _Address | None, chain: Sequence[str]) -> _Address | None:
        """Return the address that the last trusted proxy saw.

        A value that is not an address ends the search: the proxy that wrote it is the last known address.

        Args:
            peer: The address of the connection.
            chain: The values of `X-Forwarded-For`.
        """
        client = peer
        for depth, text in enumerate(reversed(chain), start=1):
            if depth > self.hops if self.hops else not self.is_trusted(client):
                break
            address = _read_address(text)
            if address is None:
                break
            client = address
        return client


def read_prefix(text: str) -> str | None:
    """Read the prefix of a path; None if it is malformed, and empty for `/`."""
    path = text.removesuffix("/")
    return path if is_path_prefix(path) else None


def _split_url(url: str | None) -> tuple[str, str]:
    """Return the host of a URL, with its port, and its path as a prefix."""
    parts = urlsplit(url or "")
    return parts.netloc.lower(), read_prefix(parts.path) or ""


def _may_forward(names: bytes) -> bool:
    return b"forwarded" in names or b"x-real-ip" in names or b"remote-addr" in names


def _is_forwarded(name: bytes) -> bool:
    return name in _CONSUMED or name.startswith(_PREFIX)


def _values_of(fields: Iterable[tuple[bytes, bytes]], name: bytes) -> list[str]:
    """Return the members of a list header, over all its lines (RFC 9110 section 5.6.1)."""
    return [*_split_members(value for field, value in fields if field == name)]


def _split_members(values: Iterable[bytes]) -> Iterator[str]:
    for value in values:
        for member in value.decode("latin-1").split(","):
            if text := member.strip(" \t"):
                yield text


def _address_of(scope: Mapping[str, Any]) -> _Address | None:
    """Return the peer's address; None for a Unix socket."""
    client = scope.get("client")
    return _read_peer(client[0]) if client and isinstance(client[0], str) else None


def _read_address(text: str) -> _Address | None:
    """Read an address, alone or with a port; None if it is malformed or has a zone.

    An IPv4 address mapped into IPv6 is returned as the IPv4 address.
    """
    found = _WITH_PORT.fullmatch(text)
    if found is not None:
        text = found[1] or found[2] or ""
    try:
        address = ip_address(text)
    except ValueError:
        return None
    if isinstance(address, IPv6Address):
        return None if address.scope_id else address.ipv4_mapped or address
    return address


_read_peer = functools.lru_cache(maxsize=1024)(_read_address)  # of what the server says, not of what a client sends
