"""Whether every operation fits the rules that lead to it: asked once, when the app starts."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any
from uuid import UUID

from quart import Quart
from werkzeug.routing import Rule
from werkzeug.routing.converters import UUIDConverter

from ligand_async.context import service_of
from ligand_async.marks import OperationMark, operation_mark
from ligand_async.web.converters import AsciiFloat, AsciiInteger
from ligand_async.web.hints import without_none
from ligand_async.web.inputs import Inputs, OperationError
from ligand_async.web.operation import INPUTS_ATTRIBUTE
from ligand_async.web.services import Services

CONVERTED = {AsciiInteger: int, AsciiFloat: float, UUIDConverter: UUID}
CONVERTER_NAMES = {int: "int", float: "float", UUID: "uuid"}


def check_operations(app: Quart, services: Services) -> None:
    """Refuse to start with an operation that could only fail.

    Raises:
        OperationError: For all of them at once, each with its function, parameter and rule.
    """
    mistakes = sorted(
        {
            f"{rule.rule} ({view.__qualname__}): {mistake}"
            for rule in app.url_map.iter_rules()
            for view, inputs, mark in operations_of(app.view_functions.get(rule.endpoint), rule)
            for mistake in mistakes_of(app, services, rule, inputs, mark)
        }
    )
    if mistakes:
        raise OperationError("operations that do not fit their rules:\n  " + "\n  ".join(mistakes))


def operations_of(
    view: Callable[..., Any] | None, rule: Rule
) -> Iterator[tuple[Callable[..., Any], Inputs, OperationMark]]:
    """Find the operations behind a rule: the view itself, or the methods of its class."""
    view_class = getattr(view, "view_class", None)
    methods = [*sorted(method.lower() for method in rule.methods or ()), "dispatch_request"]
    candidates = [view] if view_class is None else [getattr(view_class, method, None) for method in methods]
    for candidate in candidates:
        mark = operation_mark(candidate) if candidate is not None else None
        if candidate is not None and mark is not None:
            yield candidate, getattr(candidate, INPUTS_ATTRIBUTE), mark


def mistakes_of(app: Quart, services: Services, rule: Rule, inputs: Inputs, mark: OperationMark) -> Iterator[str]:
    """List what is wrong with one operation under one rule."""
    taken = {*inputs.others, *inputs.query_scalars}
    for name, hint in (inputs.others | inputs.query_scalars).items():
        if name in rule.arguments:
            yield from mistakes_of_path_variable(name, hint, rule)
        elif name in inputs.others and hint not in services:
            yield (
                f"parameter {name!r} is neither a variable of the rule nor a type that create_app(provide=…) knows; "
                f"put <{name}> into the rule, provide it, or give it a default to make it a query parameter"
            )
    for name in sorted(rule.arguments - taken):
        yield f"the rule's variable {name!r} is no parameter of the handler; add it or remove it"
    if inputs.session is not None and service_of(app).database is None:
        yield f"parameter {inputs.session!r} is a session, and the app has no database; give create_app() one"
    if mark.location is not None and endpoint_of(mark.location, rule) not in app.view_functions:
        yield f"location={mark.location!r} is no endpoint of the app; one of the same blueprint is written '.name'"


def mistakes_of_path_variable(name: str, hint: Any, rule: Rule) -> Iterator[str]:
    """Compare a path variable's annotation with what its converter makes."""
    converters: Mapping[str, Any] = rule._converters  # no public accessor in werkzeug 3.1
    if name not in converters:
        return  # a value that add_url_rule(defaults=…) gives
    made = CONVERTED.get(type(converters[name]))
    wanted, _ = without_none(hint)
    if made is not None and wanted is not made:
        yield f"{name!r} is annotated {getattr(wanted, '__name__', wanted)}, and its converter makes {made.__name__}"
    if made is None and wanted in CONVERTER_NAMES:
        yield f"{name!r} is annotated {wanted.__name__}; write <{CONVERTER_NAMES[wanted]}:{name}> in the rule"


def endpoint_of(location: str, rule: Rule) -> str:
    """Return the full name of an endpoint that may be relative to its blueprint."""
    return rule.endpoint.rpartition(".")[0] + location if location.startswith(".") else location
