"""Flushes of entities that are written with their rows: in an order that unique constraints allow, and read back.

SQLAlchemy sends updates and inserts of a table before its deletes, and updates by primary key. A row that takes the
unique value of another one would fail, though the end is right: line 2 takes position 1 of line 1, which is removed.
`make_room` sends what has to go first.

What a client is shown after a write has to be what it reads next. `read_back` loads the written collections again, in
the order of the database.

A row that was just inserted has no rows of others yet: `is_known_empty` says so when an attribute is read.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import date, timedelta
from functools import cache
from itertools import count, repeat
from typing import Any
from uuid import uuid4

from sqlalchemy import Column, ColumnElement, Date, Enum, Integer, String, Table, UniqueConstraint, Uuid
from sqlalchemy.engine import IteratorResult, Result
from sqlalchemy.engine.result import SimpleResultMetaData
from sqlalchemy.ext.orderinglist import OrderingList
from sqlalchemy.orm import InstanceState, Mapper, PassiveFlag, RelationshipProperty, Session, object_session
from sqlalchemy.orm.attributes import instance_state
from sqlalchemy.orm.collections import collection_adapter

from ligand_async.data.transactions import call_when_inserted, is_inserted, is_referred_to

Reread = Callable[[Session, Sequence[Any]], None]
"""Loads the collections of entities again."""

REREAD = "ligand_reread"
"""In the `info` of a session: the entities to read back after the next flush, by what reads them."""
CROWDED = "ligand_crowded"
"""In the `info` of a session: the collections whose rows have unique values, which the next flush makes room for."""
_LOADED = PassiveFlag.PASSIVE_NO_INITIALIZE


# -- what is written


def note_written(entity: Any, reread: Reread) -> None:
    """Let the next flush read an entity's collections back."""
    session = object_session(entity)
    if session is None or not instance_state(entity).persistent:
        call_when_inserted(entity, lambda session: _note_reread(session, entity, reread))
    else:
        _note_reread(session, entity, reread)


def _note_reread(session: Session, entity: Any, reread: Reread) -> None:
    session.info.setdefault(REREAD, {}).setdefault(reread, []).append(entity)


def note_crowded(entity: Any, name: str) -> None:
    """Let the next flush order the statements for a collection whose rows have unique values."""
    session = object_session(entity)
    if session is not None and instance_state(entity).persistent:
        session.info.setdefault(CROWDED, []).append((entity, name))


def read_back(session: Session) -> None:
    """Load the collections again that the flush has written."""
    written: dict[Reread, list[Any]] = session.info.pop(REREAD)
    for reread, entities in written.items():
        reread(session, [entity for entity in entities if instance_state(entity).persistent])


# -- what was just inserted


def is_known_empty(state: InstanceState[Any], relationship: RelationshipProperty[Any]) -> bool:
    """Return whether a relationship that was not loaded is empty, because its entity was inserted in this transaction.

    It is not if a row was inserted, or an entity was changed, so that its foreign key leads to the entity; nor is one
    that leads to a row by the entity's own foreign key. Rows that Core statements insert are not seen.
    """
    session = state.session
    if session is None or not is_inserted(session, state) or relationship.direction.name == "MANYTOONE":
        return False  # by a foreign key that is null nothing would have been looked for
    others = [one for one in session if isinstance(one, relationship.mapper.class_)]
    back = relationship.back_populates
    if relationship.secondary is not None:
        loaded = [one for one in others if back and back in instance_state(one).dict]
        return not any(row is state.obj() for one in loaded for row in rows_of(one, str(back)))
    pairs = sorted(relationship.synchronize_pairs, key=lambda pair: str(pair[1].key))
    key = tuple(state.dict.get(_name_of(state.mapper, parent)) for parent, _ in pairs)
    names = [_name_of(relationship.mapper, child) for _, child in pairs]
    if is_referred_to(session, tuple(child for _, child in pairs), key):
        return False
    return not any(tuple(instance_state(one).dict.get(name) for name in names) == key for one in others)


def nothing() -> Result[Any]:
    """Return the result of a statement that finds no row."""
    return IteratorResult(SimpleResultMetaData(["nothing"]), iter(()))


# -- unique values


