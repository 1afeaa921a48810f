"""Whether who may call is said in a way that holds: asked once, when the app starts."""

from collections.abc import Iterator
from difflib import get_close_matches

from quart import Quart

from ligand_async.auth.access import AccessError, check_class
from ligand_async.auth.enforcement import enforcement_of
from ligand_async.auth.lost_marks import lost_marks
from ligand_async.auth.routes import Route, routes_of
from ligand_async.context import service_of
from ligand_async.principal import HasRole
from ligand_async.settings import Settings

STRICT = frozenset({"prod", "stage"})


def check_access(app: Quart) -> None:
    """Refuse to start where a mark is lost, where a role does not exist, and where nobody could ever be let in.

    Raises:
        AccessError: For all mistakes at once, each with its name and what to do.
    """
    mistakes = [*torn_classes(app)]
    if not mistakes:  # else who may call cannot be told
        routes = routes_of(app)
        mistakes += [*lost_marks(app), *unknown_roles(routes, service_of(app).settings), *unreachable(app, routes)]
    if mistakes:
        raise AccessError("who may call cannot be enforced:\n  " + "\n  ".join(sorted(set(mistakes))))


def torn_classes(app: Quart) -> Iterator[str]:
    """List the classes that have two marks."""
    for view in app.view_functions.values():
        try:
            check_class(view)
        except AccessError as error:
            yield str(error)


def unknown_roles(routes: list[Route], settings: Settings) -> Iterator[str]:
    """List the roles that some route asks for and nobody can have."""
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


def unreachable(app: Quart, routes: list[Route]) -> Iterator[str]:
    """List the routes that need a principal, in an app that cannot know any."""
    settings = service_of(app).settings
    if settings.environment not in STRICT or enforcement_of(app).authenticators:
        return
    variable = settings.vocabulary().variable("oidc_issuer")
    for route in routes:
        if not route.access.is_public:
            yield (
                f"{route} ({route.endpoint}) needs a principal, and nothing tells who is calling; "
                f"set {variable}, give create_app() authenticators, or mark the route @public"
            )
