"""Checks at start that access marks hold: on registered functions, with names that exist."""

import sys
from collections.abc import Iterable, Iterator
from difflib import get_close_matches
from itertools import chain
from types import FunctionType
from typing import Any

from quart import Blueprint, Quart

from ligand_async.auth.access import AccessError, Route, check_class, routes_of
from ligand_async.auth.enforcement import enforcement_of
from ligand_async.context import service_of
from ligand_async.marks import AccessMark, access_mark, behind, copied_from, marked_around, marked_for_access
from ligand_async.principal import HasRole
from ligand_async.settings import Settings

_STRICT = frozenset({"prod", "stage"})


def check_access(app: Quart) -> None:
    """Refuse to start an app with a lost access decorator, an unknown role, or a route that nobody can call.

    Raises:
        AccessError: There are such mistakes; it lists them all, each with what to do.
    """
    mistakes = [*_torn_classes(app)]
    if not mistakes:  # else the routes have no definite access
        routes = routes_of(app)
        mistakes += [*_lost_marks(app), *_unknown_roles(routes, service_of(app).settings), *_unreachable(app, routes)]
    if mistakes:
        raise AccessError("the access rules of this app cannot be enforced:\n  " + "\n  ".join(sorted(set(mistakes))))


def _torn_classes(app: Quart) -> Iterator[str]:
    for view in app.view_functions.values():
        try:
            check_class(view)
        except AccessError as error:
            yield str(error)


def _unknown_roles(routes: list[Route], settings: Settings) -> Iterator[str]:
    allowed = settings.allowed_roles
    if not allowed:
        return
    variable = settings.vocabulary().variable("allowed_roles")
    for route in routes:
        parts = route.access.requirement.parts() if route.access.requirement is not None else ()
        for name in sorted({part.name for part in parts if isinstance(part, HasRole)} - {*allowed}):
            near = get_close_matches(name, allowed, n=1)
            hint = f"did you mean {near[0]}?" if near else f"add it to {variable}, which has {', '.join(allowed)}"
            yield f"{route} ({route.endpoint}): there is no role {name}; {hint}"


def _unreachable(app: Quart, routes: list[Route]) -> Iterator[str]:
    """List the routes that need a principal, in an app without authenticators."""
    settings = service_of(app).settings
    if settings.environment not in _STRICT or enforcement_of(app).authenticators:
        return
    variable = settings.vocabulary().variable("oidc_issuer")
    for route in routes:
        if not route.access.is_public:
            yield (
                f"{route} ({route.endpoint}) needs a principal, and the app has no authenticator; "
                f"set {variable}, give create_app() authenticators, or mark the route @public"
            )


_LOCAL = "<locals>"


def _lost_marks(app: Quart) -> Iterator[str]:
    """List the access marks that have no effect in this app, each with what to do.

    Three kinds: a decorator without `functools.wraps` hides the mark of what is below it; a decorator above the route's
    has made another function, and the mark is on that one; or the marked function was never registered at all. The
    last is reported only for globals of a module that also has this app or one of its blueprints: anything else may
    belong to another app of the process.
    """
    handlers = {endpoint: [*_handlers_of(view)] for endpoint, view in app.view_functions.items()}
    registered = _Registered(chain.from_iterable(handlers.values()))
    told: set[int] = set()
    for endpoint, handler in ((endpoint, handler) for endpoint, found in handlers.items() for handler in found):
        for marked, mark in [*_marked_below(handler, registered), *_marked_above(handler, registered)]:
            told.add(id(marked))
            yield (
                f"{endpoint}: the mark {mark} is on a function that is not the registered one; put the route's "
                "decorator on top of all others, and let your own decorators use functools.wraps"
            )
    for marked in _never_registered(app, registered):
        if id(marked) not in told:
            name = f"{marked.__module__}.{marked.__qualname__}"
            yield (
                f"{name}: it has the mark {access_mark(marked)} and is not registered as a route; "
                "put the route's decorator on top of all others, register it, or remove the mark"
            )


def _handlers_of(view: Any) -> Iterator[Any]:
    """Yield a view; for a view of a class also the functions and bases of the class."""
    yield view
    view_class = getattr(view, "view_class", None)
    for base in view_class.__mro__ if view_class is not None else ():
        yield base
        yield from (getattr(found, "__func__", found) for found in vars(base).values() if callable(found))


class _Registered:
    """The functions registered with an app: handlers, and those that their decorators kept by `functools.wraps`."""

    def __init__(self, handlers: Iterable[Any]) -> None:
        self._ids = {id(found) for handler in handlers for found in copied_from(handler)}

    def __contains__(self, found: Any) -> bool:
        return id(found) in self._ids


def _marked_below(handler: Any, registered: _Registered) -> Iterator[tuple[Any, AccessMark]]:
    """Find marks that a handler's decorators hide."""
    kept = {id(found) for found in copied_from(handler)}
    for found in behind(handler):
        mark = access_mark(found)
        if mark not in (None, access_mark(handler)) and (id(found) in kept or found not in registered):
            yield found, mark


def _marked_above(handler: Any, registered: _Registered) -> Iterator[tuple[Any, AccessMark]]:
    """Find marks on functions that were made around a handler after it was registered."""
    for reference, mark in marked_around.get(handler, ()) if isinstance(handler, FunctionType) else ():
        marked = reference()  # gone by now, where a factory has dropped it
        if mark == access_mark(handler) or marked in registered:
            continue
        if _LOCAL in handler.__qualname__ or _is_known(marked, handler):
            yield marked, mark


def _is_known(marked: Any, definition: Any) -> bool:
    """Return whether a module still has the marked object under the name that it was defined by.

    If not, it may be left over from another app of the process, and not collected yet.
    """
    found: Any = sys.modules.get(definition.__module__)
    for name in definition.__qualname__.split("."):
        found = getattr(found, name, None)
    return any(one is marked for one in [found, *behind(found)])


def _never_registered(app: Quart, registered: _Registered) -> Iterator[Any]:
    """Find what is marked beside this app or one of its blueprints, and is not part of any view there."""
    modules = {owner.import_name: owner for owner in (app, *app.blueprints.values()) if _is_global(owner)}
    suspects = [
        marked
        for marked in marked_for_access
        if isinstance(marked, FunctionType | type)
        and marked.__module__ in modules
        and marked not in registered
        and _is_known(marked, marked)
    ]
    if not suspects:
        return
    owners = [app, *(found for name in modules for found in vars(sys.modules[name]).values())]
    handlers = (handler for owner in owners for view in _views_of(owner) for handler in _handlers_of(view))
    known = {id(found) for handler in handlers for found in [handler, *behind(handler)]}
    yield from (marked for marked in suspects if id(marked) not in known)


def _is_global(owner: Any) -> bool:
    # An app that is not a global of its module may have been made by a factory, and the marks belong to another app.
    module = sys.modules.get(owner.import_name)
    return module is not None and any(found is owner for found in vars(module).values())


def _views_of(found: Any) -> Iterator[Any]:
    """Yield the views of an app or a blueprint; nothing for any other object."""
    if isinstance(found, Quart):
        yield from found.view_functions.values()
    elif isinstance(found, Blueprint):
        for deferred in found.deferred_functions:
            yield from behind(deferred)
        for nested, _ in found._blueprints:  # no public accessor in Quart 0.22
            yield from _views_of(nested)