def unique_names_of(mapper: Mapper[Any]) -> set[frozenset[str]]:
    """Return the attributes that name one row of a mapper: its primary key, and what is unique by itself."""
    keys: list[Iterable[ColumnElement[Any]]] = [
        mapper.primary_key,
        *(columns for columns, _ in _unique_columns(mapper)),
    ]
    return {frozenset(_name_of(mapper, column) for column in columns) for columns in keys}


@cache
def _names_within_parent(relationship: RelationshipProperty[Any]) -> tuple[tuple[str, ...], ...]:
    """Return the attributes that are unique, together, among the rows of one parent; the primary key aside."""
    mapper = relationship.mapper
    foreign = {child for _, child in relationship.synchronize_pairs}
    groups = [columns for columns, is_deferrable in _unique_columns(mapper) if not is_deferrable]
    found = (tuple(_name_of(mapper, one) for one in columns if one not in foreign) for columns in groups)
    return tuple(names for names in found if names or not relationship.uselist)


def has_unique_rows(relationship: RelationshipProperty[Any]) -> bool:
    """Return whether rows with the parent's foreign key have values that no two of them may share."""
    return relationship.direction.name == "ONETOMANY" and any(
        not is_deferrable for _, is_deferrable in _unique_columns(relationship.mapper)
    )


def _unique_columns(mapper: Mapper[Any]) -> Iterator[tuple[list[Column[Any]], bool]]:
    """Yield the columns that are unique, together, and whether the database may compare them at the commit."""
    for table in mapper.tables:
        if not isinstance(table, Table):
            continue
        constraints = [one for one in table.constraints if isinstance(one, UniqueConstraint)]
        groups = [(list(one.columns), bool(one.deferrable)) for one in constraints]
        groups += [(list(one.columns), False) for one in table.indexes if one.unique and len(one.columns)]
        yield from (group for group in groups if all(mapper.columns.contains_column(one) for one in group[0]))


def _name_of(mapper: Mapper[Any], column: ColumnElement[Any]) -> str:
    return mapper.get_property_by_column(column).key


def put_rows(entity: Any, name: str, rows: Sequence[Any], *, numbers: bool = True) -> None:
    """Put rows in the place of those of a relationship, in this order; of a scalar one, one row or none.

    Args:
        entity: Whose relationship it is.
        name: Its name.
        rows: The rows.
        numbers: Whether a collection that numbers its rows (`ordering_list`) does so.
    """
    if not instance_state(entity).mapper.relationships[name].uselist:
        setattr(entity, name, rows[0] if rows else None)
        return
    collection = getattr(entity, name)
    if isinstance(collection, list):
        setattr(entity, name, list(rows))
        if numbers and isinstance(collection, OrderingList):
            getattr(entity, name).reorder()
        return
    adapter = collection_adapter(collection)
    before, staying = list(adapter), {id(row) for row in rows}
    for row in before:
        if id(row) not in staying:
            adapter.remove_with_event(row)
    known = {id(row) for row in before}
    for row in rows:
        if id(row) not in known:
            adapter.append_with_event(row)


def make_room(session: Session) -> None:
    """Flush first what has to be gone before other rows can take its unique values: in one more flush, or in two.

    The first one removes rows and changes those that nobody waits for. Where rows exchange values, the second one gives
    them others for the time being, because the database compares after each statement.
    """
    crowded: list[tuple[Any, str]] = session.info.pop(CROWDED)
    with session.no_autoflush:
        held = [_Held(entity, name) for entity, name in crowded if instance_state(entity).persistent]
        held = [one for one in held if one.hold_back()]
        if not held:
            return
        written = session.info.pop(REREAD, {})  # for the flush that is to come
        session.flush()
        are_parked = [one.park() for one in held]
        if any(are_parked):
            session.flush()
        for one in held:
            one.let_in()
        session.info[REREAD] = written


