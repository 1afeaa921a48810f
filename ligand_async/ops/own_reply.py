"""A reply that the server makes itself: a problem document, and its line in the access log."""

import json
from dataclasses import dataclass
from typing import Any

from uuid_utils.compat import uuid7

from ligand_async.errors import PROBLEM_JSON, problem_for
from ligand_async.ops.access import Access, client_of, path_of

SAFE_HEADERS = (
    (b"cache-control", b"no-store"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-content-type-options", b"nosniff"),
)
DETAILS = {
    400: "the request is not well-formed HTTP",
    408: "the request did not arrive in time",
    414: "the request target is too long",
    431: "the header fields are too long",
    501: "the transfer coding is not supported",
}


@dataclass(frozen=True, slots=True)
class OwnReply:
    """A problem document of the server itself.

    Attributes:
        status: 400 or more.
        request_id: Made for it; no header of the request is believed.
        headers: For any version of HTTP.
        body: The document.
    """

    status: int
    request_id: str
    headers: list[tuple[bytes, bytes]]
    body: bytes

    @classmethod
    def make(cls, status: int, detail: str | None = None) -> "OwnReply":
        """Make the reply.

        Args:
            status: As the server chose it.
            detail: What happened; by default what the status means here.
        """
        identity = str(uuid7())
        problem = problem_for(status, detail or DETAILS.get(status))
        document = problem.document(instance=f"urn:uuid:{identity}", request_id=identity)
        body = json.dumps(document, separators=(",", ":")).encode()
        headers = [
            (b"content-type", PROBLEM_JSON.encode()),
            (b"content-length", b"%d" % len(body)),
            *SAFE_HEADERS,
            (b"x-request-id", identity.encode()),
        ]
        return cls(status, identity, headers, body)

    def write_access(self, client: Any, scope: Any = None) -> None:
        """Write the line of a request that never reached the app into the access log.

        Args:
            client: The peer's address.
            scope: The request's, if it came to be one.
        """
        access = Access(client=client_of(client), status=self.status, request_id=self.request_id, bytes=len(self.body))
        if scope is not None:
            access.method, access.path, access.http_version = "GET", path_of(scope), scope["http_version"]
        access.write()
