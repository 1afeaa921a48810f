"""`ligand idempotency`: the replies that `@idempotent` operations keep."""

import click
from quart import Quart
from quart.cli import ScriptInfo, pass_script_info
from sqlalchemy.exc import SQLAlchemyError

from ligand_async.cli.output import ServiceError
from ligand_async.cli.service import load_app, open_database, run
from ligand_async.data import prune_replies
from ligand_async.data.migrations import words_of


@click.group("idempotency")
def idempotency() -> None:
    """Look after the replies that idempotent operations keep."""


@idempotency.command("prune")
@pass_script_info
def prune(info: ScriptInfo) -> None:
    """Delete the replies that have expired. Run it once a day."""
    app = load_app(info)
    click.echo(f"deleted {run(lambda: _prune_all(app))}")


async def _prune_all(app: Quart) -> int:
    """Delete expired replies, many short transactions after each other, and return how many.

    Raises:
        ServiceError: The service keeps no replies.
        ClickException: The database refused.
    """
    pruned = 0
    async with open_database(app) as database:
        if database.idempotency_key is None:
            raise ServiceError("the service keeps no replies: its database has no idempotency=True")
        try:
            while True:
                async with database.transaction() as session:
                    found = await prune_replies(session, database.idempotency_key)
                pruned += found
                if found == 0:
                    return pruned
        except SQLAlchemyError as error:
            raise click.ClickException(f"deleted {pruned}, and then: {words_of(error)}") from error
