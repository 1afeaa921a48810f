"""Paths of URLs, as the most lenient server reads them: it decodes twice, and takes backslashes for slashes."""

import re
from urllib.parse import unquote

_MAX_LAYERS = 8  # of percent-encoding
_REFUSED = re.compile(r"[\x00-\x1f\x7f\\]")
_DOTS = frozenset({".", ".."})


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
