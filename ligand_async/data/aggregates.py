"""Aggregates: a change of a row that belongs to another raises the version of that other one, the root.

A root names the relationships whose rows belong to it: `__belongs__ = ("lines", "lines.discounts", "tags")`. Whoever
changes such a row, through whatever operation, changes the root, so its entity tag changes too.

Three ways lead to a change. Entities are seen before each flush. Statements of Core, and bulk statements, are seen when
the engine executes them, by their table objects. Statements in text cannot be looked into: `touch()` is for them.

The root is raised first, by one UPDATE before the statements of its rows, and several roots are locked in the order of
their keys: units that go from rows to roots would deadlock with units that go from roots to rows. The version is
compared only where `expect_version` was called for the entity. Additions without an entity tag do not conflict.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import (
    BindParameter,
    Column,
    ColumnElement,
    Connection,
    Integer,
    Table,
    event,
    inspect,
    literal,
    select,
    tuple_,
    update,
)
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession
from sqlalchemy.orm import (
    DeclarativeBase,
    InstanceState,
    Mapper,
    PassiveFlag,
    RelationshipProperty,
    Session,
    attributes,
    object_session,
)
from sqlalchemy.orm.exc import StaleDataError

from ligand_async.data.transactions import UndoList, session_of

OWN = "ligand_aggregate"
"""The execution option of our own statements."""
_KEYS_AT_ONCE = 5_000  # keys of up to six columns
_LOADED = PassiveFlag.PASSIVE_NO_INITIALIZE

_Key = tuple[Any, ...]


class AggregateError(TypeError):
    """A class whose `__belongs__` cannot be kept; the message names the class, the relationship and the remedy."""


@dataclass(frozen=True, slots=True)
class _Hop:
    """The way from the rows of one table to the rows that they belong to.

    Attributes:
        columns: The foreign key.
        parent: The table that it refers to.
        parent_columns: The columns that it refers to.
    """

    columns: tuple[Column[Any], ...]
    parent: Table
    parent_columns: tuple[Column[Any], ...]


@dataclass(slots=True)
class _Raised:
    """A root whose version was raised in a transaction, and what its entity looked like before."""

    key: tuple[Table, _Key]
    entity: object | None
    before: dict[str, Any]

    def undo(self) -> None:
        """Give the entity back the version from before."""
        for name, value in self.before.items():
            attributes.set_committed_value(self.entity, name, value)


@dataclass(slots=True)
class _Ledger:
    """The roots of one session: which were raised, and which versions are expected."""

    aggregates: "Aggregates"
    raised: UndoList[_Raised]
    expected: set[tuple[Table, _Key]] = field(default_factory=set)
    created: list[InstanceState[Any]] = field(default_factory=list)  # roots that this flush inserts
    counting: set[tuple[Table, _Key]] = field(default_factory=set)  # roots that count by themselves in this flush

    def settled(self) -> set[tuple[Table, _Key]]:
        """Return the roots that need no raise: raised before in this unit, or written themselves in this flush."""
        keys = self.counting | {one.key for one in self.raised}
        for state in self.created:
            version: Any = state.mapper.version_id_col
            keys.add((version.table, tuple(state.mapper.primary_key_from_instance(state.obj()))))
        return keys

    def end_flush(self) -> None:
        """Remember that the roots of a flush have another version now, or their first one."""
        keys = [key for state in self.created if (key := self.aggregates.root_of(state)) is not None]
        self.raised += [_Raised(key, None, {}) for key in (*keys, *self.counting)]
        self.created.clear()
        self.counting.clear()


_LEDGER = "ligand_aggregates"


class Aggregates:
    """The roots of a service and what belongs to them.

    Args:
        base: The declarative base.

    Raises:
        AggregateError: A class names something that cannot belong to it.
    """

    def __init__(self, base: type[DeclarativeBase]) -> None:
        base.registry.configure()
        self._roots: dict[Table, Mapper[Any]] = {}
        self._hops: dict[Table, list[_Hop]] = {}
        self._counted: dict[Mapper[Any], set[str]] = {}  # relationships whose change is a change of the aggregate
        self._parents: dict[Mapper[Any], list[str]] = {}
        for mapper in base.registry.mappers:
            paths = vars(mapper.class_).get("__belongs__")
            if paths is not None:
                self._add_root(mapper, paths)

    def __bool__(self) -> bool:
        return bool(self._roots)

    def listen(self, engine: AsyncEngine) -> None:
        """See the statements that an engine executes."""
        event.listen(engine.sync_engine, "before_execute", self._see_statement)

    def watch(self, session: Session) -> None:
        """See the flushes of a session."""
        session.info[_LEDGER] = _Ledger(self, UndoList(session, _Raised.undo))

    # -- declaration

    def _add_root(self, root: Mapper[Any], paths: Any) -> None:
        name = root.class_.__name__
        if isinstance(paths, str) or not all(isinstance(path, str) for path in paths):
            raise AggregateError(f'{name}.__belongs__ is a tuple of names of relationships, such as ("lines",)')
        version = root.version_id_col
        if version is None or not isinstance(version.type, Integer):
            raise AggregateError(f"{name} has __belongs__ and no version that can be raised; derive it from Versioned")
        assert isinstance(version.table, Table)  # noqa: S101  (a mapped column has one)
        self._roots[version.table] = root
        for path in paths:
            mapper = root
            for part in path.split("."):
                relationship = mapper.relationships.get(part)
                if relationship is None:
                    raise AggregateError(f"{name}.__belongs__: {mapper.class_.__name__} has no relationship {part!r}")
                self._add_relationship(f"{name}.__belongs__: {path!r}", relationship)
                mapper = relationship.mapper

    def _add_relationship(self, name: str, relationship: RelationshipProperty[Any]) -> None:
        if relationship.viewonly or relationship.direction.name == "MANYTOONE":
            raise AggregateError(
                f"{name}: {relationship} is read-only or leads to one row that many share; "
                "name relationships to rows that have the foreign key, or that go through a secondary table"
            )
        parent_columns, columns = zip(*relationship.synchronize_pairs, strict=True)
        self._add_hop(_Hop(tuple(columns), parent_columns[0].table, tuple(parent_columns)))
        for mapper in relationship.parent.self_and_descendants:
            self._counted.setdefault(mapper, set()).add(relationship.key)
        if relationship.secondary is None:
            for mapper in relationship.mapper.self_and_descendants:
                self._add_inheritance(mapper, columns[0].table)

    def _add_inheritance(self, mapper: Mapper[Any], owner: Any) -> None:
        """Let a row of a joined table belong to its row in the table that has the foreign key."""
        for table in mapper.tables:
            if table is not owner and isinstance(table, Table) and isinstance(owner, Table):
                self._add_hop(_Hop(tuple(table.primary_key), owner, tuple(owner.primary_key)))

    def _add_hop(self, hop: _Hop) -> None:
        table = hop.columns[0].table
        assert isinstance(table, Table)  # noqa: S101  (a foreign key has one)
        hops = self._hops.setdefault(table, [])
        if hop not in hops:
            hops.append(hop)

    # -- entities

    def see_flush(self, session: Session, ledger: _Ledger) -> None:
        """Raise the roots of everything that a flush is going to change."""
        climb = _Climb(self, session.connection)
        own: set[tuple[Table, _Key]] = set()  # roots whose own UPDATE counts
        for entity in (*session.new, *session.deleted):
            self._see_entity(climb, entity)
        for entity in session.dirty:
            state: InstanceState[Any] = inspect(entity)
            has_columns = _is_changed(state, state.mapper.column_attrs.keys())
            has_columns = has_columns or (self._is_root(state) and _leads_elsewhere(state))
            has_rows = _is_changed(state, self._counted.get(state.mapper, ()))
            if not (has_columns or has_rows or _is_changed(state, self._names_of_parents(state.mapper))):
                continue
            self._see_entity(climb, entity)
            if (root := self.root_of(state)) is not None:
                if has_columns:
                    own.add(root)
                elif has_rows:
                    climb.roots.add(root)
        gone = {root for entity in session.deleted if (root := self.root_of(inspect(entity))) is not None}
        ledger.counting = own | gone
        ledger.created = [state for entity in session.new if self._is_root(state := inspect(entity))]
        self._raise(session, session.connection, climb.roots, lock_too=own, ledger=ledger)

    def _see_entity(self, climb: "_Climb", entity: object) -> None:
        state: InstanceState[Any] = inspect(entity)
        for table in state.mapper.tables:
            for hop in self._hops.get(table, ()) if isinstance(table, Table) else ():
                climb.climb(hop.parent, hop.parent_columns, _keys_of(state, hop, climb.connect))

    def _names_of_parents(self, mapper: Mapper[Any]) -> Collection[str]:
        """Return the relationships of a mapper that lead to the rows that its rows belong to."""
        names = self._parents.get(mapper)
        if names is None:
            keys = [set(hop.columns) for table in mapper.tables for hop in self._hops.get(table, ())]  # type: ignore[call-overload]  # other selectables are not in it
            upward = [one for one in mapper.relationships if one.direction.name == "MANYTOONE"]
            names = self._parents[mapper] = [one.key for one in upward if one.local_columns in keys]
        return names

    def _is_root(self, state: InstanceState[Any]) -> bool:
        version = state.mapper.version_id_col
        return version is not None and version.table in self._roots

    def root_of(self, state: InstanceState[Any]) -> tuple[Table, _Key] | None:
        """Return the key of an entity that is a root and stored, or None."""
        version: Any = state.mapper.version_id_col
        if not self._is_root(state) or state.identity is None:
            return None
        return version.table, tuple(state.identity)

    def key_of(self, entity: object) -> tuple[Table, _Key] | None:
        """Return the key of a root that is stored; None for every other entity."""
        return self.root_of(inspect(entity))

    # -- statements

    def _see_statement(
        self, connection: Connection, statement: Any, multiparams: Any, params: Any, options: Any
    ) -> None:
        if not getattr(statement, "is_dml", False) or OWN in options:
            return
        table = statement.table
        hops = self._hops.get(table) if isinstance(table, Table) else None
        session = session_of(connection)
        # The flush's own statements: rows of secondary tables have no mapper, and are looked at here.
        if not hops or (session is not None and getattr(session, "flushing", False) and "compiled_cache" in options):
            return
        climb = _Climb(self, lambda: connection)
        for hop in hops:
            for keys in _keys_of_statement(connection, statement, hop, multiparams or [params or {}]):
                climb.climb(hop.parent, hop.parent_columns, keys)
        ledger = None if session is None else _ledger_of(session)
        self._raise(session, lambda: connection, climb.roots, ledger=ledger)

    # -- raising

    def _raise(
        self,
        session: Session | None,
        connect: Callable[[], Connection],
        roots: Collection[tuple[Table, _Key]],
        *,
        lock_too: Collection[tuple[Table, _Key]] = (),
        ledger: "_Ledger | None",
    ) -> None:
        fresh = set(roots) if ledger is None or not roots else set(roots) - ledger.settled()
        for table in sorted({root[0] for root in fresh}, key=lambda table: table.fullname):
            keys = {key for owner, key in fresh if owner is table}
            primary_key = tuple(table.primary_key)
            locked = keys | {key for owner, key in lock_too if owner is table}
            ordered: list[_Key] = list(keys)
            if len(locked) > 1:
                ordered = []
                for part in _in_parts(locked):
                    lock = select(*primary_key).where(_is_in(primary_key, part)).order_by(*primary_key)
                    rows = connect().execute(lock.with_for_update(key_share=True), execution_options={OWN: True})
                    ordered += [tuple(row) for row in rows if tuple(row) in keys]
            for key in ordered:
                self._raise_one(session, connect(), table, key, ledger)

    def _raise_one(
        self, session: Session | None, connection: Connection, table: Table, key: _Key, ledger: "_Ledger | None"
    ) -> None:
        root = self._roots[table]
        version: Any = root.version_id_col
        entity = None if session is None else session.identity_map.get(root.identity_key_from_primary_key(key))
        state = None if entity is None else inspect(entity)
        readable = [version, *(column for column in table.columns if column.onupdate is not None)]
        same_row = [column == value for column, value in zip(table.primary_key, key, strict=True)]
        statement = update(table).where(*same_row).values({version: version + 1}).returning(*readable)
        expected = ledger is not None and (table, key) in ledger.expected
        names = [root.get_property_by_column(column).key for column in readable]
        if expected and state is not None and names[0] in state.dict:
            statement = statement.where(version == state.dict[names[0]])
        row = connection.execute(statement, execution_options={OWN: True}).one_or_none()
        if row is None:
            if expected:
                raise StaleDataError(f"{root.class_.__name__} has another version than the one that was checked")
            return  # it is gone, which the foreign keys of its rows will say
        before: dict[str, Any] = {}
        if state is not None:
            # Values that were not loaded stay so: they are read when they are needed.
            for name, value in zip(names, row, strict=True):
                if name in state.dict:
                    before[name] = state.dict[name]
                    attributes.set_committed_value(entity, name, value)
        if ledger is not None:
            ledger.raised.append(_Raised((table, key), entity, before))


class _Climb:
    """Goes from rows up to the roots that they belong to."""

    def __init__(self, aggregates: Aggregates, connect: Callable[[], Connection]) -> None:
        self.connect = connect
        self.roots: set[tuple[Table, _Key]] = set()
        self._aggregates = aggregates
        self._seen: set[tuple[Table, tuple[Column[Any], ...], _Key]] = set()

    def climb(self, table: Table, columns: tuple[Column[Any], ...], keys: Iterable[_Key]) -> None:
        """Go up from the rows of a table whose columns have one of the keys."""
        fresh = {key for key in keys if None not in key and (table, columns, key) not in self._seen}
        if not fresh:
            return
        self._seen.update((table, columns, key) for key in fresh)
        if table in self._aggregates._roots:
            primary_key = tuple(table.primary_key)
            found = fresh if columns == primary_key else self._select(primary_key, columns, fresh)
            self.roots.update((table, key) for key in found)
        for hop in self._aggregates._hops.get(table, ()):
            above = fresh if hop.columns == columns else self._select(hop.columns, columns, fresh)
            self.climb(hop.parent, hop.parent_columns, above)

    def _select(
        self, wanted: tuple[Column[Any], ...], columns: tuple[Column[Any], ...], keys: Collection[_Key]
    ) -> set[_Key]:
        found: set[_Key] = set()
        for part in _in_parts(keys):
            statement = select(*wanted).where(_is_in(columns, part)).distinct()
            found.update(tuple(row) for row in self.connect().execute(statement, execution_options={OWN: True}))
        return found


def _in_parts(keys: Collection[_Key]) -> Iterator[list[_Key]]:
    """Yield keys in parts that one statement can take: both databases take less than 32,768 parameters."""
    remaining = sorted(keys, key=repr)  # in one order, so that two units lock their parts alike
    while remaining:
        yield remaining[:_KEYS_AT_ONCE]
        del remaining[:_KEYS_AT_ONCE]


def _is_in(columns: tuple[Column[Any], ...], keys: Collection[_Key]) -> ColumnElement[bool]:
    if len(columns) == 1:
        return columns[0].in_([key[0] for key in keys])
    return tuple_(*columns).in_(list(keys))


def _is_changed(state: InstanceState[Any], names: Iterable[str]) -> bool:
    return any(state.get_history(name, _LOADED).has_changes() for name in names)


def _leads_elsewhere(state: InstanceState[Any]) -> bool:
    """Return whether a flush is going to change a foreign key of an entity, because it refers to another one now."""
    for relationship in state.mapper.relationships:
        if relationship.direction.name != "MANYTOONE" or relationship.viewonly:
            continue
        history = state.get_history(relationship.key, _LOADED)
        if not history.has_changes():
            continue
        target: InstanceState[Any] | None = None if _first(history.added) is None else inspect(_first(history.added))
        for there, here in relationship.synchronize_pairs:
            value = None if target is None else target.dict.get(target.mapper.get_property_by_column(there).key)
            is_pending = target is not None and value is None
            if is_pending or value != state.dict.get(state.mapper.get_property_by_column(here).key):
                return True
    return False


def _keys_of(state: InstanceState[Any], hop: _Hop, connect: Callable[[], Connection]) -> set[_Key]:
    """Return the foreign keys of an entity: the ones that are stored, and the ones that it is going to have."""
    mapper = state.mapper
    names = [mapper.get_property_by_column(column).key for column in hop.columns]
    histories = [state.get_history(name, _LOADED) for name in names]
    keys = {
        tuple(_first(history.deleted or history.unchanged) for history in histories),
        tuple(_first(history.added or history.unchanged) for history in histories),
    }
    if state.persistent and state.identity is not None and any(name not in state.dict for name in names):
        same_row = [column == value for column, value in zip(mapper.primary_key, state.identity, strict=True)]
        keys.update(
            tuple(row)
            for row in connect().execute(
                select(*hop.columns).select_from(mapper).where(*same_row), execution_options={OWN: True}
            )
        )
    for relationship in mapper.relationships:
        if relationship.direction.name == "MANYTOONE" and relationship.local_columns == set(hop.columns):
            history = state.get_history(relationship.key, _LOADED)
            for parent in (*(history.added or ()), *(history.deleted or ())):
                keys.update(_stored_values(parent, hop.parent_columns))
    return keys


def _stored_values(parent: object | None, columns: Sequence[Column[Any]]) -> Iterator[_Key]:
    """Yield the values that a stored parent has in some columns."""
    state: InstanceState[Any] | None = None if parent is None else inspect(parent)
    if state is not None and state.persistent:
        yield tuple(state.dict.get(state.mapper.get_property_by_column(column).key) for column in columns)


def _first(values: Sequence[Any] | None) -> Any:
    return values[0] if values else None


def _keys_of_statement(
    connection: Connection, statement: Any, hop: _Hop, rows: Sequence[Any]
) -> Iterator[Iterable[_Key]]:
    """Yield the foreign keys of the rows that a statement changes, removes or makes."""
    if statement.is_insert:
        yield from _keys_of_insert(connection, statement, hop, rows)
        return
    values = statement._values if statement.is_update else None
    given = {_column_of(hop, name): value for name, value in (values or {}).items()}
    for row in rows:
        wanted: list[tuple[ColumnElement[Any], ...]] = [hop.columns]
        if statement.is_update:
            moved: dict[Any, ColumnElement[Any]] = {
                column: literal(row[column.key], column.type) for column in hop.columns if column.key in row
            }
            moved |= {column: _typed(given[column], column, row) for column in hop.columns if column in given}
            if moved:
                wanted.append(tuple(moved.get(column, column) for column in hop.columns))
        for columns in wanted:
            found = select(*columns).select_from(statement.table).distinct()
            if statement.whereclause is not None:
                found = found.where(statement.whereclause)
            yield [tuple(one) for one in connection.execute(found, row, execution_options={OWN: True})]


def _keys_of_insert(connection: Connection, statement: Any, hop: _Hop, rows: Sequence[Any]) -> Iterator[Iterable[_Key]]:
    if statement.select is not None:
        made = statement.select.subquery()
        names = list(statement._select_names)
        if all(column.key in names or column.name in names for column in hop.columns):
            found = [made.c[_position(names, column)] for column in hop.columns]
            for row in rows:
                statement_of_keys = select(*found).distinct()
                yield [tuple(one) for one in connection.execute(statement_of_keys, row, execution_options={OWN: True})]
        return
    several = [values for part in statement._multi_values for values in part]
    for values in several or [statement._values or {}]:
        given = {_column_of(hop, name): value for name, value in values.items()}
        for row in rows:
            yield [tuple(_value_of(connection, column, given, row) for column in hop.columns)]


def _position(names: Sequence[str], column: Column[Any]) -> int:
    return names.index(column.key if column.key in names else column.name)


def _column_of(hop: _Hop, name: Any) -> Any:
    """Return the column of a foreign key that a value is given for: by the column itself or by its name."""
    if isinstance(name, str):
        return next((column for column in hop.columns if name in {column.key, column.name}), name)
    return next((column for column in hop.columns if column is name or column.key == getattr(name, "key", None)), name)


def _typed(value: Any, column: Column[Any], row: Any) -> ColumnElement[Any]:
    """Return a value that a statement gives, as an expression of the column's type."""
    if isinstance(value, BindParameter):
        return literal(row.get(value.key, value.effective_value), column.type)
    return value if isinstance(value, ColumnElement) else literal(value, column.type)


