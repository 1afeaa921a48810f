"""When a unit of work may run again."""

import asyncio
import random

from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from ligand_async.data.faults import ConnectionLost
from ligand_async.data.sqlstate import is_stale_plan, sqlstate_of

MAX_ATTEMPTS = 3
SERIALIZATION_FAILURES = {"40001", "40P01"}


def may_run_again(error: SQLAlchemyError, attempt: int, *, reads: bool, retry_safe: bool) -> bool:
    """Tell whether the unit that failed with an error is run once more.

    Args:
        error: What the database said.
        attempt: How often it has run, from 1.
        reads: Whether its session reads: then a dead connection or a stale plan is no reason to fail, once.
        retry_safe: Whether the operation declares that it may run again.
    """
    if isinstance(error, ConnectionLost):
        return reads and attempt == 1
    if not isinstance(error, DBAPIError):
        return False
    if reads:
        return attempt == 1 and (error.connection_invalidated or is_stale_plan(error))
    if not retry_safe or attempt >= MAX_ATTEMPTS:
        return False
    return sqlstate_of(error) in SERIALIZATION_FAILURES or is_stale_plan(error)


async def pause_before(attempt: int) -> None:
    """Wait a few random milliseconds, so that two units that collided do not collide again."""
    await asyncio.sleep(random.uniform(0, 0.01 * 2**attempt))  # noqa: S311  (not a secret)
