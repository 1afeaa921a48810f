"""The `Location` of what was created (RFC 9110 section 10.2.2)."""

from collections.abc import Mapping
from typing import Any

from quart import current_app, request, url_for


class LocationError(RuntimeError):
    """The address of what was created cannot be built; the message says what it lacks."""


def build_location(endpoint: str, value: Any) -> str:
    """Return the path of an endpoint for a value that was just made.

    Each variable of the endpoint's rule is taken from the current request's path, else from the value's attribute or
    key of that name, else from `id` for a variable such as `pet_id`. Of several rules the first whose variables are all
    found counts.

    Args:
        endpoint: As in `url_for`; one that begins with a dot is in the same blueprint, under the name and the prefix
            that the current request came by.
        value: What the handler returned.

    Raises:
        LocationError: A variable is found nowhere.
    """
    name = f"{request.blueprint}{endpoint}" if endpoint.startswith(".") and request.blueprint else endpoint
    missing: list[str] = []
    for rule in current_app.url_map.iter_rules(name):
        found = {variable: find_variable(variable, value) for variable in sorted(rule.arguments)}
        missing = [variable for variable, known in found.items() if known is None]
        if not missing:
            return url_for(name, **found)
    raise LocationError(f"location={endpoint!r}: {type(value).__name__} has no {', '.join(missing)} for the path")


def find_variable(variable: str, value: Any) -> Any:
    """Find the value of a path variable: in the current path, else in what was returned."""
    known = (request.view_args or {}).get(variable)
    names = (variable, "id") if variable.endswith("_id") else (variable,)
    for name in names if known is None else ():
        known = value.get(name) if isinstance(value, Mapping) else getattr(value, name, None)
        if known is not None:
            break
    return known
