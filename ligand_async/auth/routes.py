"""Every route with who may call it."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from quart import Quart

from ligand_async.auth.access import Access, access_of

WEBSOCKET = "WEBSOCKET"


@dataclass(frozen=True, slots=True)
class Route:
    """One method of one route.

    Attributes:
        path: The rule.
        method: The HTTP method; `WEBSOCKET` for a websocket.
        endpoint: What it is registered as.
        access: Who may call it.
    """

    path: str
    method: str
    endpoint: str
    access: Access

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


def routes_of(app: Quart) -> list[Route]:
    """List the routes of an app, sorted by path and method.

    HEAD is told only where another may call it than GET, and OPTIONS only where a view answers it.

    Raises:
        AccessError: A class and its `decorators` have different marks.
    """
    rules = (rule for rule in app.url_map.iter_rules() if rule.endpoint in app.view_functions and leads_to_a_view(rule))
    return sorted((route for rule in rules for route in routes_of_rule(app, rule)), key=place_of)


def routes_of_rule(app: Quart, rule: Any) -> Iterator[Route]:
    """List the routes of one rule."""
    if rule.websocket:
        yield Route(rule.rule, WEBSOCKET, rule.endpoint, access_of(app, rule.endpoint, "GET"))
        return
    for method in rule.methods or ():
        access = access_of(app, rule.endpoint, method)
        is_get = method == "HEAD" and "GET" in rule.methods and access == access_of(app, rule.endpoint, "GET")
        if not is_get and not (method == "OPTIONS" and rule.provide_automatic_options):
            yield Route(rule.rule, method, rule.endpoint, access)


def leads_to_a_view(rule: Any) -> bool:
    """Tell whether a request can reach a view by a rule."""
    return not rule.build_only and rule.redirect_to is None


def place_of(route: Route) -> tuple[str, str, str]:
    """Return what a list of routes is sorted by."""
    return route.path, route.method, route.endpoint
