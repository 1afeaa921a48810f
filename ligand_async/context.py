"""What the code running now belongs to: its service, its request, its caller."""

from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Protocol

from quart import Quart, current_app, has_request_context, request

from ligand_async.principal import Principal
from ligand_async.settings import Settings

EXTENSION = "ligand_async"
OPERATION_IDS = "ligand_operation_ids"
"""Where an app keeps its `OperationIds`."""

OperationIds = Callable[[str, str, str], str]
"""Names an operation by its endpoint, its rule and its method."""


class Unit(Protocol):
    """A unit of work, as those see it who wait for its commit."""

    @property
    def ended(self) -> bool:
        """Whether it is too late."""

    def on_commit(self, callback: Callable[[], Awaitable[None] | None]) -> None:
        """Remember what to run once the work is durable."""

    def after_commit(self, send: Callable[[], Awaitable[None]]) -> None:
        """Remember what to send after that."""


request_id_var: ContextVar[str | None] = ContextVar("ligand_request_id", default=None)
principal_var: ContextVar[Principal | None] = ContextVar("ligand_principal", default=None)
unit_var: ContextVar[Unit | None] = ContextVar("ligand_unit_of_work", default=None)


@dataclass(frozen=True, slots=True)
class Service:
    """One service in this process: what `create_app` was told.

    Attributes:
        title: Shown in the documentation.
        version: The service's own version.
        client_name: The package name of generated clients.
        settings: As they were read at start.
        database: The service's `Database`, if it has one.
    """

    title: str
    version: str
    client_name: str
    settings: Settings
    database: Any = None


def service_of(app: Quart) -> Service:
    """Return the service that `create_app` made of an app.

    Raises:
        RuntimeError: The app was not made by `ligand_async.create_app`.
    """
    service = app.extensions.get(EXTENSION)
    if not isinstance(service, Service):
        raise RuntimeError(f"app {app.name!r} was not made by ligand_async.create_app(); make it there")
    return service


def current_request_id() -> str | None:
    """Return the id of the request being served, or None outside one."""
    return request_id_var.get()


def current_principal() -> Principal | None:
    """Return who is calling, or None when nobody was authenticated."""
    return principal_var.get()


def current_operation_id() -> str | None:
    """Return the operationId of the request being served, or None outside one and where no route was found.

    An operation that the documentation hides has the name of its endpoint.
    """
    if not has_request_context() or request.url_rule is None:
        return None
    rule, method = request.url_rule, "GET" if request.method == "HEAD" else request.method
    name: OperationIds | None = current_app.extensions.get(OPERATION_IDS)
    return str(rule.endpoint) if name is None else name(rule.endpoint, rule.rule, method)