def _value_of(connection: Connection, column: Column[Any], given: Any, row: Any) -> Any:
    """Return the value that an inserted row has in a column."""
    if column.key in row:
        return row[column.key]
    value = given.get(column)
    if isinstance(value, BindParameter):
        return row.get(value.key, value.effective_value)
    if isinstance(value, ColumnElement):
        return connection.scalar(select(value), row, execution_options={OWN: True})
    return value


# -- sessions


def _ledger_of(session: Session) -> _Ledger | None:
    ledger = session.info.get(_LEDGER)
    return ledger if isinstance(ledger, _Ledger) else None


@event.listens_for(Session, "before_flush")
def see_flush(session: Session, *_rest: Any) -> None:
    """Raise the roots of what is about to be flushed."""
    if (ledger := _ledger_of(session)) is not None:
        ledger.aggregates.see_flush(session, ledger)


@event.listens_for(Session, "after_flush_postexec")
def end_flush(session: Session, _context: Any) -> None:
    """Remember which roots a flush has changed."""
    if (ledger := _ledger_of(session)) is not None:
        ledger.end_flush()


@event.listens_for(Session, "after_soft_rollback")
def forget_flush(session: Session, _previous_transaction: Any) -> None:
    """Forget the flush that has failed: it has changed nothing."""
    if (ledger := _ledger_of(session)) is not None:
        ledger.created.clear()
        ledger.counting.clear()


def expect_version(entity: object) -> None:
    """Let the database compare the version of a root when it is raised: the caller has seen this one.

    An entity that is not a root is compared by its own UPDATE.
    """
    session = object_session(entity)
    ledger = None if session is None else _ledger_of(session)
    key = None if ledger is None else ledger.aggregates.key_of(entity)
    if ledger is not None and key is not None:
        ledger.expected.add(key)


async def touch(session: AsyncSession, entity: object) -> None:
    """Raise the version of a root after statements in text, which nobody can look into.

    Raises:
        TypeError: The entity is not a stored root with `__belongs__`.
    """

    def touch_now(inner: Session) -> None:
        ledger = _ledger_of(inner)
        key = None if ledger is None else ledger.aggregates.key_of(entity)
        if ledger is None or key is None:
            raise TypeError(f"touch() takes a stored entity of a class with __belongs__, not {type(entity).__name__}")
        ledger.aggregates._raise(inner, inner.connection, {key}, ledger=ledger)

    await session.run_sync(touch_now)
