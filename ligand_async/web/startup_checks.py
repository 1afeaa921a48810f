"""Checks at the start of an app that every operation fits its rules and the app."""

from collections.abc import Callable, Iterator
from typing import Any

from quart import Quart
from quart.views import MethodView
from werkzeug.routing import Rule

from ligand_async.context import service_of
from ligand_async.web.depends import ServiceError, functions_of_dependencies
from ligand_async.web.endpoint import Operation, binding_of, is_unrouted, operation_of
from ligand_async.web.features import FEATURES
from ligand_async.web.inputs import Binding, OperationError, TakenBody
from ligand_async.web.services import services_of


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
    if operation is None and is_unrouted(handler):
        yield "@operation stands above the decorator of the route, which has registered the bare function; swap the two"
        return
    if operation is not None and rule.websocket:
        yield "is a websocket, which has no body and no response; remove @operation, and read quart.websocket"
        return
    if operation is not None:
        try:
            binding = binding_of(app, operation, rule, rule.arguments)
        except (OperationError, ServiceError) as error:
            yield str(error)
            return
        yield from _mistakes_of(app, rule, operation, binding)
        yield from _mistakes_of_body(app, rule, handler, binding.body)
    for feature in FEATURES:
        yield from feature.find_mistakes(app, rule, handler)


def _mistakes_of(app: Quart, rule: Rule, operation: Operation, binding: Binding) -> Iterator[str]:
    """List what is wrong with one operation under one rule."""
    inputs, location, plan = operation.inputs, operation.location, binding.plan
    taken = {*inputs.annotations, *(() if plan is None else plan.named)}
    for name in sorted(rule.arguments - taken if not services_of(app).has_replacements else ()):
        yield f"the handler has no parameter for the rule's variable {name!r}; add it, or remove it from the rule"
    takes_session = operation.takes_session or (plan is not None and plan.takes_session)
    if takes_session and service_of(app).database is None:
        taker = "a service takes" if inputs.session is None else f"parameter {inputs.session!r} is"
        yield f"{taker} a session, and the app has no database; give create_app() one"
    if location is not None and _endpoint_of(location, rule) not in app.view_functions:
        yield f"location={location!r} is not an endpoint of the app; one of the same blueprint is written '.name'"


_BODILESS_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})


def _mistakes_of_body(app: Quart, rule: Rule, handler: Callable[..., Any], body: TakenBody | None) -> Iterator[str]:
    """Refuse a body under a rule without a method that has one (RFC 9110 section 9.3.1), unless it is marked."""
    view_class = getattr(app.view_functions[rule.endpoint], "view_class", None)
    is_method = view_class is not None and issubclass(view_class, MethodView)
    methods = {handler.__name__.upper()} if is_method else set(rule.methods or ())
    if body is not None and not body.is_marked and methods <= _BODILESS_METHODS:
        yield (
            f"parameter {body.names[0]!r} is the body, and GET has none; to read the query string by its model write "
            f"query_args: {getattr(body.reader.schema, '__name__', body.reader.schema)}"
        )


def _endpoint_of(location: str, rule: Rule) -> str:
    """Return the full name of an endpoint that may be relative to its blueprint."""
    return rule.endpoint.rpartition(".")[0] + location if location.startswith(".") else location
