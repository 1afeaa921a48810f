"""What a request looks like, without a server that would refuse the worst itself."""

from typing import Any

import pytest

from ligand_async import Problem, Settings
from ligand_async.web import Syntax
from tests.services import NEVER_OPENED

HOST = (b"host", b"127.0.0.1")


def check(headers: list[tuple[bytes, bytes]] | None = None, **scope: Any) -> tuple[int, dict[str, Any]]:
    """Check one request: its status, 200 where it is let in, and the scope after that."""
    settings = Settings.load("testing", database_url=NEVER_OPENED, max_body_bytes=100)
    whole = {"type": "http", "method": "GET", "http_version": "1.1", "raw_path": b"/", "path": "/", "query_string": b""}
    whole |= {"headers": [HOST] if headers is None else headers} | scope
    try:
        reply = Syntax(settings).before(whole)
    except Problem as problem:
        return problem.status, whole
    return (200 if reply is None else reply.status), whole


@pytest.mark.parametrize(
    "field",
    [
        (b"x", b"a\0b"),
        (b"x", b"a\r\nb: c"),
        (b"x\n", b"a"),
        (b"x", b"\x7f"),
        (b"content-length", b"-1"),
        (b"content-length", b"+1"),
        (b"content-length", b"1_0"),
        (b"content-length", "٣".encode()),
        (b"content-length", b""),
        (b"content-length", b"1, 1"),
        (b"host", b"b"),
    ],
    ids=str,
)
def test_a_field_that_is_none_is_400(field: tuple[bytes, bytes]) -> None:
    """A control character, a length that is no number, a second host."""
    assert check([HOST, field])[0] == 400


@pytest.mark.parametrize(("length", "status"), [(b"100", 200), (b"101", 413), (b"9" * 19, 413), (b"9" * 5000, 400)])
def test_lengths(length: bytes, status: int) -> None:
    """What is too long is a 413; what is no length anybody could mean is a 400."""
    assert check([HOST, (b"content-length", length)])[0] == status


@pytest.mark.parametrize(
    ("fields", "query", "status"),
    [
        ([(b"accept", b"a/b" + b";q=1" * 1000)], b"", 200),
        ([(b"accept", b"a/b" + b";q=1" * 1001)], b"", 431),
        ([(b"cookie", b"a=1; " * 600), (b"if-none-match", b'"a",' * 401)], b"", 431),
        ([], b"a=1&" * 999, 200),
        ([], b"a=1&" * 1000, 414),
    ],
)
def test_parts_are_counted_before_they_are_parsed(fields: list[tuple[bytes, bytes]], query: bytes, status: int) -> None:
    """Parameters and members of header fields, cookies, and the keys of a query: a thousand of them."""
    assert check([HOST, *fields], query_string=query)[0] == status


def test_tabs_and_other_bytes_may_stand_in_a_field() -> None:
    """RFC 9110 section 5.5 lets them."""
    assert check([HOST, (b"x", b"a\tb \xe9")])[0] == 200


@pytest.mark.parametrize(("version", "status"), [("1.0", 200), ("1.1", 400), ("2", 400)])
def test_only_the_oldest_version_needs_no_host(version: str, status: int) -> None:
    """RFC 9112 section 3.2."""
    assert check([], http_version=version)[0] == status


@pytest.mark.parametrize("path", ["/", "/é/€", "/100%", "/a b"])
def test_a_server_may_leave_the_raw_path_out(path: str) -> None:
    """ASGI says so; the decoded path stands for it, and has nothing left to decode."""
    assert check(raw_path=None, path=path)[0] == 200


def test_a_raw_path_may_have_its_query() -> None:
    """Some servers leave it in."""
    assert check(raw_path=b"/a?q=1", query_string=b"q=1")[0] == 200


def test_the_absolute_form_becomes_a_path() -> None:
    """Its host takes the place of the header's, and what follows sees a path."""
    status, scope = check(raw_path=b"http://b.example/%C3%A9", path="http://b.example/é")
    assert (status, scope["path"], scope["raw_path"]) == (200, "/é", b"/%C3%A9")
    assert scope["headers"] == [(b"host", b"b.example")]


def test_websockets_are_checked_too() -> None:
    """They have no method."""
    scope = {"type": "websocket", "http_version": "1.1", "raw_path": b"/%ff", "path": "/", "query_string": b""}
    with pytest.raises(Problem):
        Syntax(Settings.load("testing", database_url=NEVER_OPENED)).before({**scope, "headers": [HOST]})


@pytest.mark.parametrize("hosts", [("https://a.example",), ("a.example:80",), ("*",), ("A.example",), ("a*.example",)])
def test_trusted_hosts_are_hosts(hosts: tuple[str, ...]) -> None:
    """A setting that no Host header could match is a mistake."""
    with pytest.raises(RuntimeError, match="trusted_hosts"):
        Settings.load("testing", database_url=NEVER_OPENED, trusted_hosts=hosts)
