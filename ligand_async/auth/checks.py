"""Checks at start that access marks hold: on registered functions, with names that exist."""

import inspect
import sys
from collections.abc import Iterator, Set
from difflib import get_close_matches
from itertools import chain
from types import FunctionType, MethodType
from typing import Any

from quart import Blueprint, Quart
from quart.views import MethodView

from ligand_async.auth.access import AccessError, Route, access_of, check_class, routes_of
from ligand_async.auth.enforcement import enforcement_of
from ligand_async.context import service_of
from ligand_async.marks import (
    AccessMark,
    access_mark,
    behind,
    copied_from,
    is_registered,
    marked_for_access,
    marks_around,
)
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
_REMEDY = "put the route's decorator on top of all others"


def _lost_marks(app: Quart) -> Iterator[str]:
    """List the access marks that have no effect because what has them is never called, each with what to do.

    Three kinds: a decorator above the route's has made another function, and the mark is on that one; a method without
    a mark overrides one with a mark; or the marked function was never registered. The last is reported only for
    globals of a module that also has this app or one of its blueprints: anything else may belong to another app of the
    process. A mark that a decorator hides from the route needs no check: it decides when it is called.
    """
    handlers = {endpoint: [*_handlers_of(view)] for endpoint, view in app.view_functions.items()}
    registered = {id(found) for handler in chain.from_iterable(handlers.values()) for found in copied_from(handler)}
    told: set[int] = set()
    for endpoint in handlers:
        for marked, mark in _marks_above(app, endpoint, registered):
            told.add(id(marked))
            yield (
                f"{endpoint}: the mark {mark} is on a function that is not the registered one; {_REMEDY}, and let your "
                "own decorators use functools.wraps"
            )
        yield from _overriding(app, endpoint)
    for name, marked in _never_registered(app, registered):
        if id(marked) not in told:
            yield (
                f"{name}: it has the mark {access_mark(marked)} and is not registered as a route; "
                f"{_REMEDY}, register it, or remove the mark"
            )


def _handlers_of(view: Any) -> Iterator[Any]:
    """Yield a view; for a view of a class, a method or an instance also the functions and bases of the class."""
    yield view
    for base in getattr(_class_of(view), "__mro__", ()):
        yield base
        yield from (getattr(found, "__func__", found) for found in vars(base).values() if callable(found))


def _class_of(view: Any) -> type | None:
    """Return the class of a view, of the object whose method it is, or of the instance that it is."""
    view_class: type | None = getattr(view, "view_class", None)
    if view_class is not None or type(view) is FunctionType:
        return view_class
    if type(view) is MethodType:
        return view.__self__ if isinstance(view.__self__, type) else type(view.__self__)
    return type(view)


def _marks_above(app: Quart, endpoint: str, registered: Set[int]) -> Iterator[tuple[Any, AccessMark]]:
    """Find marks on what was made around a view after it was registered, and is itself registered nowhere."""
    view = app.view_functions[endpoint]
    decided = [mark for method in _methods_of(app, endpoint) for mark in access_of(app, endpoint, method).marks]
    for marked, mark in marks_around(view):
        if id(marked) in registered or is_registered(mark) or any(mark.says_the_same(one) for one in decided):
            continue
        # A blueprint beside it may wait for another app of the process.
        module = sys.modules.get(getattr(view, "__module__", None) or "")
        waiting = (one for owner in [*vars(module).values()] for one in _views_of(owner)) if module else ()
        if marked is None or not any(one is marked for one in waiting):
            yield marked, mark


def _methods_of(app: Quart, endpoint: str) -> set[str]:
    return {method for rule in app.url_map.iter_rules(endpoint) for method in rule.methods or ("GET",)}


