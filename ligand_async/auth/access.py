"""The access of routes: the nearest access decorator decides; without one a principal is needed."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from quart import Quart

from ligand_async.marks import AccessMark, access_mark, marks_of, owners_of
from ligand_async.principal import Requirement


class AccessError(RuntimeError):
    """The access rules of an app are contradictory, or cannot be enforced."""


@dataclass(frozen=True, slots=True)
class Access:
    """The access rule of a route.

    Attributes:
        is_public: Whether anyone may call it, authenticated or not.
        requirement: The requirement on the principal; None if any principal may call it.
        marks: The marks of all that the route leads to, the one that decides and those that it outweighs.
    """

    is_public: bool = False
    requirement: Requirement | None = None
    marks: frozenset[AccessMark] = field(default=frozenset(), compare=False, repr=False)

    def __str__(self) -> str:
        if self.is_public:
            return "anyone"
        return "any principal" if self.requirement is None else str(self.requirement)


_ANYONE = Access(is_public=True)
_ANY_PRINCIPAL = Access()


def access_of(app: Quart, endpoint: str, method: str) -> Access:
    """Return the access rule of a route.

    Args:
        app: The app.
        endpoint: The route's endpoint.
        method: The HTTP method in capitals; GET for a websocket.

    Raises:
        AccessError: A class and its `decorators` have different access decorators.
    """
    view = app.view_functions[endpoint]
    check_class(view)
    marks = [mark for _, owner in owners_of(app, endpoint, method) for mark in marks_of(owner)]
    if marks:
        return Access(marks[0].requirement is None, marks[0].requirement, frozenset(marks))
    return _ANYONE if _is_static(view) else _ANY_PRINCIPAL


def check_class(view: Any) -> None:
    """Refuse the view of a class with two access decorators, one on the class and one in its `decorators`.

    Either may be inherited, so neither is the nearer one.

    Raises:
        AccessError: The class has two.
    """
    view_class = getattr(view, "view_class", None)
    of_class, of_view = access_mark(view_class), access_mark(view)
    if view_class is None or of_class is None or of_view is None:
        return
    if not of_class.says_the_same(of_view):
        raise AccessError(
            f"{view_class.__qualname__} has two access decorators, one on the class and one in `decorators`; keep one"
        )


def _is_static(view: Any) -> bool:
    # Quart's own view, which sends the files of a static folder.
    return getattr(view, "__name__", "") == "send_static_file" and getattr(view, "__module__", "").startswith("quart.")


_WEBSOCKET = "WEBSOCKET"


@dataclass(frozen=True, slots=True)
class Route:
    """One method of one route.

    Attributes:
        path: The rule.
        method: The HTTP method; `_WEBSOCKET` for a websocket.
        endpoint: The name that it is registered under.
        access: Its access rule.
    """

    path: str
    method: str
    endpoint: str
    access: Access

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


def routes_of(app: Quart) -> list[Route]:
    """List the routes of an app, sorted by path and method.

    HEAD is listed only if its access differs from that of GET, and OPTIONS only if a view answers it.

    Raises:
        AccessError: A class and its `decorators` have different access decorators.
    """
    rules = (
        rule for rule in app.url_map.iter_rules() if rule.endpoint in app.view_functions and _leads_to_a_view(rule)
    )
    return sorted((route for rule in rules for route in _routes_of_rule(app, rule)), key=_place_of)


def _routes_of_rule(app: Quart, rule: Any) -> Iterator[Route]:
    if rule.websocket:
        yield Route(rule.rule, _WEBSOCKET, rule.endpoint, access_of(app, rule.endpoint, "GET"))
        return
    for method in rule.methods or ():
        access = access_of(app, rule.endpoint, method)
        is_get = method == "HEAD" and "GET" in rule.methods and access == access_of(app, rule.endpoint, "GET")
        if not is_get and not (method == "OPTIONS" and rule.provide_automatic_options):
            yield Route(rule.rule, method, rule.endpoint, access)


def _leads_to_a_view(rule: Any) -> bool:
    return not rule.build_only and rule.redirect_to is None


def _place_of(route: Route) -> tuple[str, str, str]:
    return route.path, route.method, route.endpoint
