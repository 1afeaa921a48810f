"""No order of decorators leaves a handler open, or open to more than its mark says."""

import functools
import itertools
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import pytest
from quart import Blueprint, Quart
from quart_schema import tag, validate_response

from ligand_async import limit, operation, public, requires, role
from ligand_async.auth import AccessError, check_access
from ligand_async.web.inputs import OperationError
from tests.auth.guarding import guarded, statuses
from tests.services import running

Decorator = Callable[[Any], Any]
Handler = Callable[[], Coroutine[Any, Any, str]]


def wrapping(handler: Any) -> Any:
    """A service's own decorator, as it should be."""

    @functools.wraps(handler)
    async def wrapper(*arguments: Any, **named: Any) -> Any:
        return await handler(*arguments, **named)

    return wrapper


def hiding(handler: Handler) -> Any:
    """One that does without functools.wraps."""

    async def wrapper() -> str:
        return await handler()

    return wrapper


def half_wrapping(handler: Handler) -> Any:
    """One that takes the name and leaves the marks."""

    @functools.wraps(handler, updated=())
    async def wrapper() -> str:
        return await handler()

    return wrapper


OTHERS: dict[str, Decorator] = {
    "wrapping": wrapping,
    "hiding": hiding,
    "half wrapping": half_wrapping,
    "partial": functools.partial,
    "tag": tag(["x"]),
    "validate_response": validate_response(str),
}
HIDING = {"hiding", "half wrapping", "partial"}
MARKS = {"requires": requires(role("admin")), "public": public}


def orders(mark: Decorator, other: Decorator) -> Iterator[tuple[str, Blueprint]]:
    """Yield a blueprint for each order of five decorators that can be imported, and what the order is."""
    names = ("route", "operation", "mark", "limit", "other")
    for number, order in enumerate(itertools.permutations(names)):
        blueprint = Blueprint(f"order{number}", __name__, url_prefix=f"/{number}")
        decorators: dict[str, Decorator] = {
            "route": blueprint.get("/", endpoint="x"),
            "operation": operation,
            "mark": mark,
            "limit": limit("1000/second"),
            "other": other,
        }

        async def handler() -> str:
            return "x"

        try:
            made: Any = handler
            for name in reversed(order):
                made = decorators[name](made)
        except (OperationError, AttributeError):
            continue  # refused at import: no coroutine function with annotations
        yield " > ".join(order), blueprint


@pytest.mark.ligand_conformance("off", reason="quart-schema writes a str as HTML")
@pytest.mark.parametrize("other", OTHERS)
@pytest.mark.parametrize("mark", MARKS)
async def test_no_order_of_decorators_weakens_a_mark(mark: str, other: str) -> None:
    """The app does not start, and its error names the route; or over HTTP the mark holds as it was written."""
    made = [*orders(MARKS[mark], OTHERS[other])]
    refused = lost_in(guarded(*(blueprint for _, blueprint in made)))
    kept = [(order, blueprint) for order, blueprint in made if blueprint.name not in refused]
    assert all(order not in dict(kept) or not order.startswith("mark > operation > route") for order, _ in made)
    assert other in HIDING or all(order in dict(kept) for order, _ in made if order.startswith("route"))

    async with running(guarded(*(blueprint for _, blueprint in kept)), tables=False) as client:
        for order, blueprint in kept:
            found = await statuses(client, f"{blueprint.url_prefix}/", None, "user", "admin")
            # quart-schema's decorator cannot stand above `operation`: there it is a 500 for whoever is let in.
            let_in = [status if status in {401, 403} else "in" for status in found]
            assert let_in == ([401, 403, "in"] if mark == "requires" else ["in"] * 3), order


def lost_in(app: Quart) -> set[str]:
    """Return the blueprints in which the check at start finds lost marks."""
    try:
        check_access(app)
    except AccessError as error:
        return {line.split(".")[0].strip() for line in str(error).splitlines()[1:]}
    return set()
