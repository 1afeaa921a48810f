"""The syntax that every request must have: its target, its header fields, their sizes."""

import re
from collections.abc import Mapping, MutableMapping
from itertools import chain
from typing import Any, NoReturn
from urllib.parse import quote, unquote_to_bytes

from ligand_async.auth import InvalidRequest, bearer_challenge
from ligand_async.errors import problem_for
from ligand_async.ops import is_management
from ligand_async.paths import leads_down, name_of_host, normalise_host
from ligand_async.settings import Settings
from ligand_async.web.stages import Headers, Reply, Stage

MAX_TARGET = 8 * 1024  # bytes
MAX_HEADERS = 16 * 1024  # bytes
MAX_FIELDS = 100
MAX_PARTS = 1000  # commas and semicolons of all header fields; parameters of a query

_VERSIONS = frozenset({"1.0", "1.1", "2", "3"})
_UNKNOWN_METHODS = frozenset({"CONNECT", "TRACK"})  # TRACE is routed, and so a 405
_PROBES = frozenset({"/livez", "/readyz"})
_SINGLE = frozenset({b"host", b"authorization", b"content-type", b"content-length", b"idempotency-key"})

_PLAIN_TARGET = re.compile(rb"/[!-\"$&-~]*")  # printable, neither % nor #
_PLAIN_QUERY = re.compile(rb"[!-\"$&-~]*")
_ESCAPED_TARGET = re.compile(rb"/(?:[!-\"$&-~]|%[0-9A-Fa-f]{2})*")
_ESCAPED_QUERY = re.compile(rb"(?:[!-\"$&-~]|%[0-9A-Fa-f]{2})*")
_ABSOLUTE_TARGET = re.compile(rb"[Hh][Tt][Tt][Pp][Ss]?://([^/?#]+)(/.*)?")
_MAY_LEAD_UP = re.compile(rb"%|\\|/\.")
_CONTROL = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
_DIGITS = re.compile(rb"[0-9]{1,19}")


