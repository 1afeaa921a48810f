"""A test client that raises what nothing handled: `app.test_client(raise_unhandled=True)`."""

from types import new_class
from typing import Any

from quart import Quart

from ligand_async.web.unfailing import unhandled_var


class RaisingClient:
    """Mixed into the app's own test client."""

    def __init__(self, app: Quart, use_cookies: bool = True, *, raise_unhandled: bool = False, **options: Any) -> None:
        super().__init__(app, use_cookies=use_cookies, **options)  # type: ignore[call-arg]  # a mixin of Quart's client
        self.raise_unhandled = raise_unhandled

    async def _make_request(self, *arguments: Any, **named: Any) -> Any:
        if not self.raise_unhandled:
            return await super()._make_request(*arguments, **named)  # type: ignore[misc]  # the same
        unhandled: list[BaseException] = []
        token = unhandled_var.set(unhandled)  # the request runs in a task that inherits it
        try:
            response = await super()._make_request(*arguments, **named)  # type: ignore[misc]  # the same
        finally:
            unhandled_var.reset(token)
        if unhandled:
            raise unhandled[0]
        return response


def init_test_client(app: Quart) -> None:
    """Let the test client of an app raise on demand."""
    app.test_client_class = new_class("TestClient", (RaisingClient, app.test_client_class))
