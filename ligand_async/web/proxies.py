"""The client's address, scheme and host behind trusted proxies: `X-Forwarded-For`, `-Proto` and `-Host`."""

import re
from collections.abc import Iterable, Iterator, Mapping, MutableMapping, Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Any

from ligand_async.web.stages import Headers, Reply

_Address = IPv4Address | IPv6Address

_CONSUMED = frozenset(
    {b"forwarded", b"x-real-ip", b"remote-addr"}
    | {b"x-forwarded-" + part for part in (b"for", b"proto", b"host", b"port", b"prefix", b"scheme", b"ssl")}
)
_PREFIX = b"x-forwarded-"
_WITH_PORT = re.compile(r"\[([^\]]*)\](?::[0-9]+)?|([0-9.]+):[0-9]+")
_WEBSOCKET_SCHEMES = {"http": "ws", "https": "wss"}


class TrustedProxies:
    """The stage that finds the client behind the proxies, and takes every forwarded header out of the request.

    Proxies append to `X-Forwarded-For`: the nearest proxy wrote the rightmost value, and a client can have written the
    leftmost. So it is read from the right, and only as far as the proxies are trusted. Of `X-Forwarded-Proto` and
    `X-Forwarded-Host` the last value counts, that of the nearest proxy. RFC 7239's `Forwarded` is not read: with two
    sources for one fact an attacker can use one against the other, and the proxies in use write the others.

    Without trust, or from a peer that is not trusted, the connection's own address, scheme and host count. In either
    case handlers and extensions never see the headers: `request.remote_addr`, `request.scheme` and `request.host` are
    right.

    Args:
        trusted: One hop count, or networks; empty for no trust at all (the setting `trusted_proxies`).
    """

    def __init__(self, trusted: Sequence[str]) -> None:
        is_count = len(trusted) == 1 and trusted[0].isdecimal()
        self.hops = int(trusted[0]) if is_count else 0
        self.networks = () if is_count else tuple(map(ip_network, trusted))

    def before(self, scope: MutableMapping[str, Any]) -> Reply | None:
        """Put the client's address, the scheme and the host into the scope.

        The stage `Syntax` comes after this one and refuses a malformed host.
        """
        fields: Headers = list(scope["headers"])
        peer = _address_of(scope)
        chain = _values_of(fields, b"x-forwarded-for")
        if len(chain) < self.hops or not (self.hops or self.is_trusted(peer)):
            # The peer is not a proxy of ours, or the request did not pass as many as the hop count says.
            scope["headers"] = [field for field in fields if not _is_forwarded(field[0])]
            return None
        scope["headers"] = [field for field in fields if field[0].lower() not in _CONSUMED]
        client = self.find_client(peer, chain)
        if client is not None and client != peer:
            scope["client"] = (str(client), 0)
        for scheme in _values_of(fields, b"x-forwarded-proto")[-1:]:
            if scheme.lower() in _WEBSOCKET_SCHEMES:
                is_websocket = scope["type"] == "websocket"
                scope["scheme"] = _WEBSOCKET_SCHEMES[scheme.lower()] if is_websocket else scheme.lower()
        for host in _values_of(fields, b"x-forwarded-host")[-1:]:
            others = [field for field in scope["headers"] if field[0].lower() != b"host"]
            scope["headers"] = [(b"host", host.encode("latin-1")), *others]
        return None

    def after(self, scope: Mapping[str, Any], status: int, headers: Headers) -> None:
        """Leave the response as it is."""

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


def _is_forwarded(name: bytes) -> bool:
    return name.lower() in _CONSUMED or name.lower().startswith(_PREFIX)


def _values_of(fields: Iterable[tuple[bytes, bytes]], name: bytes) -> list[str]:
    """Return the members of a list header, over all its lines (RFC 9110 section 5.6.1)."""
    return [*_split_members(value for field, value in fields if field.lower() == name)]


def _split_members(values: Iterable[bytes]) -> Iterator[str]:
    for value in values:
        for member in value.decode("latin-1").split(","):
            if text := member.strip(" \t"):
                yield text


def _address_of(scope: Mapping[str, Any]) -> _Address | None:
    """Return the peer's address; None for a Unix socket."""
    client = scope.get("client")
    return _read_address(client[0]) if client and isinstance(client[0], str) else None


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
