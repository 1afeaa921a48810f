"""The reminding service, ready to be served. It keeps nothing, so it has no database."""

from typing import Any

from quart import Quart

import ligand_async
from examples.reminders.invoices import Invoices, open_invoices
from examples.reminders.routes import reminders
from examples.reminders.settings import RemindersSettings
from ligand_async.web import app_scope


def create_app(environment: str | None = None, **settings: Any) -> Quart:
    """Make the reminding service.

    Args:
        environment: prod, stage, local, testing or cli; by default `LIGAND_ENVIRONMENT`.
        **settings: Settings that override those of the environment.
    """
    return ligand_async.create_app(
        __name__,
        title="Reminders",
        version="1.0.0",
        description="Letters to customers who have not paid in time.",
        client_name="reminders-client",
        settings=RemindersSettings.load(environment, **settings),
        blueprints=[reminders],
        provide={Invoices: app_scope(open_invoices)},
    )