class _Held:
    """A collection whose rows wait for the unique values of others.

    Args:
        entity: Whose collection it is.
        name: Its name.
    """

    def __init__(self, entity: Any, name: str) -> None:
        relationship = instance_state(entity).mapper.relationships[name]
        self._entity = entity
        self._name = name
        self._groups = _names_within_parent(relationship)
        self._columns = {one: relationship.mapper.columns[one] for group in self._groups for one in group}
        self._rows: list[Any] = []  # as they are going to be
        self._wanted: list[tuple[Any, dict[str, Any]]] = []  # stored rows that wait, and their values to be

    def hold_back(self) -> bool:
        """Give stored rows that must wait their old values, and take new ones out; return whether there are any."""
        history = instance_state(self._entity).get_history(self._name, _LOADED)
        self._rows = list(rows_of(self._entity, self._name))
        rows = [row for row in (*self._rows, *(history.deleted or ())) if row is not None]
        stored = [row for row in rows if instance_state(row).persistent]
        before = {id(row): {name: _stored_value(row, name) for name in self._columns} for row in stored}
        holders = {one: row for row in stored for one in self._values(before[id(row)])}
        waiting = [
            (row, values)
            for row, values in self._values_of(self._rows)
            if any(holders.get(one, row) is not row for one in self._values(values))
        ]
        if not waiting:
            return False
        self._wanted = [(row, values) for row, values in waiting if id(row) in before]
        for row, _ in self._wanted:
            _set(row, before[id(row)])
        new = {id(row) for row, _ in waiting if id(row) not in before}
        put_rows(self._entity, self._name, [row for row in self._rows if id(row) not in new], numbers=False)
        return True

    def park(self) -> bool:
        """Give rows whose values other stored rows wait for values that no row has; return whether there are any."""
        now = self._values_of([row for row, _ in self._wanted])
        holders = {one: row for row, values in now for one in self._values(values)}
        blocking = {
            id(holder): holder
            for row, values in self._wanted
            for one in self._values(values)
            if (holder := holders.get(one, row)) is not row
        }
        used = [values for _, values in (*now, *self._wanted, *self._values_of(self._rows))]
        spares: dict[str, Iterator[Any]] = {}
        for group in self._groups:
            for name in group:
                made = _spare_values(self._columns[name], {values[name] for values in used})
                if made is not None:
                    spares[name] = made
                    break
        for row in blocking.values():
            _set(row, {name: next(made) for name, made in spares.items()})
        return bool(blocking and spares)

    def let_in(self) -> None:
        """Give the rows that waited their values, and put the new ones back."""
        for row, values in self._wanted:
            _set(row, values)
        put_rows(self._entity, self._name, self._rows, numbers=False)

    def _values_of(self, rows: Iterable[Any]) -> list[tuple[Any, dict[str, Any]]]:
        return [(row, {name: getattr(row, name) for name in self._columns}) for row in rows]

    def _values(self, values: Mapping[str, Any]) -> Iterator[tuple[tuple[str, ...], tuple[Any, ...]]]:
        """Yield the values of each group of columns that no two rows may share; null is like no other."""
        for group in self._groups:
            own = tuple(values[name] for name in group)
            if None not in own:
                yield group, own


def _spare_values(column: Column[Any], used: set[Any]) -> Iterator[Any] | None:
    """Return values of a column that are not used, each once; None if they cannot be made up."""
    if column.nullable:
        return repeat(None)
    if isinstance(column.type, Integer):
        return (number for number in count(1) if number not in used)
    if isinstance(column.type, Date):
        return (day for number in count() if (day := date.min + timedelta(number)) not in used)
    if isinstance(column.type, Uuid) and column.type.as_uuid:
        return (uuid4() for _ in count())
    if isinstance(column.type, String) and not isinstance(column.type, Enum):
        length = column.type.length or 32
        return (uuid4().hex[:length] for _ in count())
    return None


def rows_of(entity: Any, name: str) -> Iterator[Any]:
    """Yield the rows of a relationship: one or none where it is a scalar one."""
    value = getattr(entity, name)
    if instance_state(entity).mapper.relationships[name].uselist:
        yield from collection_adapter(value)
    elif value is not None:
        yield value


def _set(row: Any, values: Mapping[str, Any]) -> None:
    for name, value in values.items():
        setattr(row, name, value)


def _stored_value(row: Any, name: str) -> Any:
    """Return the value of an attribute as it is stored."""
    history = instance_state(row).get_history(name, _LOADED)
    values = history.deleted or history.unchanged
    return values[0] if values else None
