"""One request to one handler, without a database."""

import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from quart import Quart
from werkzeug.datastructures import Headers

from tests.shop import make_app, routes, running

NEVER_OPENED = "sqlite+aiosqlite:///never-opened.db"

View = Callable[..., Awaitable[Any]]


@dataclass(frozen=True)
class Answer:
    """What came back."""

    status: int
    headers: Headers
    raw: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.raw)

    @property
    def errors(self) -> list[tuple[str, str]]:
        """What was refused and why: (place, code)."""
        places = ("pointer", "parameter", "header", "cookie")
        return [(next(part[place] for place in places if place in part), part["code"]) for part in self.json["errors"]]


def app_of(*views: tuple[str, str, View], **more: Any) -> Quart:
    """Make an app of (method, rule, view), without a database."""
    return make_app(NEVER_OPENED, routes(*views), database=None, **more)


async def send(app: Quart, method: str, path: str, **request: Any) -> Answer:
    """Start an app, send one request to it, and stop it."""
    async with running(app, tables=False) as client:
        response = await client.open(path, method=method, **request)
        raw = await response.get_data(as_text=False)
        return Answer(response.status_code, response.headers, raw if isinstance(raw, bytes) else raw.encode())


async def ask(view: View, path: str = "/", *, rule: str | None = None, method: str = "GET", **request: Any) -> Answer:
    """Send one request to one view."""
    return await send(app_of((method, rule or path.partition("?")[0], view)), method, path, **request)


async def post_json(view: View, raw: bytes | str, content_type: str | None = "application/json", **more: str) -> Answer:
    """Post a body to one view."""
    headers = {"Content-Type": content_type, **more} if content_type else more
    return await ask(view, method="POST", data=raw, headers=headers)
