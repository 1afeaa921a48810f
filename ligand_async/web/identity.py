"""The id of each request: taken from the caller where it is sane, made here otherwise, and sent back."""

import re
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from uuid_utils.compat import uuid7

from ligand_async.context import request_id_var

Message = MutableMapping[str, Any]
ASGIApp = Callable[[Any, Callable[[], Awaitable[Any]], Callable[[Any], Awaitable[None]]], Awaitable[None]]

HEADER = b"x-request-id"
SANE = re.compile(rb"[A-Za-z0-9._~:/+=@-]{1,128}")


class RequestIdentity:
    """The outermost ASGI layer: names the request before anything else sees it."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Serve one request under its id."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        identity = identify(scope["headers"])

        async def send_with_id(message: Any) -> None:
            if message["type"] in {"http.response.start", "websocket.http.response.start"}:
                others = [field for field in message["headers"] if field[0].lower() != HEADER]
                message = {**message, "headers": [*others, (HEADER, identity.encode())]}
            await send(message)

        token = request_id_var.set(identity)
        try:
            await self.app(scope, receive, send_with_id)
        finally:
            request_id_var.reset(token)


def identify(headers: Any) -> str:
    """Return the caller's `X-Request-ID` if it is plain and short, else a new UUIDv7."""
    for name, value in headers:
        if name.lower() == HEADER and SANE.fullmatch(value):
            return str(value, "ascii")
    return str(uuid7())
