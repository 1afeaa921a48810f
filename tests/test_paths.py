"""Paths that lead out of an address, in every form that some server understands."""

import itertools
from urllib.parse import quote

import pytest

from ligand_async.paths import is_below, is_loopback, leads_down, name_of_host, normalise_host, origin_of

DOTS = ["..", ".", "%2e%2e", ".%2E", "..;", "..;a=1", "%2e%2e%3b", "..%20"]
SLASHES = ["/", "%2f", "\\", "%5c", "%252F"]


@pytest.mark.parametrize("layers", [0, 1, 2, 3])
def test_no_spelling_leads_up(layers: int) -> None:
    """Each form of dots between each pair of slashes, quoted again and again."""
    for before, dots, after in itertools.product(SLASHES, DOTS, SLASHES):
        path = f"a{before}{dots}{after}b"
        for _ in range(layers):
            path = quote(path, safe="")
        assert not leads_down(f"/{path}"), path


def test_quoted_values_lead_down() -> None:
    """Values of variables, quoted once, but for those that are steps themselves."""
    for value in ("a/b", "100%", "a.b", "..a", "a..", "...", "é", "a;b", "%41", "a?b#c", "tea time"):
        assert leads_down(f"/items/{quote(value, safe='')}"), value
    for value in ("..", ".", "../x", "x/..", "..;x", "a\\b", "%2e%2e", "a\0b", "a\nb"):
        assert not leads_down(f"/items/{quote(value, safe='')}"), value


def test_long_towers_of_escapes_end_soon() -> None:
    """They are refused after some layers, however long they are."""
    assert not leads_down("/%" + "25" * 4000 + "41")


def test_a_path_is_below_by_whole_steps() -> None:
    """A longer name is another name."""
    below = [("/api", "/api"), ("/api/", "/api"), ("/api/a", "/api/"), ("/a", "/"), ("/", "/"), ("/api/a%2Fb", "/api")]
    beside = [("/apix", "/api"), ("/", "/api"), ("/api/../x", "/api"), ("/API/a", "/api"), ("/a/..", "/"), ("", "/api")]

    assert all(is_below(path, base) for path, base in below)
    assert not any(is_below(path, base) for path, base in beside)


@pytest.mark.parametrize(
    ("host", "scheme", "normal"),
    [
        ("API.Example.org", "https", "api.example.org"),
        ("api.example.org.", "", "api.example.org"),
        ("api.example.org.:443", "https", "api.example.org"),
        ("api.example.org:80", "http", "api.example.org"),
        ("api.example.org:00080", "ws", "api.example.org"),
        ("api.example.org:80", "https", "api.example.org:80"),
        ("api.example.org:443", "", "api.example.org:443"),
        ("[0:0::1]", "http", "[::1]"),
        ("[2001:DB8::1]:8443", "https", "[2001:db8::1]:8443"),
        ("a_b", "http", "a_b"),
        ("a..b", "http", None),
        ("a@b", "http", None),
        ("a:99999", "http", None),
        ("[::1", "http", None),
        ("[1]", "http", None),
        ("a" * 256, "http", None),
        ("", "http", None),
        ("a\n", "http", None),
    ],
)
def test_a_host_has_one_spelling(host: str, scheme: str, normal: str | None) -> None:
    """Lower case, no dot at the end, no default port, short addresses; what is not a host has none."""
    assert normalise_host(host, scheme) == normal
    assert normal is None or normalise_host(normal, scheme) == normal


def test_a_host_is_parted_from_its_port() -> None:
    """Colons in an address are none of a port."""
    hosts = {"a": "a", "a:80": "a", "[::1]": "[::1]", "[::1]:80": "[::1]"}
    assert {host: name_of_host(host) for host in hosts} == hosts


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("https://API.example.org:443/path?q", "https://api.example.org"),
        ("http://api.example.org.:8000", "http://api.example.org:8000"),
        ("https://b\u00fccher.example/", "https://xn--bcher-kva.example"),
        ("https://[::0:1]/", "https://[::1]"),
        ("ftp://api.example.org", None),
        ("https://", None),
        ("https://[", None),
        ("https://\u00fc..example/", None),
    ],
)
def test_origins_are_those_of_browsers(url: str, origin: str | None) -> None:
    """Scheme, host and port as an `Origin` header has them."""
    assert origin_of(url) == origin


def test_loopback_is_this_machine() -> None:
    """By name or by address, however it is written; not a name that only looks like it."""
    here = ("localhost", "LOCALHOST.:8000", "127.0.0.1", "127.9.9.9:1", "[::1]", "[0:0::1]:80")
    there = ("localhost.example", "a.localhost", "127.0.0.1.example", "127.1", "2130706433", "10.0.0.1", "[::]", "a@b")

    assert all(map(is_loopback, here))
    assert not any(map(is_loopback, there))
