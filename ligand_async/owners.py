"""What may carry a mark for a route: its method, its class, its view, its blueprints; the nearest decides."""

from collections.abc import Callable, Iterator
from typing import Any

from quart import Quart
from quart.views import MethodView


def owners_of(app: Quart, endpoint: str, method: str) -> Iterator[tuple[str, Any]]:
    """Yield what may carry a mark for a route, the nearest first, each with a name of its own.

    Args:
        app: The app.
        endpoint: The route's endpoint, such as `pets.list_pets`.
        method: The HTTP method in capitals; what answers HEAD is what answers GET, where nothing else does.
    """
    view: Callable[..., Any] = app.view_functions[endpoint]
    view_class = getattr(view, "view_class", None)
    if view_class is not None:
        if issubclass(view_class, MethodView):
            own = getattr(view_class, method.lower(), None)
            if own is None and method == "HEAD":
                own, method = getattr(view_class, "get", None), "GET"
            yield f"{endpoint}.{method.lower()}", own
        yield endpoint, view_class.dispatch_request
        yield endpoint, view_class
    yield endpoint, view
    names = endpoint.split(".")[:-1]
    for depth in range(len(names), 0, -1):
        path = ".".join(names[:depth])
        yield path, app.blueprints.get(path)
