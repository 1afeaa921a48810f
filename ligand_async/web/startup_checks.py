"""Checks at the start of an app that every operation fits its rules and the app."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any
from uuid import UUID

from quart import Quart
from werkzeug.routing import Rule
from werkzeug.routing.converters import UUIDConverter

from ligand_async.annotations import without_none
from ligand_async.context import service_of
from ligand_async.web.depends import ServiceError, functions_of_dependencies
from ligand_async.web.endpoint import Operation, operation_of, plan_of
from ligand_async.web.features import FEATURES
from ligand_async.web.inputs import OperationError
from ligand_async.web.plan import Plan
from ligand_async.web.quart import AsciiFloat, AsciiInteger
from ligand_async.web.services import services_of

_CONVERTED = {AsciiInteger: int, AsciiFloat: float, UUIDConverter: UUID}
_CONVERTER_NAMES = {int: "int", float: "float", UUID: "uuid"}


def check_operations(app: Quart) -> None:
    """Refuse to start an app with an operation that cannot work.

    Raises:
        OperationError: For all of them at once, each with its function, parameter and rule.
    """
    mistakes = sorted(
        {
            f"{rule.rule} ({handler.__qualname__}): {mistake}"
            for rule in app.url_map.iter_rules()
            for handler in _handlers_of(app.view_functions.get(rule.endpoint), rule)
            for mistake in _mistakes_of_handler(app, rule, handler)
        }
    )
    if mistakes:
        raise OperationError("operations that do not fit their rules:\n  " + "\n  ".join(mistakes))


def find_functions(app: Quart) -> Iterator[Callable[..., Any]]:
    """Yield the functions that the operations of an app have in a `Depends`."""
    for rule in app.url_map.iter_rules():
        for handler in _handlers_of(app.view_functions.get(rule.endpoint), rule):
            operation = operation_of(handler)
            if operation is not None:
                yield from functions_of_dependencies(operation.inputs.others.values())


def _handlers_of(view: Callable[..., Any] | None, rule: Rule) -> Iterator[Callable[..., Any]]:
    view_class = getattr(view, "view_class", None)
    methods = [*sorted(method.lower() for method in rule.methods or ()), "dispatch_request"]
    candidates = [view] if view_class is None else [view, *(getattr(view_class, method, None) for method in methods)]
    yield from (candidate for candidate in candidates if candidate is not None)


def _mistakes_of_handler(app: Quart, rule: Rule, handler: Callable[..., Any]) -> Iterator[str]:
    """List what is wrong with one handler under one rule."""
    operation = operation_of(handler)
    if operation is not None:
        try:
            plan = plan_of(app, operation, rule.arguments)
        except ServiceError as error:
            yield str(error)
            return
        yield from _mistakes_of(app, rule, operation, plan)
    for feature in FEATURES:
        yield from feature.find_mistakes(app, rule, handler)


def _mistakes_of(app: Quart, rule: Rule, operation: Operation, plan: Plan | None) -> Iterator[str]:
    """List what is wrong with one operation under one rule."""
    inputs, location = operation.inputs, operation.location
    of_services = {} if plan is None else plan.named
    taken = {*inputs.others, *inputs.query_scalars, *of_services}
    for name, hint in (of_services | inputs.others | inputs.query_scalars).items():
        if name in rule.arguments:
            yield from _mistakes_of_path_variable(name, hint, rule)
    for name in sorted(rule.arguments - taken if not services_of(app).has_replacements else ()):
        yield f"the handler has no parameter for the rule's variable {name!r}; add it, or remove it from the rule"
    takes_session = operation.takes_session or (plan is not None and plan.takes_session)
    if takes_session and service_of(app).database is None:
        taker = "a service takes" if inputs.session is None else f"parameter {inputs.session!r} is"
        yield f"{taker} a session, and the app has no database; give create_app() one"
    if location is not None and _endpoint_of(location, rule) not in app.view_functions:
        yield f"location={location!r} is not an endpoint of the app; one of the same blueprint is written '.name'"


def _mistakes_of_path_variable(name: str, hint: Any, rule: Rule) -> Iterator[str]:
    converters: Mapping[str, Any] = rule._converters  # no public accessor in werkzeug 3.1
    if name not in converters:
        return  # a value that add_url_rule(defaults=…) gives
    made = _CONVERTED.get(type(converters[name]))
    wanted, _ = without_none(hint)
    if made is not None and wanted is not made:
        yield f"{name!r} is annotated {getattr(wanted, '__name__', wanted)}, and its converter makes {made.__name__}"
    if made is None and wanted in _CONVERTER_NAMES:
        yield f"{name!r} is annotated {wanted.__name__}; write <{_CONVERTER_NAMES[wanted]}:{name}> in the rule"


def _endpoint_of(location: str, rule: Rule) -> str:
    """Return the full name of an endpoint that may be relative to its blueprint."""
    return rule.endpoint.rpartition(".")[0] + location if location.startswith(".") else location
