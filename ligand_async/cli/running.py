"""Coroutines on the command line: a loop for them, and the service's database opened around them."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from quart import Quart

from ligand_async.cli.service import ServiceError
from ligand_async.context import Service, service_of
from ligand_async.data.database import Database

T = TypeVar("T")


def run(work: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run a coroutine to its end, also where a loop is running already, as in an async test: then in another thread."""
    if not in_loop():
        return asyncio.run(work())
    with ThreadPoolExecutor(1) as threads:
        return threads.submit(lambda: asyncio.run(work())).result()


def in_loop() -> bool:
    """Tell whether a loop runs in this thread."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def service_with_database(app: Quart) -> tuple[Service, Database]:
    """Return the service of an app, and its database.

    Raises:
        ServiceError: It was not made by us, it has no database, or its settings do not say where that is.
    """
    try:
        service = service_of(app)
    except RuntimeError as error:
        raise ServiceError(str(error)) from error
    if not isinstance(service.database, Database):
        raise ServiceError(f"{service.title} has no database; create_app(database=…) gives it one")
    settings = service.settings
    if settings.environment == "cli" and settings.sources["database_url"].startswith("default"):
        # The default of `cli` is there so that an app can be made, not to be connected to.
        variable = settings.vocabulary().variable("database_url")
        raise ServiceError(f"no setting says where the database is; set {variable}, or another environment than cli")
    return service, service.database


@asynccontextmanager
async def open_database(app: Quart) -> AsyncIterator[Database]:
    """Open the database of an app outside a server: nothing else of the app is started."""
    _, database = service_with_database(app)
    async with app.app_context():
        await database.start(app)
        try:
            yield database
        finally:
            await database.stop(app)
