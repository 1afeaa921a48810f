"""The state of an app and of the request being served: the `Service`, the request's id, the caller."""

import asyncio
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

from quart import Quart, current_app, has_request_context, request

from ligand_async.errors import Problem
from ligand_async.principal import Principal, Requirement
from ligand_async.settings import Settings
from ligand_async.tasks import NO_DEADLINE, Deadline

T = TypeVar("T")

_EXTENSION = "ligand_async"  # the only key of ours in `app.extensions`


@dataclass(frozen=True, slots=True, eq=False)
class AppState:
    """The state that the rooms of the package keep for one app: at most one object of each class.

    An app made by `create_app` has a `Service`, which is its state too. A plain `quart.Quart` that uses parts of the
    package gets a bare `AppState` from `state_of` when a part first keeps something for it.
    """

    _kept: dict[type, Any] = field(default_factory=dict, init=False, repr=False)

    def put(self, value: T) -> T:
        """Keep an object, in place of the one of its class that was kept before, and return it."""
        self._kept[type(value)] = value
        return value

    def find(self, kind: type[T]) -> T | None:
        """Return the object of a class, or None."""
        return self._kept.get(kind)

    def get(self, kind: type[T]) -> T:
        """Return the object of a class.

        Raises:
            LookupError: None was put here.
        """
        value = self.find(kind)
        if value is None:
            raise LookupError(f"the app has no {kind.__name__}; the function that sets it up was not called for it")
        return value

    def get_or_make(self, kind: type[T]) -> T:
        """Return the object of a class; the first call makes it, without arguments."""
        value = self.find(kind)
        return self.put(kind()) if value is None else value


@dataclass(frozen=True, slots=True, eq=False)
class Service(AppState):
    """One service in this process: the arguments of `create_app`, and the state of its app.

    Attributes:
        title: Shown in the documentation.
        version: The service's own version.
        client_name: The package name of generated clients.
        settings: As they were read at start.
        database: The service's `Database`, if it has one.
        name_operation: Returns the operationId for an endpoint, a rule and a method.
        check_start: Raises an error, without any I/O, if the app cannot start because of its code.
    """

    title: str
    version: str
    client_name: str
    settings: Settings
    database: Any = None
    name_operation: Callable[[str, str, str], str] | None = None
    check_start: Callable[[], None] = lambda: None


def init_state(app: Quart, service: Service) -> None:
    """Make a service the state of an app, before anything is kept for it."""
    app.extensions[_EXTENSION] = service


def state_of(app: Quart) -> AppState:
    """Return the state of any app: its `Service`, or a bare `AppState` for one not made by `create_app`."""
    state: AppState | None = app.extensions.get(_EXTENSION)
    if state is None:
        state = app.extensions[_EXTENSION] = AppState()
    return state


def find_service(app: Quart) -> Service | None:
    """Return the service of an app, or None if it was not made by `ligand_async.create_app`."""
    state = app.extensions.get(_EXTENSION)
    return state if isinstance(state, Service) else None


def service_of(app: Quart) -> Service:
    """Return the service that `create_app` made of an app.

    Raises:
        RuntimeError: The app was not made by `ligand_async.create_app`.
    """
    service = find_service(app)
    if service is None:
        raise RuntimeError(f"app {app.name!r} was not made by ligand_async.create_app(); make it there")
    return service


class Unit(Protocol):
    """A unit of work, for code that waits for its commit."""

    @property
    def ended(self) -> bool:
        """True once the unit takes no more callbacks."""

    def on_commit(self, callback: Callable[[], Awaitable[None] | None]) -> None:
        """Run a callback after the commit."""

    def after_commit(self, send: Callable[[], Awaitable[None]]) -> None:
        """Send something after the callbacks."""


unit_var: ContextVar[Unit | None] = ContextVar("ligand_unit_of_work", default=None)


@dataclass(slots=True, eq=False)
class RequestState:
    """The state of one request, HTTP or websocket. The guard makes it.

    Attributes:
        request_id: The caller's `X-Request-ID`, or a new UUIDv7.
        deadline: When the work on it is stopped.
        principal: The caller, once authenticated.
        decided: The access marks that enforcement has decided for the request; none before it. None outside a request.
        forbid: Makes the problem for a principal that does not meet a requirement; None before enforcement.
        attempt: The attempt to authenticate that is being counted.
        started_at: The reading of `time.perf_counter()` when it reached the app, if a receiver wants the duration.
        failed_functions: The `after_request` functions that raised; they do not run again for the error's response.
        close_code: The code that closes the websocket; Quart 0.22 closes all with 1000.
        subprotocol: The subprotocol that answers the websocket's handshake if the handler chooses none.
        max_body_bytes: The largest body that its route takes, once the route is known.
        route_known: Set once its route is known; None in an app whose routes have no limits of their own.
    """

    request_id: str | None = None
    deadline: Deadline = NO_DEADLINE
    principal: Principal | None = None
    decided: frozenset[Any] | None = None
    forbid: Callable[[Principal, Requirement], Problem] | None = None
    attempt: Any = None
    started_at: float | None = None
    failed_functions: set[Callable[..., Any]] = field(default_factory=set)
    close_code: int | None = None
    subprotocol: str | None = None
    max_body_bytes: int | None = None
    route_known: asyncio.Event | None = None


request_state_var: ContextVar[RequestState | None] = ContextVar("ligand_request_state", default=None)


def request_state() -> RequestState:
    """Return the state of the request being served.

    Where no guard has made one, as in `app.test_request_context()`, the first call in a task makes it.
    """
    state = request_state_var.get()
    if state is None:
        state = RequestState()
        request_state_var.set(state)
    return state


def current_request_id() -> str | None:
    """Return the id of the request being served, or None outside one."""
    state = request_state_var.get()
    return None if state is None else state.request_id


def current_principal() -> Principal | None:
    """Return the caller, or None if nobody was authenticated."""
    state = request_state_var.get()
    return None if state is None else state.principal


def current_deadline() -> Deadline:
    """Return the deadline of the request being served; outside one it is never reached."""
    state = request_state_var.get()
    return NO_DEADLINE if state is None else state.deadline


def current_operation_id() -> str | None:
    """Return the operationId of the request being served, or None outside one and where no route was found.

    For an operation that the documentation hides it is the name of its endpoint.
    """
    if not has_request_context() or request.url_rule is None:
        return None
    rule, method = request.url_rule, "GET" if request.method == "HEAD" else request.method
    service = find_service(current_app)
    if service is None or service.name_operation is None:
        return str(rule.endpoint)
    return service.name_operation(rule.endpoint, rule.rule, method)