class Syntax(Stage):
    """The stage that refuses malformed and oversized requests before any other parser reads them.

    Args:
        settings: Of the service; `max_body_bytes` and `trusted_hosts` are read.
        realm: The realm of the challenge: the service's title.
    """

    def __init__(self, settings: Settings, *, realm: str = "service") -> None:
        self.challenge = bearer_challenge(realm, error=InvalidRequest.error)
        self.max_body = settings.max_body_bytes
        self.any_host = not settings.trusted_hosts
        self.hosts = frozenset(host for host in settings.trusted_hosts if not host.startswith("*"))
        self.domains = tuple(host[1:] for host in settings.trusted_hosts if host.startswith("*"))

    def before(self, scope: MutableMapping[str, Any]) -> Reply | None:
        """Check one request, and write its host in the normal form, which everything behind this stage sees.

        Raises:
            Problem: 400, 413, 414, 421, 431, 501 or 505; the connection is closed.
        """
        if scope.get("http_version", "1.1") not in _VERSIONS:
            _refuse(505, "HTTP versions 1.0, 1.1, 2 and 3 are supported")
        method = scope.get("method", "GET")
        # A method is compared as it was sent (RFC 9110 section 9.1); Quart would take `get` for GET.
        if method in _UNKNOWN_METHODS or method != method.upper():
            _refuse(501, "the method is not implemented")
        host = self.check_headers(scope["headers"])
        target = _target_of(scope)
        if target == b"*" and method == "OPTIONS":
            return Reply(204)
        if target[:1] != b"/":
            host = self.take_absolute_target(scope, target)
        else:
            _check_target(target, scope["query_string"])
        self.check_host(host, scope)
        return None

    def check_headers(self, headers: Headers) -> bytes | None:
        """Check the header fields, and return the host."""
        flat = b"".join(chain.from_iterable(headers))
        if len(headers) > MAX_FIELDS or len(flat) > MAX_HEADERS:
            _refuse(431, f"a request may have {MAX_FIELDS} header fields, of {MAX_HEADERS} bytes together")
        if flat.count(b";") + flat.count(b",") > MAX_PARTS:
            _refuse(431, f"header fields may have {MAX_PARTS} parts between commas and semicolons")
        if _CONTROL.search(flat):
            _refuse(400, "a header field holds a control character")
        fields = dict(headers)
        if len(fields) != len(headers):
            names = [name for name, _ in headers]
            for name in _SINGLE.intersection(names):
                if names.count(name) > 1:
                    more = {"WWW-Authenticate": self.challenge} if name == b"authorization" else {}
                    _refuse(400, f"more than one {name.decode().title()} header", **more)
        length = fields.get(b"content-length")
        if length is not None:
            if b"transfer-encoding" in fields:
                _refuse(400, "both Content-Length and Transfer-Encoding")
            if not _DIGITS.fullmatch(length):
                _refuse(400, "Content-Length is not a number")
            if int(length) > self.max_body:
                _refuse(413, f"the body may have {self.max_body} bytes")
        return fields.get(b"host")

    def take_absolute_target(self, scope: MutableMapping[str, Any], target: bytes) -> bytes:
        """Parse the absolute form of a target (RFC 9112 section 3.2.2). Its host counts, not that of the header."""
        parts = _ABSOLUTE_TARGET.fullmatch(target)
        if parts is None:
            _refuse(400, "the request target is not a path")
        host, path = parts[1], parts[2] or b"/"
        _check_target(path, scope["query_string"])
        scope["raw_path"], scope["path"] = path, unquote_to_bytes(path).decode()
        others = [field for field in scope["headers"] if field[0] != b"host"]
        scope["headers"] = [(b"host", host), *others]
        return host

    def check_host(self, host: bytes | None, scope: MutableMapping[str, Any]) -> None:
        """Check the host against the setting `trusted_hosts`."""
        if host is None:
            if scope.get("http_version") == "1.0" and self.any_host:
                return
            _refuse(400, "there is no Host header")
        written = host.decode("latin-1")
        normal = normalise_host(written, scope.get("scheme", ""))
        if normal is None:
            _refuse(400, "the Host header is not a host")
        if normal != written:
            others = [field for field in scope["headers"] if field[0] != b"host"]
            scope["headers"] = [(b"host", normal.encode()), *others]
        # A probe calls the address of the machine, and the answer says nothing of the host.
        if self.any_host or scope["path"].removeprefix(scope.get("root_path") or "") in _PROBES or is_management(scope):
            return
        name = name_of_host(normal)
        if name not in self.hosts and not name.endswith(self.domains):
            _refuse(421, "this service does not answer for that host")


def _target_of(scope: Mapping[str, Any]) -> bytes:
    # The path as it was sent; ASGI lets a server leave it out.
    raw: bytes | None = scope.get("raw_path")
    if raw is not None:
        # Some servers leave the query in, and websockets have their path alone.
        return raw.partition(b"?")[0]
    path: str = scope["path"]
    return quote(path).encode()


def _check_target(path: bytes, query: bytes) -> None:
    """Check path and query: printable, whole escapes, UTF-8, no NUL, and no step that leads up."""
    if len(path) + len(query) > MAX_TARGET:
        _refuse(414, f"the request target may have {MAX_TARGET} bytes")
    if query.count(b"&") >= MAX_PARTS:
        _refuse(414, f"the query may have {MAX_PARTS} parameters")
    if _MAY_LEAD_UP.search(path) and not leads_down(path.decode("latin-1")):
        _refuse(400, "the path has a step `.` or `..`, a backslash or a control character, perhaps percent-encoded")
    if _PLAIN_TARGET.fullmatch(path) and _PLAIN_QUERY.fullmatch(query):
        return
    if not _ESCAPED_TARGET.fullmatch(path) or not _ESCAPED_QUERY.fullmatch(query):
        _refuse(400, "the request target is malformed")
    for part in (path, query):
        text = unquote_to_bytes(part)
        if b"\0" in text:
            _refuse(400, "the request target holds a NUL")
        try:
            text.decode()
        except UnicodeDecodeError:
            _refuse(400, "the request target is not UTF-8")


def _refuse(status: int, detail: str, **headers: str) -> NoReturn:
    # The connection is closed: the bytes that follow may not be a request at all.
    raise problem_for(status, detail, headers={"Connection": "close", **headers}) from None
