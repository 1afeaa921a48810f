"""Who may call a route: its nearest mark decides, and without one a principal is needed."""

from dataclasses import dataclass
from typing import Any

from quart import Quart

from ligand_async.marks import access_mark, owners_of
from ligand_async.principal import Requirement


class AccessError(RuntimeError):
    """Who may call a route is not said, or not in a way that holds."""


@dataclass(frozen=True, slots=True)
class Access:
    """Who may call a route.

    Attributes:
        is_public: Whether anyone may, authenticated or not.
        requirement: What a principal must be; None where any will do.
    """

    is_public: bool = False
    requirement: Requirement | None = None

    def __str__(self) -> str:
        if self.is_public:
            return "anyone"
        return "any principal" if self.requirement is None else str(self.requirement)


ANYONE = Access(is_public=True)
ANY_PRINCIPAL = Access()


def access_of(app: Quart, endpoint: str, method: str) -> Access:
    """Decide who may call a route.

    Args:
        app: The app.
        endpoint: The route's endpoint.
        method: The HTTP method in capitals; a websocket's is GET.

    Raises:
        AccessError: A class and its `decorators` have different marks.
    """
    view = app.view_functions[endpoint]
    check_class(view)
    for _, owner in owners_of(app, endpoint, method):
        mark = access_mark(owner)
        if mark is not None:
            return Access(mark.requirement is None, mark.requirement)
    return ANYONE if is_static(view) else ANY_PRINCIPAL


def check_class(view: Any) -> None:
    """Refuse a class of which one mark is its own and another is in its `decorators`: either may be an inherited one.

    Raises:
        AccessError: It is such a class's view.
    """
    view_class = getattr(view, "view_class", None)
    of_class, of_view = access_mark(view_class), access_mark(view)
    if view_class is not None and of_class is not None and of_view not in (None, of_class):
        raise AccessError(
            f"{view_class.__qualname__} has two marks of who may call, one on the class and one in `decorators`; "
            "leave one"
        )


def is_static(view: Any) -> bool:
    """Tell whether a view is Quart's own, which sends the files of a static folder."""
    return getattr(view, "__name__", "") == "send_static_file" and getattr(view, "__module__", "").startswith("quart.")
