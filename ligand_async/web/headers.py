"""The headers that make every answer safe to receive, whoever made it."""

from collections.abc import Mapping, MutableMapping
from typing import Any

from ligand_async.web.stages import Headers, Reply

ALWAYS = (
    (b"x-content-type-options", b"nosniff"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
)
TRANSPORT = (b"strict-transport-security", b"max-age=31536000; includeSubDomains")
NO_STORE = (b"cache-control", b"no-store")
REVALIDATE = (b"cache-control", b"private, no-cache")


class SecurityHeaders:
    """The stage that adds what an answer does not say itself, and takes away the name of the server.

    What a handler sets stays: the docs page has a policy and a caching of its own. There is no
    `Cross-Origin-Opener-Policy`: it means something on pages only, and the docs page must keep the window that opened
    its sign-in.
    """

    def before(self, scope: MutableMapping[str, Any]) -> Reply | None:  # noqa: ARG002  (the protocol's signature)
        """Let every request through."""
        return None

    def after(self, scope: Mapping[str, Any], status: int, headers: Headers) -> None:  # noqa: ARG002  (the same)
        """Complete the headers of an answer."""
        headers[:] = [field for field in headers if field[0].lower() != b"server"]
        present = {name.lower() for name, _ in headers}
        wanted = [*ALWAYS, REVALIDATE if b"etag" in present else NO_STORE]
        if scope.get("scheme") == "https":
            wanted.append(TRANSPORT)
        headers.extend(field for field in wanted if field[0] not in present)
