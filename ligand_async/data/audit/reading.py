"""Which events are asked for."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Select, Table, select


@dataclass(frozen=True, slots=True, kw_only=True)
class EventFilter:
    """Which events are asked for: those that are all of what is given.

    Attributes:
        entity: The name of a mapped class.
        key: A primary key, written as the trail writes it.
        principal: The subject of who did it.
        action: What was done.
        since: The first moment.
        until: The first moment that is too late.
    """

    entity: str | None = None
    key: str | None = None
    principal: str | None = None
    action: str | None = None
    since: datetime | None = None
    until: datetime | None = None

    def select(self, table: Table) -> Select[Any]:
        """Return the statement of the events, in no order."""
        statement = select(*table.c)
        for column, value in (
            (table.c.entity, self.entity),
            (table.c.key, self.key),
            (table.c.subject, self.principal),
            (table.c.action, self.action),
        ):
            if value is not None:
                statement = statement.where(column == value)
        if self.since is not None:
            statement = statement.where(table.c.at >= self.since)
        if self.until is not None:
            statement = statement.where(table.c.at < self.until)
        return statement


def newest_first(statement: Select[Any], table: Table) -> Select[Any]:
    """Sort events for reading."""
    return statement.order_by(table.c.at.desc(), table.c.id.desc())


def oldest_first(statement: Select[Any], table: Table) -> Select[Any]:
    """Sort events as they happened."""
    return statement.order_by(table.c.at, table.c.id)
