"""Putting the first data into a database, with a function of the service's own."""

import importlib
import inspect
from collections.abc import Awaitable, Callable

import click
from quart import Quart
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncSession

from ligand_async.cli.running import open_database
from ligand_async.data.migrations.errors import words_of

Seed = Callable[[AsyncSession], Awaitable[None]]


def load_seed(path: str) -> Seed:
    """Import a seed function.

    Args:
        path: `module:function`.

    Raises:
        UsageError: There is no such function, or it is not an async one.
    """
    module_name, _, name = path.partition(":")
    if not name:
        raise click.UsageError(f"{path!r} is not a function; write it as module:function")
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module_name}.".startswith(f"{error.name}."):
            raise  # something that the module itself imports
        raise click.UsageError(f"there is no module {module_name!r}") from error
    function = getattr(module, name, None)
    if not inspect.iscoroutinefunction(function):
        raise click.UsageError(f"{module_name!r} has no async function {name!r}; it takes a session")
    seed: Seed = function
    return seed


async def run_seed(app: Quart, seed: Seed) -> None:
    """Run a seed function in one transaction: all of it is kept, or nothing.

    Raises:
        ClickException: The database refused.
    """
    async with open_database(app) as database:
        try:
            async with database.transaction() as session:
                await seed(session)
        except SQLAlchemyError as error:
            raise click.ClickException(f"nothing was kept: {words_of(error)}") from error
