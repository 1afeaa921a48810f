"""`AuditTrail`: what a service keeps of who changed what, and how it asks for it."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from quart import Quart
from sqlalchemy import Select, Table, insert, inspect
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession
from sqlalchemy.orm import DeclarativeBase, Mapper, Session

from ligand_async.changes import Change
from ligand_async.data.audit.attempts import Attempts, Transaction
from ligand_async.data.audit.events import AuditEvent, columns_of_change, origin
from ligand_async.data.audit.guard import OWN, OnBulk, StatementGuard, note_record
from ligand_async.data.audit.history import read_history, rebuild
from ligand_async.data.audit.pruning import count_before, prune
from ligand_async.data.audit.reading import EventFilter, newest_first, oldest_first
from ligand_async.data.audit.redaction import hidden_columns, is_audited, redact
from ligand_async.data.audit.table import make_audit_table
from ligand_async.data.audit.values import write_key, write_values
from ligand_async.data.observers import observe_flushes

OPTIONS: Mapping[str, Any] = {OWN: True}


class AuditTrail:
    """One row of `audit_event` for each entity that is changed, in the transaction that changes it.

        audit = AuditTrail()
        db = Database(Base, audit=audit)

    It adds the table to the service's metadata, for which a service has a migration like for any other. Left out are a
    class with `__table_args__ = {"info": {"audit": False}}`, a column with `info={"audit": False}`, the values of one
    with `info={"audit": "redacted"}`, and private columns.

    Args:
        attempts: Keep refused attempts, too: requests without good credentials, and principals who may not.
    """

    def __init__(self, *, attempts: bool = False) -> None:
        self.attempts = attempts
        self._base: type[DeclarativeBase] | None = None
        self._table: Table | None = None

    @property
    def table(self) -> Table:
        """The table `audit_event`, for queries of your own.

        Raises:
            RuntimeError: The trail belongs to no database yet.
        """
        if self._table is None:
            raise RuntimeError("this AuditTrail belongs to no database; Database(Base, audit=…) gives it one")
        return self._table

    def bind(self, base: type[DeclarativeBase]) -> None:
        """Add the table to the metadata of a declarative base; `Database` calls it.

        Raises:
            RuntimeError: The trail belongs to another base.
        """
        if self._base not in (None, base):
            raise RuntimeError("this AuditTrail belongs to another database; make each Database its own")
        self._base, self._table = base, make_audit_table(base.metadata)

    def init_app(self, app: Quart, transaction: Transaction) -> None:
        """See the flushes of an app, and its refused attempts where they are asked for; `Database` calls it."""
        observe_flushes(app, self)
        if self.attempts:
            attempts = Attempts(app, self.table, transaction)
            app.before_serving(attempts.start)
            app.after_serving(attempts.stop)

    def guard(self, engine: AsyncEngine, on_bulk: OnBulk) -> None:
        """Look at the statements of an engine that writes; `Database` calls it when an app starts.

        Raises:
            ValueError: The marks of a column make no sense.
        """
        mappers = list(self._base.registry.mappers) if self._base is not None else []
        for mapper in mappers:
            hidden_columns(mapper)
        tables = {name for mapper in mappers if is_audited(mapper) for name in tables_of(mapper)}
        StatementGuard(tables, on_bulk).listen(engine)

    def observe(self, session: Session, changes: Sequence[Change]) -> None:
        """Write what a flush has changed, in the flush."""
        told = [columns for change in changes if (columns := columns_of_change(change)) is not None]
        if told:
            by = origin()
            rows = [by | columns for columns in told]
            session.connection().execute(insert(self.table).inline(), rows, execution_options=OPTIONS)

    async def record(
        self,
        session: AsyncSession,
        action: str,
        entity: type[Any] | str,
        *,
        keys: Iterable[Any] | None = None,
        old: Mapping[str, Any] | None = None,
        new: Mapping[str, Any] | None = None,
    ) -> None:
        """Record what the session does not flush: call it before a bulk or Core statement, in its transaction.

        Statements on the tables of the class pass from then on until the end of the transaction or savepoint. It may
        also record what is no change of rows at all.

        Args:
            session: The unit's.
            action: `insert`, `update`, `delete`, or a word of your own of up to 32 characters.
            entity: The mapped class; or a name, for something else.
            keys: The primary keys that are changed, a tuple where there are several columns: one event for each.
                Without them there is one event without a key, which no history of an entity shows.
            old: What was there, by attribute.
            new: What is there.
        """
        mapper: Mapper[Any] | None = None if isinstance(entity, str) else inspect(entity)
        hidden = {} if mapper is None else hidden_columns(mapper)
        told = origin() | {
            "action": action,
            "entity": entity if isinstance(entity, str) else entity.__name__,
            "old": None if old is None else write_values(redact(old, hidden)),
            "new": None if new is None else write_values(redact(new, hidden)),
        }
        rows = [told | {"key": key} for key in ([None] if keys is None else map(write_key, keys))]
        if rows:
            await session.execute(insert(self.table).inline(), rows, execution_options=OPTIONS)
        if mapper is not None:
            await session.run_sync(note_record, tables_of(mapper))

    async def history(
        self,
        session: AsyncSession,
        entity: type[Any],
        key: Any,
        *,
        since: datetime | None = None,
        until: datetime | None = None,
    ) -> list[AuditEvent]:
        """Return what happened to one entity, the oldest event first.

        Args:
            session: One that reads.
            entity: The mapped class; its subclasses count.
            key: The primary key; a tuple where it has several columns.
            since: The first moment.
            until: The first moment that is too late.
        """
        return await read_history(session, self.table, entity, key, asked=EventFilter(since=since, until=until))

    async def as_of(
        self, session: AsyncSession, entity: type[Any], key: Any, moment: datetime
    ) -> Mapping[str, Any] | None:
        """Return what an entity was at a moment, by attribute, or None where it was not there.

        Only as good as the trail: what a statement changed that was not recorded with its keys and values looks as if
        it had always been so, and so does what happened before there was a trail. Columns that the trail does not hold
        are missing.

        Args:
            session: One that reads.
            entity: The mapped class.
            key: The primary key; a tuple where it has several columns.
            moment: An aware datetime.
        """
        return await rebuild(session, self.table, entity, key, moment)

    def select(self, asked: EventFilter, *, newest: bool = True) -> Select[Any]:
        """Return the statement of events, the newest or the oldest first; `AuditEvent.of` takes its rows."""
        sort = newest_first if newest else oldest_first
        return sort(asked.select(self.table), self.table)

    async def count_before(self, session: AsyncSession, moment: datetime) -> int:
        """Return how many events are older than a moment."""
        return await count_before(session, self.table, moment)

    async def prune(self, session: AsyncSession, before: datetime) -> int:
        """Delete events that are older than a moment, up to 10,000 of them, and return how many there were.

        Call it, each time in a transaction of its own, until there were fewer. Each time leaves an event `prune`.
        """
        return await prune(session, self.table, before)


def tables_of(mapper: Mapper[Any]) -> list[str]:
    """Return the names of the tables that a class is stored in."""
    return [str(getattr(table, "name", table)) for table in mapper.tables]
