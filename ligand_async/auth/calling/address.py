"""Where another service is: addresses and paths that lead there and nowhere else."""

import re
from urllib.parse import urlsplit

PATH = re.compile(r"/(?!/)[^\x00-\x20\x7f\\?#]*")
DOTS = re.compile(r"/(?:\.|%2e){1,2}(?:/|$)", re.IGNORECASE)


def checked_base_url(base_url: str) -> str:
    """Return the address of a service without a slash at its end.

    Raises:
        ValueError: It is none, or holds more than one; it is not repeated, as it may hold a password.
    """
    try:
        url = urlsplit(base_url)
        whole = url.scheme in {"http", "https"} and bool(url.hostname) and url.port != 0 and url.username is None
    except ValueError:
        whole = False
    if not whole or not base_url.isprintable() or any(mark in base_url for mark in "?#\\ "):
        raise ValueError("base_url: write it as https://host or https://host:port/path, no user, query or fragment")
    return base_url.rstrip("/")


def checked_path(path: str) -> str:
    """Return a path that stays below the address of its service.

    Raises:
        ValueError: It would lead elsewhere; it is not repeated, as a part of it may have been sent.
    """
    if not PATH.fullmatch(path) or DOTS.search(path):
        raise ValueError(
            "path: begin it with one slash, give the query as params, and quote its variables by "
            "urllib.parse.quote(value, safe='')"
        )
    return path
