"""Deleting old events: the one change that the trail allows, and it leaves an event itself."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import Table, delete, func, insert, select, text, tuple_
from sqlalchemy.ext.asyncio import AsyncSession

from ligand_async.data.audit.events import origin
from ligand_async.data.audit.guard import OWN
from ligand_async.data.audit.protection import PRUNES, write_end_of_protection, write_protection

PRUNED_AT_ONCE = 10_000  # rows of one transaction
OPTIONS: Mapping[str, Any] = {OWN: True}


async def count_before(session: AsyncSession, table: Table, before: datetime) -> int:
    """Return how many events are older than a moment."""
    return await session.scalar(select(func.count()).select_from(table).where(table.c.at < before)) or 0


async def prune(session: AsyncSession, table: Table, before: datetime) -> int:
    """Delete events that are older than a moment, up to 10,000, and return how many there were.

    PostgreSQL's trigger lets through who sets a parameter for the transaction. SQLite has no such thing: its trigger
    is dropped and made again, in the transaction, which nobody else sees.
    """
    old = select(table.c.at, table.c.id).where(table.c.at < before).order_by(table.c.at, table.c.id)
    statement = delete(table).where(tuple_(table.c.at, table.c.id).in_(old.limit(PRUNED_AT_ONCE))).returning(table.c.id)
    dialect = session.get_bind().dialect.name
    _, trigger = write_protection("sqlite", table.name)
    _, drop = write_end_of_protection("sqlite", table.name)
    if dialect == "sqlite":
        await session.execute(text(drop))
    else:
        await session.execute(select(func.set_config(PRUNES, "on", True)))
    pruned = len((await session.execute(statement, execution_options=OPTIONS)).all())
    if dialect == "sqlite":
        await session.execute(text(trigger), execution_options=OPTIONS)
    else:
        await session.execute(select(func.set_config(PRUNES, "off", True)))
    if pruned:
        told = {"before": before.isoformat(), "count": pruned}
        event = {**origin(), "action": "prune", "entity": None, "key": None, "old": None, "new": told}
        await session.execute(insert(table).inline(), [event], execution_options=OPTIONS)
    return pruned
