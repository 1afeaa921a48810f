"""The management port: health and other pages about the process, on a port of their own.

A blueprint becomes one of these pages with `manage`. Where the server has a management port they are there and nowhere
else; without one they are on the service's own port. Nothing else is served there.
"""

from collections.abc import Mapping
from typing import Any

from quart import Blueprint, Quart, request

from ligand_async.context import state_of
from ligand_async.errors import NotFound
from ligand_async.ops.logs import ASGIApp
from ligand_async.ops.replies import OwnReply

_MARK = "ligand.management"  # the extension of a scope (ASGI) whose connection came to the management port


class ManagementPages:
    """The pages of one app that belong on the management port.

    Attributes:
        is_apart: The server has a management port.
    """

    def __init__(self) -> None:
        self.is_apart = False
        self._blueprints: set[str] = set()

    def add(self, blueprint: Blueprint) -> None:
        """Take in the pages of a blueprint."""
        self._blueprints.add(blueprint.name)

    def paths_of(self, app: Quart) -> frozenset[str]:
        """Return the paths of all pages."""
        rules = app.url_map.iter_rules()
        return frozenset(rule.rule for rule in rules if rule.endpoint.rpartition(".")[0] in self._blueprints)


def manage(app: Quart, blueprint: Blueprint) -> None:
    """Let the pages of a blueprint move to the management port, if the server has one.

    Args:
        app: The app, with which the blueprint will be registered.
        blueprint: Its paths have no variables.
    """
    pages = state_of(app).get_or_make(ManagementPages)
    pages.add(blueprint)

    @blueprint.before_request
    async def check_port() -> None:
        if pages.is_apart and not is_management(request.scope):
            raise NotFound


def is_management(scope: Mapping[str, Any]) -> bool:
    """Return whether a request came to the management port."""
    return _MARK in (scope.get("extensions") or {})


class ManagementPort:
    """The ASGI app of the management port: the pages of an app, and 404 for all else.

    Args:
        app: The app, whose pages are on this port alone from now on.
    """

    def __init__(self, app: Quart) -> None:
        pages = state_of(app).get_or_make(ManagementPages)
        pages.is_apart = True
        self._paths = pages.paths_of(app)
        self._app: ASGIApp = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Serve a request; a websocket is refused."""
        if scope["type"] == "websocket":
            await send({"type": "websocket.close"})
        elif scope["path"] in self._paths:
            extensions = {**(scope.get("extensions") or {}), _MARK: {}}
            await self._app({**scope, "extensions": extensions}, receive, send)
        else:
            reply = OwnReply.make(404, f"the management port has {', '.join(sorted(self._paths))}")
            await send({"type": "http.response.start", "status": reply.status, "headers": reply.headers})
            await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else reply.body})
