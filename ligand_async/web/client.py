"""`LigandClient`, the test client of the app."""

from contextvars import ContextVar
from typing import Any

from quart import Quart, Response
from quart.testing import QuartClient
from quart.testing.connections import TestHTTPConnection

unhandled_var: ContextVar[list[BaseException] | None] = ContextVar("ligand_unhandled", default=None)
"""Where a test client collects the exceptions that no error handler took."""


class ResponseCut(Exception):
    """A response that ended before its body did: the stream failed, or its time was up. The log has the reason."""


class _WatchingConnection(TestHTTPConnection):
    """Raises for a response that was cut; Quart's returns it like a whole one."""

    is_whole = False

    async def _asgi_send(self, message: Any) -> None:
        self.is_whole = self.is_whole or (message["type"] == "http.response.body" and not message.get("more_body"))
        await super()._asgi_send(message)

    async def as_response(self) -> Response:
        """Return the whole response.

        Raises:
            ResponseCut: The app has ended, and the end of the body was not sent.
        """
        response = await super().as_response()
        if not self.is_whole:
            raise ResponseCut(f"{self.scope['method']} {self.scope['path']}: the body of the response was cut")
        return response


class LigandClient(QuartClient):
    """Raises exceptions that no error handler took, if asked to; Quart's does so only with PROPAGATE_EXCEPTIONS.

    It also raises `ResponseCut`, and offers the subprotocols of a websocket.
    """

    http_connection_class = _WatchingConnection

    def __init__(self, app: Quart, use_cookies: bool = True, *, raise_unhandled: bool = False, **options: Any) -> None:
        super().__init__(app, use_cookies=use_cookies, **options)
        self.raise_unhandled = raise_unhandled

    def websocket(
        self,
        path: str,
        *,
        subprotocols: list[str] | None = None,
        scope_base: dict[str, Any] | None = None,
        **options: Any,
    ) -> Any:
        """Open a websocket that offers subprotocols; Quart's drops them.

        Args:
            path: The path.
            subprotocols: The subprotocols.
            scope_base: Members of the scope.
            **options: Further options of `QuartClient.websocket`.
        """
        base = {**(scope_base or {}), **({"subprotocols": subprotocols} if subprotocols else {})}
        return super().websocket(path, scope_base=base, **options)

    async def _make_request(self, *arguments: Any, **named: Any) -> Any:
        if not self.raise_unhandled:
            return await super()._make_request(*arguments, **named)
        unhandled: list[BaseException] = []
        token = unhandled_var.set(unhandled)  # the request runs in a task that inherits it
        try:
            response = await super()._make_request(*arguments, **named)
        finally:
            unhandled_var.reset(token)
        if unhandled:
            raise unhandled[0]
        return response
