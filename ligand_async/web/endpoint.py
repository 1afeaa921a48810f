"""Endpoints: one method of one route, the operation that answers it, and the features that add to it.

A request, the checks at start and the OpenAPI document all read the same `Operation`.
"""

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from quart import Blueprint, Quart
from werkzeug.routing import Rule

from ligand_async.context import state_of
from ligand_async.errors import Problem
from ligand_async.marks import SessionMode
from ligand_async.web.depends import ServiceError
from ligand_async.web.inputs import Binding, Inputs, OperationError, bind
from ligand_async.web.output import Output
from ligand_async.web.plan import Plan
from ligand_async.web.services import Services

_Handler = Callable[..., Any]
V = TypeVar("V", bound=_Handler)


@dataclass(frozen=True, slots=True)
class Operation:
    """Everything that `@operation` has read from a handler and from its own arguments.

    Attributes:
        handler: The coroutine function.
        inputs: Where each of its parameters comes from.
        output: Turns what it returns into a response; has the status of success and the type of the body.
        raises: The problems that the handler raises itself.
        location: The endpoint that the `Location` header of success names.
        session: The session's mode, or None for the default of the HTTP method.
        retry_safe: Whether the unit of work may run again after a serialization failure.
    """

    handler: _Handler
    inputs: Inputs
    output: Output
    raises: tuple[type[Problem], ...] = ()
    location: str | None = None
    session: SessionMode | None = None
    retry_safe: bool = False

    @property
    def takes_session(self) -> bool:
        """Whether the handler itself works on the database."""
        return self.inputs.session is not None


def binding_of(app: Quart, operation: Operation, rule: Rule | None, path: Collection[str]) -> Binding:
    """Return where the parameters of an operation and of its services come from under a rule; worked out once.

    Args:
        app: The app.
        operation: The operation.
        rule: The rule, or None if there is none.
        path: The variables of the path, by name, those of the rule's `defaults` among them.

    Raises:
        OperationError: A parameter comes from nowhere.
        ServiceError: A service is missing, or the services do not fit together.
    """
    services = state_of(app).get_or_make(Services)
    key = (operation.handler, None if rule is None else rule.rule, *path)
    found = services.bindings.get(key)
    if found is None:
        converters = {} if rule is None else rule._converters  # no public accessor in werkzeug 3.1
        variables = {name: converters.get(name) for name in path}
        found = services.bindings[key] = bind(operation.inputs, variables, services, services.plan)
    return found


def takes_session(app: Quart, operation: Operation, rule: Rule) -> bool:
    """Return whether an operation, or a service that it takes, works on the database.

    Raises:
        OperationError: As `binding_of`.
        ServiceError: As `binding_of`.
    """
    if operation.takes_session:
        return True
    plan = binding_of(app, operation, rule, rule.arguments).plan
    return plan is not None and plan.takes_session


_OPERATION = "_ligand_operation"
_UNROUTED = "_ligand_unrouted"


def stamp_operation(view: _Handler, operation: Operation) -> None:
    """Attach an operation to its view, and note on the handler that no route has the view yet."""
    setattr(view, _OPERATION, operation)
    setattr(operation.handler, _UNROUTED, True)


def note_routed(view: Any) -> None:
    """Note that a route has the view of an operation."""
    operation = operation_of(view)
    if operation is not None:
        setattr(operation.handler, _UNROUTED, False)


def is_unrouted(handler: Any) -> bool:
    """Return whether `@operation` has made a view of a function, and no route has that view."""
    return bool(getattr(handler, _UNROUTED, False))


def operation_of(view: Any) -> Operation | None:
    """Return the operation of a view, or None for a plain view."""
    found = getattr(view, _OPERATION, None)
    return found if isinstance(found, Operation) else None


def stamp_layers(view: V, attribute: str, mark: Any) -> V:
    """Set an attribute on a handler, on its operation and on the decorators between the two.

    `functools.wraps` copies attributes upwards only, so a decorator above another one must reach down itself.

    Raises:
        TypeError: The handler is a class, or cannot be called.
    """
    if not callable(view) or isinstance(view, type):
        name = attribute.removeprefix("_ligand_")
        raise TypeError(f"@{name} decorates single handlers; put it on the functions and methods that change something")
    layer: Any = view
    while True:
        setattr(layer, attribute, mark)
        below = getattr(layer, "__wrapped__", None)
        if below is None or operation_of(below) is None:
            return view
        layer = below


