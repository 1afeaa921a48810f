"""The stages that add headers to every response: security headers, and CORS (the Fetch standard)."""

from collections.abc import Iterable, Mapping, MutableMapping
from typing import Any

from ligand_async.errors import SECURITY_HEADERS
from ligand_async.settings import ANY_ORIGIN
from ligand_async.web.stages import Headers, Reply, Stage

_TRANSPORT = (b"strict-transport-security", b"max-age=31536000; includeSubDomains")
_NOT_STORED = [*SECURITY_HEADERS, (b"cache-control", b"no-store")]
_REVALIDATED = [*SECURITY_HEADERS, (b"cache-control", b"private, no-cache")]
_NAMES = frozenset({name for name, _ in [*_NOT_STORED, _TRANSPORT]})


class SecurityHeaders(Stage):
    """The stage that adds security headers and `Cache-Control`, and removes the name of the server.

    A header that a handler sets stays: the docs page has a policy and caching of its own. There is no
    `Cross-Origin-Opener-Policy`: it has a meaning for pages only, and the docs page must keep the window that opened
    its sign-in.
    """

    def after(self, scope: Mapping[str, Any], status: int, headers: Headers) -> None:  # noqa: ARG002  (the same)
        """Complete the headers of a response."""
        present = {name for name, _ in headers}
        if b"server" in present:
            headers[:] = [field for field in headers if field[0] != b"server"]
        wanted = _REVALIDATED if b"etag" in present else _NOT_STORED
        if scope.get("scheme") == "https":
            wanted = [*wanted, _TRANSPORT]
        headers += wanted if _NAMES.isdisjoint(present) else [field for field in wanted if field[0] not in present]


_METHODS = b"GET, HEAD, POST, PUT, PATCH, DELETE"
_REQUEST_HEADERS = (
    "Authorization",
    "Content-Type",
    "Idempotency-Key",
    "If-Match",
    "If-Modified-Since",
    "If-None-Match",
    "If-Unmodified-Since",
    "Last-Event-ID",
    "Traceparent",
    "Tracestate",
    "X-Request-ID",
)
_EXPOSED = (
    "Allow",
    "ETag",
    "Idempotency-Replayed",
    "Link",
    "Location",
    "RateLimit",
    "RateLimit-Policy",
    "Retry-After",
    "WWW-Authenticate",
    "X-Pagination",
    "X-Request-ID",
)
_MAX_AGE = b"3600"  # seconds; browsers cut it to what they like

_ALLOW_ORIGIN = b"access-control-allow-origin"
_ALLOW_CREDENTIALS = b"access-control-allow-credentials"
_EXPOSE_HEADERS = b"access-control-expose-headers"
_OURS = frozenset({_ALLOW_ORIGIN, _ALLOW_CREDENTIALS, _EXPOSE_HEADERS})


class CORS(Stage):
    """The stage that answers preflights and lets pages of the allowed origins read responses.

    It stands in the guard, so that preflights come before authentication and that every response has the headers, also
    problems of the guard and of middleware, and timeouts. quart-cors works in `after_request`, which none of those
    reaches: a page would see a network error instead of a 400 or a 504. A service that needs rules by route uses
    quart-cors and leaves the setting empty.

    Credentials are never allowed: callers authenticate by a header, which pages set, and not by a cookie.

    Args:
        origins: The exact origins that may, or `*` alone for all (the setting `cors_origins`).
        headers: Request headers that may be sent besides ours (the setting `cors_headers`).
    """

    def __init__(self, origins: Iterable[str], headers: Iterable[str] = ()) -> None:
        self.origins = frozenset(origin.encode() for origin in origins)
        self.any = ANY_ORIGIN.encode() in self.origins
        self.request_headers = ", ".join(dict.fromkeys([*_REQUEST_HEADERS, *headers])).encode()

    def before(self, scope: MutableMapping[str, Any]) -> Reply | None:
        """Answer a preflight."""
        if scope["type"] != "http" or scope["method"] != "OPTIONS":
            return None
        if _value_of(scope, b"origin") is None or _value_of(scope, b"access-control-request-method") is None:
            return None
        if self.allowed(scope) is None:
            return Reply(204, [])
        fields = [
            (b"access-control-allow-methods", _METHODS),
            (b"access-control-allow-headers", self.request_headers),
            (b"access-control-max-age", _MAX_AGE),
        ]
        return Reply(204, fields)

    def after(self, scope: Mapping[str, Any], status: int, headers: Headers) -> None:  # noqa: ARG002  (the protocol's)
        """Allow the page to read the response, and add `Origin` to `Vary`."""
        exposed = [*_EXPOSED, *_own_words(headers, _EXPOSE_HEADERS)]
        headers[:] = [field for field in headers if field[0].lower() not in _OURS]
        _add_vary(headers, "Origin")
        origin = self.allowed(scope)
        if origin is not None:
            headers.append((_ALLOW_ORIGIN, origin))
            headers.append((_EXPOSE_HEADERS, ", ".join(dict.fromkeys(exposed)).encode("latin-1")))

    def allowed(self, scope: Mapping[str, Any]) -> bytes | None:
        """Return the value of `Access-Control-Allow-Origin`, or None if the origin is not allowed."""
        origin = _value_of(scope, b"origin")
        if origin is None:
            return None
        if self.any:
            return ANY_ORIGIN.encode()
        return origin if origin in self.origins else None


def _value_of(scope: Mapping[str, Any], name: bytes) -> bytes | None:
    """Return a header of the request; None if it is absent or sent twice."""
    values: list[bytes] = [value for field, value in scope["headers"] if field.lower() == name]
    return values[0] if len(values) == 1 else None


def _own_words(headers: Headers, name: bytes) -> list[str]:
    values = [value.decode("latin-1") for field, value in headers if field.lower() == name]
    return [word for value in values for member in value.split(",") if (word := member.strip())]


def _add_vary(headers: Headers, name: str) -> None:
    words = _own_words(headers, b"vary")
    if "*" not in words and name.lower() not in {word.lower() for word in words}:
        headers[:] = [field for field in headers if field[0].lower() != b"vary"]
        headers.append((b"vary", ", ".join([*words, name]).encode("latin-1")))
