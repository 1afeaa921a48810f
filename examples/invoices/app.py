"""The invoicing service, ready to be served."""

from typing import Any

from quart import Quart

import ligand_async
from examples.invoices.access import find_program
from examples.invoices.commands import clean_up
from examples.invoices.events import Listeners, updates
from examples.invoices.exports import exports
from examples.invoices.history import histories
from examples.invoices.imports import imports
from examples.invoices.keys import keys
from examples.invoices.models import db
from examples.invoices.pdfs import pdfs
from examples.invoices.rates import Rates, open_rates
from examples.invoices.repository import Invoices
from examples.invoices.routes import customers, invoices
from examples.invoices.settings import InvoicesSettings
from examples.invoices.tenants import Tenant, tenant_of
from ligand_async.auth import APIKeyAuthenticator
from ligand_async.web import app_scope


def create_app(environment: str | None = None, **settings: Any) -> Quart:
    """Make the invoicing service.

    Args:
        environment: prod, stage, local, testing or cli; by default `LIGAND_ENVIRONMENT`.
        **settings: Settings that override those of the environment.
    """
    app = ligand_async.create_app(
        __name__,
        title="Invoices",
        version="1.0.0",
        description="Customers and invoices of several tenants.",
        client_name="invoices-client",
        settings=InvoicesSettings.load(environment, **settings),
        database=db,
        blueprints=[customers, invoices, imports, pdfs, histories, exports, updates, keys],
        authenticators=[APIKeyAuthenticator(find_program)],
        provide={
            Tenant: tenant_of,
            Invoices: Invoices,
            Listeners: Listeners(),
            Rates: app_scope(open_rates),
        },
    )
    app.cli.add_command(clean_up)
    return app
