"""The replies that the server makes itself, for what never becomes a request of the app: problem documents."""

from dataclasses import dataclass
from typing import Any, TypeGuard

from hypercorn.protocol.events import Event, Response
from hypercorn.protocol.ws_stream import WSStream
from uuid_utils.compat import uuid7

from ligand_async.draining import RETRY_AFTER
from ligand_async.errors import PROBLEM_JSON, SECURITY_HEADERS, problem_bytes, problem_for
from ligand_async.ops.logs import Access, client_of, path_of

_DETAILS = {
    400: "the request is not well-formed HTTP",
    408: "the request did not arrive in time",
    414: "the request target is too long",
    431: "the header fields are too long",
    501: "the transfer coding is not supported",
    503: "the service is stopping",
    505: "HTTP/2 is not served without TLS here",
}


@dataclass(frozen=True, slots=True)
class OwnReply:
    """A problem document of the server itself.

    Attributes:
        status: 400 or more.
        request_id: A new one; that of the request's header is not used.
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
            status: The server's status.
            detail: The problem's detail; by default the one that belongs to the status.
        """
        identity = str(uuid7())
        problem = problem_for(status, detail or _DETAILS.get(status))
        body = problem_bytes(problem, request_id=identity)
        headers = [
            (b"content-type", PROBLEM_JSON.encode()),
            (b"content-length", b"%d" % len(body)),
            (b"cache-control", b"no-store"),
            *SECURITY_HEADERS,
            (b"x-request-id", identity.encode()),
        ]
        if status == 503:
            headers.append((b"retry-after", RETRY_AFTER.encode()))
        return cls(status, identity, headers, body)

    def write_access(self, client: Any, scope: Any = None) -> None:
        """Write a line to the access log for a request that never reached the app.

        Args:
            client: The peer's address.
            scope: The request's scope, if one was made.
        """
        access = Access(client=client_of(client), status=self.status, request_id=self.request_id, bytes=len(self.body))
        if scope is not None:
            access.method, access.path, access.http_version = "GET", path_of(scope), scope["http_version"]
        access.write()


_OWN_HEADERS = [(b"content-length", b"0"), (b"connection", b"close")]  # only hypercorn's own replies have exactly these
_BAD_HANDSHAKE = "the websocket handshake is not valid"


def is_own(event: Event) -> TypeGuard[Response]:
    """Return whether an event is a reply without a body that hypercorn made itself."""
    return isinstance(event, Response) and event.headers == _OWN_HEADERS


def reply_in_place_of(event: Response, stream: Any, client: Any) -> OwnReply:
    """Return the reply to send in the place of hypercorn's own.

    It logs a websocket that never reached the app, which the access log misses.
    """
    if not isinstance(stream, WSStream) or stream.app_put is not None:
        return OwnReply.make(event.status_code)
    reply = OwnReply.make(event.status_code, _BAD_HANDSHAKE)
    reply.write_access(client, stream.scope)
    return reply
