"""The history of one entity, and what it was at a moment."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Table, inspect, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapper

from ligand_async.data.audit.events import AuditEvent
from ligand_async.data.audit.reading import EventFilter, oldest_first
from ligand_async.data.audit.redaction import hidden_columns
from ligand_async.data.audit.values import read_value, write_key


async def read_history(
    session: AsyncSession, table: Table, entity: type[Any], key: Any, *, asked: EventFilter
) -> list[AuditEvent]:
    """Return what happened to one entity, the oldest event first."""
    mapper: Mapper[Any] = inspect(entity)
    names = {one.class_.__name__ for one in mapper.self_and_descendants}
    statement = asked.select(table).where(table.c.entity.in_(sorted(names)), table.c.key == write_key(key))
    return [AuditEvent.of(row) for row in await session.execute(oldest_first(statement, table))]


async def rebuild(
    session: AsyncSession, table: Table, entity: type[Any], key: Any, moment: datetime
) -> Mapping[str, Any] | None:
    """Return what an entity was at a moment, by attribute, or None where it was not there.

    A value is what the last event before the moment made of it; else what the first event after it found; else what
    it is now.
    """
    events = await read_history(session, table, entity, key, asked=EventFilter())
    before = [event for event in events if event.at <= moment]
    after = [event for event in events if event.at > moment]
    if not was_there(before, after):
        return None
    mapper: Mapper[Any] = inspect(entity)
    types = {attribute.key: attribute.columns[0].type for attribute in mapper.column_attrs}
    values = {
        name: read_value(value, types[name]) if name in types else value
        for name, value in (look_ahead(after) | replay(before)).items()
    }
    hidden = hidden_columns(mapper)
    if not any(event.action == "delete" for event in after):
        touched = {name for event in after for name in (*(event.old or {}), *(event.new or {}))}
        now = await read_now(session, mapper, key, [name for name in types if name not in touched])
        if now is None and not events:
            return None
        values = dict(now or {}) | values
    return {name: value for name, value in values.items() if name not in hidden}


def was_there(before: Sequence[AuditEvent], after: Sequence[AuditEvent]) -> bool:
    """Tell whether an entity was there between two parts of its history; without any it may have been."""
    if before:
        return before[-1].action != "delete"
    return not after or after[0].action != "insert"


def replay(events: Sequence[AuditEvent]) -> dict[str, Any]:
    """Return the values that events have made, as far as they tell."""
    values: dict[str, Any] = {}
    for event in events:
        if event.action in {"insert", "delete"}:
            values = {}
        for name in event.old or {}:
            values.pop(name, None)  # it is another now, even where the event does not tell which
        values |= event.new or {}
    return values


def look_ahead(events: Sequence[AuditEvent]) -> dict[str, Any]:
    """Return the values that later events have found, as far as they tell."""
    values: dict[str, Any] = {}
    seen: set[str] = set()
    for event in events:
        values |= {name: value for name, value in (event.old or {}).items() if name not in seen}
        seen |= {*(event.old or {}), *(event.new or {})}
        if event.action == "delete":
            break
    return values


async def read_now(
    session: AsyncSession, mapper: Mapper[Any], key: Any, names: Sequence[str]
) -> Mapping[str, Any] | None:
    """Return some values of an entity as they are stored, or None where it is not."""
    keys = key if isinstance(key, tuple) else (key,)
    conditions = [column == value for column, value in zip(mapper.primary_key, keys, strict=True)]
    columns = [mapper.attrs[name].columns[0].label(name) for name in names] or [mapper.primary_key[0]]
    row = (await session.execute(select(*columns).select_from(mapper.class_).where(*conditions))).first()
    if row is None:
        return None
    return dict(row._mapping) if names else {}
