"""What happened to one row of an entity: inserted, updated or deleted, and from what to what."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from sqlalchemy.orm import Session

PRIVATE = "private"
"""In the `info` of a column: its values go nowhere but into the database."""

Action = Literal["insert", "update", "delete"]


@dataclass(frozen=True, slots=True)
class Change:
    """One entity that a flush, or a whole unit of work, has changed.

    Values are those of Python, by the names of the mapped attributes; a relationship shows as its foreign key. Private
    columns (`mapped_column(info={"private": True})`) are left out; an update of nothing else has no values at all.

    Attributes:
        action: What was done.
        entity_type: The name of the mapped class.
        key: The values of the primary key; after the change, where that changed it.
        old: What was there: of an update the changed columns, of a delete all. A value that was not loaded is missing.
        new: What is there: of an update the changed columns, of an insert all. A value that the database made and did
            not tell is missing.
        entity_class: The mapped class.
        table: The table of that class.
    """

    action: Action
    entity_type: str
    key: tuple[Any, ...]
    old: Mapping[str, Any]
    new: Mapping[str, Any]
    entity_class: type[Any]
    table: str


class FlushObserver(Protocol):
    """What sees every flush of the units of work that write."""

    def observe(self, session: Session, changes: Sequence[Change]) -> None:
        """See what a flush has changed: it is sent to the database, and not committed.

        It is called in the flush itself, in the transaction of the changes and of the savepoint that they are in. It
        may execute Core statements on the session; it must not add entities or flush. What it raises rolls back.

        Args:
            session: The session that flushes, as SQLAlchemy's events have it.
            changes: What this flush did, in order: never none.
        """