def _overriding(app: Quart, endpoint: str) -> Iterator[str]:
    """List the methods of a route without a mark that override one with a mark."""
    view = app.view_functions[endpoint]
    cls = _class_of(view)
    if cls is None:
        return
    for method in sorted(_methods_of(app, endpoint)):
        if getattr(view, "view_class", None) is None:
            name = getattr(view, "__name__", "__call__") if type(view) is MethodType else "__call__"
        else:
            name = "get" if method == "HEAD" and not hasattr(cls, "head") else method.lower()
            name = name if issubclass(cls, MethodView) else "dispatch_request"
        yield from _overridden(app, endpoint, method, cls, name)
        if name == "head":
            yield from _weaker_head(app, endpoint, cls)


def _weaker_head(app: Quart, endpoint: str, cls: type) -> Iterator[str]:
    """List a `head` without a mark that stands in the place of a `get` with one, which would answer HEAD without it."""
    get = inspect.getattr_static(cls, "get", None)
    mark = access_mark(getattr(get, "__func__", get))
    if mark is not None and access_of(app, endpoint, "HEAD") != access_of(app, endpoint, "GET"):
        head = inspect.getattr_static(cls, "head", None)
        if access_mark(getattr(head, "__func__", head)) is None:
            name = cls.__qualname__
            yield f"{endpoint}: {name}.head stands for get, which has the mark {mark}, and has none; add one"


def _overridden(app: Quart, endpoint: str, method: str, cls: type, name: str) -> Iterator[str]:
    above = None
    for base in cls.__mro__:
        found = vars(base).get(name)
        mark = access_mark(getattr(found, "__func__", found))
        if found is not None and mark is not None and above is not None:
            access = access_of(app, endpoint, method)
            if access.requirement != mark.requirement or access.is_public != (mark.requirement is None):
                yield (
                    f"{endpoint}: {above.__qualname__}.{name} overrides {base.__qualname__}.{name}, which has the mark "
                    f"{mark}, and has none of its own; add one"
                )
        if mark is not None or (found is not None and access_mark(base, own=True) is not None):
            return
        above = base if found is not None and above is None else above


def _never_registered(app: Quart, registered: Set[int]) -> Iterator[tuple[str, Any]]:
    """Find what is marked beside this app or one of its blueprints, and is not part of any view there."""
    modules = {owner.import_name: owner for owner in (app, *app.blueprints.values()) if _is_global(owner)}
    suspects = [
        (f"{module}.{name}", found)
        for module in modules
        for name, found in _definitions_in(module)
        if found in marked_for_access and not any(id(one) in registered for one in copied_from(found))
    ]
    if not suspects:
        return
    owners = [app, *(found for name in modules for found in vars(sys.modules[name]).values())]
    handlers = (handler for owner in owners for view in _views_of(owner) for handler in _handlers_of(view))
    known = {id(found) for handler in handlers for found in [handler, *behind(handler)]}
    yield from ((name, found) for name, found in suspects if not any(id(one) in known for one in copied_from(found)))


def _definitions_in(module: str) -> Iterator[tuple[str, Any]]:
    """Yield the functions and classes of a module, and the functions of its classes; what it imports is left out."""
    for name, found in [*vars(sys.modules[module]).items()]:
        kind = type(found)
        if kind is FunctionType and found.__module__ == module and _LOCAL not in found.__qualname__:
            yield name, found
        elif issubclass(kind, type) and found.__module__ == module:
            yield name, found
            for own, function in [*vars(found).items()]:
                inner = function.__func__ if type(function) in {staticmethod, classmethod} else function
                if type(inner) is FunctionType:
                    yield f"{name}.{own}", inner


def _is_global(owner: Any) -> bool:
    # An app that is not a global of its module may have been made by a factory, and the marks belong to another app.
    module = sys.modules.get(owner.import_name)
    return module is not None and any(found is owner for found in vars(module).values())


def _views_of(found: Any) -> Iterator[Any]:
    """Yield the views of an app or a blueprint; nothing for any other object, which is not touched."""
    if issubclass(type(found), Quart):
        yield from found.view_functions.values()
    elif issubclass(type(found), Blueprint):
        for deferred in found.deferred_functions:
            yield from (one for one in behind(deferred) if callable(one))
        for nested, _ in found._blueprints:  # no public accessor in Quart 0.22
            yield from _views_of(nested)
