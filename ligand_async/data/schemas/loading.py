"""Loading the relationships of entities that are in a session already: one more query for each, whatever the depth."""

from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Any

from pydantic import BaseModel
from sqlalchemy import select, tuple_
from sqlalchemy.orm import Mapper, Session, selectinload
from sqlalchemy.orm.attributes import instance_state

from ligand_async.annotations import walk
from ligand_async.data.attributes import relationships_to
from ligand_async.data.flushes import rows_of

_AT_ONCE = 1_000  # keys in one statement
_NOT_LOADED = ("dynamic", "write_only")


def select_rows(
    session: Session, model: Any, names: Sequence[str], keys: Iterable[tuple[Any, ...]], *options: Any
) -> Iterator[Any]:
    """Yield the entities of a class that have one of some keys.

    Args:
        session: The session.
        model: The class.
        names: The attributes of the key.
        keys: The keys.
        *options: What else is loaded.
    """
    columns = [getattr(model, name) for name in names]
    remaining = list(keys)
    while remaining:
        part, remaining = remaining[:_AT_ONCE], remaining[_AT_ONCE:]
        same = columns[0].in_([key[0] for key in part]) if len(columns) == 1 else tuple_(*columns).in_(part)
        yield from session.scalars(select(model).where(same).options(*options)).unique()


def load_missing(
    session: Session, model: Any, name: str, entities: Iterable[Any], classes: Collection[type[Any]] = ()
) -> None:
    """Load a relationship of the stored entities of a class that lack it.

    Args:
        session: The session.
        model: The class.
        name: The relationship.
        entities: The entities.
        classes: The classes of the rows: the columns of subclasses are loaded, too.
    """
    states = [instance_state(entity) for entity in entities]
    lacking = [state.identity for state in states if state.persistent and state.identity and name not in state.dict]
    if not lacking:
        return
    mapper: Mapper[Any] = model.__mapper__
    subclasses = [one for one in classes if one is not mapper.relationships[name].mapper.class_]
    option = selectinload(getattr(model, name))
    key = [mapper.get_property_by_column(column).key for column in mapper.primary_key]
    # The entities have the rows then; what is yielded are the entities themselves.
    list(select_rows(session, model, key, lacking, option.selectin_polymorphic(subclasses) if subclasses else option))


def load_shown(session: Session, schema: type[BaseModel], entities: Iterable[Any]) -> None:
    """Load the relationships of entities that a schema shows, and those of their rows, where they are not loaded."""
    _load_shown(session, schema, list(entities), set())


def _load_shown(
    session: Session, schema: type[BaseModel], entities: list[Any], seen: set[tuple[type[BaseModel], int]]
) -> None:
    fresh = [entity for entity in entities if (schema, id(entity)) not in seen]  # entities may refer to each other
    seen.update((schema, id(entity)) for entity in fresh)
    for model, own in _by_class(fresh).items():
        mapper: Mapper[Any] = model.__mapper__
        for name, field in schema.model_fields.items():
            source = field.validation_alias if isinstance(field.validation_alias, str) else name
            rows = own
            for step in relationships_to(mapper, source):
                rows = _load_step(session, step, rows)
            if rows is own:
                continue
            for part in walk(field.annotation):
                if isinstance(part, type) and issubclass(part, BaseModel):
                    _load_shown(session, part, rows, seen)


def _load_step(session: Session, name: str, entities: list[Any]) -> list[Any]:
    """Load a relationship of entities where it is not loaded, and return its rows."""
    rows = []
    for model, own in _by_class(entities).items():
        if model.__mapper__.relationships[name].lazy in _NOT_LOADED:
            continue
        load_missing(session, model, name, own)
        rows += [row for entity in own if name in instance_state(entity).dict for row in rows_of(entity, name)]
    return rows


def _by_class(entities: Iterable[Any]) -> dict[type[Any], list[Any]]:
    found: dict[type[Any], list[Any]] = {}
    for entity in entities:
        found.setdefault(type(entity), []).append(entity)
    return found
