"""The petstore, ready to be served."""

from typing import Any

from quart import Quart

import ligand_async
from examples.petstore.models import db
from examples.petstore.routes import audit_events, callers, pets
from examples.petstore.settings import PetstoreSettings


def create_app(environment: str | None = None, **settings: Any) -> Quart:
    """Make the petstore.

    Args:
        environment: prod, stage, local, testing or cli; by default `LIGAND_ENVIRONMENT`.
        **settings: Settings that override those of the environment.
    """
    return ligand_async.create_app(
        __name__,
        title="Petstore",
        version="1.0.0",
        description="Pets. Anyone may read them. Users register and change them. Administrators delete them.",
        client_name="petstore-client",
        settings=PetstoreSettings.load(environment, **settings),
        database=db,
        blueprints=[pets, callers, audit_events],
    )
