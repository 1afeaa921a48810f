"""What the code running now belongs to: its service, its request, its caller."""

from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from quart import Quart

from ligand_async.deadline import NO_DEADLINE, Deadline
from ligand_async.principal import Principal
from ligand_async.settings import Settings

EXTENSION = "ligand_async"

request_id_var: ContextVar[str | None] = ContextVar("ligand_request_id", default=None)
deadline_var: ContextVar[Deadline] = ContextVar("ligand_deadline", default=NO_DEADLINE)
principal_var: ContextVar[Principal | None] = ContextVar("ligand_principal", default=None)


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


def current_deadline() -> Deadline:
    """Return the deadline of the request being served; outside one there is none to reach."""
    return deadline_var.get()


def current_principal() -> Principal | None:
    """Return who is calling, or None when nobody was authenticated."""
    return principal_var.get()
