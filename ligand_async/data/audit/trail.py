"""`AuditTrail`: who changed what, the history of one entity, and the deletion of old events."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from quart import Quart
from sqlalchemy import Select, Table, delete, func, insert, inspect, select, text, tuple_
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession
from sqlalchemy.orm import DeclarativeBase, Mapper, Session

from ligand_async.data.audit.events import (
    AuditEvent,
    EventFilter,
    columns_of_change,
    hidden_columns,
    is_audited,
    newest_first,
    oldest_first,
    origin,
    read_value,
    redact,
    write_key,
    write_values,
)
from ligand_async.data.audit.guard import OWN, OnBulk, StatementGuard, note_record
from ligand_async.data.audit.refused import Attempts, Transaction
from ligand_async.data.audit.table import PRUNES, make_audit_table, write_end_of_protection, write_protection
from ligand_async.data.changes import Change, observe_flushes

_OPTIONS: Mapping[str, Any] = {OWN: True}


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
        mappers = self._read_mappers()
        for mapper in mappers:
            hidden_columns(mapper)
        tables = {name for mapper in mappers if is_audited(mapper) for name in _tables_of(mapper)}
        StatementGuard(tables, on_bulk, self._read_mappers).listen(engine)

    def _read_mappers(self) -> list[Mapper[Any]]:
        return list(self._base.registry.mappers) if self._base is not None else []

    def observe(self, session: Session, changes: Sequence[Change]) -> None:
        """Write what a flush has changed, in the flush."""
        audited = [columns for change in changes if (columns := columns_of_change(change)) is not None]
        if audited:
            by = origin()
            rows = [by | columns for columns in audited]
            session.connection().execute(insert(self.table).inline(), rows, execution_options=_OPTIONS)

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

        Statements on the tables of the class, and SQL text, pass from then on until the end of the transaction or
        savepoint. It may also record an action that changes no rows.

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
        event = origin() | {
            "action": action,
            "entity": entity if isinstance(entity, str) else entity.__name__,
            "old": None if old is None else write_values(redact(old, hidden)),
            "new": None if new is None else write_values(redact(new, hidden)),
        }
        rows = [event | {"key": key} for key in ([None] if keys is None else map(write_key, keys))]
        if rows:
            await session.execute(insert(self.table).inline(), rows, execution_options=_OPTIONS)
        tables = [f"an event of {entity}"] if mapper is None else _tables_of(mapper)
        await session.run_sync(note_record, tables)

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
        return await _read_history(session, self.table, entity, key, asked=EventFilter(since=since, until=until))

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
        return await _rebuild(session, self.table, entity, key, moment)

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


def _tables_of(mapper: Mapper[Any]) -> list[str]:
    """Return the names of the tables that a class is stored in."""
    return [str(getattr(table, "name", table)) for table in mapper.tables]


async def _read_history(
    session: AsyncSession, table: Table, entity: type[Any], key: Any, *, asked: EventFilter
) -> list[AuditEvent]:
    """Return what happened to one entity, the oldest event first."""
    mapper: Mapper[Any] = inspect(entity)
    names = {one.class_.__name__ for one in mapper.self_and_descendants}
    statement = asked.select(table).where(table.c.entity.in_(sorted(names)), table.c.key == write_key(key))
    return [AuditEvent.of(row) for row in await session.execute(oldest_first(statement, table))]


async def _rebuild(
    session: AsyncSession, table: Table, entity: type[Any], key: Any, moment: datetime
) -> Mapping[str, Any] | None:
    """Return what an entity was at a moment, by attribute, or None where it was not there.

    A value is what the last event before the moment made of it; else what the first event after it found; else what
    it is now.
    """
    events = await _read_history(session, table, entity, key, asked=EventFilter())
    before = [event for event in events if event.at <= moment]
    after = [event for event in events if event.at > moment]
    if not _was_there(before, after):
        return None
    mapper: Mapper[Any] = inspect(entity)
    types = {attribute.key: attribute.columns[0].type for attribute in mapper.column_attrs}
    values = {
        name: read_value(value, types[name]) if name in types else value
        for name, value in (_look_ahead(after) | _replay(before)).items()
    }
    hidden = hidden_columns(mapper)
    if not any(event.action == "delete" for event in after):
        touched = {name for event in after for name in (*(event.old or {}), *(event.new or {}))}
        now = await _read_now(session, mapper, key, [name for name in types if name not in touched])
        if now is None and not events:
            return None
        values = dict(now or {}) | values
    return {name: value for name, value in values.items() if name not in hidden}


def _was_there(before: Sequence[AuditEvent], after: Sequence[AuditEvent]) -> bool:
    """Return whether an entity existed between two parts of its history; without a history it may have."""
    if before:
        return before[-1].action != "delete"
    return not after or after[0].action != "insert"


def _replay(events: Sequence[AuditEvent]) -> dict[str, Any]:
    """Return the values that events have made, as far as they tell."""
    values: dict[str, Any] = {}
    for event in events:
        if event.action in {"insert", "delete"}:
            values = {}
        for name in event.old or {}:
            values.pop(name, None)  # it is another now, even where the event does not tell which
        values |= event.new or {}
    return values


def _look_ahead(events: Sequence[AuditEvent]) -> dict[str, Any]:
    """Return the values that later events have found, as far as they tell."""
    values: dict[str, Any] = {}
    seen: set[str] = set()
    for event in events:
        values |= {name: value for name, value in (event.old or {}).items() if name not in seen}
        seen |= {*(event.old or {}), *(event.new or {})}
        if event.action == "delete":
            break
    return values


async def _read_now(
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


PRUNED_AT_ONCE = 10_000  # rows of one transaction
_PRUNING_OPTIONS: Mapping[str, Any] = {OWN: True}


async def count_before(session: AsyncSession, table: Table, before: datetime) -> int:
    """Return how many events are older than a moment."""
    return await session.scalar(select(func.count()).select_from(table).where(table.c.at < before)) or 0


async def prune(session: AsyncSession, table: Table, before: datetime) -> int:
    """Delete events that are older than a moment, up to 10,000, and return how many there were.

    PostgreSQL's trigger lets through who sets a parameter for the transaction. SQLite has no such thing: its trigger
    is dropped and made again in one transaction, which others cannot see.
    """
    old = select(table.c.at, table.c.id).where(table.c.at < before).order_by(table.c.at, table.c.id)
    statement = delete(table).where(tuple_(table.c.at, table.c.id).in_(old.limit(PRUNED_AT_ONCE))).returning(table.c.id)
    dialect = session.get_bind().dialect.name
    _, trigger = write_protection("sqlite", table.name)
    _, drop = write_end_of_protection("sqlite", table.name)
    if dialect == "sqlite":
        await session.execute(text(drop), execution_options=_PRUNING_OPTIONS)
    else:
        await session.execute(select(func.set_config(PRUNES, "on", True)))
    pruned = len((await session.execute(statement, execution_options=_PRUNING_OPTIONS)).all())
    if dialect == "sqlite":
        await session.execute(text(trigger), execution_options=_PRUNING_OPTIONS)
    else:
        await session.execute(select(func.set_config(PRUNES, "off", True)))
    if pruned:
        pruning = {"before": before.isoformat(), "count": pruned}
        event = {**origin(), "action": "prune", "entity": None, "key": None, "old": None, "new": pruning}
        await session.execute(insert(table).inline(), [event], execution_options=_PRUNING_OPTIONS)
    return pruned
