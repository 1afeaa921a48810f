"""The files that the docs page loads: Swagger UI's and our own, from the package."""

import hashlib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

MEDIA_TYPES = {
    "favicon-32x32.png": "image/png",
    "init.js": "text/javascript; charset=utf-8",
    "oauth2-redirect.html": "text/html; charset=utf-8",
    "oauth2-redirect.js": "text/javascript; charset=utf-8",
    "page.css": "text/css; charset=utf-8",
    "swagger-ui-bundle.js": "text/javascript; charset=utf-8",
    "swagger-ui.css": "text/css; charset=utf-8",
}


@dataclass(frozen=True, slots=True)
class Asset:
    """One file.

    Attributes:
        content: Its bytes.
        media_type: Its `Content-Type`.
        digest: What its content is known by; a new content has a new address.
    """

    content: bytes
    media_type: str
    digest: str


@cache
def load_asset(name: str) -> Asset:
    """Read a file of the package, once per process.

    Raises:
        KeyError: There is no such asset; a name with a path in it is none either.
    """
    media_type = MEDIA_TYPES[name]
    content = (files(__package__) / "assets" / name).read_bytes()
    return Asset(content, media_type, hashlib.sha256(content).hexdigest()[:16])


def address_of(name: str) -> str:
    """Return where the page finds an asset, relative to the page."""
    return f"docs/{name}?v={load_asset(name).digest}"
