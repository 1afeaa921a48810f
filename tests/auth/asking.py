"""A service with a route of each kind, and who asks it."""

import asyncio
from collections.abc import Callable
from typing import Any

from quart import Blueprint, Quart, g

from ligand_async import (
    claim,
    current_principal,
    operation,
    public,
    requires,
    role,
    scope,
)
from tests.auth.guarding import bearer, guarded
from tests.services import Answer, send

REALM = 'Bearer realm="Shop"'


@operation
async def tell() -> dict[str, Any]:
    """Tell who is calling, in every way that a handler can ask."""
    principal = current_principal()
    return {"current": principal and principal.subject, "g": g.principal and g.principal.subject}


def app_of(**more: Any) -> Quart:
    """Make a service with a route of each kind."""
    blueprint = Blueprint("pets", __name__)
    marks: dict[str, Callable[[Any], Any]] = {
        "open": public,
        "closed": lambda view: view,
        "admin": requires(role("admin")),
        "writer": requires(role("admin") | scope("pets:write")),
        "both": requires(scope("pets:write") & scope("pets:delete") & ~scope("pets:suspended")),
        "acme": requires(claim("tenant", "acme")),
    }
    for name, mark in marks.items():

        async def view() -> Any:
            return await tell()

        blueprint.add_url_rule(f"/{name}", name, mark(view), methods=["GET", "POST"])
    return guarded(blueprint, **more)


async def get(app: Quart, path: str, word: str | None = None, **headers: str) -> Answer:
    """Ask as somebody."""
    return await send(app, "GET", path, headers={**bearer(word), **headers})


async def hang(*_: Any) -> Any:
    await asyncio.sleep(60)