def handler_of(view: _Handler, method: str) -> _Handler:
    """Return the function that answers a method: the view, or a method of its class; `get` answers HEAD too."""
    view_class = getattr(view, "view_class", None)
    name = "get" if method == "HEAD" and not hasattr(view_class, "head") else method.lower()
    handler = getattr(view_class, name, None) or getattr(view_class, "dispatch_request", None)
    return handler if callable(handler) else view


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One method of one route.

    Attributes:
        app: The app.
        rule: The route.
        method: The HTTP method, in capitals.
        view: The function that is registered with the app.
        handler: The function that answers the method: the view, or a method of its class.
        blueprints: The blueprints around it, from the outside in.
        operation: What `@operation` has read from the handler; None for a plain view.
    """

    app: Quart
    rule: Rule
    method: str
    view: _Handler
    handler: _Handler
    blueprints: tuple[Blueprint, ...]
    operation: Operation | None

    @classmethod
    def find(cls, app: Quart, rule: Rule, method: str) -> "Endpoint":
        """Find what answers a method of a route."""
        view = app.view_functions[rule.endpoint]
        names = rule.endpoint.split(".")[:-1]
        paths = (".".join(names[: depth + 1]) for depth in range(len(names)))
        blueprints: Any = tuple(app.blueprints[path] for path in paths if path in app.blueprints)
        handler = handler_of(view, method)
        return cls(app, rule, method, view, handler, blueprints, operation_of(handler))

    @property
    def key(self) -> tuple[str, str, str]:
        """A key that no other endpoint of the app has."""
        return self.name, self.rule.rule, self.method

    @property
    def name(self) -> str:
        """The name of the registration, such as `pets.list_pets`."""
        return str(self.rule.endpoint)

    @property
    def binding(self) -> Binding | None:
        """Where the parameters of its operation and its services come from; None where they come from nowhere."""
        if self.operation is None:
            return None
        try:
            return binding_of(self.app, self.operation, self.rule, self.rule.arguments)
        except (OperationError, ServiceError):  # the app does not start
            return None

    @property
    def plan(self) -> Plan | None:
        """How the services of its operation are made; None without services, and where they do not fit together."""
        return None if self.binding is None else self.binding.plan

    @property
    def takes_session(self) -> bool:
        """Whether it, or a service that it takes, works on the database."""
        if self.operation is None:
            return False
        plan = self.plan
        return self.operation.takes_session or (plan is not None and plan.takes_session)

    @property
    def view_class(self) -> Any:
        """The class of a class-based view, or None."""
        return getattr(self.view, "view_class", None)


class DocumentError(ValueError):
    """The OpenAPI document of an app cannot be built; the message says why."""


_Described = dict[str, Any]


def _nothing(*_: Any) -> Any:
    return ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Feature:
    """The additions of one feature to endpoints. Each function is optional, and is called for every endpoint.

    A feature is one module: its decorator, its behaviour and one of these objects, which `FEATURES` lists.

    Attributes:
        find_mistakes: Yields the mistakes of a handler under a rule, for which the app refuses to start. Arguments:
            the app, the rule and the handler.
        parameters: Returns the request headers that the feature reads, as OpenAPI parameters.
        problems: Returns the problems that the feature raises.
        headers: Returns the headers that it adds to a success of an operation. Arguments: the endpoint, the status,
            and the type of the body, None without one.
        describe: Changes the finished description of an endpoint, an OpenAPI operation object.
        describe_document: Changes the finished document. Arguments: the document, and the pairs of an endpoint and its
            description.
    """

    find_mistakes: Callable[[Quart, Rule, _Handler], Iterable[str]] = _nothing
    parameters: Callable[[Endpoint], Iterable[_Described]] = _nothing
    problems: Callable[[Endpoint], Iterable[type[Problem]]] = _nothing
    headers: Callable[[Endpoint, int, Any], Iterable[tuple[str, _Described]]] = _nothing
    describe: Callable[[Endpoint, _Described], None] = _nothing
    describe_document: Callable[[_Described, Sequence[tuple[Endpoint, _Described]]], None] = _nothing


def add_headers(response: _Described, headers: dict[str, Any]) -> _Described:
    """Return the description of a response with more headers, sorted by name."""
    return {**response, "headers": dict(sorted({**response.get("headers", {}), **headers}.items()))}


RETRY_AFTER = {
    "description": "When to ask again: in so many seconds, or at this date (RFC 9110 section 10.2.3).",
    "schema": {"type": "string"},
}
